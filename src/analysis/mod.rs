//! What a manifest means, without running it.
//!
//! Everything here works on what the renderer hands to the sidecars and asks the sidecars' own code: what is said here is
//! what would happen. No engine is called, and nothing is written.

pub mod diff;
pub mod explain;
pub mod graph;

mod language;
