//! The desk: all requests, decisions and grants. The agent's side and the operator's side are both thin layers over it.
//!
//! A decision is durable before its grant's file is written, and a grant's file is gone before its end is told. What is on
//! disk in the grants directory is made to agree with the store at the start and at every look, never the other way round;
//! without a store that can be relied on, nothing is granted.

mod asking;
mod credential;
mod deciding;
mod inner;
mod looking;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;

use super::config::{Places, Policies};
use super::refused::Refused;
use super::rule::Enforcer;
use super::state::{Granted, Request};
use super::store::{Change, Decision, Store, Unopened};
use crate::policy::reason::Reason;
use crate::sidecar::clock::Clock;
use crate::sidecar::report::Report;
use crate::sidecar::text::neutral;
pub(crate) use deciding::{Approval, By};
use inner::Inner;
use looking::clear;

/// The most characters of the agent's and the operator's words.
const MAX_WORDS: usize = 2_000;

/// The desk.
#[derive(Debug)]
pub(crate) struct Desk {
    places: Places,
    inner: Mutex<Inner>,
    /// The policies as they were read last.
    policies: Mutex<Option<Arc<Policies>>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

impl Desk {
    /// Opens the store, and makes the grants directory agree with it.
    ///
    /// # Errors
    ///
    /// The store can't be opened or the directory can't be written.
    pub(crate) fn open(places: Places) -> Result<Self, Refused> {
        let store = match Store::open(&places.state) {
            Ok(store) => store,
            Err(Unopened::InUse(refused)) => return Err(refused),
            Err(Unopened::Broken(refused)) => {
                clear(&places.grants, &[])?;
                return Err(refused);
            }
        };
        let mut clock = Clock::new();
        let clock_saved = store.clock()?;
        // From here on it is never earlier than it was in the last life.
        clock.now(UNIX_EPOCH + Duration::from_secs(clock_saved));
        let inner = Inner {
            places: places.clone(),
            store,
            clock,
            clock_saved,
            repeats: HashMap::new(),
            over: HashMap::new(),
            borne: (String::new(), HashMap::new()),
        };
        let desk = Self {
            places,
            inner: Mutex::new(inner),
            policies: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        desk.look()?;
        Ok(desk)
    }

    /// Tells of every change; the number itself means nothing.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The request with this id.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn request(&self, id: &str) -> Result<Request, Refused> {
        self.lock().request(id)
    }

    /// The youngest requests first: those that are pending, or all.
    ///
    /// # Errors
    ///
    /// The store can't be read.
    pub(crate) fn requests(&self, pending: bool, most: usize) -> Result<Vec<Request>, Refused> {
        let inner = self.lock();
        let requests = inner.store.requests(pending, most)?;
        Ok(requests.into_iter().map(|request| inner.counted(request)).collect())
    }

    /// The youngest grants first: those in force, or all.
    ///
    /// # Errors
    ///
    /// The store can't be read.
    pub(crate) fn grants(&self, in_force: bool, most: usize) -> Result<Vec<Granted>, Refused> {
        let mut inner = self.lock();
        if !in_force {
            return inner.store.grants(false, most);
        }
        let now = inner.now();
        let mut grants = inner.in_force(now)?;
        grants.truncate(most);
        Ok(grants)
    }

    /// Whether the sidecar that enforces a grant runs with it now.
    pub(crate) fn is_live(&self, grant: &Granted) -> bool {
        let report = self.report(grant.rule.enforcer());
        report.is_some_and(|report| report.grants.contains(&grant.id))
    }

    /// What a sidecar reports; none where it isn't there or has not reported.
    pub(crate) fn report(&self, enforcer: Enforcer) -> Option<Report> {
        self.places.report(enforcer).and_then(Report::read)
    }

    /// The policies as they are now.
    ///
    /// # Errors
    ///
    /// They can't be read.
    pub(crate) fn policies(&self) -> Result<Policies, Refused> {
        self.read_policies().map(|policies| Policies::clone(&policies))
    }

    /// Reads the policies; what is as it was isn't parsed again.
    fn read_policies(&self) -> Result<Arc<Policies>, Refused> {
        let files = self.places.policy_files()?;
        let mut last = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref().filter(|last| last.digest == files.digest) {
            Some(same) => Ok(Arc::clone(same)),
            None => Ok(Arc::clone(last.insert(Arc::new(files.understand()?)))),
        }
    }

    /// The files and directories.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, inner: &mut Inner, change: Change) -> Result<(), Refused> {
        let counted = change.request.as_ref().map(|request| request.id.clone());
        inner.store.save(change)?;
        if let Some(id) = counted {
            // They are in the count that was saved.
            inner.repeats.remove(&id);
        }
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn save_request(&self, inner: &mut Inner, request: Request) -> Result<Request, Refused> {
        self.save(inner, Change { request: Some(request.clone()), ..Change::default() })?;
        Ok(request)
    }
}

/// A decision about a request that grants nothing.
fn decision(verdict: &'static str, by: &'static str, at: u64, request: &Request, words: &str) -> Decision {
    Decision {
        verdict,
        at,
        by,
        request: request.id.clone(),
        grant: None,
        scope: None,
        until: None,
        rule: request.rule.manifest(),
        words: words.to_owned(),
    }
}

fn wall() -> SystemTime {
    #[cfg(test)]
    return tests::wall();
    #[cfg(not(test))]
    SystemTime::now()
}

/// Somebody's words: harmless, and not too many.
fn words(text: &str) -> String {
    let short: String = text.chars().take(MAX_WORDS).collect();
    neutral(short.trim().as_bytes())
}

fn failed(error: impl std::fmt::Display) -> Refused {
    Refused::plain(Reason::StoreFailed, error.to_string())
}

/// A short id that nobody can guess: ten letters and digits, 50 bits.
fn fresh_id(prefix: &str) -> Result<String, Refused> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 10];
    SystemRandom::new().fill(&mut random).map_err(|_| failed("the system gives no random numbers"))?;
    let letters = random.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32)));
    Ok(letters.fold(prefix.to_owned(), |mut id, letter| {
        id.push(char::from(*letter));
        id
    }))
}
