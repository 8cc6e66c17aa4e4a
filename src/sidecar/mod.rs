//! The daemons that run in the sidecar containers.

pub mod egress;
pub mod git_gate;
pub mod probe;
pub mod supervise;

mod audit;
mod clock;
mod grants;
mod ids;
mod listen;
mod log;
mod notices;
mod report;
pub(crate) mod text;
