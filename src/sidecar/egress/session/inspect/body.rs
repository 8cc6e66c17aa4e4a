//! A body on its way up, passed on only as far as it is decided.
//!
//! What is looked at are up to three texts: the bytes as they are sent, what they unpack to, and what the parts of a
//! message hold that are encoded on their own. Each of them says up to where it is decided, in bytes as they are sent, and
//! the least of these goes on. So a further one who looks at the same text only needs to say the same: see
//! [`Inspected::decided`].
//!
//! Memory: what is held back, of which a search keeps [`crate::scan::MOST_HELD`] bytes at most, one piece of the body, and
//! what a decoder remembers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::super::deadline::Deadline;
use super::super::upload::{Progress, Upload};
use super::packed::Packed;
use super::parts::Parts;
use super::{Answer, COVER, Inspector, Place};
use crate::policy::reason::Reason;
use crate::scan::{Finding, Scanner};
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::egress::scrub::coding;

/// The most bytes that are held back, as they are sent: what decodes to nothing could be without an end.
pub(super) const MOST_KEPT: usize = 1 << 20;

/// How many bytes that may begin a secret go on where the agent pauses: fewer than the shortest secret has, so that none is
/// told by them.
const PAUSED: u64 = 4;

/// How long a pause is.
const PAUSE: Duration = Duration::from_millis(100);

/// A body that is looked into.
pub(in super::super) struct Inspected {
    upload: Upload,
    inspector: Inspector,
    progress: Arc<Progress>,
    /// The search through the bytes as they are sent; none as long as the body could be one piece.
    sent: Option<Scanner>,
    /// What they unpack to.
    packed: Option<(Packed, Text)>,
    /// The encoded parts of what is plain.
    parts: Option<Parts>,
    /// How many bytes were taken, and how many were passed on or are about to be.
    taken: u64,
    released: u64,
    /// What is held back.
    held: BytesMut,
    /// What is passed on next.
    next: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    state: State,
    /// Since when the agent has sent nothing, while something is held back.
    pause: Option<Instant>,
    deadline: Deadline,
}

/// A text, and how much of it was searched.
struct Text {
    scanner: Scanner,
    seen: u64,
}

impl Text {
    fn decided(&self) -> u64 {
        self.seen.saturating_sub(self.scanner.held() as u64)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// More may come.
    Open,
    /// All has come, and is being unpacked.
    Ending,
    /// All is decided.
    Ended,
}

impl Inspected {
    /// Begins to look into a body.
    ///
    /// # Errors
    ///
    /// It is packed in an unknown way, and the route has a credential.
    pub(in super::super) fn new(
        upload: Upload,
        inspector: Inspector,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        let progress = Arc::clone(upload.progress());
        let packed = match coding(headers) {
            Ok(coding) => {
                coding.map(|coding| (Packed::new(coding), Text { scanner: inspector.scanner(), seen: 0 }))
            }
            Err(_) if inspector.own().is_some() => {
                return Err(Refusal::new(
                    Reason::BodyUnreadable,
                    "the body is packed in a way that can't be looked into, and the route has a credential",
                ));
            }
            Err(_) => {
                progress.unread();
                None
            }
        };
        let parts = Parts::of(headers).then(|| Parts::new(inspector.scanner(), inspector.scanner()));
        Ok(Self {
            upload,
            inspector,
            progress,
            sent: None,
            packed,
            parts,
            taken: 0,
            released: 0,
            held: BytesMut::new(),
            next: VecDeque::new(),
            trailers: None,
            state: State::Open,
            pause: None,
            deadline: Deadline::default(),
        })
    }

