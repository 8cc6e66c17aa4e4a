//! Reading the head of an answer.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::policy::reason::Reason;
use crate::sidecar::egress::http1::{self as codec, HeadLimits, Progress, ResponseHead};
use crate::sidecar::egress::refusal::Refusal;

/// The most interim answers (1xx) in front of the one that counts.
const INTERIM: usize = 16;

/// What one read of a head asks for; most answers come whole in it.
const READ: usize = 8 << 10;

/// Reads the head of one answer.
#[derive(Debug)]
pub(super) struct HeadReader<'a> {
    method: &'a Method,
    limits: HeadLimits,
    /// Whether 101 was asked for.
    upgrade: bool,
    interim: usize,
    progress: Progress,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum HeadError {
    /// The connection ended before the first byte of an answer.
    Closed(io::Error),
    /// It is none that can be passed on.
    Invalid(String),
    /// The connection broke in the middle of it.
    Broken(io::Error),
}

impl HeadError {
    /// The refusal that it leads to.
    pub(super) fn refuse(self, host: &str) -> Refusal {
        match self {
            Self::Closed(error) => Refusal::new(
                Reason::UpstreamDown,
                format!("{host} closed the connection without an answer: {error}"),
            ),
            Self::Broken(error) if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::new(
                Reason::UpstreamInvalid,
                format!("{host} closed the connection within the answer's head"),
            ),
            Self::Broken(error) => Refusal::new(Reason::UpstreamDown, format!("{host}: {error}")),
            Self::Invalid(what) => Refusal::new(Reason::UpstreamInvalid, format!("{host}: {what}")),
        }
    }
}

impl<'a> HeadReader<'a> {
    pub(super) fn new(method: &'a Method, limits: HeadLimits, upgrade: bool) -> Self {
        Self { method, limits, upgrade, interim: 0, progress: Progress::default() }
    }

    /// Reads on, and gives the head of the answer that counts; what follows it stays in the buffer.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
    ) -> Poll<Result<ResponseHead, HeadError>> {
        loop {
            if let Some(head) = self.parse(buffer).map_err(HeadError::Invalid)? {
                return Poll::Ready(Ok(head));
            }
            // Whatever has arrived before belongs to the answer, interim heads included.
            let started = self.interim > 0 || !buffer.is_empty();
            let broken = |error| if started { HeadError::Broken(error) } else { HeadError::Closed(error) };
            if ready!(poll_fill(cx, stream, buffer, READ)).map_err(broken)? == 0 {
                return Poll::Ready(Err(broken(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    fn parse(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, String> {
        loop {
            let parsed = codec::resume_response(&mut self.progress, buffer, self.method, self.limits);
            let Some((head, length)) = parsed.map_err(|error| error.to_string())? else { return Ok(None) };
            if head.status == StatusCode::SWITCHING_PROTOCOLS && !self.upgrade {
                return Err("it changes the protocol (101) unasked".to_owned());
            }
            buffer.advance(length);
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(format!("it sent more than {INTERIM} interim answers (1xx)"));
            }
        }
    }
}

/// Reads once into the buffer, which gets room for at least `size` bytes.
pub(in super::super) fn poll_fill(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    size: usize,
) -> Poll<io::Result<usize>> {
    buffer.reserve(size);
    let read: Pin<&mut _> = pin!(stream.read_buf(buffer));
    read.poll(cx)
}
