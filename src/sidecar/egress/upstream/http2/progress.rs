//! Watching the body of a request that someone else sends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::sidecar::egress::body::{Body, BodyError};

/// How far a body got.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    last: Instant,
    ended: bool,
    failure: Option<BodyError>,
}

impl Progress {
    /// When something was taken of it.
    pub(super) fn last(&self) -> Instant {
        self.with(|state| state.last)
    }

    /// Whether all of it was taken.
    pub(super) fn has_ended(&self) -> bool {
        self.with(|state| state.ended)
    }

    /// Why it broke.
    pub(super) fn failure(&self) -> Option<BodyError> {
        self.with(|state| state.failure.clone())
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The same body, and what tells how far it got.
pub(super) fn watch(body: Body) -> (Body, Option<Arc<Progress>>) {
    let state = State { last: Instant::now(), ended: false, failure: None };
    let progress = Arc::new(Progress(Mutex::new(state)));
    (Watched { body, progress: Arc::clone(&progress) }.boxed_unsync(), Some(progress))
}

struct Watched {
    body: Body,
    progress: Arc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            let ended = frame.is_none() || this.body.is_end_stream();
            this.progress.with(|state| {
                state.last = Instant::now();
                state.ended |= ended;
                state.failure = frame.as_ref().and_then(|frame| frame.as_ref().err().cloned());
            });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
