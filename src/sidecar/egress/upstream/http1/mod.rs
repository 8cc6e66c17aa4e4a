//! One request and its answer on an HTTP/1 connection.
//!
//! The connection belongs to the request, then to the answer's body, and goes back to the pool with that body's end:
//! nothing is spawned and nothing goes through a channel, but for an answer that begins before its request has ended.

mod body;
mod exchange;
mod head;
mod patience;
mod upload;

use std::time::Duration;

use bytes::BytesMut;

pub(super) use exchange::{Exchanged, Failure, Request, exchange};
pub(super) use head::poll_fill;
pub(super) use patience::Patience;

use super::pool::Home;
use super::stream::Stream;

/// The most bytes that a buffer may have to be kept for another request.
const KEPT: usize = 16 << 10;

/// A connection while it carries a request.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    buffers: Buffers,
    patience: Patience,
    home: Home,
    /// Whether it has carried another request before: then it may have been closed meanwhile.
    reused: bool,
}

impl Connection {
    /// A connection that was just made.
    pub(super) fn fresh(stream: Stream, buffers: Buffers, home: Home) -> Self {
        Self { stream, buffers, patience: Patience::new(Duration::ZERO), home, reused: false }
    }

    /// A connection that waited for its next request.
    pub(super) fn reused(idle: Idle, buffers: Buffers, home: Home) -> Self {
        let Idle { stream, patience } = idle;
        Self { stream, buffers, patience, home, reused: true }
    }

    /// The stream, and what was read of it already.
    pub(super) fn into_stream(self) -> (Stream, BytesMut) {
        (self.stream, self.buffers.read)
    }
}

/// A connection that waits for its next request.
#[derive(Debug)]
pub(super) struct Idle {
    stream: Stream,
    patience: Patience,
}

impl Idle {
    fn new(mut stream: Stream, mut patience: Patience) -> Self {
        stream.rest();
        patience.rest();
        Self { stream, patience }
    }

    /// Whether it can carry one: it is open, and nothing arrived unasked.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.is_quiet()
    }
}

/// What a request is written with and its answer is read with. A connection that waits has none.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What has arrived.
    read: BytesMut,
    /// What is to be sent.
    write: BytesMut,
}

impl Buffers {
    /// The buffers for another request, unless they have grown.
    pub(super) fn spare(mut self) -> Option<Self> {
        let small = self.read.is_empty() && self.read.capacity() <= KEPT && self.write.capacity() <= KEPT;
        self.write.clear();
        small.then_some(self)
    }
}
