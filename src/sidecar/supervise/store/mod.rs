//! What supervise keeps: requests, grants and the end of the log of decisions, in `SQLite`.
//!
//! A change is one transaction, and on the disk when it is told. A file that is not as it was left is an error and never
//! an empty store: grants that nobody vouches for would be in force, or decisions forgotten.

mod log;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::decisions;
use super::refused::Refused;
use super::rule::Rule;
use super::state::{Granted, Origin, Request, Scope};
use crate::fs;
use crate::policy::reason::Reason;
use crate::sidecar::log::line;
use crate::sidecar::text::hex;
use log::Log;

/// The file in the state directory.
const FILE: &str = "store.db";
/// The file whose lock says that a process uses the store.
const LOCK: &str = "store.lock";
/// How many requests are kept after they were closed.
const KEPT: i64 = 10_000;

/// Requests, grants and decisions.
#[derive(Debug)]
pub(super) struct Store {
    db: Connection,
    log: Log,
    kept: i64,
    /// Held for as long as the store is open.
    _lock: File,
}

/// What changes together.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// A request that is new or has changed.
    pub(super) request: Option<Request>,
    /// Grants that are new or have changed.
    pub(super) grants: Vec<Granted>,
    /// What the log of decisions says about it; none for what nobody decided.
    pub(super) decision: Option<Decision>,
}

/// One entry of the log of decisions.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// What was decided: `approve`, `reject`, `revoke`, `expire`, `use`, `retire`, `withdraw`; of a credential `enter`, `remove`.
    pub(super) verdict: &'static str,
    /// When.
    pub(super) at: u64,
    /// Where the decision came from: `page`, `terminal`, `agent`, `clock`, `manifest`, `egress`, `git-gate`.
    pub(super) by: &'static str,
    /// The request, or the credential.
    pub(super) request: String,
    /// The grant.
    pub(super) grant: Option<String>,
    /// For how long, where it was approved.
    pub(super) scope: Option<Scope>,
    /// When the grant ends, where it was approved and does.
    pub(super) until: Option<u64>,
    /// The rule in the manifest's notation.
    pub(super) rule: String,
    /// The operator's words.
    pub(super) words: String,
}

/// Why there is no store.
#[derive(Debug)]
pub(super) enum Unopened {
    /// Another process has it open; what that one does is none of our business.
    InUse(Refused),
    /// It can't be relied on.
    Broken(Refused),
}

impl Store {
    /// Opens the store of a state directory; makes it where there never was one.
    ///
    /// # Errors
    ///
    /// [`Unopened`].
    pub(super) fn open(state: &Path) -> Result<Self, Unopened> {
        let broken = |error: fs::Error| Unopened::Broken(failed(error));
        let lock = fs::open_lock(&state.join(LOCK)).map_err(broken)?;
        if let Err(error) = lock.try_lock() {
            return Err(Unopened::InUse(Refused::new(
                Reason::StoreFailed,
                format!("`{}` is in use: {error}", state.display()),
                "end the other supervise that has this state directory",
            )));
        }
        let path = state.join(FILE);
        let log = state.join(decisions::FILE);
        make_if_new(&path, &log).and_then(|()| Self::read(&path, &log, lock)).map_err(|problem| {
            Unopened::Broken(Refused::new(
                Reason::StoreFailed,
                problem,
                "no grant is in force now; put the file back as it was, or remove the state volume to begin anew",
            ))
        })
    }

    fn read(path: &Path, log: &Path, lock: File) -> Result<Self, String> {
        let db = schema::open(path).map_err(|problem| unreliable(path, problem))?;
        let log = Log::open(log, &db)?;
        Ok(Self { db, log, kept: KEPT, _lock: lock })
    }

    /// Makes a change durable, all of it or nothing.
    pub(super) fn save(&mut self, change: Change) -> Result<(), Refused> {
        let Change { request, grants, decision } = change;
        let transaction =
            self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let times = [request.as_ref().map(|request| request.last), decision.as_ref().map(|made| made.at)];
        if let Some(latest) = times.into_iter().flatten().max() {
            set_clock(&transaction, latest)?;
        }
        if let Some(request) = &request {
            save_request(&transaction, request)?;
        }
        for grant in &grants {
            save_grant(&transaction, grant)?;
        }
        if request.is_some_and(|request| !request.state.is_pending()) {
            forget(&transaction, self.kept)?;
        }
        let added = decision.map(|decision| self.log.add(&transaction, &decision)).transpose()?;
        transaction.commit().map_err(failed)?;
        if let Some(head) = added {
            self.log.head = Some(head);
            self.write_log();
        }
        Ok(())
    }

