//! One session: a service of git on an upstream, with the caller's streams.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use super::super::log;
use super::super::wire::{Answer, Service};
use super::master::{LoginError, Masters};

/// What the caller wants, already checked.
pub(super) struct Session {
    /// The service.
    pub(super) service: Service,
    /// The value for `GIT_PROTOCOL`.
    pub(super) protocol: Option<String>,
    /// The caller's stdin, stdout and stderr.
    pub(super) streams: [OwnedFd; 3],
}

/// The exit status of `ssh` when it could not connect.
const SSH_FAILED: i32 = 255;

/// Runs the session; none if the caller left, in which case nobody waits for an answer.
pub(super) async fn run(masters: &Arc<Masters>, session: Session, stream: &mut UnixStream) -> Option<Answer> {
    let Session { service, protocol, streams: [stdin, stdout, stderr] } = session;
    let master = tokio::select! {
        master = masters.get() => master,
        () = left(stream) => return None,
    };
    let master = match master {
        Ok(master) => master,
        Err(LoginError(said)) => {
            if let Err(error) = File::from(stderr).write_all(said.as_bytes()) {
                log::line("broker", &format!("a caller does not read its stderr: {error}"));
            }
            return Some(Answer::Ended(SSH_FAILED));
        }
    };
    let mut command = masters.command(&master.control, "no", &[]);
    command.arg(format!("{} {}", service.program(), quote(masters.path())));
    if let Some(protocol) = protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    command
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Some(Answer::Refused(format!("could not run ssh: {error}"))),
    };
    // The command still holds the caller's streams, whose end the other side waits for.
    drop(command);
    tokio::select! {
        status = child.wait() => match status {
            Ok(status) => Some(Answer::Ended(status.code().unwrap_or(SSH_FAILED))),
            Err(error) => Some(Answer::Refused(format!("could not wait for ssh: {error}"))),
        },
        () = left(stream) => {
            // Whoever gave up waited in vain: the next session gets a new connection.
            if let Err(error) = child.kill().await {
                log::line("broker", &format!("could not end a session: {error}"));
            }
            masters.retire(&master).await;
            None
        }
    }
}

/// Waits until the caller has closed its end.
async fn left(stream: &mut UnixStream) {
    let mut byte = [0];
    while let Ok(1..) = stream.read(&mut byte).await {}
}

/// Quotes a path for the upstream's shell as git does.
pub(in super::super) fn quote(path: &str) -> String {
    let mut quoted = String::from("'");
    for c in path.chars() {
        match c {
            '\'' | '!' => {
                quoted.push_str("'\\");
                quoted.push(c);
                quoted.push('\'');
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_path_is_quoted_as_git_does() {
        assert_eq!(quote("/a b"), "'/a b'");
        assert_eq!(quote("~u/it's!"), "'~u/it'\\''s'\\!''");
    }
}
