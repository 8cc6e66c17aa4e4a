//! HTTP/2 to upstreams: one connection that many requests share.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version, request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::answer::clean;
use super::http1::{Failure, Patience};
use super::stream::Stream;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::{self, Body, BodyError};
use crate::sidecar::egress::limits::Limits;
use crate::sidecar::egress::refusal::Refusal;

mod progress;

/// What may be under way to us: of one stream, and of all of them. It is memory of ours when the agent doesn't take it.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// The streams that are opened before the upstream has said how many there may be (RFC 9113, section 6.5.2).
const STREAMS: usize = 100;

/// A connection that is shared.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    inner: SendRequest<Body>,
    load: Arc<Load>,
}

/// What a connection carries.
#[derive(Debug)]
struct Load {
    authority: Authority,
    streams: AtomicUsize,
    carried: AtomicUsize,
    most: AtomicUsize,
}

impl Sender {
    /// Whether it takes no requests any more.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// The streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.load.streams.load(Ordering::Relaxed)
    }

    /// The streams since its beginning.
    pub(super) fn carried(&self) -> usize {
        self.load.carried.load(Ordering::Relaxed)
    }

    /// Whether the upstream takes another stream now.
    pub(super) fn has_room(&self) -> bool {
        self.streams() < self.load.most.load(Ordering::Relaxed)
    }
}

/// Begins HTTP/2 on a connection to `authority`.
pub(super) async fn handshake(stream: Stream, authority: &str, limits: &Limits) -> Result<Sender, Refusal> {
    let failed = |what: &dyn fmt::Display| {
        Refusal::new(Reason::UpstreamInvalid, format!("HTTP/2 with {authority} failed: {what}"))
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .initial_max_send_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
    let begun = builder.handshake(TokioIo::new(stream)).await;
    let (inner, mut connection) = begun.map_err(|error| failed(&Words(&error)))?;
    let load = Arc::new(Load {
        authority: authority.parse().map_err(|error| failed(&error))?,
        streams: AtomicUsize::new(0),
        carried: AtomicUsize::new(0),
        most: AtomicUsize::new(STREAMS),
    });
    let sender = Sender { inner, load: Arc::clone(&load) };
    tokio::spawn(async move {
        // How it ends is told to its streams.
        let _ = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            load.most.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        })
        .await;
    });
    Ok(sender)
}

/// Counts a stream as long as it is open.
struct Guard(Arc<Load>);

impl Guard {
    fn new(load: &Arc<Load>) -> Self {
        load.streams.fetch_add(1, Ordering::Relaxed);
        load.carried.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request, and gives its answer when the head of it is there.
pub(super) async fn exchange(
    mut sender: Sender,
    head: &request::Parts,
    body: Body,
    limits: &Limits,
) -> Result<Response<Body>, Failure> {
    let authority = sender.load.authority.clone();
    let reused = sender.carried() > 0;
    let guard = Guard::new(&sender.load);
    let bare = body.is_end_stream();
    let mut patience = Patience::new(if bare { limits.answer } else { limits.stall });
    let (body, progress) = if bare { (body, None) } else { progress::watch(body) };
    let mut sent = pin!(sender.inner.try_send_request(compose(head, &authority, body)?));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = sent.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        loop {
            ready!(patience.poll_over(cx));
            let Some(progress) = &progress else { return Poll::Ready(None) };
            let limit = if progress.has_ended() { limits.answer } else { limits.stall };
            if progress.last().elapsed() >= limit {
                return Poll::Ready(None);
            }
            patience.limit_since(progress.last(), limit);
        }
    });
    let response = match answered.await {
        Some(Ok(response)) => response,
        Some(Err(mut error)) => {
            if let Some(BodyError { reason, detail }) =
                progress.as_ref().and_then(|progress| progress.failure())
            {
                return Err(Refusal::new(reason, detail).into());
            }
            // What comes back was not sent.
            let unsent = error.take_message().map(Request::into_body);
            let harmless = reused && bare && head.method.is_idempotent() && sender.is_closed();
            let untouched = || match &progress {
                None => Some(body::empty()),
                Some(progress) => progress.take_back(),
            };
            let again = unsent.or_else(|| harmless.then(body::empty));
            let again = again.or_else(|| is_unprocessed(error.error()).then(untouched).flatten());
            let words = format!("{authority}: {}", Words(error.error()));
            return Err(Failure { refusal: Refusal::new(Reason::UpstreamDown, words), again });
        }
        None => {
            let words = format!("{authority} did not begin its answer in time");
            return Err(Refusal::new(Reason::UpstreamTimeout, words).into());
        }
    };
    let (mut parts, incoming) = response.into_parts();
    let invalid = |what| Refusal::new(Reason::UpstreamInvalid, format!("{authority}: {what}"));
    if parts.status.is_informational() {
        return Err(invalid("it gave an interim answer for a final one").into());
    }
    if parts.headers.len() > limits.headers {
        return Err(invalid("the head of its answer has more fields than egress accepts").into());
    }
    clean(&head.method, parts.status, &mut parts.headers);
    patience.limit(limits.stall);
    let body = if incoming.is_end_stream() {
        body::empty()
    } else {
        Answer { incoming, patience, guard }.boxed_unsync()
    };
    Ok(Response::from_parts(parts, body))
}

/// Whether the upstream said that it has done nothing for the request (RFC 9113, section 8.7): it refused the stream, or
/// went away and named a stream before it as the last one.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        // Streams up to the last one end with the connection, which is another error.
        cause.is_remote() && (refused || cause.is_go_away())
    })
}

/// Makes the request that is sent (RFC 9113, section 8.3.1).
fn compose(head: &request::Parts, authority: &Authority, body: Body) -> Result<Request<Body>, Refusal> {
    let invalid =
        |_| Refusal::new(Reason::EgressFailed, format!("no HTTP/2 request can be made for {authority}"));
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(authority.clone());
    uri.path_and_query =
        Some(head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    let uri = Uri::from_parts(uri).map_err(invalid)?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers.clone();
    // TE is a field of the connection, and so is gone; gRPC asks for it on each, and trailers are passed on.
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.starts_with(b"application/grpc") {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(request)
}

/// The body of an answer.
struct Answer {
    incoming: Incoming,
    patience: Patience,
    guard: Guard,
}

impl Answer {
    fn fail(&self, reason: Reason, what: &dyn fmt::Display) -> BodyError {
        BodyError { reason, detail: format!("{}: {what}", self.guard.0.authority) }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.patience.step();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(this.fail(Reason::UpstreamInvalid, &Words(&error)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(this.patience.poll_over(cx));
                let what = "the answer paused for too long";
                Poll::Ready(Some(Err(this.fail(Reason::UpstreamTimeout, &what))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// An error with what caused it: hyper's own words don't say it.
struct Words<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut error = self.0;
        while let Some(source) = error.source() {
            write!(f, ": {source}")?;
            error = source;
        }
        Ok(())
    }
}
