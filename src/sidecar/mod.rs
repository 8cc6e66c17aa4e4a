//! The daemons that run in the sidecar containers.

pub mod git_gate;
pub mod probe;
