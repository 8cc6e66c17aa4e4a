//! Sending a request: its head, and its body as it comes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http_body::Body as _;
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Patience;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::{self, Body, BodyError};
use crate::sidecar::egress::http1::{Encoder, Framing, Malformed};
use crate::sidecar::egress::upstream::stream::Stream;

/// What is collected before it is written, where the body is faster than the connection.
const COLLECT: usize = 16 << 10;

/// A request on its way.
pub(super) struct Upload {
    /// None when it was read to its end.
    body: Option<Body>,
    encoder: Encoder,
    progress: Progress,
    sent: bool,
}

/// How far it got: what decides on whether it may be sent again.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Progress {
    #[default]
    Nothing,
    HeadWritten,
    BodyRead,
}

/// Why it could not be sent.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The body broke.
    Body(BodyError),
    /// The connection broke.
    Io(io::Error),
}

impl From<Malformed> for UploadError {
    fn from(_: Malformed) -> Self {
        let detail = "the body is longer or shorter than was announced".to_owned();
        Self::Body(BodyError { reason: Reason::RequestMalformed, detail })
    }
}

impl Upload {
    pub(super) fn new(framing: Framing, body: Body) -> Self {
        let body = (!body.is_end_stream()).then_some(body);
        Self { body, encoder: Encoder::new(framing), progress: Progress::Nothing, sent: false }
    }

    /// Whether there is a body that is not yet sent.
    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Whether all of it was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether the upstream can't have seen anything of it, or `idempotent` says that it may see it twice; with it the
    /// body, of which nothing was read.
    pub(super) fn again(self, idempotent: bool) -> Option<Body> {
        let may = match self.progress {
            Progress::Nothing => true,
            Progress::HeadWritten => idempotent,
            Progress::BodyRead => false,
        };
        may.then(|| self.body.unwrap_or_else(body::empty))
    }

    /// Sends on. `out` begins with the head.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        out: &mut BytesMut,
        patience: &mut Patience,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            self.collect(cx, out, patience)?;
            if out.is_empty() {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(UploadError::Io)?;
                if self.body.is_some() {
                    return Poll::Pending;
                }
                self.sent = true;
                return Poll::Ready(Ok(()));
            }
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, out)).map_err(UploadError::Io)?;
            if written == 0 {
                return Poll::Ready(Err(UploadError::Io(io::ErrorKind::WriteZero.into())));
            }
            out.advance(written);
            self.progress = self.progress.max(Progress::HeadWritten);
            if self.body.is_some() {
                patience.step();
            }
        }
    }

    /// Takes from the body what is there.
    fn collect(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
        patience: &mut Patience,
    ) -> Result<(), UploadError> {
        while out.len() < COLLECT
            && let Some(body) = &mut self.body
        {
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { break };
            self.progress = Progress::BodyRead;
            patience.step();
            match frame.transpose().map_err(UploadError::Body)?.map(http_body::Frame::into_data) {
                Some(Ok(data)) => self.encoder.data(&data, out)?,
                Some(Err(frame)) => {
                    self.encoder.end(frame.into_trailers().ok().as_ref(), out)?;
                    self.body = None;
                }
                None => {
                    self.encoder.end(None, out)?;
                    self.body = None;
                }
            }
        }
        Ok(())
    }
}

/// A request that goes on while its answer is read already.
#[derive(Debug)]
pub(super) struct Pump {
    task: AbortHandle,
    failure: oneshot::Receiver<BodyError>,
    detached: bool,
}

impl Pump {
    /// Sends on in a task of its own: the one who takes the answer may first want to send everything.
    pub(super) fn start(
        mut upload: Upload,
        mut out: BytesMut,
        mut half: WriteHalf<Stream>,
        stall: Duration,
    ) -> Self {
        let (sender, failure) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut patience = Patience::new(stall);
            let sent = poll_fn(|cx| {
                if let Poll::Ready(sent) = upload.poll(cx, &mut half, &mut out, &mut patience) {
                    return Poll::Ready(sent);
                }
                ready!(patience.poll_over(cx));
                let (reason, detail) = if out.is_empty() {
                    (Reason::RequestTimeout, "the request's body paused for too long")
                } else {
                    (Reason::UpstreamTimeout, "the upstream stopped to read the request")
                };
                Poll::Ready(Err(UploadError::Body(BodyError { reason, detail: detail.to_owned() })))
            });
            // Where the connection broke, what the upstream has to say about it is in its answer. And where that has
            // ended, nobody is there to hear of the body.
            if let Err(UploadError::Body(error)) = sent.await {
                let _ = sender.send(error);
            }
        });
        Self { task: task.abort_handle(), failure, detached: false }
    }

    /// Whether it is still under way.
    ///
    /// # Errors
    ///
    /// What makes the request none, whatever the upstream answers.
    pub(super) fn poll_running(&mut self, cx: &mut Context<'_>) -> Result<bool, BodyError> {
        if self.failure.is_terminated() {
            return Ok(false);
        }
        match Pin::new(&mut self.failure).poll(cx) {
            Poll::Pending => Ok(true),
            Poll::Ready(Ok(error)) => Err(error),
            Poll::Ready(Err(_)) => Ok(false),
        }
    }

    /// Lets it go on by itself: the answer has ended, and the upstream may want the rest all the same.
    pub(super) fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.detached {
            self.task.abort();
        }
    }
}
