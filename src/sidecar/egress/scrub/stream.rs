//! Searching bytes as they come.
//!
//! What is found is covered byte by byte, so that no length changes: Content-Length, ranges and offsets stay true. What
//! may be the beginning of a text is held back until it is known, and nothing else is: an event stream is not delayed by
//! what can't be a secret.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::needles::Needles;

/// The search through one stream.
pub(crate) struct Scrubber {
    needles: Arc<Needles>,
    mask: u8,
    /// The end of what came, held back as it may be the beginning of a text.
    seen: Bytes,
    /// The same with what was found in it covered; none where nothing was.
    covered: Option<Bytes>,
}

impl Scrubber {
    pub(crate) fn new(needles: Arc<Needles>) -> Self {
        let mask = needles.mask();
        Self { needles, mask, seen: Bytes::new(), covered: None }
    }

    /// Takes the next piece and gives what can be passed on now, which may be nothing.
    pub(crate) fn push(&mut self, piece: Bytes) -> Bytes {
        let mut covered = self.covered.take().map(|covered| BytesMut::from(join(&covered, piece.clone())));
        let seen = join(&self.seen, piece);
        self.needles.find(&seen, |place| {
            let covered = covered.get_or_insert_with(|| BytesMut::from(&*seen));
            if let Some(place) = covered.get_mut(place) {
                place.fill(self.mask);
            }
        });
        let begun = self.needles.begun(&seen);
        if begun == 0 {
            self.seen = Bytes::new();
            return covered.map_or(seen, BytesMut::freeze);
        }
        let known = seen.len() - begun;
        // A few bytes of their own: a slice would keep the whole piece in memory while the stream is silent.
        self.seen = Bytes::copy_from_slice(seen.get(known..).unwrap_or_default());
        match covered {
            None => seen.slice(..known),
            Some(mut covered) => {
                let rest = covered.split_off(known);
                self.covered = (rest != self.seen).then(|| Bytes::copy_from_slice(&rest));
                covered.freeze()
            }
        }
    }

    /// Gives what is still held back: the stream ended, so it was no beginning.
    pub(crate) fn finish(&mut self) -> Bytes {
        let seen = std::mem::take(&mut self.seen);
        self.covered.take().unwrap_or(seen)
    }

    /// How many bytes are held back.
    pub(crate) fn held(&self) -> usize {
        self.seen.len()
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
