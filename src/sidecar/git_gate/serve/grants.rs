//! Following the grants: which are in force is told to supervise, and every push is judged by the time that is kept here.
//!
//! The pushes themselves don't wait for this: each reads the directory anew, so that a grant counts from the moment in
//! which its file is there, and no longer than that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::super::audit::Audit;
use super::super::grants::{Look, look};
use super::super::log;
use crate::policy::gate::GatePolicy;
use crate::sidecar::clock::Clock;
use crate::sidecar::grants::Files;
use crate::sidecar::notices::Notices;
use crate::sidecar::report::{Report, Reporter};
use crate::sidecar::used::Used;

/// How often the directory is looked at although no notice came.
const PERIOD: Duration = Duration::from_secs(1);

/// What follows the grants.
pub(super) struct Watch {
    clock: Arc<Mutex<Clock>>,
    /// Kept where no thread has it: it may not have told yet.
    _teller: Option<Teller>,
}

/// What the thread works with.
struct Follower {
    directory: PathBuf,
    used: Option<Used>,
    policy: GatePolicy,
    clock: Arc<Mutex<Clock>>,
    teller: Teller,
    seen: Option<Look>,
    generation: u64,
}

/// Whom a change is told.
struct Teller {
    reporter: Option<Reporter>,
    audit: Option<Arc<Audit>>,
}

impl Watch {
    /// Looks for the first time, and then whenever something may have changed.
    pub(super) fn start(
        policy: &GatePolicy,
        directory: Option<&Path>,
        report: Option<&Path>,
        audit: Option<Arc<Audit>>,
    ) -> Result<Self> {
        let reporter = report.map(|report| Reporter::start("git-gate", report)).transpose()?;
        let clock = Arc::new(Mutex::new(Clock::new()));
        let teller = Teller { reporter, audit };
        let Some(directory) = directory.map(Path::to_owned) else {
            teller.tell(1, &Look::default());
            return Ok(Self { clock, _teller: Some(teller) });
        };
        let watch = Self { clock: Arc::clone(&clock), _teller: None };
        let policy = policy.clone();
        let used = report.map(Used::of);
        let mut follower = Follower { directory, used, policy, clock, teller, seen: None, generation: 0 };
        follower.look();
        let notices = Notices::open(None, Some(&follower.directory)).ok();
        thread::Builder::new().name("grants".to_owned()).spawn(move || follower.run(notices))?;
        Ok(watch)
    }

    /// The time by which grants end.
    pub(super) fn now(&self) -> Duration {
        now(&self.clock)
    }
}

fn now(clock: &Mutex<Clock>) -> Duration {
    clock.lock().unwrap_or_else(PoisonError::into_inner).now(SystemTime::now())
}

impl Follower {
    fn run(mut self, mut notices: Option<Notices>) {
        // What happened between the first look and the beginning of the watch was not noticed.
        let mut wait = Duration::ZERO;
        loop {
            if notices.as_ref().is_none_or(|notices| notices.wait(wait).is_err()) {
                // The clock does it alone.
                notices = None;
                thread::sleep(wait);
            }
            if let Some(notices) = &mut notices {
                notices.refresh();
            }
            // Whatever a look meets in the files, the next one is taken.
            let next = catch_unwind(AssertUnwindSafe(|| self.look())).ok().flatten();
            wait = next.map_or(PERIOD, |next| next.min(PERIOD));
        }
    }

    /// Looks once, tells what is new, and gives the time until the next grant ends.
    fn look(&mut self) -> Option<Duration> {
        let now = now(&self.clock);
        let used = self.used.as_ref();
        let look = look(&self.directory, used, &self.policy, now);
        let before = self.seen.as_ref();
        let same_grants = before.is_some_and(|before| before.grants == look.grants);
        let same_problem = before.is_some_and(|before| before.problem == look.problem);
        if !same_grants {
            self.generation += 1;
            if let Some(used) = used {
                used.tidy(&Files::read(&self.directory).understand(&self.directory).0, now);
            }
        }
        if !same_problem && let Some(problem) = &look.problem {
            log::line("grants", problem);
        }
        if !same_grants || !same_problem {
            self.teller.tell(self.generation, &look);
        }
        let next = look.next_end.map(|end| end.saturating_sub(now));
        self.seen = Some(look);
        next
    }
}

impl Teller {
    fn tell(&self, generation: u64, look: &Look) {
        if let Some(audit) = &self.audit {
            audit.policy(generation, look.problem.as_deref());
        }
        if let Some(reporter) = &self.reporter {
            let grants = look.grants.iter().map(|(name, _)| name.clone()).collect();
            reporter.tell(Report { generation, grants, problem: look.problem.clone(), credentials: None });
        }
    }
}
