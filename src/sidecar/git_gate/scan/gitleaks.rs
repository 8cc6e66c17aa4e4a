//! A gitleaks process of one's own.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::process::{Ends, Stdio, arguments, drive, sockets};
use super::{Input, Scan, ScanError, Scanner};

/// Starts gitleaks for each scan.
#[derive(Clone, Debug)]
pub struct Gitleaks {
    /// The program.
    pub binary: PathBuf,
    /// Its rules, `gitleaks.toml`.
    pub config: PathBuf,
    /// The longest that one scan may take.
    pub time_limit: Duration,
}

impl Gitleaks {
    /// Makes the command, in an environment and a directory in which nothing steers it.
    pub(super) fn command(&self, stdio: Stdio) -> Command {
        let Stdio { stdin, stdout, stderr } = stdio;
        let mut command = Command::new(&self.binary);
        command.args(arguments(&self.config)).env_clear().current_dir("/");
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        command
    }
}

impl Scanner for Gitleaks {
    fn scan(&self, input: &mut Input<'_>) -> Result<Scan, ScanError> {
        let (ends, stdio) = sockets()?;
        // The command is a temporary, so that its copies of the process's ends are closed here.
        let child = self
            .command(stdio)
            .spawn()
            .map_err(|source| ScanError::Io { action: "start gitleaks", source })?;
        let mut child = Reaped(child);
        Ok(Scan { findings: with(ends, &mut child, self.time_limit, input)?, notes: Vec::new() })
    }
}

fn with(
    ends: Ends,
    child: &mut Reaped,
    limit: Duration,
    input: &mut Input<'_>,
) -> Result<Vec<super::RawFinding>, ScanError> {
    drive(ends, limit, input, |deadline| {
        loop {
            let ended = child.0.try_wait();
            match ended.map_err(|source| ScanError::Io { action: "wait for gitleaks", source })? {
                Some(status) => {
                    return Ok(status.code().map_or_else(|| status.to_string(), |code| code.to_string()));
                }
                None if Instant::now() >= deadline => return Err(ScanError::TimedOut(limit.as_secs())),
                // Its output is closed, so that the end is near.
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    })
}

/// A child that is ended and waited for, whatever happens.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // It is of no more use, and there is nobody left to tell that it could not be ended.
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}
