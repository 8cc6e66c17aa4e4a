//! The daemons that run in the sidecar containers.

pub mod egress;
pub mod git_gate;
pub mod probe;

mod log;
