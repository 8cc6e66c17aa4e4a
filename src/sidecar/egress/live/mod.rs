//! The policy that is in force now: the file and the grants are watched, and swapped as one.
//!
//! There is one way to learn of a change, [`reader::Reader::look`], and two reasons to take it: a notice of the kernel,
//! and the clock. A thread of its own waits and looks, so that a large policy delays no request.

mod files;
mod reader;
mod state;

#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use tokio::sync::watch;

use super::credential::Credentials;
use crate::policy::egress::EgressPolicy;
use crate::policy::rules::{Once, Rules};
use crate::sidecar::grants::{self, Grants};
use crate::sidecar::notices::Notices;
use crate::sidecar::used::{Claim, Used};
use files::Source;
use reader::{Cause, Look, Reader};

/// How often the files are looked at although no notice came.
const PERIOD: Duration = Duration::from_secs(1);
/// The same where the kernel gives no notices at all.
const PERIOD_WITHOUT_NOTICES: Duration = Duration::from_millis(40);

/// One state of the policy. Each request is judged by one, from its first byte to its last.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Counts the states since the start, from 1.
    pub(crate) generation: u64,
    /// The policy file.
    pub(crate) policy: EgressPolicy,
    /// The grants that are in force.
    pub(crate) grants: Grants,
    /// Both of them, made ready.
    pub(crate) rules: Rules,
    /// The policy's credentials; the same ones as before where their part of the policy is the same.
    pub(crate) credentials: Arc<Credentials>,
}

/// The policy that is in force now.
#[derive(Debug)]
pub(crate) struct Live {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    reader: Mutex<Reader>,
    current: watch::Sender<Arc<Snapshot>>,
    problem: watch::Sender<Option<String>>,
}

impl Live {
    /// Reads the policy and the grants. Which of them were used stands in the report directory.
    ///
    /// # Errors
    ///
    /// A policy that can't be read or is no policy: egress does not start without one.
    pub(crate) fn open(
        policy: &Path,
        grants: Option<PathBuf>,
        report: Option<&Path>,
        entered: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let source = Source { policy: policy.to_owned(), grants, used: report.map(Used::of), entered };
        let mut reader = Reader::new(source.clone());
        let Look { swap, problem, .. } = reader.look(Cause::Announced, SystemTime::now());
        let Some(snapshot) = swap else {
            bail!(problem.unwrap_or_else(|| "there is no policy".to_owned()));
        };
        let (current, problem) = (watch::Sender::new(snapshot), watch::Sender::new(problem));
        Ok(Self { shared: Arc::new(Shared { source, reader: Mutex::new(reader), current, problem }) })
    }

    /// Starts to watch the files, until this is dropped, and swaps what is in force when they change or a grant ends. A
    /// file that is wrong leaves the last good state in force, and is told by [`Self::problem`].
    ///
    /// # Errors
    ///
    /// The thread can't be started.
    pub(crate) fn watch(&self) -> io::Result<()> {
        let shared = Arc::downgrade(&self.shared);
        let Source { policy, grants, used: _, entered: _ } = &self.shared.source;
        let notices = Notices::open(Some(policy), grants.as_deref()).ok();
        thread::Builder::new().name("policy".to_owned()).spawn(move || watch_files(&shared, notices))?;
        Ok(())
    }

    /// Uses up a grant for one request, which is the source of what lets it pass, and says whether it is this request's.
    ///
    /// # Errors
    ///
    /// It can't be marked as used: the request must not be sent.
    pub(crate) fn claim(&self, source: &str, once: &Once) -> Result<Claim, String> {
        let used = self.shared.source.used.as_ref().ok_or("there is no report directory")?;
        let grant = grants::name_of(source).ok_or("the rule names no grant")?;
        let claim = used.claim(grant, once.until()).map_err(|error| error.to_string())?;
        once.spend();
        Ok(claim)
    }

    /// The state in force.
    pub(crate) fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.current.borrow())
    }

    /// Tells of each new state.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.current.subscribe()
    }

    /// What is wrong with the files now, with file and line, where the last good state is still in force.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shared.problem.borrow().clone()
    }

    /// Tells of each change of [`Self::problem`].
    pub(crate) fn problems(&self) -> watch::Receiver<Option<String>> {
        self.shared.problem.subscribe()
    }
}

fn watch_files(shared: &Weak<Shared>, mut notices: Option<Notices>) {
    // What happened between the first look and the beginning of the watch was not noticed.
    let mut wait = Duration::ZERO;
    loop {
        let cause = match notices.as_ref().map(|notices| notices.wait(wait)) {
            Some(Ok(true)) => Cause::Announced,
            Some(Ok(false)) => Cause::Tick,
            // The clock does it alone.
            Some(Err(_)) | None => {
                notices = None;
                thread::sleep(wait);
                Cause::Tick
            }
        };
        let Some(shared) = shared.upgrade() else { return };
        if let Some(notices) = &mut notices {
            notices.refresh();
        }
        let period = if notices.is_some() { PERIOD } else { PERIOD_WITHOUT_NOTICES };
        // Whatever a look meets in the files, the next one is taken.
        let look = catch_unwind(AssertUnwindSafe(|| shared.look(cause)));
        wait = look.ok().flatten().map_or(period, |again| again.min(period));
    }
}

impl Shared {
    /// Looks at the files once, makes what follows from it known, and gives the time of the next look.
    fn look(&self, cause: Cause) -> Option<Duration> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let Look { swap, problem, again } = reader.look(cause, SystemTime::now());
        self.problem.send_if_modified(|told| {
            let news = *told != problem;
            *told = problem;
            news
        });
        if let Some(snapshot) = swap {
            self.current.send_replace(snapshot);
        }
        again
    }
}
