//! The reading side of an HTTP/1 connection, whoever has it now.

use std::task::{Context, Poll, ready};

use super::receiving::{Home, Receiving, Returned};
use crate::sidecar::egress::http1::{Decoded, Decoder, Framing, HeadLimits};
use crate::sidecar::egress::session::wire::Reader;

/// How much of the next requests is kept while one is under way. What is beyond it stays in the socket.
const READ_AHEAD: usize = 8 << 10;

/// The reading side.
pub(super) enum Inbound {
    /// Here, before a request or after it.
    Here(Reader),
    /// With the body of the request that is under way.
    Away(Home),
    /// Here, before the rest of a body that nobody wants.
    Unread(Reader, Decoder),
}

impl Inbound {
    /// Lends the reader to the body of a request; nothing where it is not here.
    pub(super) fn lend(&mut self, framing: Framing, limits: HeadLimits, expected: bool) -> Option<Receiving> {
        let Self::Here(reader) = std::mem::replace(self, Self::Away(Home::default())) else {
            return None;
        };
        let (body, home) = Receiving::new(reader, framing, limits, expected);
        *self = Self::Away(home);
        Some(body)
    }

    /// Whether the body is wanted for the first time.
    pub(super) fn take_wanted(&self) -> bool {
        matches!(self, Self::Away(home) if home.take_wanted())
    }

    /// Ready when the connection is broken. Until then it reads ahead, within bounds, and to where the agent sends no more:
    /// it may wait for its answer still (RFC 9112, section 9.6).
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Away(home) => *self = Self::from(ready!(home.poll_returned(context))),
                Self::Here(reader) if reader.buffer.len() < READ_AHEAD && !reader.has_ended() => {
                    if ready!(reader.poll_head(context)).is_err() {
                        return Poll::Ready(());
                    }
                }
                Self::Here(_) | Self::Unread(..) => return Poll::Pending,
            }
        }
    }

    /// Whether the agent sends no more; a reader that is away would say so by an error.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Here(reader) | Self::Unread(reader, _) if reader.has_ended())
    }

    /// Ready with the reader here, and with whether it stands before the next request.
    pub(super) fn poll_settled(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if let Self::Away(home) = self {
            *self = Self::from(ready!(home.poll_returned(context)));
        }
        Poll::Ready(self.skip())
    }

    /// Skips what is there of a body that nobody wants; tells whether that was all of it.
    fn skip(&mut self) -> bool {
        if let Self::Unread(reader, decoder) = self {
            loop {
                match decoder.decode(&mut reader.buffer) {
                    Ok(Decoded::Data(_) | Decoded::Trailers(_)) => {}
                    Ok(Decoded::End) => break,
                    Ok(Decoded::Partial) | Err(_) => return false,
                }
            }
        }
        match std::mem::replace(self, Self::Away(Home::default())) {
            Self::Here(reader) | Self::Unread(reader, _) => *self = Self::Here(reader),
            Self::Away(home) => *self = Self::Away(home),
        }
        matches!(self, Self::Here(_))
    }

    /// Reads on and forgets what it reads; ready at the end of the connection.
    pub(super) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Away(home) => *self = Self::from(ready!(home.poll_returned(context))),
                Self::Here(reader) | Self::Unread(reader, _) => {
                    reader.buffer.clear();
                    if matches!(ready!(reader.poll_head(context)), Ok(0) | Err(_)) {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl From<Returned> for Inbound {
    fn from(Returned { reader, rest }: Returned) -> Self {
        match rest {
            None => Self::Here(reader),
            Some(decoder) => Self::Unread(reader, decoder),
        }
    }
}
