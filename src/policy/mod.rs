//! The contract between the renderer and the sidecars.
//!
//! The renderer writes these types, the sidecars read them, and the command line judges with the same code.

pub mod address;
pub mod ask;
pub mod egress;
pub mod gate;
pub mod glob;
pub mod grant;
pub mod host;
pub mod path;
pub mod pipelock;
pub mod reason;
pub mod rules;
pub mod secret;
pub mod whole;
#[cfg(test)]
mod work;
