//! The connection itself: plain or within TLS, read by one and written by another.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How much is read at a time where a request's head is expected: what is read goes through the stack, so that an idle
/// connection holds no buffer.
const HEAD_READ: usize = 4 << 10;

/// How much is read at a time where a body is expected.
const BODY_READ: usize = 16 << 10;

/// What is there goes into one write up to this size.
const COALESCE: usize = 32 << 10;

/// A piece of at least this size is written from where it is, rather than copied.
const COPIED: usize = 8 << 10;

/// A TCP connection of which some bytes were read ahead.
#[derive(Debug)]
pub(super) struct Early {
    /// What was read ahead.
    pub(super) bytes: Bytes,
    /// The rest.
    pub(super) tcp: TcpStream,
}

impl AsyncRead for Early {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(context, buffer);
        }
        let count = self.bytes.len().min(buffer.remaining());
        buffer.put_slice(&self.bytes.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Early {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// A connection of the agent. One type for both kinds, so that the HTTP code exists once.
#[derive(Debug)]
pub(super) enum Wire {
    /// Before CONNECT, and for `http://`.
    Plain(TcpStream),
    /// After CONNECT.
    Tls(Box<TlsStream<Early>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.get_ref().0.tcp,
        }
    }
}

macro_rules! either {
    ($wire:expr, $stream:ident => $call:expr) => {
        match $wire.get_mut() {
            Wire::Plain(tcp) => {
                let $stream = Pin::new(tcp);
                $call
            }
            Wire::Tls(tls) => {
                let $stream = Pin::new(tls.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}

/// A connection that the session writes while a request's body, which may be in another task's hands, reads.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Wire>>);

impl Shared {
    /// Shares a connection.
    pub(super) fn new(wire: Wire) -> Self {
        Self(Arc::new(Mutex::new(wire)))
    }

    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection back when nobody else has it.
    pub(super) fn into_wire(self) -> Option<Wire> {
        Arc::into_inner(self.0).map(|wire| wire.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what is to be written, and takes what was written from it. Ready when anything was.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        let mut progress = false;
        while !outbox.is_empty() {
            match outbox.poll_write(Pin::new(&mut *wire), context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    progress = true;
                    outbox.advance(count);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if progress => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what TLS still holds back.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(context)
    }

    /// Ends the writing direction.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(context)
    }

    /// Makes the end of the connection an abort (RST), so that nothing that was sent can be taken for complete.
    pub(super) fn abort(&self) {
        // A connection that is already gone needs no abort.
        let _ = self.lock().tcp().set_zero_linger();
    }
}

/// What is to be written: small things together, and one large thing from where it is.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What comes first.
    pub(super) small: BytesMut,
    /// What comes after it.
    large: Bytes,
    /// What comes last.
    tail: &'static [u8],
}

impl Outbox {
    /// Whether there is nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty() && self.tail.is_empty()
    }

    /// Whether more may be added before something is written.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.tail.is_empty() && self.small.len() < COALESCE
    }

    /// Adds a piece and what comes after it.
    pub(super) fn add(&mut self, piece: Bytes, tail: &'static [u8]) {
        if piece.len() < COPIED {
            self.small.extend_from_slice(&piece);
            self.small.extend_from_slice(tail);
        } else {
            (self.large, self.tail) = (piece, tail);
        }
    }

    fn poll_write(&self, wire: Pin<&mut Wire>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.large.is_empty() && self.tail.is_empty() {
            return wire.poll_write(context, &self.small);
        }
        let slices = [&self.small, self.large.as_ref(), self.tail].map(io::IoSlice::new);
        let empty = slices.iter().take_while(|slice| slice.is_empty()).count();
        wire.poll_write_vectored(context, slices.get(empty..).unwrap_or_default())
    }

    fn advance(&mut self, count: usize) {
        let first = count.min(self.small.len());
        self.small.advance(first);
        let second = (count - first).min(self.large.len());
        self.large.advance(second);
        self.tail = self.tail.get(count - first - second..).unwrap_or_default();
    }
}

/// The reading side, with what was read and not yet used.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Shared,
    /// Whether the agent sends no more.
    ended: bool,
    /// What was read and not yet used.
    pub(super) buffer: BytesMut,
}

impl Reader {
    /// Reads from a connection.
    pub(super) fn new(shared: &Shared) -> Self {
        Self { shared: shared.clone(), ended: false, buffer: BytesMut::new() }
    }

    /// Reads some bytes of a head, or of what follows the request that is under way; 0 at the end of the connection.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); HEAD_READ];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *self.shared.lock()).poll_read(context, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        self.ended |= read.filled().is_empty();
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Whether the agent has said, in order, that it sends no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads some bytes of a body; 0 at the end of the connection.
    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(BODY_READ);
        let mut wire = self.shared.lock();
        pin!(wire.read_buf(&mut self.buffer)).poll(context)
    }

    /// Gives what was read and not used.
    pub(super) fn into_rest(self) -> Bytes {
        self.buffer.freeze()
    }

    /// Gives up the buffer's memory where nothing is in it.
    pub(super) fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}
