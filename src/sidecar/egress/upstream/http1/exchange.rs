//! The exchange: the request goes out while the head of the answer comes in.

use std::future::poll_fn;
use std::task::Poll;

use http::header::TRAILER;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;

use super::Connection;
use super::body::{Incoming, Wire};
use super::head::{HeadError, HeadReader};
use super::upload::{Pump, Upload, UploadError};
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::Body;
use crate::sidecar::egress::http1::{self as codec, Framing, HeadLimits, ResponseHead};
use crate::sidecar::egress::limits::Limits;
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::upstream::answer;

/// A request without its body.
#[derive(Clone, Copy)]
pub(in super::super) struct Request<'a> {
    /// The method.
    pub(in super::super) method: &'a Method,
    /// The path with its query, or `*`.
    pub(in super::super) target: &'a str,
    /// The host, with the port where it isn't the scheme's own.
    pub(in super::super) authority: &'a str,
    /// The fields, without Host and without those of the connection.
    pub(in super::super) headers: &'a HeaderMap,
    /// Whether it asks for a WebSocket.
    pub(in super::super) websocket: bool,
    /// The limits.
    pub(in super::super) limits: &'a Limits,
}

/// What came of it.
pub(in super::super) enum Exchanged {
    /// An answer.
    Response(Response<Body>),
    /// The protocol that was asked for.
    Switched(ResponseHead, Connection),
}

/// Why there is no answer.
pub(in super::super) struct Failure {
    /// The cause.
    pub(in super::super) refusal: Refusal,
    /// The body, where the request may be sent again on another connection.
    pub(in super::super) again: Option<Body>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, again: None }
    }
}

/// How a body is framed: its end must be known to the upstream, and only chunks have trailers.
fn framing(method: &Method, headers: &HeaderMap, body: &Body) -> Framing {
    if body.is_end_stream() {
        let meant = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        return if meant { Framing::Length(0) } else { Framing::Empty };
    }
    match body.size_hint().exact() {
        Some(length) if !headers.contains_key(TRAILER) => Framing::Length(length),
        _ => Framing::Chunked,
    }
}

/// Sends a request, and gives its answer when the head of it is there.
pub(in super::super) async fn exchange(
    connection: Connection,
    request: Request<'_>,
    body: Body,
) -> Result<Exchanged, Failure> {
    let Request { method, target, authority, headers, websocket, limits } = request;
    let Connection { mut stream, mut buffers, mut patience, home, reused } = connection;
    let framing = framing(method, headers, &body);
    let upgrade = websocket.then_some("websocket");
    codec::write_request(&mut buffers.write, method, target, authority, headers, framing, upgrade);
    let mut upload = Upload::new(framing, body);
    let bare = !upload.has_body();
    let head_limits = HeadLimits { bytes: limits.head_bytes, headers: limits.headers };
    let mut head = HeadReader::new(method, head_limits, websocket);
    patience.limit(if bare { limits.answer } else { limits.stall });
    let mut sending = true;
    let mut broken = None;
    let head = poll_fn(|cx| {
        if sending {
            match upload.poll(cx, &mut stream, &mut buffers.write, &mut patience) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    sending = false;
                    if !bare {
                        patience.limit(limits.answer);
                    }
                }
                Poll::Ready(Err(UploadError::Body(error))) => {
                    return Poll::Ready(Err(Ended::Refused(Refusal::new(error.reason, error.detail))));
                }
                // The upstream may have said why before it closed the connection.
                Poll::Ready(Err(UploadError::Io(error))) => {
                    sending = false;
                    broken = Some(error);
                }
            }
        }
        if let Poll::Ready(head) = head.poll(cx, &mut stream, &mut buffers.read) {
            return Poll::Ready(head.map_err(Ended::Head));
        }
        patience.poll_over(cx).map(|()| Err(Ended::Late))
    });
    let head = match head.await {
        Ok(head) => head,
        Err(Ended::Refused(refusal)) => return Err(refusal.into()),
        Err(Ended::Late) => {
            let what = if upload.is_sent() { "did not begin its answer" } else { "did not take the request" };
            return Err(Refusal::new(Reason::UpstreamTimeout, format!("{authority} {what} in time")).into());
        }
        Err(Ended::Head(error)) => {
            let closed = matches!(error, HeadError::Closed(_));
            let error = match (error, broken) {
                (HeadError::Closed(_), Some(broken)) => HeadError::Closed(broken),
                (error, _) => error,
            };
            let again = (reused && closed).then(|| upload.again(method.is_idempotent())).flatten();
            return Err(Failure { refusal: error.refuse(authority), again });
        }
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let connection = Connection { stream, buffers, patience, home, reused };
        return Ok(Exchanged::Switched(head, connection));
    }
    let ResponseHead { framing, keep_alive, .. } = head;
    let parts = answer::parts(method, head);
    let (wire, pump) = if upload.is_sent() || broken.is_some() {
        (Wire::Whole(stream), None)
    } else {
        let (read, write) = tokio::io::split(stream);
        let out = std::mem::take(&mut buffers.write);
        (Wire::Half(read), Some(Pump::start(upload, out, write, limits.stall)))
    };
    let incoming = Incoming {
        wire: Some(wire),
        pump,
        keep_alive: keep_alive && broken.is_none(),
        buffers,
        patience,
        home: Some(home),
    };
    Ok(Exchanged::Response(Response::from_parts(
        parts,
        incoming.into_body(framing, head_limits, limits.stall),
    )))
}

/// Why there is no head.
enum Ended {
    Refused(Refusal),
    Head(HeadError),
    Late,
}