    /// Has every change fail, as on a full disk.
    #[cfg(test)]
    pub(super) fn fail(&self, fail: bool) {
        self.db.pragma_update(None, "query_only", fail).unwrap();
    }

    /// Brings the file of the log up to what the store has. The store has it safe: what can't be written now is written
    /// later.
    pub(super) fn write_log(&mut self) {
        match self.log.complete(&self.db) {
            Ok(()) => {}
            Err(problem) => line("supervise", &problem),
        }
    }

    /// The latest time that was ever saved, in seconds since the epoch.
    pub(super) fn clock(&self) -> Result<u64, Refused> {
        let query = "SELECT value FROM meta WHERE key = 'clock'";
        let clock: Option<i64> = self.db.query_row(query, [], |row| row.get(0)).optional().map_err(failed)?;
        Ok(clock.and_then(|clock| u64::try_from(clock).ok()).unwrap_or(0))
    }

    /// Saves the time.
    pub(super) fn save_clock(&mut self, now: u64) -> Result<(), Refused> {
        let transaction = self.db.transaction().map_err(failed)?;
        set_clock(&transaction, now)?;
        transaction.commit().map_err(failed)
    }

    pub(super) fn request(&self, id: &str) -> Result<Option<Request>, Refused> {
        one(&self.db, "SELECT body FROM request WHERE id = ?1", id)
    }

    /// The youngest requests first, no more than `most`.
    pub(super) fn requests(&self, pending: bool, most: usize) -> Result<Vec<Request>, Refused> {
        let query = if pending {
            "SELECT body FROM request WHERE pending = 1 ORDER BY seq DESC LIMIT ?1"
        } else {
            "SELECT body FROM request ORDER BY seq DESC LIMIT ?1"
        };
        several(&self.db, query, most)
    }

    /// The youngest request for this very rule.
    pub(super) fn latest_for(&self, rule: &Rule) -> Result<Option<Request>, Refused> {
        let query = "SELECT body FROM request WHERE rule = ?1 ORDER BY seq DESC LIMIT 1";
        one(&self.db, query, &rule_key(rule)?)
    }

    /// How many requests of one origin were made after a time.
    pub(super) fn made_after(&self, time: u64, origin: Origin) -> Result<usize, Refused> {
        self.count("created > ?2", origin, time)
    }

    /// How many requests of one origin wait for an answer.
    pub(super) fn pending(&self, origin: Origin) -> Result<usize, Refused> {
        self.count("pending = ?2", origin, 1)
    }

