//! What a process leaves behind when it is killed: SSH agents, git, whatever else runs as its users.
//!
//! In a container of its own that ends with the container. Here it would go on under init, hold the lock of the mirrors
//! and the keys, and keep the next one from starting.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use crate::fs;
use crate::sidecar::log;

/// How long they may take to be gone.
const LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked.
const EVERY: Duration = Duration::from_millis(10);

/// Kills everything that runs as one of these users, and waits until it is gone. None is our own: this is root.
pub(super) async fn end(users: &[u32]) {
    if users.is_empty() {
        return;
    }
    let deadline = Instant::now() + LIMIT;
    // More than once: what is killed may just have started another one.
    while kill_all(users) > 0 {
        if Instant::now() >= deadline {
            log::line("all", "something that a process left behind can't be ended");
            return;
        }
        sleep(EVERY).await;
    }
}

/// Kills what there is, and gives how many there were that had not ended yet.
fn kill_all(users: &[u32]) -> usize {
    let names = fs::file_names(std::path::Path::new("/proc")).unwrap_or_default();
    let pids = names.iter().filter_map(|name| Pid::from_raw(name.to_str()?.parse().ok()?));
    pids.filter(|pid| kill(*pid, users)).count()
}

fn kill(pid: Pid, users: &[u32]) -> bool {
    // Held before it is looked at, so that what is killed is what was looked at.
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let Ok(status) = fs::read_to_string(path.as_ref()) else { return false };
    if !belongs(&status, users) {
        return false;
    }
    // One that ends in the meantime is gone as well.
    let _ = pidfd_send_signal(&held, Signal::KILL);
    true
}

/// Whether `/proc/PID/status` is that of a process of one of the users which has not ended yet.
pub(super) fn belongs(status: &str, users: &[u32]) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let ended = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    let user = field("Uid:").and_then(|ids| ids.split_whitespace().next()?.parse().ok());
    !ended && user.is_some_and(|user| users.contains(&user))
}
