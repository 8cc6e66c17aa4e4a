//! A body without what was injected.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::headers;
use super::needles::Needles;
use super::stream::Scrubber;
use crate::sidecar::egress::body::BodyError;

/// A body without what was injected; of the same length, trailers included.
pub(super) struct Scrubbed<B> {
    inner: B,
    needles: Arc<Needles>,
    scrubber: Scrubber,
    /// What follows what was held back until the end: the trailers.
    last: Option<Frame<Bytes>>,
    ended: bool,
}

impl<B> Scrubbed<B> {
    pub(super) fn new(inner: B, needles: Arc<Needles>) -> Self {
        let scrubber = Scrubber::new(Arc::clone(&needles));
        Self { inner, needles, scrubber, last: None, ended: false }
    }
}

impl<B> http_body::Body for Scrubbed<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while !this.ended {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let known = this.scrubber.push(data);
                        if !known.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(known))));
                        }
                    }
                    Err(mut frame) => {
                        if let Some(trailers) = frame.trailers_mut() {
                            headers(&this.needles, trailers);
                        }
                        this.last = Some(frame);
                        this.ended = true;
                    }
                },
                // What is held back stays here: it is a part of a message that is none.
                Some(Err(error)) => {
                    this.scrubber.finish();
                    this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.ended = true,
            }
        }
        let rest = this.scrubber.finish();
        if !rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        Poll::Ready(this.last.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.scrubber.held() == 0 && self.last.is_none() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.scrubber.held()).unwrap_or(u64::MAX);
        let inner = if self.ended { SizeHint::with_exact(0) } else { self.inner.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}