    /// Takes a piece of the body.
    fn take(&mut self, piece: Bytes) -> Result<(), Refusal> {
        self.taken += piece.len() as u64;
        self.progress.scanned(piece.len());
        let is_last = self.upload.is_end_stream();
        let mut found = Vec::new();
        match &mut self.sent {
            None if is_last => self.inspector.scan(&piece, &mut found),
            sent => {
                let scanner = sent.get_or_insert_with(|| self.inspector.scanner());
                scanner.push(&piece, &mut |finding| found.push(finding));
            }
        }
        // A finding that can be covered is covered in what is held back.
        let covered = !found.is_empty();
        if covered || self.packed.is_some() {
            self.held.extend_from_slice(&piece);
        }
        if self.held.len() > MOST_KEPT {
            return Err(super::packed::unreadable("too much of it can't be decided").into());
        }
        let place = if self.packed.is_some() { Place::Fixed } else { Place::Open };
        self.judge(found, place)?;
        if let Some((packed, _)) = &mut self.packed {
            packed.push(piece);
            // It goes on when it was unpacked.
        } else {
            self.plain(&piece)?;
            if !covered {
                self.pass(piece);
            }
            self.release();
        }
        if is_last {
            self.end()?;
        }
        Ok(())
    }

    /// Passes a piece on as far as it is decided, and holds the rest back.
    fn pass(&mut self, mut piece: Bytes) {
        if !self.held.is_empty() {
            self.held.extend_from_slice(&piece);
            return;
        }
        let decided = self.decided().saturating_sub(self.released);
        let decided = usize::try_from(decided).unwrap_or(usize::MAX).min(piece.len());
        self.released += decided as u64;
        let first = piece.split_to(decided);
        if !first.is_empty() {
            self.next.push_back(first);
        }
        // Bytes of their own: a slice would keep the whole piece in memory.
        self.held.extend_from_slice(&piece);
    }

    /// Passes on what is decided by now of what is held back.
    fn release(&mut self) {
        let decided = self.decided().saturating_sub(self.released);
        let decided = usize::try_from(decided).unwrap_or(usize::MAX).min(self.held.len());
        if decided > 0 {
            self.released += decided as u64;
            self.next.push_back(self.held.split_to(decided).freeze());
        }
    }

    /// Up to where the bytes are decided, as they are sent: the least of what all say who look at them.
    fn decided(&mut self) -> u64 {
        if self.state == State::Ended {
            return self.taken;
        }
        let mut decided = match &self.sent {
            Some(scanner) => self.taken.saturating_sub(scanner.held() as u64),
            None => self.taken,
        };
        let parts = self.parts.as_mut().map(Parts::decided);
        if let Some((packed, text)) = &mut self.packed {
            let plain = text.decided().min(parts.unwrap_or(u64::MAX));
            decided = decided.min(packed.decided(plain));
        } else if let Some(parts) = parts {
            decided = decided.min(parts);
        }
        decided
    }

