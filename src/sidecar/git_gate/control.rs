//! What a hook asks the listener, on a socket that only the listener's user reaches: one line of JSON each way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::Decision;
use super::message::Failure;
use crate::policy::reason::Reason;

/// The longest question or answer.
pub(crate) const MAX_LINE: u64 = 64 << 10;

/// What a hook asks for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Demand {
    /// Something for the log.
    Note {
        /// The connection's number.
        connection: u64,
        /// What happened.
        text: String,
    },
    /// The repository's lock, until the connection has ended.
    Lock {
        /// The connection's number.
        connection: u64,
        /// The repository's name.
        repository: String,
    },
    /// The time by which grants end.
    Now,
    /// A push is decided: for the audit log.
    Decision {
        /// The connection's number.
        connection: u64,
        /// What was decided.
        decision: Box<Decision>,
    },
}

/// The listener's answer: granted, or a reason code and a text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It is granted.
    Granted,
    /// The time since the epoch, in milliseconds.
    Now(u64),
    /// It is not.
    Refused {
        /// The reason's code.
        reason: String,
        /// The text for the agent.
        text: String,
    },
}

impl From<Result<(), Failure>> for Reply {
    fn from(result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self::Granted,
            Err(Failure { reason, text }) => Self::Refused { reason: reason.code().to_owned(), text },
        }
    }
}

/// The listener's socket.
pub(crate) fn socket(run: &Path) -> PathBuf {
    run.join("gate").join("gate.sock")
}

/// Asks the listener and waits for its answer, which it gives within its own limits.
pub(super) fn ask(run: &Path, demand: &Demand) -> Result<(), Failure> {
    match exchange(run, demand)? {
        Reply::Granted => Ok(()),
        Reply::Now(_) => Err(Failure::inside("the listener answered another question")),
        Reply::Refused { reason, text } => {
            Err(Failure { reason: Reason::from_str(&reason).unwrap_or(Reason::GateFailed), text })
        }
    }
}

/// Asks the listener for the time by which grants end. This process is too young to know that the clock was set back.
pub(super) fn now(run: &Path) -> Result<Duration, Failure> {
    match exchange(run, &Demand::Now)? {
        Reply::Now(millis) => Ok(Duration::from_millis(millis)),
        _ => Err(Failure::inside("the listener does not tell the time")),
    }
}

fn exchange(run: &Path, demand: &Demand) -> Result<Reply, Failure> {
    let inside = |what: &str, error: &dyn std::fmt::Display| Failure::inside(format!("{what}: {error}"));
    let stream =
        UnixStream::connect(socket(run)).map_err(|error| inside("the listener can't be asked", &error))?;
    let mut line =
        serde_json::to_vec(demand).map_err(|error| inside("the question can't be written", &error))?;
    line.push(b'\n');
    (&stream).write_all(&line).map_err(|error| inside("the listener can't be asked", &error))?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .take(MAX_LINE)
        .read_line(&mut answer)
        .map_err(|error| inside("the listener did not answer", &error))?;
    serde_json::from_str(&answer).map_err(|error| inside("the listener's answer was not understood", &error))
}
