//! Looking at the files again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Snapshot;
use super::files::{Files, Meaning, Source};
use super::state::State;
use crate::sidecar::clock::Clock;
use crate::sidecar::grants;

/// How soon a change that nothing announced is looked at again.
const SETTLES_WITHIN: Duration = Duration::from_millis(20);

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// A writer has finished with one of them.
    Announced,
    /// The time has come. A writer may be in the middle of a file.
    Tick,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Look {
    /// What is in force from now on, if that is another state than before.
    pub(super) swap: Option<Arc<Snapshot>>,
    /// What is wrong with the files.
    pub(super) problem: Option<String>,
    /// When the next look is due, if before the next tick.
    pub(super) again: Option<Duration>,
}

/// Looks at the files, and knows what it saw the last time.
#[derive(Debug)]
pub(super) struct Reader {
    source: Source,
    clock: Clock,
    /// What was read last, and what it means.
    seen: Option<(Files, Meaning)>,
    /// What differs from `seen` and was not announced: it counts when it is still the same at the next look.
    unsettled: Option<Files>,
    /// What is in force.
    current: Option<Arc<Snapshot>>,
    /// The names of the grants that had not ended at the last look.
    unended: Vec<String>,
    problem: Option<String>,
    /// The authorities that the first policy named: they are read at the start.
    extra_ca: Option<Vec<String>>,
}

impl Reader {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            clock: Clock::new(),
            seen: None,
            unsettled: None,
            current: None,
            unended: Vec::new(),
            problem: None,
            extra_ca: None,
        }
    }

    /// Looks at the files.
    pub(super) fn look(&mut self, cause: Cause, wall: SystemTime) -> Look {
        let now = self.clock.now(wall);
        let mut fresh = None;
        let files = self.source.read();
        if self.seen.as_ref().is_some_and(|(seen, _)| *seen == files) {
            self.unsettled = None;
        } else if cause == Cause::Announced || self.unsettled.as_ref() == Some(&files) {
            self.unsettled = None;
            fresh = Some(files);
        } else {
            self.unsettled = Some(files);
        }
        let (swap, next_end) = self.judge(fresh, now);
        let settles = self.unsettled.as_ref().map(|_| SETTLES_WITHIN);
        let ends = next_end.map(|end| end.saturating_sub(now));
        Look { swap, problem: self.problem.clone(), again: settles.into_iter().chain(ends).min() }
    }

    /// Finds out what is in force now, and when the next grant ends. Without `fresh` files it is those seen before.
    fn judge(&mut self, fresh: Option<Files>, now: Duration) -> (Option<Arc<Snapshot>>, Option<Duration>) {
        let changed = fresh.is_some();
        // A panic below must leave neither a file that counts as seen nor a health that is green.
        let before = self.seen.take();
        let problem =
            self.problem.replace("the policy could not be judged: see the log of egress".to_owned());
        let seen = fresh.map(|files| {
            let meaning = self.source.understand(&files);
            (files, meaning)
        });
        let Some((files, meaning)) = seen.or(before) else {
            return (None, None);
        };
        let used = self.source.used.as_ref();
        let (grants, next_end) = grants::unended(&meaning.grants, used, now);
        let unended: Vec<_> = grants.iter().map(|(name, _)| name.clone()).collect();
        let mut swap = None;
        if let Some(used) = used.filter(|_| changed) {
            used.tidy(&meaning.grants, now);
        }
        if changed || unended != self.unended {
            let mut state = State::new(&self.source, &meaning, grants, self.current.as_deref());
            state.compare_authorities(&self.source, &mut self.extra_ca);
            self.problem = state.problem();
            swap = state.swap(&self.source, self.current.as_ref());
            self.unended = unended;
        } else {
            self.problem = problem;
        }
        if let Some(snapshot) = &swap {
            self.current = Some(Arc::clone(snapshot));
        }
        self.seen = Some((files, meaning));
        (swap, next_end)
    }
}
