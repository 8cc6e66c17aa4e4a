//! `bottle` puts a coding agent in a bottle.
//!
//! One reviewed file, `bottle.yaml`, says what an agent may reach, which credentials are used on its behalf and which
//! repositories it may fetch and push. The data goes one way, each arrow a module with one public function and its own
//! error type: [`manifest`] loads, [`plan`] resolves, [`render`] makes the bundle and writes it. The sidecars read
//! what was rendered for them (the types in [`policy`]) and never the manifest.

pub mod analysis;
pub mod cli;
mod doctor;
mod engine;
pub mod fs;
pub mod images;
mod init;
pub mod manifest;
pub mod plan;
pub mod policy;
pub mod preset;
mod process;
pub mod render;
pub mod scan;
pub mod sidecar;
