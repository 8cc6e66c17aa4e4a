//! The body of a request on its way up: counted, limited, and never waited for without an end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::deadline::Deadline;
use super::h1::Receiving;
use super::signal::Signal;
use super::target::Target;
use crate::policy::reason::Reason;
use crate::policy::rules::Request;
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::audit::Noted;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::http1::check_trailers;
use crate::sidecar::egress::live::Snapshot;
use crate::sidecar::egress::refusal::Refusal;

/// Where a body comes from.
pub(super) enum Source {
    /// An HTTP/1 connection.
    Http1(Receiving),
    /// An HTTP/2 stream.
    Http2(hyper::body::Incoming),
}

impl Source {
    /// The length that was announced, where one was.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Http1(body) => body.size_hint().exact(),
            Self::Http2(body) => body.size_hint().exact(),
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(body) => Pin::new(body).poll_frame(context),
            Self::Http2(body) => Pin::new(body).poll_frame(context).map_err(|_| BodyError {
                reason: Reason::RequestMalformed,
                detail: "the agent broke the body of the request off".to_owned(),
            }),
        }
    }
}

/// What the session knows of a body that it has given away.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    scanned: AtomicU64,
    unread: AtomicBool,
    found: Mutex<Vec<Noted>>,
    failure: OnceLock<Refusal>,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Progress {
    /// The bytes that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Counts bytes that are sent.
    pub(super) fn count(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were searched.
    pub(super) fn scanned(&self, bytes: usize) {
        self.scanned.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Says that it is packed in an unknown way: only what is sent was searched.
    pub(super) fn unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Says what was found.
    pub(super) fn found(&self, noted: Vec<Noted>) {
        if !noted.is_empty() {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(noted);
        }
    }

    /// What was seen of it: bytes that were searched, what was found, and whether it could not be unpacked.
    pub(super) fn seen(&self) -> (u64, Vec<Noted>, bool) {
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        (self.scanned.load(Ordering::Relaxed), found, self.unread.load(Ordering::Relaxed))
    }

    /// Says why it ends before its end: the first cause is the one of all others.
    pub(super) fn fail(&self, refusal: Refusal) -> BodyError {
        let Refusal { reason, detail, .. } = &refusal;
        let error = BodyError { reason: *reason, detail: detail.clone() };
        let _ = self.failure.set(refusal);
        error
    }

    /// Says that the request has ended and is recorded: what is left of its body is not sent.
    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_over(&self, context: &Context<'_>) -> bool {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.over.load(Ordering::Acquire)
    }

    /// Counts bytes off that are not sent after all.
    pub(super) fn kept_back(&self, bytes: usize) {
        self.sent.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the request still goes on.
    pub(super) fn goes_on(&self, context: &Context<'_>) -> Result<(), BodyError> {
        if self.is_over(context) {
            let detail = "the request ended before its body did";
            return Err(self.fail(Refusal::new(Reason::RequestTimeout, detail)));
        }
        Ok(())
    }

    /// Why the body ended before its end.
    pub(super) fn failure(&self) -> Option<&Refusal> {
        self.failure.get()
    }
}

/// What a body belongs to, so that it is judged as long as it is sent. The answer may have ended before it, and may wait
/// for the agent to read it: neither keeps a change of the policy from the body.
pub(super) struct Judged {
    /// The process.
    pub(super) egress: Arc<Egress>,
    /// What tells of changes.
    pub(super) signal: Signal,
    /// Where the request goes.
    pub(super) target: Arc<Target>,
    /// Its method.
    pub(super) method: Method,
    /// Its path.
    pub(super) path: PathAndQuery,
    /// The policy that allowed it.
    pub(super) snapshot: Arc<Snapshot>,
    /// The credential that goes into its headers.
    pub(super) credential: Option<String>,
    /// Whether it has used up a grant for one request.
    pub(super) claimed: bool,
}

impl Judged {
    fn again(&self) -> Result<(), BodyError> {
        let Self { egress, target, method, path, .. } = self;
        let request = Request {
            target: target.as_rules(),
            method: method.as_str(),
            path: path.path(),
            websocket: false,
        };
        let rules = &egress.live.now().rules;
        let judged =
            if self.claimed { rules.judge_claimed(&request) } else { rules.judge(&request).map(drop) };
        judged.map_err(|denied| BodyError {
            reason: Reason::PolicyChanged,
            detail: format!("the policy changed and refuses it now: {}", denied.reason.code()),
        })
    }
}

/// A body with its limits.
pub(super) struct Upload {
    source: Source,
    judged: Judged,
    progress: Arc<Progress>,
    limit: Option<u64>,
    /// The bytes that came.
    taken: u64,
    stall: Duration,
    deadline: Deadline,
    /// Since when nothing came.
    waiting: Option<Instant>,
}

impl Upload {
    /// Limits a body to `limit` bytes, and its pauses to `stall`.
    pub(super) fn new(source: Source, judged: Judged, limit: Option<u64>, stall: Duration) -> Self {
        let (progress, deadline) = (Arc::default(), Deadline::default());
        Self { source, judged, progress, limit, taken: 0, stall, deadline, waiting: None }
    }

    /// Tells how it goes.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    fn fail(&self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Err(self.progress.fail(error.into()))))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.progress.is_over(context) {
            return this.fail(BodyError {
                reason: Reason::RequestTimeout,
                detail: "the request ended before its body did".to_owned(),
            });
        }
        if this.judged.signal.changed()
            && let Err(error) = this.judged.again()
        {
            return this.fail(error);
        }
        match this.source.poll_frame(context) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.waiting = None;
                if let Some(trailers) = frame.trailers_mut() {
                    if let Err(malformed) = check_trailers(trailers) {
                        let detail = malformed.to_string();
                        return this.fail(BodyError { reason: Reason::RequestMalformed, detail });
                    }
                    if let Some(credential) = &this.judged.credential {
                        this.judged.snapshot.credentials.withdraw(credential, trailers);
                    }
                }
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.taken = this.taken.saturating_add(length);
                match this.limit {
                    Some(limit) if this.taken > limit => this.fail(too_large(limit)),
                    _ => Poll::Ready(Some(Ok(frame))),
                }
            }
            Poll::Ready(Some(Err(error))) => this.fail(error),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                while this.judged.signal.poll_changed(context).is_ready() {
                    if let Err(error) = this.judged.again() {
                        return this.fail(error);
                    }
                }
                let since = *this.waiting.get_or_insert_with(Instant::now);
                match this.deadline.poll(since + this.stall, context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => this.fail(BodyError {
                        reason: Reason::RequestTimeout,
                        detail: "the body of the request paused for too long".to_owned(),
                    }),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(body) => body.size_hint(),
            Source::Http2(body) => body.size_hint(),
        }
    }
}

/// The refusal of a body that is larger than the route accepts.
pub(super) fn too_large(limit: u64) -> BodyError {
    BodyError {
        reason: Reason::UploadTooLarge,
        detail: format!("the route accepts bodies of at most {limit} bytes"),
    }
}
