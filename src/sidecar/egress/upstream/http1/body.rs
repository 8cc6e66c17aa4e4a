//! The body of an answer, read as it is asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, ReadBuf, ReadHalf};

use super::head::poll_fill;
use super::upload::Pump;
use super::{Buffers, Idle, Patience};
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::{self, Body, BodyError};
use crate::sidecar::egress::http1::{Decoded, Decoder, Framing, HeadLimits};
use crate::sidecar::egress::turns::Turns;
use crate::sidecar::egress::upstream::pool::Home;
use crate::sidecar::egress::upstream::stream::Stream;

/// What one read asks for: it doubles while reads come back full.
const READ: (usize, usize) = (8 << 10, 64 << 10);

/// How much of an answer is taken in one go. An upstream that sends faster than we read would never let others come
/// between, since much of what it sends (the sizes of tiny chunks) fills no buffer behind us.
const GO: usize = 64 << 10;

/// What the body comes from.
#[derive(Debug)]
pub(super) enum Wire {
    /// The connection.
    Whole(Stream),
    /// The half of it that is read, while the request is still written to the other.
    Half(ReadHalf<Stream>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Whole(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Half(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

/// A connection behind the head of an answer.
pub(super) struct Incoming {
    /// None when the body has ended.
    pub(super) wire: Option<Wire>,
    /// The rest of the request.
    pub(super) pump: Option<Pump>,
    /// Whether another request may be sent when the body has ended.
    pub(super) keep_alive: bool,
    /// What was read already.
    pub(super) buffers: Buffers,
    /// How long the body may pause.
    pub(super) patience: Patience,
    /// Where the connection goes back to.
    pub(super) home: Option<Home>,
}

impl Incoming {
    /// Makes it the body of an answer. What is there as a whole needs no connection any more.
    pub(super) fn into_body(mut self, framing: Framing, limits: HeadLimits, stall: Duration) -> Body {
        let length = match framing {
            Framing::Empty => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::Close => None,
        };
        let there = length.and_then(|length| usize::try_from(length).ok());
        if let Some(there) = there.filter(|there| *there <= self.buffers.read.len()) {
            let whole = self.buffers.read.split_to(there).freeze();
            self.finish();
            return if whole.is_empty() { body::empty() } else { body::full(whole) };
        }
        self.patience.limit(stall);
        let decoder = Decoder::of_response(framing, limits);
        let answer = Answer {
            incoming: self,
            decoder,
            left: length,
            ahead: None,
            read: READ.0,
            turns: Turns::new(GO),
        };
        answer.boxed_unsync()
    }

    /// The body has ended: the connection goes back to the pool, if nothing keeps it from carrying another request.
    fn finish(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.detach();
        }
        if let Some(Wire::Whole(stream)) = self.wire.take()
            && self.keep_alive
            && self.buffers.read.is_empty()
            && let Some(home) = self.home.take()
        {
            let patience = std::mem::replace(&mut self.patience, Patience::new(Duration::ZERO));
            let buffers = std::mem::take(&mut self.buffers);
            home.give_back(Idle::new(stream, patience), buffers);
        }
    }
}

/// The body of an answer.
struct Answer {
    incoming: Incoming,
    decoder: Decoder,
    /// The bytes that are still to come, where that was said.
    left: Option<u64>,
    /// The frame after the one that was given: the end is known with the last byte, and not a poll later.
    ahead: Option<Result<Frame<Bytes>, BodyError>>,
    /// What a read asks for.
    read: usize,
    turns: Turns,
}

impl Answer {
    /// Breaks off: the connection is closed.
    fn fail(&mut self, reason: Reason, what: impl std::fmt::Display) -> BodyError {
        drop(self.incoming.wire.take());
        drop(self.incoming.pump.take());
        let origin = self.incoming.home.as_ref().map(Home::origin).unwrap_or_default();
        BodyError { reason, detail: format!("{origin}: {what}") }
    }

    /// The next frame of what has arrived; none where more must arrive, or the body has ended.
    fn decode(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        match self.decoder.decode(&mut self.incoming.buffers.read) {
            Ok(Decoded::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Decoded::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Decoded::Partial) => None,
            Ok(Decoded::End) => {
                if self.read > READ.0 && self.incoming.buffers.read.is_empty() {
                    // It has grown, and would stay so as long as one byte of it is in use.
                    self.incoming.buffers.read = BytesMut::new();
                }
                self.incoming.finish();
                None
            }
            Err(error) => Some(Err(self.fail(Reason::UpstreamInvalid, error))),
        }
    }

    /// Reads once; whether anything came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, BodyError>> {
        let running = match self.incoming.pump.as_mut().map(|pump| pump.poll_running(cx)) {
            None => false,
            Some(Ok(running)) => running,
            Some(Err(BodyError { reason, detail })) => return Poll::Ready(Err(self.fail(reason, detail))),
        };
        let Incoming { wire: Some(wire), buffers, patience, .. } = &mut self.incoming else {
            return Poll::Ready(Ok(false));
        };
        ready!(self.turns.poll(cx));
        match poll_fill(cx, wire, &mut buffers.read, self.read) {
            Poll::Ready(Ok(0)) if self.decoder.at_close() => {
                self.incoming.keep_alive = false;
                self.incoming.finish();
                Poll::Ready(Ok(false))
            }
            Poll::Ready(Ok(0)) => {
                Poll::Ready(Err(self.fail(Reason::UpstreamInvalid, "the answer ended before its end")))
            }
            Poll::Ready(Ok(count)) => {
                patience.step();
                self.turns.step(count);
                if count >= self.read {
                    self.read = (self.read * 2).min(READ.1);
                }
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Err(self.fail(Reason::UpstreamInvalid, "the answer ended before its end")))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.fail(Reason::UpstreamDown, error))),
            Poll::Pending => {
                self.turns.begin();
                // As long as the request goes on, its own limit counts.
                if running {
                    patience.step();
                }
                ready!(patience.poll_over(cx));
                Poll::Ready(Err(self.fail(Reason::UpstreamTimeout, "the answer paused for too long")))
            }
        }
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
        let frame = loop {
            if let Some(frame) = this.ahead.take() {
                break frame;
            }
            if this.incoming.wire.is_none() {
                return Poll::Ready(None);
            }
            this.ahead = this.decode();
            if this.ahead.is_none() && this.incoming.wire.is_some() {
                match ready!(this.poll_read(cx)) {
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
        };
        if let Ok(frame) = &frame {
            if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
                *left = left.saturating_sub(data.len() as u64);
            }
            if this.incoming.wire.is_some() {
                this.ahead = this.decode();
            }
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.incoming.wire.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
