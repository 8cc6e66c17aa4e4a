//! What the desk knows, with its lock held.

use std::collections::HashMap;

use super::super::config::{Places, Policies};
use super::super::preflight;
use super::super::refused::Refused;
use super::super::state::{EndCause, Ended, Granted, Request, Scope, State};
use super::super::store::Store;
use super::{failed, wall};
use crate::policy::reason::Reason;
use crate::sidecar::clock::Clock;
use crate::sidecar::text::hex;
use crate::sidecar::used::Used;

/// For how long the same request is refused after it was rejected, approved in part or revoked, in seconds.
const COOL_DOWN: u64 = 300;
/// The same after the agent took it back.
const COOL_DOWN_WITHDRAWN: u64 = 60;

/// What the desk knows.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) places: Places,
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// The latest time that the store is known to have.
    pub(super) clock_saved: u64,
    /// How often requests were repeated since they were saved, by id.
    pub(super) repeats: HashMap<String, u64>,
    /// Grants that are over although the store could not be told: they stay out of the directory until it can.
    pub(super) over: HashMap<String, (EndCause, &'static str)>,
    /// Whether the policies of this digest bear a grant, by id.
    pub(super) borne: (String, HashMap<String, bool>),
}

impl Inner {
    pub(super) fn now(&mut self) -> u64 {
        self.clock.now(wall()).as_secs()
    }

    /// The youngest grants first: those that have not ended, whether the store has been told or not.
    pub(super) fn in_force(&self, now: u64) -> Result<Vec<Granted>, Refused> {
        let mut grants = self.store.grants(true, usize::MAX)?;
        grants.retain(|grant| self.is_over(grant, None, now).is_none());
        Ok(grants)
    }

    /// Why a grant is over, and whose doing that is.
    pub(super) fn is_over(
        &self,
        grant: &Granted,
        policies: Option<&Policies>,
        now: u64,
    ) -> Option<(EndCause, &'static str)> {
        if let Some(over) = self.over.get(&grant.id) {
            return Some(*over);
        }
        if grant.scope == Scope::Once && self.is_used(grant) {
            return Some((EndCause::Used, grant.rule.enforcer().name()));
        }
        if grant.until.is_some_and(|until| until <= now) {
            return Some((EndCause::Expired, "clock"));
        }
        let needless = grant.scope == Scope::Always
            && policies.is_some_and(|policies| preflight::is_in_manifest(&grant.rule, policies));
        needless.then_some((EndCause::Retired, "manifest"))
    }

    /// Whether the sidecar that enforces a grant has marked it as used. Where that can't be seen, the sidecar still goes by
    /// its own mark.
    fn is_used(&self, grant: &Granted) -> bool {
        let report = self.places.report(grant.rule.enforcer());
        report.is_some_and(|report| Used::of(report).is_marked(&grant.id).unwrap_or(false))
    }

    /// Whether the policies bear a grant. It is found out once for each state of the policies.
    pub(super) fn is_borne(&mut self, grant: &Granted, policies: &Policies) -> bool {
        let (digest, borne) = &mut self.borne;
        if *digest != policies.digest {
            digest.clone_from(&policies.digest);
            borne.clear();
        }
        let check = || preflight::check(&grant.rule, policies).is_ok();
        *borne.entry(grant.id.clone()).or_insert_with(check)
    }

    /// Refuses what was answered a short while ago.
    pub(super) fn cool_down(&self, have: &Request, now: u64) -> Result<(), Refused> {
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
                Reason::AskRepeated,
                message,
                format!("go on without it; it can be asked for again in {left} s"),
            )),
        }
    }

    pub(super) fn request(&self, id: &str) -> Result<Request, Refused> {
        let found = self.store.request(id)?.map(|request| self.counted(request));
        found.ok_or_else(|| {
            Refused::new(Reason::RequestUnknown, "there is no such request", "list the requests")
        })
    }

    /// A request with its repeats that were not saved yet.
    pub(super) fn counted(&self, request: Request) -> Request {
        let repeats = self.repeats.get(&request.id).copied().unwrap_or(0);
        Request { count: request.count + repeats, ..request }
    }

    pub(super) fn pending(&self, id: &str) -> Result<Request, Refused> {
        let request = self.request(id)?;
        if request.state.is_pending() {
            return Ok(request);
        }
        Err(Refused::new(Reason::RequestClosed, format!("{id} has been closed"), "look at what became of it"))
    }

    pub(super) fn review(&self, request: &Request, policies: &Policies) -> Result<String, Refused> {
        let grants = self.store.grants(true, usize::MAX)?;
        let grants: Vec<_> = grants.into_iter().map(|grant| grant.id).collect();
        let rule = serde_json::to_string(&request.rule).map_err(failed)?;
        let bound = format!("{}\n{}\n{rule}", policies.digest, grants.join(","));
        let digest = ring::digest::digest(&ring::digest::SHA256, bound.as_bytes());
        Ok(hex(digest.as_ref().get(..8).unwrap_or_default()))
    }
}
