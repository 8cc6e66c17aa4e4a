//! The memory of all decoders together.
//!
//! A decoder remembers as much of what it unpacked as its window holds: up to 16 MiB, which a few hundred bytes can fill.
//! An upstream that answers many requests with such bodies would take the memory of the whole proxy, so that all of them
//! share a bound. What is collected of a request, to be changed as a whole, counts with them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::coding::Coding;

/// The most bytes that all decoders may remember.
const MOST: usize = 128 << 20;

static USED: AtomicUsize = AtomicUsize::new(0);

/// What one decoder takes.
#[derive(Debug)]
pub(crate) struct Share {
    used: &'static AtomicUsize,
    window: usize,
    unpacked: usize,
    taken: usize,
}

impl Share {
    pub(crate) fn new(coding: Coding) -> Self {
        Self::of(&USED, coding)
    }

    /// What is kept as a whole, of at most so many bytes.
    pub(crate) fn of_text(most: usize) -> Self {
        Self { used: &USED, window: most, unpacked: 0, taken: 0 }
    }

    fn of(used: &'static AtomicUsize, coding: Coding) -> Self {
        let (fixed, window) = match coding {
            // Inflate's window is a part of its state.
            Coding::Gzip | Coding::Deflate => (64 << 10, 0),
            // RFC 7932, section 9.1: the largest window.
            Coding::Brotli => (64 << 10, 16 << 20),
            Coding::Zstd => (256 << 10, 8 << 20),
        };
        used.fetch_add(fixed, Ordering::Relaxed);
        Self { used, window, unpacked: 0, taken: fixed }
    }

    /// Counts what was unpacked, as far as it is remembered. Tells whether there is room for it.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.unpacked.min(self.window);
        self.unpacked = self.unpacked.saturating_add(bytes);
        let more = self.unpacked.min(self.window) - before;
        self.taken += more;
        self.used.fetch_add(more, Ordering::Relaxed) + more <= MOST
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoders_that_remember_much_share_a_bound_and_give_it_back() {
        static OURS: AtomicUsize = AtomicUsize::new(0);
        let full = |_| {
            let mut share = Share::of(&OURS, Coding::Brotli);
            (share.grow(1 << 30), share)
        };
        let shares: Vec<(bool, Share)> = (0..8).map(full).collect();
        assert_eq!(shares.iter().filter(|(room, _)| *room).count(), 7);
        // What remembers nothing takes no room, and what they took is free when they have ended.
        drop(shares);
        assert!(Share::of(&OURS, Coding::Gzip).grow(1 << 30));
        assert_eq!(OURS.load(Ordering::Relaxed), 0);
    }
}
