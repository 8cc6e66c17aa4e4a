//! Serving HTTP/1.1 on one address, within limits: the agent is one of the clients. Each address has limits of its own, so
//! that what one side takes up the other doesn't miss.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};

use crate::sidecar::log;

/// The most connections at a time; more of them wait.
const MAX_CONNECTIONS: usize = 128;
/// How long the head of a request may take, and how long a connection may be idle before it.
const HEAD: Duration = Duration::from_secs(10);
/// The most bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// For how long a client may take nothing of its answer.
const STALL: Duration = Duration::from_secs(20);
/// How long to wait after the system gave no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::line("supervise", &format!("could not accept a connection: {error}"));
                sleep(PAUSE).await;
                continue;
            }
        };
        drop(stream.set_nodelay(true));
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
            // Whoever leaves in the middle of an answer is no news.
            drop(builder.serve_connection(TokioIo::new(Patient::new(stream, STALL)), service).await);
        });
    }
}

/// A connection on which a write that makes no headway for a while is an error: answers that nobody takes would stay in
/// memory for ever.
struct Patient<T> {
    io: T,
    limit: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    fn new(io: T, limit: Duration) -> Self {
        Self { io, limit, timer: None }
    }

    /// Ends the wait, or gives it up.
    fn judge<R>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.timer = None;
            return poll;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(context, bytes);
        self.judge(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.judge(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(context);
        self.judge(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_shutdown(context);
        self.judge(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::Patient;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be had").block_on(future)
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        run(async {
            let (server, _client) = duplex(16);
            let mut server = Patient::new(server, Duration::from_millis(20));
            let error = server.write_all(&[b'x'; 100]).await.expect_err("nobody reads");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_client_that_takes_little_at_a_time_gets_all() {
        run(async {
            let (server, mut client) = duplex(16);
            let mut server = Patient::new(server, Duration::from_millis(200));
            let reader = async {
                let mut buffer = [0; 16];
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                    client.read_exact(&mut buffer).await.expect("it comes");
                }
            };
            let (written, ()) = tokio::join!(server.write_all(&[b'x'; 160]), reader);
            written.expect("it was taken");
        });
    }
}
