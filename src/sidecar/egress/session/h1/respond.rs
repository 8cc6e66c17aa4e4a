//! Writing an answer: as it comes, in as few writes as possible, and never so that a part looks like the whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::TRAILER;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use super::inbound::Inbound;
use super::{Flow, Session};
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::http1::{Encoder, Framing, Malformed, Version, write_response};
use crate::sidecar::egress::refusal::Format;
use crate::sidecar::egress::session::deadline::Deadline;
use crate::sidecar::egress::session::tracked::Tracked;
use crate::sidecar::egress::session::wire::{Outbox, Shared};

/// How long an agent that may still be sending gets to read its answer.
const LINGER: Duration = Duration::from_secs(2);

/// How long the rest of a request's body is waited for after the answer.
const SETTLE: Duration = Duration::from_secs(2);

/// What an answer's form depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The version that the agent speaks.
    pub(super) version: Version,
    /// Whether the answer is one to HEAD.
    pub(super) head_only: bool,
    /// Whether the agent may send another request.
    pub(super) keep_alive: bool,
}

/// How the writing of an answer ended.
enum Written {
    /// All of it.
    Whole,
    /// With an error of its body, before anything of it was written.
    Nothing(BodyError),
    /// With an error of its body.
    Part,
    /// The agent doesn't read.
    Stalled,
    /// The agent has gone.
    Gone,
}

impl Session {
    /// Writes an answer after what is left of an interim one.
    pub(super) async fn respond(
        &mut self,
        mut answer: Response<Tracked>,
        shape: Shape,
        format: Format,
        mut out: Outbox,
    ) -> Flow {
        loop {
            let (parts, body) = answer.into_parts();
            let settled = self.settled_now();
            let framing = framing(parts.status, &parts.headers, &body, shape);
            // After a part of an interim answer nothing can be taken back.
            let started = !out.is_empty();
            let close = !shape.keep_alive
                || framing == Framing::Close
                || self.signal.draining()
                || (body.is_refusal() && !settled);
            write_response(&mut out.small, shape.version, parts.status, &parts.headers, framing, close);
            let mut writing = Writing {
                shared: &self.shared,
                inbound: &mut self.inbound,
                deadline: &mut self.deadline,
                stall: self.egress.limits.stall,
                half_closed: self.egress.limits.half_closed,
                waiting: None,
                ended_since: None,
                out,
                started,
                body,
                encoder: Encoder::new(framing),
                ended: framing == Framing::Empty,
                trailers: None,
            };
            let written = poll_fn(|context| writing.poll(context)).await;
            let Writing { mut body, .. } = writing;
            match written {
                Written::Whole => {
                    let (mut exchange, signal) = body.into_parts();
                    exchange.end();
                    self.signal = signal;
                    let flow = if close { self.closing() } else { self.settle().await };
                    // Only now: with it ends what is left of the request's body.
                    drop(exchange);
                    return flow;
                }
                Written::Nothing(error) => {
                    let (exchange, signal) = body.into_parts();
                    answer = Tracked::refusal(exchange, signal, &error.into(), format);
                    out = Outbox::default();
                }
                Written::Part => {
                    // Without a length and without TLS, an end in order would say that this was all.
                    if framing == Framing::Close {
                        self.shared.abort();
                    }
                    return Flow::Drop;
                }
                Written::Stalled | Written::Gone => {
                    body.lost();
                    self.shared.abort();
                    return Flow::Drop;
                }
            }
        }
    }

    /// Whether the reader stands before the next request already.
    fn settled_now(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        matches!(self.inbound.poll_settled(&mut context), Poll::Ready(true))
    }

    fn closing(&mut self) -> Flow {
        if self.settled_now() { Flow::Close } else { Flow::Linger }
    }

    /// Waits, not for long, until the reader stands before the next request.
    async fn settle(&mut self) -> Flow {
        if self.settled_now() {
            return Flow::Next;
        }
        let until = Instant::now() + SETTLE;
        let Self { inbound, deadline, .. } = self;
        poll_fn(|context| {
            match inbound.poll_settled(context) {
                Poll::Ready(true) => return Poll::Ready(Flow::Next),
                // The rest of a body that nobody wants is not worth a wait.
                Poll::Ready(false) => return Poll::Ready(Flow::Linger),
                Poll::Pending => {}
            }
            deadline.poll(until, context).map(|()| Flow::Linger)
        })
        .await
    }

