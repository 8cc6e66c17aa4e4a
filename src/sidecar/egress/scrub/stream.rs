//! Searching bytes as they come.
//!
//! What is found is covered byte by byte, so that no length changes: Content-Length, ranges and offsets stay true. What
//! may be the beginning of a text is held back until it is known, and nothing else is: an event stream is not delayed by
//! what can't be a secret.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::needles::Needles;

/// The search through one stream.
pub(super) struct Scrubber {
    needles: Arc<Needles>,
    mask: u8,
    /// The end of what came, held back as it may be the beginning of a text.
    seen: Bytes,
    /// How many bytes of `seen` are held back no more, and are only known for what comes next.
    passed: usize,
    /// The same with what was found in it covered; none where nothing was.
    covered: Option<Bytes>,
}

impl Scrubber {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        let mask = needles.mask();
        Self { needles, mask, seen: Bytes::new(), passed: 0, covered: None }
    }

    /// Takes the next piece and gives what can be passed on now, which may be nothing.
    pub(super) fn push(&mut self, piece: Bytes) -> Bytes {
        let mut covered = self.covered.take().map(|covered| BytesMut::from(join(&covered, piece.clone())));
        let seen = join(&self.seen, piece);
        self.needles.find(&seen, |place| {
            let covered = covered.get_or_insert_with(|| BytesMut::from(&*seen));
            if let Some(place) = covered.get_mut(place) {
                place.fill(self.mask);
            }
        });
        let known = seen.len() - self.needles.begun(&seen);
        let passed = self.passed.min(known);
        self.passed -= passed;
        if known == seen.len() {
            self.seen = Bytes::new();
            return covered.map_or(seen, BytesMut::freeze).slice(passed..);
        }
        // A few bytes of their own: a slice would keep the whole piece in memory while the stream is silent.
        self.seen = Bytes::copy_from_slice(seen.get(known..).unwrap_or_default());
        match covered {
            None => seen.slice(passed..known),
            Some(mut covered) => {
                let rest = covered.split_off(known);
                self.covered = (rest != self.seen).then(|| Bytes::copy_from_slice(&rest));
                covered.freeze().slice(passed..)
            }
        }
    }

    /// Gives what is still held back though the stream goes on: a part of it ended here, which may have to wait long for
    /// the next one. What would tell too much of a text is covered, whether or not the text goes on; where it does, all
    /// of the rest is.
    pub(super) fn settle(&mut self) -> Bytes {
        let passed = std::mem::replace(&mut self.passed, self.seen.len());
        if self.needles.tells(&self.seen) {
            return Bytes::from(vec![self.mask; self.seen.len() - passed]);
        }
        self.covered.as_ref().unwrap_or(&self.seen).slice(passed..)
    }

    /// Gives what is still held back: the stream ended, so it was no beginning.
    pub(super) fn finish(&mut self) -> Bytes {
        let (seen, passed) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.passed));
        self.covered.take().unwrap_or(seen).slice(passed..)
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        self.seen.len() - self.passed
    }
}

fn join(first: &Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(first);
    both.extend_from_slice(&second);
    both.freeze()
}
