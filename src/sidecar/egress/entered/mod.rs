//! Credentials that the operator enters while the bottle runs.
//!
//! Supervise leaves a letter that only egress can open, and egress keeps the secret in its own state directory, where
//! nobody else reads it. The key that opens a letter is made anew for each, and at each start.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::audit::Event;
use super::credential::Credentials;
use super::{Egress, run};
use crate::fs;
use crate::sidecar::letter::{FILE, Letter};
use crate::sidecar::log;
use crate::sidecar::notices::Notices;
use crate::sidecar::report::{self, Answer};
use crate::sidecar::seal::{Message, Opener};

/// The directory below the state directory.
const KEPT: &str = "credentials";
/// How often the directory and the credentials' own files are looked at although no notice came.
const PERIOD: Duration = Duration::from_secs(1);
/// The same where the kernel gives no notices at all.
const PERIOD_WITHOUT_NOTICES: Duration = Duration::from_millis(100);

/// Takes letters, and keeps what is in them.
pub(super) struct Entered {
    letters: PathBuf,
    kept: PathBuf,
    desk: Mutex<Desk>,
    turn: Mutex<()>,
}

struct Desk {
    /// The key for the next letter.
    opener: Opener,
    answer: Option<Answer>,
}

/// What a letter did.
#[derive(Debug, Eq, PartialEq)]
struct Done {
    /// The credential; empty where the policy has none of that name.
    credential: String,
    what: Result<&'static str, String>,
}

impl Entered {
    /// Takes letters from the first directory, and keeps what is in them below the second one.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers, or the state directory can't be written.
    pub(super) fn open(letters: PathBuf, state: &Path) -> Result<Self> {
        let kept = state.join(KEPT);
        fs::create_dir_all(&kept)?;
        let desk = Mutex::new(Desk { opener: opener()?, answer: None });
        Ok(Self { letters, kept, desk, turn: Mutex::default() })
    }

    /// Where the secrets are, each in a file with its credential's name.
    pub(super) fn kept(&self) -> &Path {
        &self.kept
    }

    /// Runs one at a time.
    pub(super) fn in_turn<T>(&self, then: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        then()
    }

    /// What supervise is told.
    pub(super) fn report(&self, credentials: &Credentials) -> report::Credentials {
        let open = credentials.open().into_iter().map(|open| report::Credential {
            name: open.name,
            problem: open.problem,
            entered: open.entered,
        });
        let desk = self.lock();
        report::Credentials {
            key: desk.opener.public().to_owned(),
            open: open.collect(),
            answer: desk.answer.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the letter that lies there; none where there is none.
    fn take(&self, credentials: &Credentials) -> Option<Done> {
        let Letter { credential, remove, message } = match Letter::take(&self.letters)? {
            Ok(letter) => letter,
            Err(problem) => return Some(Done { credential: String::new(), what: Err(problem) }),
        };
        let named = if credentials.has(&credential) { credential.clone() } else { String::new() };
        let mut desk = self.lock();
        if message.key != desk.opener.public() {
            // One of an earlier time, or the same once more: there is nothing left that opens it.
            let what = Err("the letter is for a key that is gone".to_owned());
            return Some(Done { credential: named, what });
        }
        let what = match opener() {
            Ok(next) => {
                let opener = std::mem::replace(&mut desk.opener, next);
                let message = opener.open(&credential, &message);
                // What is written down of it must be what is done.
                let message = message.filter(|message| matches!(message, Message::Remove) == remove);
                let message = message.ok_or_else(|| "the letter can't be opened".to_owned());
                message.and_then(|message| self.keep(&credential, &message, credentials))
            }
            Err(error) => Err(error.to_string()),
        };
        desk.answer = Some(Answer { key: message.key, problem: what.as_ref().err().cloned() });
        Some(Done { credential: named, what })
    }

    /// Does what a message says. Only a credential of the policy has a name that can be one of a file.
    fn keep(
        &self,
        credential: &str,
        message: &Message,
        credentials: &Credentials,
    ) -> Result<&'static str, String> {
        if !credentials.has(credential) {
            return Err("the policy has no such credential".to_owned());
        }
        let path = self.kept.join(credential);
        match message {
            Message::Enter(secret) => {
                credentials.check(credential, secret)?;
                // The second attempt finds no left-over of a process that was killed in the middle of its own.
                let write = || fs::write_atomic(&path, secret, 0o600);
                write().or_else(|_| write()).map_err(|error| error.to_string())?;
                Ok("entered")
            }
            Message::Remove => match fs::remove_file(&path) {
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok("removed"),
                removed => removed.map(|()| "removed").map_err(|error| error.to_string()),
            },
        }
    }
}

impl std::fmt::Debug for Entered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entered").field("letters", &self.letters).finish_non_exhaustive()
    }
}

fn opener() -> Result<Opener> {
    Opener::new().context("the system gives no random numbers")
}

/// Takes letters until egress is gone, and tells supervise of each change of the credentials: a file of the operator's
/// may come and go as well.
///
/// # Errors
///
/// The thread can't be started.
pub(super) fn watch(egress: &Arc<Egress>) -> io::Result<()> {
    let Some(entered) = &egress.entered else { return Ok(()) };
    let letter = entered.letters.join(FILE);
    let mut notices = Notices::open(Some(&letter), None).ok();
    let egress = Arc::downgrade(egress);
    let run = move || {
        let (mut wait, mut told, mut failed) = (Duration::ZERO, None, None);
        loop {
            if notices.as_ref().map(|notices| notices.wait(wait)).is_none_or(|waited| waited.is_err()) {
                notices = None;
                thread::sleep(wait);
            }
            let Some(egress) = egress.upgrade() else { return };
            if let Some(notices) = &mut notices {
                notices.refresh();
            }
            look(&egress, &mut told, &mut failed);
            wait = if notices.is_some() { PERIOD } else { PERIOD_WITHOUT_NOTICES };
        }
    };
    thread::Builder::new().name("credentials".to_owned()).spawn(run)?;
    Ok(())
}

/// Looks once.
fn look(egress: &Egress, told: &mut Option<report::Credentials>, failed: &mut Option<Done>) {
    let Some(entered) = &egress.entered else { return };
    let credentials = &egress.live.now().credentials;
    let done = entered.take(credentials);
    if let Some(Done { credential, what }) = &done
        // What can't be taken away is told once, not at each look.
        && done != *failed
    {
        let problem = what.as_ref().err().map(String::as_str);
        egress.audit.event(Event::Credential {
            name: credential,
            done: what.as_ref().ok().copied(),
            problem,
        });
        if let Some(problem) = problem {
            log::line("egress", &format!("a credential could not be taken: {problem}"));
        }
    }
    *failed = done.filter(|done| done.what.is_err());
    let now = entered.report(credentials);
    if told.as_ref() != Some(&now) {
        run::tell(egress);
        *told = Some(now);
    }
}
