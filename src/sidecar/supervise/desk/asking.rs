//! What comes in: requests, and that they are taken back.

use super::super::ask::{Ask, RouteAsk};
use super::super::preflight;
use super::super::refused::Refused;
use super::super::rule::Rule;
use super::super::state::{Origin, Request, State};
use super::super::store::Change;
use super::{Desk, Inner, decision, fresh_id, words};
use crate::policy::reason::Reason;

/// What may be asked for by one side, so that neither takes up the other's room.
pub(super) struct Room {
    /// The most requests that wait for an answer at a time.
    pub(super) pending: usize,
    /// The most requests in so many seconds; the same one again is none.
    pub(super) made: (usize, u64),
}

/// The agent's own.
pub(super) const AGENT: Room = Room { pending: 20, made: (60, 600) };
/// That of the requests that egress holds: a program that tries many hosts is not to bury what was asked for in words.
pub(super) const HELD: Room = Room { pending: 8, made: (30, 600) };

impl Desk {
    /// Takes a request of the agent. The same as one that is pending is counted there.
    ///
    /// # Errors
    ///
    /// It can't be approved, was rejected a short while ago, or too many are pending.
    pub(crate) fn ask(&self, ask: Ask, reason: &str) -> Result<Request, Refused> {
        self.take(ask, Origin::Agent, reason)
    }

    /// Takes what would let a request pass that egress holds.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    pub(crate) fn held(&self, ask: Ask) -> Result<Request, Refused> {
        self.take(ask, Origin::Held, "")
    }

    fn take(&self, ask: Ask, origin: Origin, reason: &str) -> Result<Request, Refused> {
        let policies = self.read_policies()?;
        let rule = preflight::rule(&ask, &policies)?;
        let mut inner = self.lock();
        let now = inner.now();
        let room = match origin {
            Origin::Agent => AGENT,
            Origin::Held => HELD,
        };
        let pending = inner.store.pending(origin)?;
        let latest = inner.store.latest_for(&rule)?;
        if let Some(same) = latest.as_ref().filter(|have| have.state.is_pending()) {
            if origin == Origin::Agent && same.origin == Origin::Held && pending < room.pending {
                // Now it has words.
                let (reason, count) = (words(reason), inner.counted(same.clone()).count + 1);
                let request = Request { origin, reason, last: now.max(same.last), count, ..same.clone() };
                return self.save_request(&mut inner, request);
            }
            return self.repeat(&mut inner, same.clone(), now);
        }
        if let Some(have) = inner.in_force(now)?.iter().find(|have| rule.is_within(&have.rule)) {
            return Err(Refused::new(
                Reason::AskNeedless,
                format!("grant {} allows this already", have.id),
                "send the request again",
            ));
        }
        if let Some(latest) = latest {
            inner.cool_down(&latest, now)?;
        }
        if pending >= room.pending {
            return Err(Refused::new(
                Reason::DeskFull,
                format!("{} requests wait for the operator", room.pending),
                "wait for an answer, or withdraw a request",
            ));
        }
        let (most, seconds) = room.made;
        if inner.store.made_after(now.saturating_sub(seconds), origin)? >= most {
            return Err(Refused::new(
                Reason::DeskFull,
                format!("{most} requests were made in the last {seconds} s"),
                "wait a while, and ask for less at a time with patterns",
            ));
        }
        let id = fresh_id("r-")?;
        let reason = words(reason);
        let ask = as_ruled(ask, &rule);
        let request = Request {
            id,
            ask,
            rule,
            origin,
            reason,
            created: now,
            last: now,
            count: 1,
            state: State::Pending,
        };
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
}

/// What was asked for in the one form that its rule has: nothing that only the agent has seen is kept or shown.
fn as_ruled(ask: Ask, rule: &Rule) -> Ask {
    match (ask, rule) {
        (Ask::Route(ask), Rule::Route(route)) => Ask::Route(RouteAsk { host: route.host.clone(), ..ask }),
        (ask, _) => ask,
    }
}
