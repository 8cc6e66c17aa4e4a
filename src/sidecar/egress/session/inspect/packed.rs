//! What a packed body unpacks to: unpacked from a copy, only to be looked at.
//!
//! The packed bytes themselves are searched as well, since formats have room for text that unpacks to nothing: names of
//! files, comments, frames to be skipped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::scrub::{Coding, Unpacked};
use crate::sidecar::egress::turns::Turns;

/// The most bytes that are unpacked before others have their turn.
const TURN: usize = 256 << 10;

/// How much a body may unpack to: so many bytes, and beyond them so many for each packed one.
const MOST: u64 = 64 << 20;
const GROWTH: u64 = 200;

/// The most packed bytes that are taken without a byte coming out: the largest block of zstd (RFC 8878, section 3.1.1.2.4)
/// and something of frames.
const MOST_SILENT: u64 = 256 << 10;

/// The unpacking of a copy.
pub(in super::super) struct Packed {
    unpacked: Unpacked,
    feed: Arc<Mutex<Feed>>,
    coding: Coding,
    turns: Turns,
    /// How many packed bytes went in, and how many came out.
    taken: u64,
    out: u64,
    /// How many had gone in when it was last noted that all was used.
    marked: u64,
    /// How many had come out when all that had gone in was used the last time.
    out_before: u64,
    /// Up to where the packed bytes are known to unpack to: each with the end of what they unpack to, where that is known.
    marks: VecDeque<Mark>,
    /// Up to where the packed bytes have unpacked to something that is decided.
    decided: u64,
    ended: bool,
}

struct Mark {
    packed: u64,
    out: Option<u64>,
}

/// What is to be unpacked.
#[derive(Default)]
struct Feed {
    pieces: VecDeque<Bytes>,
    ended: bool,
    /// Whether all of it was taken, and more was wanted.
    hungry: bool,
}

/// The feed as a body.
struct Feeding(Arc<Mutex<Feed>>);

impl http_body::Body for Feeding {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut feed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match feed.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if feed.ended => Poll::Ready(None),
            // Nobody is woken: who feeds it asks again.
            None => {
                feed.hungry = true;
                Poll::Pending
            }
        }
    }
}

impl Packed {
    pub(in super::super) fn new(coding: Coding) -> Self {
        let feed = Arc::new(Mutex::new(Feed { hungry: true, ..Feed::default() }));
        Self {
            unpacked: Unpacked::new(coding, Feeding(Arc::clone(&feed)).boxed_unsync()),
            feed,
            coding,
            turns: Turns::new(TURN),
            taken: 0,
            out: 0,
            marked: 0,
            out_before: 0,
            marks: VecDeque::new(),
            decided: 0,
            ended: false,
        }
    }

    /// Takes the next packed bytes.
    pub(in super::super) fn push(&mut self, piece: Bytes) {
        self.taken += piece.len() as u64;
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        feed.pieces.push_back(piece);
        feed.hungry = false;
    }

    /// Says that there are no more.
    pub(in super::super) fn end(&mut self) {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        feed.ended = true;
        feed.hungry = false;
    }

    /// The next piece of what comes out; nothing where all that went in was used.
    ///
    /// # Errors
    ///
    /// It is not packed in that way, or unpacks to too much.
    pub(in super::super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, BodyError>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        if self.feed.lock().unwrap_or_else(PoisonError::into_inner).hungry {
            // It asked for more while it gave the last of what it had.
            if self.marked < self.taken {
                self.used()?;
            }
            return Poll::Ready(Ok(None));
        }
        ready!(self.turns.poll(context));
        match Pin::new(&mut self.unpacked).poll_frame(context) {
            Poll::Pending if self.feed.lock().unwrap_or_else(PoisonError::into_inner).hungry => {
                self.used()?;
                Poll::Ready(Ok(None))
            }
            // The others have their turn.
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                let piece = frame.into_data().unwrap_or_default();
                self.turns.step(piece.len());
                self.out += piece.len() as u64;
                if self.out > MOST && self.out / GROWTH > self.taken {
                    return Poll::Ready(Err(unreadable("it unpacks to too much")));
                }
                Poll::Ready(Ok(Some(piece)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(match error.reason {
                Reason::ScrubFailed => unreadable(&error.detail),
                _ => error,
            })),
            Poll::Ready(None) => {
                self.ended = true;
                self.used()?;
                Poll::Ready(Ok(None))
            }
        }
    }

    /// Whether all of it was unpacked.
    pub(in super::super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Notes that all that went in was used.
    fn used(&mut self) -> Result<(), BodyError> {
        self.marked = self.taken;
        let news = self.out > std::mem::replace(&mut self.out_before, self.out);
        if news || self.ended {
            for mark in self.marks.iter_mut().filter(|mark| mark.out.is_none()) {
                mark.out = Some(self.out);
            }
        }
        // These come out in blocks, so that the last bytes that went in are not known yet to be out.
        let blocks = matches!(self.coding, Coding::Brotli | Coding::Zstd);
        let out = (!blocks || self.ended).then_some(self.out);
        match self.marks.back_mut() {
            Some(mark) if mark.out == out => mark.packed = self.taken,
            _ => self.marks.push_back(Mark { packed: self.taken, out }),
        }
        let silent = self.marks.iter().find(|mark| mark.out.is_none());
        match silent {
            Some(_) if self.taken - self.decided_packed() > MOST_SILENT => {
                Err(unreadable("it has too much that unpacks to nothing"))
            }
            _ => Ok(()),
        }
    }

    /// The end of the packed bytes whose output is known.
    fn decided_packed(&self) -> u64 {
        let known = self.marks.iter().filter(|mark| mark.out.is_some());
        known.map(|mark| mark.packed).next_back().unwrap_or(self.decided)
    }

    /// Up to where the packed bytes are decided, where what they unpack to is decided up to `out`.
    pub(in super::super) fn decided(&mut self, out: u64) -> u64 {
        while let Some(mark) = self.marks.front()
            && mark.out.is_some_and(|end| end <= out)
        {
            self.decided = mark.packed;
            self.marks.pop_front();
        }
        self.decided
    }
}

/// The refusal of a body that can't be looked into.
pub(in super::super) fn unreadable(detail: &str) -> BodyError {
    BodyError { reason: Reason::BodyUnreadable, detail: format!("the body can't be looked into: {detail}") }
}
