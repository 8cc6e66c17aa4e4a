//! Running a child with limits, keeping all that it says.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::sidecar::log;

/// The most that is kept of a child's stdout: the refs of a very large repository.
const MAX_STDOUT: usize = 256 << 20;
/// The most that is kept of a child's stderr; the end is what tells the cause.
const MAX_STDERR: usize = 64 << 10;

/// How long a child may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From start to end.
    pub(crate) total: Duration,
    /// Without a byte on stdout or stderr.
    pub(crate) stall: Duration,
}

/// What a child left.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// The end of what it complained about.
    pub(crate) stderr: Vec<u8>,
}

/// A child could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// It could not be started or waited for.
    #[error("could not run `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// It was killed since it took too long.
    #[error("`{program}` did not answer for {} s", after.as_secs())]
    TooSlow {
        /// The program.
        program: String,
        /// The limit that it hit.
        after: Duration,
        /// What it had complained about by then.
        stderr: Vec<u8>,
    },
}

/// Whether the child gets a process group of its own, which dies with it when it is too slow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// A group of its own.
    Own,
    /// The caller's group, so that whoever ends the caller ends the child too.
    Callers,
}

/// Runs a child to its end, with empty stdin, within the limits.
pub(crate) async fn run(mut command: Command, limits: Limits, group: Group) -> Result<Output, RunError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if group == Group::Own {
        command.process_group(0);
    }
    let fail = |source| RunError::Start { program: program.clone(), source };
    let mut child = command.spawn().map_err(fail)?;
    let seen = Arc::new(Mutex::new(Instant::now()));
    let stdout = collect(child.stdout.take(), MAX_STDOUT, Arc::clone(&seen));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let stderr = collect_tail(child.stderr.take(), Arc::clone(&kept), Arc::clone(&seen));
    let work = async {
        let (stdout, (), status) = tokio::join!(stdout, stderr, child.wait());
        Ok::<_, std::io::Error>((status?, stdout?))
    };
    let ended = tokio::select! {
        result = work => Ok(result),
        after = too_slow(limits, &seen) => Err(after),
    };
    let said = || std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    match ended {
        Ok(Ok((status, stdout))) => Ok(Output { status, stdout, stderr: said() }),
        Ok(Err(source)) => Err(fail(source)),
        Err(after) => {
            kill(&mut child, group).await;
            Err(RunError::TooSlow { program, after, stderr: said() })
        }
    }
}

/// Kills a child, and its whole group where it has one, and waits until it is gone.
pub(crate) async fn kill(child: &mut Child, group: Group) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let (Group::Own, Some(pid)) = (group, pid)
        && let Err(error) = kill_process_group(pid, Signal::KILL)
    {
        log::line("process", &format!("could not kill a group of processes: {error}"));
    }
    if let Err(error) = child.kill().await {
        log::line("process", &format!("could not kill a process: {error}"));
    }
}

async fn too_slow(limits: Limits, seen: &Mutex<Instant>) -> Duration {
    let start = Instant::now();
    loop {
        let last = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= start + limits.total {
            return limits.total;
        }
        if now >= last + limits.stall {
            return limits.stall;
        }
        tokio::time::sleep_until((start + limits.total).min(last + limits.stall).into()).await;
    }
}

async fn collect(
    from: Option<impl AsyncRead + Unpin>,
    most: usize,
    seen: Arc<Mutex<Instant>>,
) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(mut from) = from else { return Ok(all) };
    loop {
        if from.read_buf(&mut all).await? == 0 {
            return Ok(all);
        }
        if all.len() > most {
            return Err(std::io::Error::other("it printed more than is kept"));
        }
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

async fn collect_tail(
    from: Option<impl AsyncRead + Unpin>,
    kept: Arc<Mutex<Vec<u8>>>,
    seen: Arc<Mutex<Instant>>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if kept.len() > 2 * MAX_STDERR {
            let surplus = kept.len() - MAX_STDERR;
            kept.drain(..surplus);
        }
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}
