//! The desk: all requests, decisions and grants. The agent's side and the operator's side are both thin layers over it.
//!
//! A decision is durable before its grant's file is written, and a grant's file is gone before its end is told. What is on
//! disk in the grants directory is made to agree with the store at the start and at every look, never the other way round;
//! without a store that can be relied on, nothing is granted.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;

use super::ask::{Ask, RouteAsk};
use super::config::{Places, Policies};
use super::decisions;
use super::preflight;
use super::refused::{Code, Refused};
use super::rule::{Enforcer, Rule};
use super::state::{EndCause, Ended, Granted, Request, Scope, State};
use super::store::{Change, Decision, Store, Unopened};
use crate::fs::{self, Links};
use crate::sidecar::clock::Clock;
use crate::sidecar::log::line;
use crate::sidecar::report::Report;
use crate::sidecar::text::neutral;

/// The most requests that wait for an answer at a time.
const MAX_PENDING: usize = 20;
/// The most requests that the agent may make in so many seconds; the same one again is none.
const MAX_MADE: (u64, u64) = (60, 600);
/// The most grants in force; the sidecars read no more than a thousand.
const MAX_GRANTS: usize = 250;
/// The most characters of the agent's and the operator's words.
const MAX_WORDS: usize = 2_000;
/// For how long the same request is refused after it was rejected, approved in part or revoked, in seconds.
const COOL_DOWN: u64 = 300;
/// The same after the agent took it back.
const COOL_DOWN_WITHDRAWN: u64 = 60;
/// For how long a request waits for an answer, in seconds.
const PATIENCE: u64 = 24 * 3600;
/// The longest time for which something can be approved, in seconds.
const MAX_SECONDS: u64 = 30 * 24 * 3600;
/// How often the time is saved while a grant has an end, in seconds.
const CLOCK_PERIOD: u64 = 5;
/// The most bytes of a grant's file that are read to compare it.
const MAX_GRANT: u64 = 64 << 10;

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

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    /// The latest time that the store is known to have.
    clock_saved: u64,
    /// How often requests were repeated since they were saved, by id.
    repeats: HashMap<String, u64>,
    /// Grants that are over although the store could not be told: they stay out of the directory until it can.
    over: HashMap<String, (EndCause, &'static str)>,
    /// Whether the policies of this digest bear a grant, by id.
    borne: (String, HashMap<String, bool>),
}

/// What the operator approves.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    /// For how long.
    pub(crate) scope: Scope,
    /// The rule, if it is less than what was asked for.
    pub(crate) rule: Option<Rule>,
    /// What [`Desk::review`] said when the operator looked.
    pub(crate) review: String,
    /// The operator's words to the agent.
    pub(crate) words: String,
}

/// Where a decision comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum By {
    /// The operator's page.
    Page,
    /// The operator's terminal.
    Terminal,
}

