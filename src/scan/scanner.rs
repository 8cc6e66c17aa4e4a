//! Searching one stream.

use std::sync::Arc;

use super::finding::Finding;
use super::known::Known;
use super::search::{CONTEXT, Search};

/// The most bytes that are ever held back.
pub const MOST_HELD: usize = 64 << 10;

/// How much of a piece is looked at in one go.
const BLOCK: usize = 32 << 10;

/// From how many undecided bytes on they are not read anew for each few bytes that come, but when they have grown by an
/// eighth: who sends one byte at a time must not make the search slow.
const PATIENT: usize = 256;

/// Searches one stream of text. It keeps at most [`MOST_HELD`] and 48 KiB of it, whatever its length.
pub struct Scanner {
    search: Search,
    /// The end of what came: what is not decided yet, and a little before it.
    seen: Vec<u8>,
    /// Where in it begins what is not decided.
    open: usize,
    /// How long `seen` must be to be looked at again.
    due: usize,
}

impl Scanner {
    /// Begins a stream; `own` names the credential of the route, whose placeholder may stand in it.
    pub fn new(known: Arc<Known>, own: Option<&str>) -> Self {
        Self { search: Search::new(known, own), seen: Vec::new(), open: 0, due: 0 }
    }

    /// Looks at the next bytes. Each finding is told once, in the order of where they begin: one that is certain waits for
    /// one before it that isn't.
    pub fn push(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Finding)) {
        for block in bytes.chunks(BLOCK) {
            self.seen.extend_from_slice(block);
            if self.seen.len() < self.due {
                continue;
            }
            self.open = self.search.look(&self.seen, self.open, false, tell);
            let done = self.open.saturating_sub(CONTEXT);
            self.seen.drain(..done);
            self.search.skip(done);
            self.open -= done;
            let held = self.held();
            let patience = if held < PATIENT { 0 } else { held / 8 };
            self.due = (self.seen.len() + patience).min(self.open + MOST_HELD);
        }
    }

    /// Returns how many of the last bytes may belong to a finding that is still to come; at most [`MOST_HELD`].
    pub fn held(&self) -> usize {
        self.seen.len() - self.open
    }

    /// Decides what was still open: the stream has ended.
    pub fn finish(&mut self, tell: &mut dyn FnMut(Finding)) {
        self.open = self.search.look(&self.seen, self.open, true, tell);
    }
}

/// Looks at text that is all there.
pub fn scan(known: &Arc<Known>, own: Option<&str>, bytes: &[u8], tell: &mut dyn FnMut(Finding)) {
    Search::new(Arc::clone(known), own).look(bytes, 0, true, tell);
}
