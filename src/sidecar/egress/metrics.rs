//! Counters and gauges for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::audit::Done;
use crate::policy::reason::Reason;

/// The numbers of one process since its start.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Connections of the agent, accepted since the start.
    pub(crate) connections: AtomicU64,
    /// Connections of the agent that are open.
    pub(crate) open: AtomicU64,
    /// Requests that were allowed.
    pub(crate) allowed: AtomicU64,
    /// Requests that were refused, in the order of [`Reason::ALL`].
    refused: Vec<AtomicU64>,
    /// Bytes of requests that were searched for secrets.
    pub(crate) scanned: AtomicU64,
    /// Secrets that were found in requests, by what was done about them, in the order of [`Done::ALL`].
    found: [AtomicU64; 3],
    /// Tasks that ended in a panic; each took only its own connection with it.
    pub(crate) panics: AtomicU64,
    /// When the process started.
    pub(crate) start: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            refused: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            scanned: AtomicU64::new(0),
            found: Default::default(),
            panics: AtomicU64::new(0),
            start: Instant::now(),
        }
    }
}

impl Metrics {
    /// Counts a refusal.
    pub(crate) fn refused(&self, reason: Reason) {
        // The reasons are declared in the order of `ALL`.
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a secret that was found in a request.
    pub(crate) fn found(&self, done: Done) {
        // They are declared in the order of `ALL`.
        if let Some(counter) = self.found.get(done as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was done about secrets, each with how often.
    pub(crate) fn findings(&self) -> impl Iterator<Item = (Done, u64)> {
        Done::ALL.into_iter().zip(self.found.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }

    /// The reasons for which something was refused, each with how often.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self.refused.iter().map(|counter| counter.load(Ordering::Relaxed));
        Reason::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use crate::policy::reason::Reason;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        for reason in Reason::ALL {
            metrics.refused(*reason);
        }
        metrics.refused(Reason::RouteMissing);
        let expected =
            Reason::ALL.iter().map(|reason| (*reason, 1 + u64::from(*reason == Reason::RouteMissing)));
        assert!(metrics.refusals().eq(expected));
    }
}