impl By {
    fn text(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Terminal => "terminal",
        }
    }
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

    /// Takes a request of the agent. The same as one that is pending is counted there.
    ///
    /// # Errors
    ///
    /// It can't be approved, was rejected a short while ago, or too many are pending.
    pub(crate) fn ask(&self, ask: Ask, reason: &str) -> Result<Request, Refused> {
        let policies = self.read_policies()?;
        let rule = preflight::rule(&ask, &policies)?;
        let mut inner = self.lock();
        let now = inner.now();
        let latest = inner.store.latest_for(&rule)?;
        if let Some(same) = latest.as_ref().filter(|have| have.state.is_pending()) {
            return self.repeat(&mut inner, same.clone(), now);
        }
        if let Some(have) = inner.in_force(now)?.iter().find(|have| rule.is_within(&have.rule)) {
            return Err(Refused::new(
                Code::AskNeedless,
                format!("grant {} allows this already", have.id),
                "send the request again",
            ));
        }
        if let Some(latest) = latest {
            inner.cool_down(&latest, now)?;
        }
        if inner.store.pending()? >= MAX_PENDING {
            return Err(Refused::new(
                Code::DeskFull,
                format!("{MAX_PENDING} requests wait for the operator"),
                "wait for an answer, or withdraw a request",
            ));
        }
        let (most, seconds) = MAX_MADE;
        if inner.store.made_after(now.saturating_sub(seconds))? >= most {
            return Err(Refused::new(
                Code::DeskFull,
                format!("{most} requests were made in the last {seconds} s"),
                "wait a while, and ask for less at a time with patterns",
            ));
        }
        let id = fresh_id("r-")?;
        let reason = words(reason);
        let ask = as_ruled(ask, &rule);
        let request =
            Request { id, ask, rule, reason, created: now, last: now, count: 1, state: State::Pending };
        self.save_request(&mut inner, request)
    }

    /// Counts the same request once more. The disk hears of it once a second at most.
    fn repeat(&self, inner: &mut Inner, same: Request, now: u64) -> Result<Request, Refused> {
        let repeats = inner.repeats.entry(same.id.clone()).or_default();
        *repeats += 1;
        let request = Request { last: now.max(same.last), count: same.count + *repeats, ..same };
        if now <= same.last {
            return Ok(request);
        }
        self.save_request(inner, request)
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

    /// Takes back a request that is pending.
    ///
    /// # Errors
    ///
    /// There is none, or it is closed.
    pub(crate) fn withdraw(&self, id: &str) -> Result<Request, Refused> {
        let mut inner = self.lock();
        let at = inner.now();
        let request = Request { state: State::Withdrawn { at }, ..inner.pending(id)? };
        let decision = decision("withdraw", "agent", at, &request, "");
        self.save(
            &mut inner,
            Change { request: Some(request.clone()), decision: Some(decision), ..Change::default() },
        )?;
        Ok(request)
    }

    /// What an approval of this request is bound to: the policies, the grants in force, and what is asked for.
    ///
    /// # Errors
    ///
    /// The policies can't be read.
    pub(crate) fn review(&self, request: &Request) -> Result<String, Refused> {
        let policies = self.read_policies()?;
        self.lock().review(request, &policies)
    }

    /// Approves a request.
    ///
    /// # Errors
    ///
    /// It is closed; the rule is wider than what was asked for, or can't be in force; what was reviewed has changed; the
    /// decision could not be made durable.
    pub(crate) fn approve(
        &self,
        id: &str,
        approval: Approval,
        by: By,
    ) -> Result<(Request, Granted), Refused> {
        let mut inner = self.lock();
        // With the lock: what was reviewed and what is in force are compared as of one moment.
        let policies = self.read_policies()?;
        let request = inner.pending(id)?;
        if inner.review(&request, &policies)? != approval.review {
            return Err(Refused::new(
                Code::ReviewStale,
                "the policy or its grants have changed since this was reviewed",
                "look at the request again, and decide again",
            ));
        }
        let rule = match approval.rule {
            Some(rule) => preflight::narrowed(rule, &request.rule, &policies)?,
            None => request.rule.clone(),
        };
        preflight::check(&rule, &policies)?;
        let at = inner.now();
        if inner.in_force(at)?.len() >= MAX_GRANTS {
            return Err(Refused::new(
                Code::DeskFull,
                format!("{MAX_GRANTS} grants are in force"),
                "revoke some, or write them into bottle.yaml",
            ));
        }
        let until = match approval.scope {
            Scope::Seconds(seconds) if (1..=MAX_SECONDS).contains(&seconds) => Some(at + seconds),
            Scope::Seconds(_) => {
                return Err(Refused::new(
                    Code::TooWide,
                    "not between a second and 30 days",
                    "choose another time",
                ));
            }
            Scope::Bottle | Scope::Always => None,
        };
        let grant = Granted {
            id: fresh_id("g-")?,
            request: request.id.clone(),
            rule,
            scope: approval.scope,
            at,
            until,
            ended: None,
        };
        let words = words(&approval.words);
        let request = Request {
            state: State::Approved { grant: grant.id.clone(), words: words.clone(), at },
            ..request
        };
        let decision = Decision {
            grant: Some(grant.id.clone()),
            scope: Some(grant.scope),
            until,
            rule: grant.rule.manifest(),
            ..decision("approve", by.text(), at, &request, &words)
        };
        self.save(
            &mut inner,
            Change { request: Some(request.clone()), grants: vec![grant.clone()], decision: Some(decision) },
        )?;
        // The decision is safe; its file is tried again at each look, and whether it is in force is what the sidecars say.
        if let Err(error) = self.write(&grant) {
            line("supervise", &error.to_string());
        }
        Ok((request, grant))
    }

    /// Rejects a request.
    ///
    /// # Errors
    ///
    /// It is closed, or the decision could not be made durable.
    pub(crate) fn reject(&self, id: &str, text: &str, by: By) -> Result<Request, Refused> {
        let mut inner = self.lock();
        let at = inner.now();
        let words = words(text);
        let request = inner.pending(id)?;
        let request = Request { state: State::Rejected { words: words.clone(), at }, ..request };
        let decision = decision("reject", by.text(), at, &request, &words);
        self.save(
            &mut inner,
            Change { request: Some(request.clone()), decision: Some(decision), ..Change::default() },
        )?;
        Ok(request)
    }

    /// Ends a grant.
    ///
    /// # Errors
    ///
    /// There is none in force, or the decision could not be made durable.
    pub(crate) fn revoke(&self, id: &str, by: By) -> Result<Granted, Refused> {
        let mut inner = self.lock();
        let now = inner.now();
        let grant = inner.in_force(now)?.into_iter().find(|grant| grant.id == id);
        let grant = grant.ok_or_else(|| {
            Refused::new(
                Code::Unknown,
                "there is no such grant in force",
                "list the grants that are in force",
            )
        })?;
        self.end(&mut inner, grant, EndCause::Revoked, by.text())
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

    /// Ends what is over, and makes the grants directory agree with the store. Gives the seconds until the next end.
    ///
    /// # Errors
    ///
    /// The store or the directory can't be read or written. What can be done without is done.
    pub(crate) fn look(&self) -> Result<Option<u64>, Refused> {
        let mut inner = self.lock();
        let policies = self.read_policies();
        let now = inner.now();
        let grants = match inner.store.grants(true, usize::MAX) {
            Ok(grants) => grants,
            Err(refused) => {
                clear(&self.places.grants, &[])?;
                return Err(refused);
            }
        };
        let mut first = Ok(());
        let mut note = |done: Result<(), Refused>| {
            if first.is_ok() {
                first = done;
            }
        };
        let (mut next, mut wanted) = (None, Vec::new());
        for grant in grants {
            if let Some((cause, by)) = inner.is_over(&grant, policies.as_deref().ok(), now) {
                note(self.end(&mut inner, grant, cause, by).map(drop));
                continue;
            }
            next = next.into_iter().chain(grant.until.map(|until| until.saturating_sub(now))).min();
            // What the manifest no longer bears is not in force, and is again when it does.
            if policies.as_ref().is_ok_and(|policies| !inner.is_borne(&grant, policies)) {
                continue;
            }
            wanted.push(grant);
        }
        // First this: what a killed writer has left would be in the way of the next one.
        let names: Vec<_> = wanted.iter().map(|grant| file_name(&grant.id)).collect();
        note(clear(&self.places.grants, &names));
        for grant in &wanted {
            note(self.write(grant));
        }
        note(self.close_requests(&mut inner, now));
        // A restart with the clock set back costs no more than this.
        if next.is_some() && now >= inner.clock_saved + CLOCK_PERIOD {
            note(inner.store.save_clock(now));
            inner.clock_saved = now;
        }
        inner.store.write_log();
        first.map(|()| next)
    }

    /// Closes the requests that nobody has decided in time, and saves how often the others were repeated.
    fn close_requests(&self, inner: &mut Inner, now: u64) -> Result<(), Refused> {
        for request in inner.store.requests(true, usize::MAX)? {
            if request.last + PATIENCE <= now {
                let request = Request { state: State::Expired { at: now }, ..inner.pending(&request.id)? };
                let decision = decision("expire", "clock", now, &request, "");
                self.save(
                    inner,
                    Change { request: Some(request), decision: Some(decision), ..Change::default() },
                )?;
            } else if inner.repeats.contains_key(&request.id) {
                let request = Request { last: now, ..inner.pending(&request.id)? };
                self.save_request(inner, request)?;
            }
        }
        Ok(())
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

    fn end(
        &self,
        inner: &mut Inner,
        grant: Granted,
        cause: EndCause,
        by: &'static str,
    ) -> Result<Granted, Refused> {
        let at = inner.now();
        let verdict = match cause {
            EndCause::Expired => "expire",
            EndCause::Revoked => "revoke",
            EndCause::Retired => "retire",
        };
        let grant = Granted { ended: Some(Ended { cause, at }), ..grant };
        let decision = Decision {
            verdict,
            at,
            by,
            request: grant.request.clone(),
            grant: Some(grant.id.clone()),
            scope: None,
            until: None,
            rule: grant.rule.manifest(),
            words: String::new(),
        };
        let change = Change { grants: vec![grant.clone()], decision: Some(decision), request: None };
        let saved = self.save(inner, change);
        match &saved {
            Ok(()) => drop(inner.over.remove(&grant.id)),
            // Whatever the disk says: it is over.
            Err(_) => drop(inner.over.insert(grant.id.clone(), (cause, by))),
        }
        remove(&self.places.grants, Path::new(&file_name(&grant.id)))?;
        saved.map(|()| grant)
    }

    /// Writes a grant's file, if it isn't there as it should be.
    fn write(&self, grant: &Granted) -> Result<(), Refused> {
        let path = self.places.grants.join(file_name(&grant.id));
        let value = grant.rule.grant(&grant.id, grant.until);
        let text = serde_yaml::to_string(&value).map_err(failed)?;
        if fs::read_regular(&path, MAX_GRANT, Links::Refused).is_ok_and(|have| have == text.as_bytes()) {
            return Ok(());
        }
        fs::write_atomic(&path, text.as_bytes(), 0o644).map_err(failed)
    }
}

impl Inner {
    fn now(&mut self) -> u64 {
        self.clock.now(wall()).as_secs()
    }

    /// The youngest grants first: those that have not ended, whether the store has been told or not.
    fn in_force(&self, now: u64) -> Result<Vec<Granted>, Refused> {
        let mut grants = self.store.grants(true, usize::MAX)?;
        grants.retain(|grant| self.is_over(grant, None, now).is_none());
        Ok(grants)
    }

    /// Why a grant is over, and whose doing that is.
    fn is_over(
        &self,
        grant: &Granted,
        policies: Option<&Policies>,
        now: u64,
    ) -> Option<(EndCause, &'static str)> {
        if let Some(over) = self.over.get(&grant.id) {
            return Some(*over);
        }
        if grant.until.is_some_and(|until| until <= now) {
            return Some((EndCause::Expired, "clock"));
        }
        let needless = grant.scope == Scope::Always
            && policies.is_some_and(|policies| preflight::is_in_manifest(&grant.rule, policies));
        needless.then_some((EndCause::Retired, "manifest"))
    }

    /// Whether the policies bear a grant. It is found out once for each state of the policies.
    fn is_borne(&mut self, grant: &Granted, policies: &Policies) -> bool {
        let (digest, borne) = &mut self.borne;
        if *digest != policies.digest {
            digest.clone_from(&policies.digest);
            borne.clear();
        }
        let check = || preflight::check(&grant.rule, policies).is_ok();
        *borne.entry(grant.id.clone()).or_insert_with(check)
    }

    /// Refuses what was answered a short while ago.
    fn cool_down(&self, have: &Request, now: u64) -> Result<(), Refused> {
        let (message, end) = match &have.state {
            State::Pending | State::Expired { .. } => return Ok(()),
            State::Rejected { words, at } => {
                (format!("the operator rejected the same as {}: {words}", have.id), at + COOL_DOWN)
            }
            State::Withdrawn { at } => {
                (format!("the same was withdrawn as {}", have.id), at + COOL_DOWN_WITHDRAWN)
            }
            State::Approved { grant, words, at } => {
                match self.store.grant(grant)?.and_then(|grant| grant.ended) {
                    Some(Ended { cause: EndCause::Revoked, at }) => {
                        (format!("the operator revoked {grant}, which allowed the same"), at + COOL_DOWN)
                    }
                    Some(_) => return Ok(()),
                    // It would allow this if it weren't narrower.
                    None => {
                        (format!("the operator approved less than this as {grant}: {words}"), at + COOL_DOWN)
                    }
                }
            }
        };
        match end.saturating_sub(now) {
            0 => Ok(()),
            left => Err(Refused::new(
                Code::AskRepeated,
                message,
                format!("go on without it; it can be asked for again in {left} s"),
            )),
        }
    }

    fn request(&self, id: &str) -> Result<Request, Refused> {
        let found = self.store.request(id)?.map(|request| self.counted(request));
        found.ok_or_else(|| Refused::new(Code::Unknown, "there is no such request", "list the requests"))
    }

    /// A request with its repeats that were not saved yet.
    fn counted(&self, request: Request) -> Request {
        let repeats = self.repeats.get(&request.id).copied().unwrap_or(0);
        Request { count: request.count + repeats, ..request }
    }

    fn pending(&self, id: &str) -> Result<Request, Refused> {
        let request = self.request(id)?;
        if request.state.is_pending() {
            return Ok(request);
        }
        Err(Refused::new(Code::Closed, format!("{id} has been closed"), "look at what became of it"))
    }

    fn review(&self, request: &Request, policies: &Policies) -> Result<String, Refused> {
        let grants = self.store.grants(true, usize::MAX)?;
        let grants: Vec<_> = grants.into_iter().map(|grant| grant.id).collect();
        let rule = serde_json::to_string(&request.rule).map_err(failed)?;
        let bound = format!("{}\n{}\n{rule}", policies.digest, grants.join(","));
        let digest = ring::digest::digest(&ring::digest::SHA256, bound.as_bytes());
        Ok(decisions::hex(digest.as_ref().get(..8).unwrap_or_default()))
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

/// What was asked for in the one form that its rule has: nothing that only the agent has seen is kept or shown.
fn as_ruled(ask: Ask, rule: &Rule) -> Ask {
    match (ask, rule) {
        (Ask::Route(ask), Rule::Route(route)) => Ask::Route(RouteAsk { host: route.host.clone(), ..ask }),
        (ask, _) => ask,
    }
}

/// Removes every grant from the directory that isn't one of these files, and what a writer that was killed has left.
fn clear(grants: &Path, wanted: &[String]) -> Result<(), Refused> {
    let mut first = Ok(());
    for file in fs::file_names(grants).map_err(failed)? {
        let file = Path::new(&file);
        let ours = file.extension().is_some_and(|extension| extension == "yaml" || extension == "tmp");
        if ours && !wanted.iter().any(|name| Path::new(name) == file) {
            first = first.and(remove(grants, file));
        }
    }
    first
}

/// Removes a file for good: it isn't there again after the power was lost.
fn remove(directory: &Path, file: &Path) -> Result<(), Refused> {
    match fs::remove_file(&directory.join(file)) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => fs::sync_directory(directory).map_err(failed),
    }
}

fn wall() -> SystemTime {
    #[cfg(test)]
    return tests::wall();
    #[cfg(not(test))]
    SystemTime::now()
}

fn file_name(grant: &str) -> String {
    format!("{grant}.yaml")
}

/// Somebody's words: harmless, and not too many.
fn words(text: &str) -> String {
    let short: String = text.chars().take(MAX_WORDS).collect();
    neutral(short.trim().as_bytes())
}

fn failed(error: impl std::fmt::Display) -> Refused {
    Refused::new(Code::StoreFailed, error.to_string(), "see the log of supervise")
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