    /// Looks at what the body unpacks to, as far as it is there.
    fn poll_unpack(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        while let Some((packed, text)) = &mut self.packed {
            let Some(piece) = ready!(packed.poll(context))? else { break };
            text.seen += piece.len() as u64;
            self.progress.scanned(piece.len());
            let mut found = Vec::new();
            text.scanner.push(&piece, &mut |finding| found.push(finding));
            self.judge(found, Place::Fixed)?;
            self.plain(&piece)?;
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Looks at plain text: what is sent where it is not packed, and what it unpacks to where it is.
    fn plain(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let mut found = Vec::new();
        parts.push(text, &mut |finding| found.push(finding));
        self.judge(found, Place::Fixed)
    }

    /// Says that all has come.
    fn end(&mut self) -> Result<(), Refusal> {
        let mut found = Vec::new();
        if let Some(scanner) = &mut self.sent {
            scanner.finish(&mut |finding| found.push(finding));
        }
        if let Some((packed, _)) = &mut self.packed {
            packed.end();
            self.judge(found, Place::Fixed)?;
            self.state = State::Ending;
            return Ok(());
        }
        self.judge(found, Place::Open)?;
        self.decide()
    }

    /// Decides what is still open: all was looked at.
    fn decide(&mut self) -> Result<(), Refusal> {
        let mut found = Vec::new();
        if let Some((_, text)) = &mut self.packed {
            text.scanner.finish(&mut |finding| found.push(finding));
        }
        if let Some(parts) = &mut self.parts {
            parts.finish(&mut |finding| found.push(finding));
        }
        self.judge(found, Place::Fixed)?;
        self.state = State::Ended;
        self.release();
        Ok(())
    }

    /// Judges what was found, and covers it where it is to be covered.
    fn judge(&mut self, found: Vec<Finding>, place: Place) -> Result<(), Refusal> {
        for finding in found {
            let judged = self.inspector.judge(&finding, place);
            let answer = judged.inspect_err(|_| self.progress.found(self.inspector.take_noted()))?;
            if answer == Answer::Cover {
                let start = finding.place.start.checked_sub(self.released);
                let length = finding.place.end.saturating_sub(finding.place.start);
                let place = start.and_then(|start| {
                    let start = usize::try_from(start).ok()?;
                    Some(start..start.checked_add(usize::try_from(length).ok()?)?)
                });
                let Some(bytes) = place.and_then(|place| self.held.get_mut(place)) else {
                    let refusal = self.inspector.too_late(&finding);
                    self.progress.found(self.inspector.take_noted());
                    return Err(refusal);
                };
                bytes.fill(COVER);
            }
        }
        self.progress.found(self.inspector.take_noted());
        Ok(())
    }

    /// Passes on what is held back where the agent pauses, if it is too little to tell anything: the other side may have to
    /// answer before the agent goes on. What began there is still known.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // What earlier pauses have let go counts: else a secret would leave in pieces.
        let undecided = self.taken.saturating_sub(self.decided());
        if self.packed.is_some() || self.held.is_empty() || undecided > PAUSED {
            return Poll::Pending;
        }
        let since = *self.pause.get_or_insert_with(Instant::now);
        ready!(self.deadline.poll(since + PAUSE, context));
        self.pause = None;
        self.released += self.held.len() as u64;
        self.next.push_back(self.held.split().freeze());
        Poll::Ready(())
    }

    /// Moves on by one step; tells whether more can be done at once.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        if self.packed.is_some() {
            ready!(self.poll_unpack(context)).map_err(Refused::Own)?;
            if !self.next.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        if self.state == State::Ending {
            if self.packed.as_ref().is_some_and(|(packed, _)| !packed.is_over()) {
                return Poll::Ready(Err(Refused::Own(super::packed::unreadable("it ends too early").into())));
            }
            return Poll::Ready(self.decide().map_err(Refused::Own));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.upload).poll_frame(context) else {
            return self.poll_pause(context).map(Ok);
        };
        self.pause = None;
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => Poll::Ready(self.take(piece).map_err(Refused::Own)),
                Err(frame) => {
                    if let Ok(mut trailers) = frame.into_trailers() {
                        let looked = self.inspector.trailers(&mut trailers);
                        self.progress.found(self.inspector.take_noted());
                        self.progress
                            .scanned(usize::try_from(looked.map_err(Refused::Own)?).unwrap_or_default());
                        self.trailers = Some(trailers);
                    }
                    Poll::Ready(self.end().map_err(Refused::Own))
                }
            },
            Some(Err(error)) => Poll::Ready(Err(Refused::Below(error))),
            None => Poll::Ready(self.end().map_err(Refused::Own)),
        }
    }
}

/// Why a body ends before its end.
enum Refused {
    /// It was said below.
    Below(BodyError),
    /// It is said here.
    Own(Refusal),
}

impl Body for Inspected {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.next.pop_front() {
                this.progress.count(piece.len());
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.state == State::Ended {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if let Err(refused) = ready!(this.poll_step(context)) {
                this.held.clear();
                this.next.clear();
                this.state = State::Ended;
                let error = match refused {
                    Refused::Below(error) => error,
                    Refused::Own(refusal) => this.progress.fail(refusal),
                };
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended && self.next.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.held.len() + self.next.iter().map(Bytes::len).sum::<usize>();
        let here = here as u64;
        let below = self.upload.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(below.lower().saturating_add(here));
        if let Some(upper) = below.upper() {
            hint.set_upper(upper.saturating_add(here));
        }
        hint
    }
}