    /// Ends the connection in order; where the agent may still be sending, only after it had the time to read.
    pub(super) async fn close(&mut self, linger: bool) {
        let until = Instant::now() + LINGER;
        let Self { shared, inbound, deadline, .. } = self;
        poll_fn(|context| {
            if shared.poll_shutdown(context).is_ready() {
                return Poll::Ready(());
            }
            deadline.poll(until, context)
        })
        .await;
        if linger {
            poll_fn(|context| {
                if inbound.poll_discard(context).is_ready() {
                    return Poll::Ready(());
                }
                deadline.poll(until, context)
            })
            .await;
        }
    }
}

/// How the end of an answer's body is found (RFC 9112, section 6.3).
fn framing(status: StatusCode, headers: &HeaderMap, body: &Tracked, shape: Shape) -> Framing {
    let bodiless = shape.head_only
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if bodiless {
        return Framing::Empty;
    }
    match (body.size_hint().exact(), shape.version) {
        // Trailers need chunks.
        (Some(length), version) if version == Version::Http10 || !headers.contains_key(TRAILER) => {
            Framing::Length(length)
        }
        (_, version) => Framing::Chunked.towards(version),
    }
}

/// An answer that is being written.
struct Writing<'a> {
    shared: &'a Shared,
    inbound: &'a mut Inbound,
    deadline: &'a mut Deadline,
    stall: Duration,
    half_closed: Duration,
    /// Since when the agent doesn't read.
    waiting: Option<Instant>,
    /// Since when it sends no more and got nothing.
    ended_since: Option<Instant>,
    out: Outbox,
    started: bool,
    body: Tracked,
    encoder: Encoder,
    ended: bool,
    trailers: Option<HeaderMap>,
}

impl Writing<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Written> {
        loop {
            if let Err(error) = self.fill(context) {
                return Poll::Ready(if self.started { Written::Part } else { Written::Nothing(error) });
            }
            let written = if self.out.is_empty() {
                match self.shared.poll_flush(context) {
                    Poll::Ready(Ok(())) if self.ended => return Poll::Ready(Written::Whole),
                    Poll::Ready(Ok(())) => break,
                    other => other,
                }
            } else {
                self.shared.poll_write(context, &mut self.out)
            };
            match written {
                Poll::Ready(Ok(())) => {
                    self.started = true;
                    (self.waiting, self.ended_since) = (None, None);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Written::Gone),
                Poll::Pending => {
                    let since = *self.waiting.get_or_insert_with(Instant::now);
                    if self.deadline.poll(since + self.stall, context).is_ready() {
                        return Poll::Ready(Written::Stalled);
                    }
                    if self.body.poll_cut(context).is_ready() {
                        return Poll::Ready(Written::Part);
                    }
                    break;
                }
            }
        }
        if self.inbound.poll_gone(context).is_ready() {
            return Poll::Ready(Written::Gone);
        }
        if !self.inbound.has_ended() {
            return Poll::Pending;
        }
        let since = *self.ended_since.get_or_insert_with(Instant::now);
        self.deadline.poll(since + self.half_closed, context).map(|()| Written::Gone)
    }

    /// Takes what is there of the body.
    fn fill(&mut self, context: &mut Context<'_>) -> Result<(), BodyError> {
        while !self.ended && self.out.has_room() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        let tail = self.encoder.frame(data.len(), &mut self.out.small);
                        self.out.add(data, tail.map_err(|error| dishonest(&error))?);
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(None) => {
                    self.ended = true;
                    let end = self.encoder.end(self.trailers.as_ref(), &mut self.out.small);
                    end.map_err(|error| dishonest(&error))?;
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

fn dishonest(error: &Malformed) -> BodyError {
    BodyError { reason: Reason::UpstreamInvalid, detail: format!("the upstream's answer: {error}") }
}
