//! Keeping one process running, and ending it.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::left;
use super::process::Process;
use crate::sidecar::log;

/// How long it is waited before a process is started again: at first, and at most. As the engine does with containers.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A process that has run so long is one that runs: the next pause is the first one again.
const RUNS: Duration = Duration::from_secs(10);
/// How long a process may take to end. The container has a second more (`stop_grace_period`).
const GRACE: Duration = Duration::from_secs(9);

/// Whether all is to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// It is not.
    Not,
    /// Each process is asked to, and has its time.
    Asked,
    /// At once: whoever asks twice is in a hurry.
    Now,
}

impl Ending {
    /// What another signal makes of it.
    pub(super) fn advance(&mut self) {
        *self = if *self == Self::Not { Self::Asked } else { Self::Now };
    }
}

/// How long to wait before the next start.
pub(super) fn pause(last: Duration, ran: Duration) -> Duration {
    if ran >= RUNS { FIRST_PAUSE } else { (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) }
}

/// Keeps a process running until all is to end.
pub(super) async fn keep(process: Process, mut ending: watch::Receiver<Ending>) {
    let mut wait = Duration::ZERO;
    loop {
        let from = Instant::now();
        match process.start() {
            Ok(mut child) => {
                tokio::select! {
                    ended = child.wait() => tell(process.name, ended),
                    () = is(&mut ending, &[Ending::Asked, Ending::Now]) => {
                        end(&process, child, &mut ending).await;
                        return;
                    }
                }
            }
            Err(error) => log::line("all", &format!("{} could not be started: {error}", process.name)),
        }
        // What it leaves behind holds its locks and its keys.
        left::end(&process.users).await;
        wait = pause(wait, from.elapsed());
        log::line("all", &format!("{} is started again in {} ms", process.name, wait.as_millis()));
        tokio::select! {
            () = sleep(wait) => {}
            () = is(&mut ending, &[Ending::Asked, Ending::Now]) => return,
        }
    }
}

/// Asks a process to end, and ends it when its time is over.
async fn end(process: &Process, mut child: Child, ending: &mut watch::Receiver<Ending>) {
    let name = process.name;
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        log::line("all", &format!("could not ask {name} to end: {error}"));
    }
    tokio::select! {
        ended = timeout(GRACE, child.wait()) => match ended {
            Ok(ended) => tell(name, ended),
            Err(_) => log::line("all", &format!("{name} has not ended in time")),
        },
        () = is(ending, &[Ending::Now]) => {}
    }
    // One that has ended already is none to kill.
    drop(child.kill().await);
    left::end(&process.users).await;
}

/// Waits until the ending is one of these.
async fn is(ending: &mut watch::Receiver<Ending>, wanted: &[Ending]) {
    // An error means that nobody can ask any more: that is the end too.
    let _ = ending.wait_for(|now| wanted.contains(now)).await;
}

fn tell(name: &str, ended: std::io::Result<ExitStatus>) {
    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
    log::line("all", &format!("{name} ended: {how}"));
}
