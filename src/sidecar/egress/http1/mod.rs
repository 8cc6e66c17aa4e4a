//! HTTP/1 on the wire (RFC 9112): heads and framing, strictly, without input or output.
//!
//! One reading or none: whatever two programs could read in two ways is [`Malformed`]. What is sent is always built
//! anew from what was read.
//!
//! Requests are read as strictly as their grammar allows. Responses are read as strictly where another reading would
//! move the end of a message; elsewhere what real origins send is accepted: a Content-Length that is said twice, chunk
//! extensions, which are dropped.

mod framing;
mod head;
mod request;
mod response;
mod write;

#[cfg(test)]
mod tests;

use http::{HeaderMap, Method, StatusCode};

pub use framing::{Decoded, Decoder, Encoder, check_trailers};
pub use head::{Progress, strip_hop_by_hop};
pub use request::{parse_request, resume_request};
pub use response::{parse_response, resume_response};
pub use write::{write_request, write_response};

/// Why bytes are no message that can be passed on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// A head with more bytes or header fields than the limits allow.
    #[error("the head is larger than egress accepts")]
    TooLarge,
    /// Anything else; the text says what, and quotes nothing of it.
    #[error("{0}")]
    Ambiguous(&'static str),
}

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, the empty line included.
    pub bytes: usize,
    /// Header fields.
    pub headers: usize,
}

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// There is none, and method or status say so: nothing is written about it. A body that merely has no bytes is
    /// `Length(0)`.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks, and trailers after them.
    Chunked,
    /// To the end of the connection; only responses.
    Close,
}

impl Framing {
    /// The framing for a client of `version`: HTTP/1.0 has no chunks.
    #[must_use]
    pub fn towards(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked, Version::Http10) => Self::Close,
            (framing, _) => framing,
        }
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method, as it was sent.
    pub method: Method,
    /// The request target as it was sent: origin form, absolute form, authority form (only CONNECT) or `*`.
    pub target: String,
    /// The version.
    pub version: Version,
    /// All header fields as they were sent, in lower case: Host, Connection and framing too.
    pub headers: HeaderMap,
    /// The framing of the body.
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expect_continue: bool,
    /// The Upgrade header's tokens in lower case, where Connection names it.
    pub upgrade: Option<String>,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The version.
    pub version: Version,
    /// All header fields as they were sent, in lower case.
    pub headers: HeaderMap,
    /// The framing of the body.
    pub framing: Framing,
    /// Whether another request may be sent on the connection.
    pub keep_alive: bool,
}
