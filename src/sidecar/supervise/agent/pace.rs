//! How fast the agent may ask. What it asks for is written down each time, so that a loop of asking and withdrawing would
//! fill the operator's disk.

use std::time::{Duration, Instant};

/// How often it may ask or withdraw at once.
const BURST: u32 = 100;
/// After how long it may once more.
const PERIOD: Duration = Duration::from_secs(1);

/// A bucket of permissions that fills up by itself.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    /// When the last one came in.
    filled: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, filled: now }
    }

    /// Takes one; otherwise gives the seconds until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), u64> {
        let periods = now.duration_since(self.filled).as_secs() / PERIOD.as_secs();
        let new = u32::try_from(periods).unwrap_or(BURST).min(BURST);
        if new > 0 {
            self.left = (self.left + new).min(BURST);
            self.filled = if self.left == BURST { now } else { self.filled + PERIOD * new };
        }
        self.left = self.left.checked_sub(1).ok_or(PERIOD.as_secs())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BURST, Pace};

    #[test]
    fn a_burst_is_taken_and_then_one_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let taken = (0..10_000).filter(|_| pace.take(start).is_ok()).count();
        assert_eq!(taken, usize::try_from(BURST).unwrap_or_default());
        assert_eq!(pace.take(start + Duration::from_millis(900)), Err(1));
        assert_eq!(pace.take(start + Duration::from_millis(1100)), Ok(()));
        assert_eq!(pace.take(start + Duration::from_millis(1900)), Err(1));
        assert_eq!(pace.take(start + Duration::from_secs(2)), Ok(()));
        let later = start + Duration::from_hours(1);
        let taken = (0..10_000).filter(|_| pace.take(later).is_ok()).count();
        assert_eq!(taken, usize::try_from(BURST).unwrap_or_default());
    }
}