    fn count(&self, which: &str, origin: Origin, value: u64) -> Result<usize, Refused> {
        // What was stored before there was another origin doesn't say it.
        let query = format!(
            "SELECT count(*) FROM request WHERE {which} AND coalesce(body ->> 'origin', 'agent') = json_extract(?1, '$')"
        );
        let count: i64 = self
            .db
            .query_row(&query, params![json(&origin)?, number(value)], |row| row.get(0))
            .map_err(failed)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    pub(super) fn grant(&self, id: &str) -> Result<Option<Granted>, Refused> {
        one(&self.db, "SELECT body FROM granted WHERE id = ?1", id)
    }

    /// The youngest grants first; those that have not ended, or all.
    pub(super) fn grants(&self, in_force: bool, most: usize) -> Result<Vec<Granted>, Refused> {
        let query = if in_force {
            "SELECT body FROM granted WHERE in_force = 1 ORDER BY seq DESC LIMIT ?1"
        } else {
            "SELECT body FROM granted ORDER BY seq DESC LIMIT ?1"
        };
        several(&self.db, query, most)
    }
}

/// Makes an empty store beside its place and renames it there: so a store that is empty or half made at its place was
/// damaged.
fn make_if_new(path: &Path, log: &Path) -> Result<(), String> {
    let length = |path: &Path| match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    match length(path)? {
        Some(0) => return Err(unreliable(path, "it is empty")),
        Some(_) => return Ok(()),
        None => {}
    }
    if length(log)?.is_some_and(|length| length > 0) {
        return Err(unreliable(path, format!("it is gone, and `{}` is there", log.display())));
    }
    let with = |suffix: &str| {
        let mut path = path.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    let beside = with(".new");
    // What is left of an earlier try, or of a store that is gone: it must not be taken for a part of this one.
    for rest in [beside.clone(), with(".new-journal"), with("-journal"), with("-wal"), with("-shm")] {
        if length(&rest)?.is_some() {
            fs::remove_file(&rest).map_err(|error| error.to_string())?;
        }
    }
    schema::create(&beside).map_err(|error| format!("could not make `{}`: {error}", beside.display()))?;
    let renamed = fs::rename(&beside, path).and_then(|()| match path.parent() {
        Some(directory) => fs::sync_directory(directory),
        None => Ok(()),
    });
    renamed.map_err(|error| error.to_string())
}

fn save_request(transaction: &Transaction<'_>, request: &Request) -> Result<(), Refused> {
    let query = "INSERT INTO request (id, pending, created, rule, body) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (id) DO UPDATE SET pending = ?2, body = ?5";
    let mut query = transaction.prepare(query).map_err(failed)?;
    let rule = rule_key(&request.rule)?;
    let pending = request.state.is_pending();
    query
        .execute(params![request.id, pending, number(request.created), rule, json(request)?])
        .map_err(failed)?;
    Ok(())
}

fn save_grant(transaction: &Transaction<'_>, grant: &Granted) -> Result<(), Refused> {
    // What has ended stays so, whoever asks.
    let query = "INSERT INTO granted (id, request, in_force, body) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (id) DO UPDATE SET in_force = ?3, body = ?4 WHERE in_force = 1";
    let mut query = transaction.prepare(query).map_err(failed)?;
    let changed = query
        .execute(params![grant.id, grant.request, grant.ended.is_none(), json(grant)?])
        .map_err(failed)?;
    if changed == 1 { Ok(()) } else { Err(failed(format!("grant {} has ended already", grant.id))) }
}

/// Forgets the oldest closed requests, with their grants; never one whose grant is in force.
fn forget(transaction: &Transaction<'_>, kept: i64) -> Result<(), Refused> {
    let query = "DELETE FROM request WHERE pending = 0
        AND seq <= (SELECT seq FROM request WHERE pending = 0 ORDER BY seq DESC LIMIT 1 OFFSET ?1)
        AND id NOT IN (SELECT request FROM granted WHERE in_force = 1)";
    transaction.prepare(query).and_then(|mut query| query.execute([kept])).map_err(failed)?;
    Ok(())
}

fn set_clock(transaction: &Transaction<'_>, now: u64) -> Result<(), Refused> {
    let query = "INSERT INTO meta (key, value) VALUES ('clock', ?1)
        ON CONFLICT (key) DO UPDATE SET value = max(value, ?1)";
    transaction.prepare(query).and_then(|mut query| query.execute([number(now)])).map_err(failed)?;
    Ok(())
}

fn one<T: DeserializeOwned>(db: &Connection, query: &str, key: &str) -> Result<Option<T>, Refused> {
    let mut query = db.prepare(query).map_err(failed)?;
    let body: Option<String> = query.query_row([key], |row| row.get(0)).optional().map_err(failed)?;
    body.as_deref().map(read).transpose()
}

fn several<T: DeserializeOwned>(db: &Connection, query: &str, most: usize) -> Result<Vec<T>, Refused> {
    let mut query = db.prepare(query).map_err(failed)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let bodies = query.query_map([most], |row| row.get::<_, String>(0)).map_err(failed)?;
    bodies.map(|body| body.map_err(failed).and_then(|body| read(&body))).collect()
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Refused> {
    serde_json::from_str(body)
        .map_err(|error| failed(format!("the store has an entry of no known form: {error}")))
}

fn json(value: &impl Serialize) -> Result<String, Refused> {
    serde_json::to_string(value).map_err(failed)
}

/// What equal rules have in common, and no others.
fn rule_key(rule: &Rule) -> Result<String, Refused> {
    Ok(hex(&Sha256::digest(json(rule)?.as_bytes())))
}

/// Times fit for many thousand years.
fn number(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn unreliable(path: &Path, problem: impl std::fmt::Display) -> String {
    format!("`{}` can't be relied on: {problem}", path.display())
}

fn failed(error: impl std::fmt::Display) -> Refused {
    Refused::plain(Reason::StoreFailed, error.to_string())
}
