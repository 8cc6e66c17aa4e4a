//! HTTP/1 with the agent: one request after the other, each of them judged.
//!
//! One loop serves both the front, where CONNECT and `http://` URLs arrive, and the inside of a TLS session. Nothing is
//! spawned: the loop itself drives the answer while it looks out for the agent's leaving.

mod connect;
mod head;
mod inbound;
mod place;
mod receiving;
mod respond;
pub(super) mod unsent;
mod websocket;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Uri};
use tokio::time::Instant;

pub(super) use self::connect::Connected;
use self::head::Next;
use self::inbound::Inbound;
pub(super) use self::receiving::Receiving;
use self::respond::Shape;
use super::deadline::Deadline;
use super::exchange::Exchange;
use super::request::{self, Asked};
use super::signal::Signal;
use super::target::Target;
use super::tracked::Tracked;
use super::upload::Source;
use super::wire::{Outbox, Reader, Shared, Wire};
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::http1::{Framing, HeadLimits, RequestHead, Version};
use crate::sidecar::egress::refusal::{Format, Refusal};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a connection is for.
pub(super) enum Scope {
    /// The proxy itself: CONNECT, and requests for `http://` URLs.
    Front,
    /// One host, within TLS.
    Inside(Arc<Target>),
}

/// How a connection goes on after a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    /// With the next request.
    Next,
    /// It ends in order.
    Close,
    /// It ends in order, but the agent may still be sending: it gets the time to read the answer.
    Linger,
    /// It ends at once.
    Drop,
}

/// An HTTP/1 connection.
pub(super) struct Session {
    egress: Arc<Egress>,
    scope: Scope,
    shared: Shared,
    inbound: Inbound,
    signal: Signal,
    deadline: Deadline,
}

impl Session {
    /// Begins a connection.
    pub(super) fn new(egress: &Arc<Egress>, scope: Scope, wire: Wire, signal: Signal) -> Self {
        let shared = Shared::new(wire);
        Self {
            egress: Arc::clone(egress),
            scope,
            inbound: Inbound::Here(Reader::new(&shared)),
            shared,
            signal,
            deadline: Deadline::default(),
        }
    }

    /// Serves the connection to its end, or to CONNECT.
    pub(super) async fn run(mut self) -> Option<Connected> {
        let mut opening = true;
        loop {
            let flow = match self.next(opening).await {
                Next::Head(head) if head.method == Method::CONNECT && matches!(self.scope, Scope::Front) => {
                    match Box::pin(self.connect(*head)).await {
                        Ok(target) => return self.into_connected(target),
                        Err(flow) => flow,
                    }
                }
                // In a box, so that a connection that waits holds only what waiting needs.
                Next::Head(head) => Box::pin(self.exchange(*head)).await,
                Next::Closed => Flow::Close,
                Next::Refused(refusal) => Box::pin(self.refuse_unread(&refusal)).await,
            };
            opening = false;
            let linger = match flow {
                Flow::Next => continue,
                Flow::Close => false,
                Flow::Linger => true,
                Flow::Drop => return None,
            };
            Box::pin(self.close(linger)).await;
            return None;
        }
    }

    fn limits(&self) -> HeadLimits {
        HeadLimits { bytes: self.egress.limits.head_bytes, headers: self.egress.limits.headers }
    }

