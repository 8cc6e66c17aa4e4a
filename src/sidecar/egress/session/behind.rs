//! The body of a request behind the second scanner: its bytes come when they are allowed.
//!
//! It is put around everything else that becomes of a body, so that the scanner sees what would leave: without what was
//! covered, without the tools that were taken out. A packed body is unpacked from a copy, and its bytes come when all that
//! they unpack to is allowed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::inspect::{Packed, unreadable};
use super::upload::Progress;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::pipelock::{self, Hold, Inspection};
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::scrub::coding;

/// A body whose bytes wait for their verdict.
pub(super) struct Behind<B> {
    inner: B,
    hold: Hold,
    unpacking: Option<Unpacking>,
    progress: Arc<Progress>,
    /// They come last.
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// The unpacking of a copy, and the bytes that aren't unpacked yet.
struct Unpacking {
    packed: Packed,
    /// How many bytes came out.
    out: u64,
    /// The bytes, each piece with where it ends.
    waiting: VecDeque<(Bytes, u64)>,
    taken: u64,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Behind<B> {
    /// # Errors
    ///
    /// It is packed in an unknown way, so that the scanner can't be shown what is in it.
    pub(super) fn new(
        inner: B,
        headers: &HeaderMap,
        inspection: Inspection,
        progress: Arc<Progress>,
    ) -> Result<Self, Refusal> {
        let unknown = "the body is packed in a way that the scanner can't look into";
        let coding = coding(headers).map_err(|_| Refusal::new(Reason::BodyUnreadable, unknown))?;
        let unpacking = coding.map(|coding| Unpacking {
            packed: Packed::new(coding),
            out: 0,
            waiting: VecDeque::new(),
            taken: 0,
        });
        let hold = Hold::new(inspection);
        Ok(Self { inner, hold, unpacking, progress, trailers: None, ended: false })
    }

    /// How many bytes wait.
    fn waiting(&self) -> usize {
        let packed = self.unpacking.iter().flat_map(|unpacking| &unpacking.waiting);
        self.hold.len() + packed.map(|(bytes, _)| bytes.len()).sum::<usize>()
    }

    fn take(&mut self, bytes: Bytes) {
        match &mut self.unpacking {
            None => self.hold.push(&bytes, &bytes),
            Some(unpacking) => {
                unpacking.taken += bytes.len() as u64;
                unpacking.packed.push(bytes.clone());
                unpacking.waiting.push_back((bytes, unpacking.taken));
            }
        }
    }

    /// Says that all has come.
    fn end(&mut self) {
        self.ended = true;
        match &mut self.unpacking {
            None => self.finish(),
            Some(unpacking) => unpacking.packed.end(),
        }
    }

    /// Says that all has been unpacked.
    fn finish(&mut self) {
        if let Some(trailers) = &self.trailers {
            self.hold.push(&[], pipelock::written(trailers).as_bytes());
        }
        self.hold.end();
    }

    /// Unpacks what is there; tells whether the scanner has more to be asked about.
    fn poll_unpack(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, BodyError>> {
        let Some(Unpacking { packed, out, waiting, .. }) = &mut self.unpacking else {
            return Poll::Ready(Ok(false));
        };
        if let Some(piece) = ready!(packed.poll(context))? {
            *out += piece.len() as u64;
            self.hold.content(&piece);
            return Poll::Ready(Ok(true));
        }
        if self.ended && !packed.is_over() {
            return Poll::Ready(Err(unreadable("it ends too early")));
        }
        let decided = if self.ended { u64::MAX } else { packed.decided(*out) };
        let before = waiting.len();
        while let Some((bytes, _)) = waiting.pop_front_if(|(_, end)| *end <= decided) {
            self.hold.push(&bytes, &[]);
        }
        let moved = waiting.len() < before;
        if self.ended {
            self.finish();
        }
        Poll::Ready(Ok(moved || self.ended))
    }

    /// The next bytes that may leave; none at the end.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            match self.hold.poll_next(context)? {
                Poll::Ready(Some(bytes)) if bytes.is_empty() => continue,
                Poll::Ready(next) => return Poll::Ready(Ok(next)),
                Poll::Pending if !self.hold.takes() => return Poll::Pending,
                Poll::Pending => {}
            }
            if ready!(self.poll_unpack(context))? {
                continue;
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)).transpose()?.map(Frame::into_data) {
                Some(Ok(bytes)) => self.take(bytes),
                Some(Err(frame)) => {
                    self.trailers = frame.into_trailers().ok();
                    self.end();
                }
                None => self.end(),
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Behind<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        // What waited while the request ended doesn't leave after all.
        let next = match this.progress.goes_on(context) {
            Ok(()) => ready!(this.poll_bytes(context)),
            Err(error) => Err(error),
        };
        Poll::Ready(match next {
            Ok(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Ok(None) => this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => {
                this.progress.kept_back(this.waiting());
                Some(Err(this.progress.fail(error.into())))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && self.waiting() == 0 && self.hold.is_over() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, waiting) = (self.inner.size_hint(), self.waiting() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(waiting));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(waiting));
        }
        hint
    }
}
