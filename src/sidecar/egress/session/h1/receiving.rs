//! The body of an HTTP/1 request while it arrives.
//!
//! It takes the connection's reader with it, wherever the body goes, and gives it back when the body is complete or
//! given up: the bytes after it belong to the next request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::http1::{Decoded, Decoder, Framing, HeadLimits};
use crate::sidecar::egress::session::wire::Reader;

/// What came back of a body.
#[derive(Debug)]
pub(super) struct Returned {
    /// The connection's reader.
    pub(super) reader: Reader,
    /// How the rest of the body is found; none where the body is complete.
    pub(super) rest: Option<Decoder>,
}

#[derive(Debug, Default)]
struct State {
    returned: Option<Returned>,
    wanted: bool,
    waker: Option<Waker>,
}

/// Where the session waits for its reader.
#[derive(Clone, Debug, Default)]
pub(super) struct Home(Arc<Mutex<State>>);

impl Home {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether somebody wants the body, which is said once.
    pub(super) fn take_wanted(&self) -> bool {
        std::mem::take(&mut self.lock().wanted)
    }

    /// The reader, as soon as it is back. The task is also woken when the body is wanted.
    pub(super) fn poll_returned(&self, context: &mut Context<'_>) -> Poll<Returned> {
        let mut state = self.lock();
        if let Some(returned) = state.returned.take() {
            return Poll::Ready(returned);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The body.
pub(in crate::sidecar::egress::session) struct Receiving {
    /// None when the body is complete.
    arriving: Option<(Reader, Decoder)>,
    home: Home,
    /// The bytes that are still to come, where that was announced.
    left: Option<u64>,
    /// Whether the client needs no word, or had it.
    silent: bool,
}

impl Receiving {
    /// Begins a body; the client may wait until it is told that the body is `expected`.
    pub(super) fn new(reader: Reader, framing: Framing, limits: HeadLimits, expected: bool) -> (Self, Home) {
        let home = Home::default();
        let left = if let Framing::Length(length) = framing { Some(length) } else { None };
        let arriving = Some((reader, Decoder::new(framing, limits)));
        (Self { arriving, home: home.clone(), left, silent: !expected }, home)
    }

    fn complete(&mut self) {
        if let Some((reader, _)) = self.arriving.take() {
            self.home.tell(|state| state.returned = Some(Returned { reader, rest: None }));
        }
    }

    fn malformed(detail: impl Into<String>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Err(BodyError { reason: Reason::RequestMalformed, detail: detail.into() })))
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Some((reader, decoder)) = &mut this.arriving else {
                return Poll::Ready(None);
            };
            match decoder.decode(&mut reader.buffer) {
                Ok(Decoded::Partial) => {}
                Ok(Decoded::Data(piece)) => {
                    if let Some(left) = &mut this.left {
                        *left = left.saturating_sub(piece.len() as u64);
                        // The reader goes back with the last byte, not when somebody asks once more.
                        if *left == 0 && matches!(decoder.decode(&mut reader.buffer), Ok(Decoded::End)) {
                            this.complete();
                        }
                    }
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Ok(Decoded::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Decoded::End) => {
                    this.complete();
                    return Poll::Ready(None);
                }
                Err(malformed) => return Self::malformed(malformed.to_string()),
            }
            if !std::mem::replace(&mut this.silent, true) && reader.buffer.is_empty() {
                this.home.tell(|state| state.wanted = true);
            }
            match ready!(reader.poll_body(context)) {
                Ok(0) | Err(_) => {
                    return Self::malformed("the agent closed the connection within the body of the request");
                }
                Ok(_) => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.arriving.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some((reader, decoder)) = self.arriving.take() {
            self.home.tell(|state| state.returned = Some(Returned { reader, rest: Some(decoder) }));
        }
    }
}
