//! Watching the body of a request that someone else sends, and having it back where nothing of it was sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::sidecar::egress::body::{Body, BodyError};

/// How far a body got.
pub(super) struct Progress(Mutex<State>);

struct State {
    /// None once it was taken back.
    body: Option<Body>,
    /// Whether something of it was taken.
    begun: bool,
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

    /// Takes the body back, if nothing of it was taken.
    pub(super) fn take_back(&self) -> Option<Body> {
        self.with(|state| state.body.take_if(|_| !state.begun))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The same body, and what tells how far it got.
pub(super) fn watch(body: Body) -> (Body, Option<Arc<Progress>>) {
    let state = State { body: Some(body), begun: false, last: Instant::now(), ended: false, failure: None };
    let progress = Arc::new(Progress(Mutex::new(state)));
    (Watched { progress: Arc::clone(&progress) }.boxed_unsync(), Some(progress))
}

struct Watched {
    progress: Arc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.with(|state| {
            let Some(body) = &mut state.body else { return Poll::Ready(None) };
            let polled = Pin::new(&mut *body).poll_frame(cx);
            if let Poll::Ready(frame) = &polled {
                state.begun = true;
                state.ended |= frame.is_none() || body.is_end_stream();
                state.last = Instant::now();
                state.failure = frame.as_ref().and_then(|frame| frame.as_ref().err().cloned());
            }
            polled
        })
    }

    fn is_end_stream(&self) -> bool {
        self.progress.with(|state| state.body.as_ref().is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        self.progress.with(|state| state.body.as_ref().map_or_else(SizeHint::default, Body::size_hint))
    }
}
