//! The daemons that run in the sidecar containers.

pub mod all;
pub mod audit;
pub mod egress;
pub mod git_gate;
pub mod probe;
pub mod supervise;

mod clock;
mod grants;
mod ids;
pub(crate) mod letter;
pub(crate) mod listen;
pub(crate) mod log;
mod notices;
mod report;
pub(crate) mod seal;
pub(crate) mod text;
mod used;
mod user;

use http::HeaderName;

/// The header that names the reason of a refusal, in the answers of egress and of supervise.
const REASON: HeaderName = HeaderName::from_static("x-bottle-reason");
