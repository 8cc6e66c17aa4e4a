//! The streams of a connection: what they ask for, and when something last happened on one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::policy::rules::{self, Rules};
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::session::standing::Standing;
use crate::sidecar::egress::session::target::Target;
use crate::sidecar::egress::session::tracked::Tracked;

/// What a stream asks for, and how that stands.
type Question = (Method, PathAndQuery, Arc<Standing>);

/// What the streams of a connection are doing.
#[derive(Debug)]
pub(super) struct Streams {
    egress: Arc<Egress>,
    start: Instant,
    /// When something last happened, in milliseconds after the start.
    last: AtomicU64,
    count: AtomicU64,
    open: Mutex<HashMap<u64, Option<Question>>>,
}

impl Streams {
    /// None yet.
    pub(super) fn new(egress: &Arc<Egress>) -> Self {
        let (last, count) = (AtomicU64::new(0), AtomicU64::new(0));
        let (egress, open) = (Arc::clone(egress), Mutex::default());
        Self { egress, start: Instant::now(), last, count, open }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Question>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.lock().len()
    }

    /// When something last happened.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Acquire))
    }

    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Release);
    }

    /// Whether one of them is open that these rules refuse.
    pub(super) fn any_refused(&self, rules: &Rules, target: &Target) -> bool {
        self.lock().values().flatten().any(|(method, path, standing)| {
            let (target, method, path) = (target.as_rules(), method.as_str(), path.path());
            standing.is_refused(rules, &rules::Request { target, method, path, websocket: false })
        })
    }
}

/// One stream while it is open.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Arc<Streams>,
    id: u64,
}

impl Stream {
    /// Begins one.
    pub(super) fn begin(streams: &Arc<Streams>) -> Self {
        let id = streams.count.fetch_add(1, Ordering::Relaxed);
        streams.lock().insert(id, None);
        streams.touch();
        Self { streams: Arc::clone(streams), id }
    }

    /// Says what it asks for, and gives how that stands.
    pub(super) fn asks(&self, method: &Method, path: &PathAndQuery) -> Arc<Standing> {
        let standing = Arc::<Standing>::default();
        let question = (method.clone(), path.clone(), Arc::clone(&standing));
        self.streams.lock().insert(self.id, Some(question));
        standing
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A stream is a task of its own; its panic must not go unseen either.
        if std::thread::panicking() {
            self.streams.egress.metrics.panics.fetch_add(1, Ordering::Relaxed);
        }
        self.streams.touch();
        self.streams.lock().remove(&self.id);
    }
}

/// The body of a stream's answer.
pub(super) struct Streamed {
    /// The answer's.
    pub(super) body: Tracked,
    /// What it belongs to.
    pub(super) stream: Stream,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.stream.streams.touch();
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
