//! What the audit logs of the sidecars are made of: lines of JSON, queues that nobody waits for, files that are put aside
//! when they are full. The format is documented in `docs/src/audit.md`.

mod file;
mod json;
mod queue;
pub mod shape;
pub(crate) mod time;

pub(crate) use file::{MAX_BYTES, Rotated};
pub(crate) use json::Line;
#[cfg(test)]
pub(crate) use queue::MAX_BYTES as MAX_QUEUE;
pub(crate) use queue::{Queue, Target};

/// The file's name.
pub(crate) const FILE: &str = "audit.jsonl";

/// Who may read the file of an audit log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Readers {
    /// The sidecar's own user: beside it lies what nobody else may read.
    Owner,
    /// Every user who reaches the directory: the report is for supervise.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }
}
