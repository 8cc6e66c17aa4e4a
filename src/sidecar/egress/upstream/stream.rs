//! The byte stream to an upstream: TCP, with or without TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::client::TlsStream;

use super::ahead::Ahead;

/// A connection to an upstream, dialled and, for https, verified.
#[derive(Debug)]
pub(super) struct Stream {
    kind: Kind,
    /// Its share of the connections that there may be.
    _permit: OwnedSemaphorePermit,
}

/// What is below the connection's bytes.
#[derive(Debug)]
pub(super) enum Kind {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS; boxed, since a session is some hundred times larger than a socket.
    Tls(Box<TlsStream<Ahead<TcpStream>>>),
}

impl Stream {
    pub(super) fn new(kind: Kind, permit: OwnedSemaphorePermit) -> Self {
        Self { kind, _permit: permit }
    }

    /// Gives memory back, as nothing is expected for a while.
    pub(super) fn rest(&mut self) {
        if let Kind::Tls(stream) = &mut self.kind {
            stream.get_mut().0.rest();
        }
    }

    /// Whether nothing has arrived on a connection that waits for its next request: neither its end nor a byte. What
    /// an upstream says unasked would be taken for the answer to the next request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0_u8; 1];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
