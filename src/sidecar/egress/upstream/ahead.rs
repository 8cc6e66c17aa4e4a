//! Reading ahead below TLS.
//!
//! rustls asks for four kilobytes at a time, which makes a large download four times as many calls of the system as it
//! has records, and sixteen times as many as it needs. What comes in bulk is read in bulk; everything else is read as it
//! is asked for, and costs no memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1::poll_fill;

/// What is read at once.
const AHEAD: usize = 64 << 10;

/// How many reads in a row must have come back full before more is read than was asked for.
const STREAK: u8 = 8;

/// A stream that is read ahead.
#[derive(Debug)]
pub(super) struct Ahead<S> {
    inner: S,
    read: BytesMut,
    streak: u8,
}

impl<S> Ahead<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, read: BytesMut::new(), streak: 0 }
    }

    /// Gives memory back, as nothing is expected for a while.
    pub(super) fn rest(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read.is_empty() {
            if this.streak < STREAK {
                let before = buf.remaining();
                let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
                this.streak = if buf.remaining() == 0 && before > 0 { this.streak + 1 } else { 0 };
                return polled;
            }
            match poll_fill(cx, &mut this.inner, &mut this.read, AHEAD) {
                // The flow has ended, or is thin.
                Poll::Ready(Ok(length)) if length < AHEAD / 4 => this.streak = 0,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    this.rest();
                    return Poll::Pending;
                }
            }
        }
        let length = this.read.len().min(buf.remaining());
        buf.put_slice(this.read.get(..length).unwrap_or_default());
        this.read.advance(length);
        if this.streak == 0 {
            this.rest();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Gives as much as is asked for, and counts how often it was.
    struct Flow {
        left: usize,
        asked: Arc<AtomicUsize>,
    }

    impl AsyncRead for Flow {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            this.asked.fetch_add(1, Ordering::SeqCst);
            let length = this.left.min(buf.remaining());
            buf.put_slice(&pattern(this.left, length));
            this.left -= length;
            Poll::Ready(Ok(()))
        }
    }

    /// The next bytes of those that are left.
    fn pattern(left: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from((left - at) % 251).unwrap()).collect()
    }

    async fn read(size: usize) -> (usize, Ahead<Flow>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut ahead = Ahead::new(Flow { left: size, asked: Arc::clone(&asked) });
        let mut got = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match ahead.read(&mut piece).await.unwrap() {
                0 => break,
                length => got.extend_from_slice(&piece[..length]),
            }
        }
        assert!(got == pattern(size, size), "the bytes of {size} are not what they were");
        (asked.load(Ordering::SeqCst), ahead)
    }

    #[tokio::test]
    async fn what_comes_in_bulk_is_read_in_bulk_and_unchanged() {
        let (asked, ahead) = read(4 << 20).await;
        assert!(asked < 100, "asked {asked} times");
        assert_eq!(ahead.read.capacity(), 0);
    }

    #[tokio::test]
    async fn what_is_small_is_read_as_it_is_asked_for() {
        for size in [1, 4096, 10_000, 30_000] {
            let (asked, ahead) = read(size).await;
            assert_eq!(asked, size.div_ceil(4096) + 1, "{size}");
            assert_eq!(ahead.read.capacity(), 0);
        }
    }
}
