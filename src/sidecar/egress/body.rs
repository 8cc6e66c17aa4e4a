//! Bodies as they pass through: streams of frames, never collected.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};

use crate::policy::reason::Reason;

/// The body of a request or a response on its way.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended before its end. Whoever passes it on must break the connection, so that the other side can't take
/// what it got for the whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}: {detail}")]
pub(crate) struct BodyError {
    /// The cause.
    pub(crate) reason: Reason,
    /// What happened, without anything secret.
    pub(crate) detail: String,
}

/// A body without a byte.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there as a whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
