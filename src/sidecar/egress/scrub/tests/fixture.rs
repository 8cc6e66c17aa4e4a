//! Responses made of pieces, and what is left of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::super::{Needles, response};
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::{Body, BodyError};
use crate::sidecar::egress::credential::Injected;
use crate::sidecar::egress::refusal::Refusal;

pub(super) const SECRET: &str = "sk-example-0123456789";

pub(super) fn needles(texts: &[&str]) -> Arc<Needles> {
    let mut needles = Needles::default();
    for text in texts {
        needles.add(text.as_bytes());
    }
    Arc::new(needles)
}

pub(super) fn injected() -> Injected {
    Injected { needles: Some(needles(&[SECRET])), replaced: false }
}

/// A body whose frames are given one by one, each after a pause.
pub(super) struct Pieces {
    frames: std::vec::IntoIter<Result<Frame<Bytes>, BodyError>>,
    paused: bool,
    length: Option<u64>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.paused = !self.paused;
        if self.paused {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.next())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

pub(super) fn frames(frames: Vec<Result<Frame<Bytes>, BodyError>>) -> Body {
    Pieces { frames: frames.into_iter(), paused: false, length: None }.boxed_unsync()
}

/// A body of these pieces.
pub(super) fn pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Body {
    frames(pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect())
}

/// The same with its length known.
pub(super) fn measured(bytes: &[u8], size: usize) -> Body {
    let frames: Vec<_> =
        bytes.chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let length = Some(bytes.len() as u64);
    Pieces { frames: frames.into_iter(), paused: false, length }.boxed_unsync()
}

pub(super) fn broken() -> BodyError {
    BodyError { reason: Reason::UpstreamDown, detail: "the connection was reset".to_owned() }
}

/// The response with these headers, scrubbed.
pub(super) fn scrub(headers: &[(&'static str, &str)], body: Body) -> Result<Response<Body>, Refusal> {
    scrub_status(200, headers, body)
}

pub(super) fn scrub_status(
    status: u16,
    headers: &[(&'static str, &str)],
    body: Body,
) -> Result<Response<Body>, Refusal> {
    let mut built = Response::builder().status(status);
    for (name, value) in headers {
        built = built.header(*name, *value);
    }
    response(injected(), built.body(body).expect("a response"))
}

/// Reads a body to its end: its pieces, and its trailers or why it broke.
pub(super) fn read(mut body: Body) -> (Vec<Bytes>, Result<Option<HeaderMap>, BodyError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut pieces = Vec::new();
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => pieces.push(data),
                Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
                Err(error) => return (pieces, Err(error)),
            }
        }
        (pieces, Ok(trailers))
    })
}

/// The same as one, where it doesn't break.
pub(super) fn whole(body: Body) -> Vec<u8> {
    let (pieces, end) = read(body);
    end.expect("the body is complete");
    pieces.concat()
}
