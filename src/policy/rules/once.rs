//! A grant for one request, as the rules that were made of it share it.

use std::sync::atomic::{AtomicBool, Ordering};

/// A grant for one request.
///
/// Whether it was used is for the mark on the disk to say. What is known here spares looking for it, and has the rules go
/// on as if the grant weren't there until they are made anew without it.
#[derive(Debug)]
pub struct Once {
    until: Option<u64>,
    spent: AtomicBool,
}

impl Once {
    pub(super) fn new(until: Option<u64>) -> Self {
        Self { until, spent: AtomicBool::new(false) }
    }

    /// When the grant ends unused, in seconds since the Unix epoch.
    pub fn until(&self) -> Option<u64> {
        self.until
    }

    /// Says that it was used: none of its routes allows anything from here on.
    pub fn spend(&self) {
        self.spent.store(true, Ordering::Release);
    }

    /// Whether it was used.
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }
}
