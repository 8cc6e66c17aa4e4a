//! What a sidecar tells supervise of the policy that it runs: `status.json` in its report directory, written beside and
//! renamed after the policy is in force.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log;
use crate::fs;

/// The file in the report directory.
const FILE: &str = "status.json";
/// The most bytes of it.
const MAX_BYTES: u64 = 1 << 20;
/// When a directory that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Enough for a thread that only writes.
const STACK: usize = 128 << 10;

/// The policy that a sidecar runs now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// Counts the policies since the sidecar's start.
    pub(crate) generation: u64,
    /// The ids of the grants that are in force.
    pub(crate) grants: Vec<String>,
    /// What is wrong with the policy's files.
    #[serde(default)]
    pub(crate) problem: Option<String>,
    /// The credentials that are entered or can be, of a sidecar that takes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Credentials>,
}

/// How the credentials are; never a value.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The key for the next message.
    pub(crate) key: String,
    /// Those of the policy that have no secret, or one that was entered.
    pub(crate) open: Vec<Credential>,
    /// What became of the last message.
    #[serde(default)]
    pub(crate) answer: Option<Answer>,
}

/// How one credential is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    /// Its name.
    pub(crate) name: String,
    /// Why requests can't carry it.
    pub(crate) problem: Option<String>,
    /// Whether a secret is kept that the operator entered.
    pub(crate) entered: bool,
}

/// What became of a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// The key that it was sealed for.
    pub(crate) key: String,
    /// Why it was not taken.
    pub(crate) problem: Option<String>,
}

impl Report {
    /// Writes it into the directory.
    ///
    /// # Errors
    ///
    /// The directory can't be written.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), fs::Error> {
        // Numbers and texts always have a JSON form.
        let text = serde_json::to_vec(self).unwrap_or_default();
        fs::write_atomic(&directory.join(FILE), &text, 0o644)
    }

    /// Reads the one of a directory; none where the sidecar has written none that can be read.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let bytes = fs::read_regular(&directory.join(FILE), MAX_BYTES, fs::Links::Refused).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// Writes reports on a thread of its own: a disk that is slow, full or gone keeps nobody waiting, and the report that is
/// written in the end is the latest one.
#[derive(Debug)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is to be written.
    report: Option<Report>,
    ended: bool,
}

impl Reporter {
    /// Makes the directory and starts the thread, which is called `who` in the log.
    ///
    /// # Errors
    ///
    /// The directory can't be made, or the thread not be started.
    pub(crate) fn start(who: &'static str, directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let shared = Arc::<Shared>::default();
        let reporter = Self { shared: Arc::clone(&shared) };
        let directory = directory.to_owned();
        thread::Builder::new()
            .name("report".to_owned())
            .stack_size(STACK)
            .spawn(move || shared.run(who, &directory))?;
        Ok(reporter)
    }

    /// Has a report written, unless another one follows before that.
    pub(crate) fn tell(&self, report: Report) {
        self.shared.lock().report = Some(report);
        self.shared.wake.notify_one();
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, who: &str, directory: &Path) {
        let mut failed = false;
        while let Some(report) = self.next() {
            // The second attempt finds no left-over of a process that was killed in the middle of its own.
            let written = report.write(directory).or_else(|_| report.write(directory));
            match &written {
                Ok(()) => {}
                // Once is enough: the next lines would say the same each second.
                Err(_) if failed => {}
                Err(error) => log::line(who, &format!("supervise can't be told what is in force: {error}")),
            }
            failed = written.is_err();
            if failed {
                let mut state = self.lock();
                // Unless there is a newer one.
                state.report.get_or_insert(report);
                drop(self.wake.wait_timeout_while(state, RETRY, |state| !state.ended));
            }
        }
    }

    /// Waits for a report; none when no more will come.
    fn next(&self) -> Option<Report> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(report) = state.report.take() {
                return Some(report);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Report, Reporter};
    use crate::fs;

    fn until(mut condition: impl FnMut() -> bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < limit, "not in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn report(generation: u64) -> Report {
        Report { generation, grants: vec!["g-1".to_owned()], ..Report::default() }
    }

    #[test]
    fn what_is_told_last_is_what_can_be_read() {
        let root = tempfile::tempdir().unwrap();
        let reporter = Reporter::start("test", root.path()).unwrap();
        for generation in 1..100 {
            reporter.tell(report(generation));
        }
        until(|| Report::read(root.path()) == Some(report(99)));
    }

    #[test]
    fn a_directory_that_can_not_be_written_keeps_nobody_waiting_and_is_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("report");
        let reporter = Reporter::start("test", &directory).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let start = Instant::now();
        reporter.tell(report(1));
        assert!(start.elapsed() < Duration::from_secs(1));
        std::thread::sleep(Duration::from_millis(50));
        fs::create_dir_all(&directory).unwrap();
        until(|| Report::read(&directory) == Some(report(1)));
    }

    #[test]
    fn a_file_in_the_way_of_the_temporary_one_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let beside = root.path().join(format!(".status.json.{}.tmp", std::process::id()));
        fs::write_atomic(&beside, b"left over", 0o600).unwrap();
        let reporter = Reporter::start("test", root.path()).unwrap();
        reporter.tell(report(7));
        until(|| Report::read(root.path()) == Some(report(7)));
    }
}
