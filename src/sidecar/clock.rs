//! The time by which grants end: the wall clock, but never backwards. A clock that is set back would make a grant last
//! longer than the operator said, or come to life again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that follows the wall clock forward.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The latest time since the epoch that it told, and when that was.
    latest: Duration,
    at: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { latest: Duration::ZERO, at: Instant::now() }
    }

    /// The time since the epoch, where the wall clock says `wall`.
    pub(crate) fn now(&mut self, wall: SystemTime) -> Duration {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Before the first look nothing is known that could go backwards.
        let steady = if self.latest.is_zero() { Duration::ZERO } else { self.latest + self.at.elapsed() };
        self.latest = wall.max(steady);
        self.at = Instant::now();
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Clock;

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_set_the_clock_back() {
        let mut clock = Clock::new();
        let noon = UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(clock.now(noon), Duration::from_secs(1_000_000));
        assert!(clock.now(UNIX_EPOCH) >= Duration::from_secs(1_000_000));
        assert!(clock.now(noon + Duration::from_mins(1)) >= Duration::from_secs(1_000_060));
    }
}