    /// Handles one request.
    async fn exchange(&mut self, head: RequestHead) -> Flow {
        let RequestHead { method, target, version, headers, framing, keep_alive, expect_continue, upgrade } =
            head;
        let shape = Shape { version, head_only: method == Method::HEAD, keep_alive };
        let format = Format::preferred(&headers);
        let mut exchange = Exchange::begin(&self.egress, version_name(version));
        if let Scope::Inside(target) = &self.scope {
            exchange.aims_at(target);
        }
        let websocket = upgrade.is_some();
        let (target, path) = match place::request(&self.scope, &method, &target, version, &headers) {
            Ok(place) => place,
            Err(refusal) => {
                exchange.asks(method.as_str(), "", websocket);
                return self.refuse(exchange, &refusal, format, Shape { keep_alive: false, ..shape }).await;
            }
        };
        exchange.aims_at(&target);
        exchange.asks(method.as_str(), path.path(), websocket);

        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method;
        parts.uri = Uri::from(path);
        parts.headers = headers;
        if let Some(protocol) = &upgrade
            && let Err(refusal) = websocket::check(protocol, &parts.method, framing, &mut parts.headers)
        {
            return self.refuse(exchange, &refusal, format, Shape { keep_alive: false, ..shape }).await;
        }
        let body = match framing {
            Framing::Empty | Framing::Length(0) => None,
            framing => {
                let limits = self.limits();
                self.inbound.lend(framing, limits, expect_continue).map(Source::Http1)
            }
        };

        let asked = Asked { head: parts, body };
        if websocket {
            return Box::pin(self.open(exchange, asked, shape, format)).await;
        }
        let mut interim = Outbox::default();
        let answer = {
            let mut answering = pin!(request::answer(exchange, self.take_signal(), asked));
            let mut ended = None;
            poll_fn(|context| self.poll_answer(answering.as_mut(), &mut interim, &mut ended, context)).await
        };
        match answer {
            Some(answer) => self.respond(answer, shape, format, interim).await,
            // The agent has gone; what it asked for is given up with the future that was dropped.
            None => Flow::Drop,
        }
    }

    /// Opens a WebSocket.
    async fn open(&mut self, exchange: Box<Exchange>, asked: Asked, shape: Shape, format: Format) -> Flow {
        let mut interim = Outbox::default();
        let opened = {
            let mut opening = pin!(request::open(exchange, self.take_signal(), asked));
            let mut ended = None;
            poll_fn(|context| self.poll_answer(opening.as_mut(), &mut interim, &mut ended, context)).await
        };
        match opened {
            Some(Ok(opened)) => self.relay(opened).await,
            Some(Err(answer)) => self.respond(answer, shape, format, interim).await,
            None => Flow::Drop,
        }
    }

    /// Waits for an answer; nothing where the agent leaves before. One that only sends no more, which is known since
    /// `ended`, can't be told from one that left: it waits for a limited time.
    fn poll_answer<T>(
        &mut self,
        answering: Pin<&mut impl Future<Output = T>>,
        interim: &mut Outbox,
        ended: &mut Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<Option<T>> {
        if let Poll::Ready(answer) = answering.poll(context) {
            return Poll::Ready(Some(answer));
        }
        let gone = self.inbound.poll_gone(context).is_ready();
        if self.inbound.take_wanted() {
            interim.small.extend_from_slice(CONTINUE);
        }
        let written = self.shared.poll_write(context, interim);
        if gone || matches!(written, Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        if !self.inbound.has_ended() {
            return Poll::Pending;
        }
        let since = *ended.get_or_insert_with(Instant::now);
        self.deadline.poll(since + self.egress.limits.half_closed, context).map(|()| None)
    }

    /// Takes the signal for a request; it comes back with the answer.
    fn take_signal(&mut self) -> Signal {
        let other = self.signal.another();
        std::mem::replace(&mut self.signal, other)
    }

    /// Refuses a request whose head was read.
    async fn refuse(
        &mut self,
        exchange: Box<Exchange>,
        refusal: &Refusal,
        format: Format,
        shape: Shape,
    ) -> Flow {
        let signal = self.take_signal();
        let answer = Tracked::refusal(exchange, signal, refusal, format);
        self.respond(answer, shape, format, Outbox::default()).await
    }

    /// Refuses what could not be read as a request.
    async fn refuse_unread(&mut self, refusal: &Refusal) -> Flow {
        let mut exchange = Exchange::begin(&self.egress, version_name(Version::Http11));
        if let Scope::Inside(target) = &self.scope {
            exchange.aims_at(target);
        }
        let shape = Shape { version: Version::Http11, head_only: false, keep_alive: false };
        match self.refuse(exchange, refusal, Format::Json, shape).await {
            // What follows may be on its way.
            Flow::Close => Flow::Linger,
            flow => flow,
        }
    }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}
