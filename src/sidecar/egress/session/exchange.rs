//! One request from its head to its end: how it was judged, and the one line of the audit log that it gets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::standing::Standing;
use super::target::Target;
use super::upload::Progress;
use crate::policy::egress::Route;
use crate::policy::reason::Reason;
use crate::policy::rules::{Once, Permit, Request};
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::audit::{Event, Noted, Record};
use crate::sidecar::egress::body::BodyError;
use crate::sidecar::egress::live::Snapshot;
use crate::sidecar::egress::pipelock::{Inspection, Tally};
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::used::Claim;
use crate::sidecar::{ids, log};

/// A request under way. It is recorded when it is dropped, so that each is recorded once, however it ends.
pub(super) struct Exchange {
    egress: Arc<Egress>,
    target: Option<Arc<Target>>,
    /// The path that it is judged by, where another one is told.
    path: Option<String>,
    websocket: bool,
    /// The route that allowed it.
    route: Option<Arc<Route>>,
    passes: Passes,
    standing: Option<Arc<Standing>>,
    started: Instant,
    upload: Option<Arc<Progress>>,
    scans: Option<Arc<Tally>>,
    ended: bool,
    forgotten: bool,
    record: Record,
}

/// What lets it through, where it is let through.
enum Passes {
    /// The policy, for as long as it does.
    ByPolicy,
    /// A grant for one request, which it has used up.
    Once,
}

impl Exchange {
    /// Begins a request of which nothing is known yet.
    pub(super) fn begin(egress: &Arc<Egress>, version: &'static str) -> Box<Self> {
        Box::new(Self {
            egress: Arc::clone(egress),
            target: None,
            path: None,
            websocket: false,
            route: None,
            passes: Passes::ByPolicy,
            standing: None,
            started: Instant::now(),
            upload: None,
            scans: None,
            ended: false,
            forgotten: false,
            record: Record { id: ids::next(), version, ..Record::default() },
        })
    }

    /// Says where it goes.
    pub(super) fn aims_at(&mut self, target: &Arc<Target>) {
        self.record.scheme = target.scheme;
        self.record.host = target.host.to_string();
        self.record.port = target.port;
        self.target = Some(Arc::clone(target));
    }

    /// Says what it asks for; the path is without the query.
    pub(super) fn asks(&mut self, method: &str, path: &str, websocket: bool) {
        method.clone_into(&mut self.record.method);
        path.clone_into(&mut self.record.path);
        self.websocket = websocket;
    }

    /// The process.
    pub(super) fn egress(&self) -> &Arc<Egress> {
        &self.egress
    }

    /// The request's id.
    pub(super) fn id(&self) -> &str {
        &self.record.id
    }

    /// The path that is told of it.
    pub(super) fn path(&self) -> &str {
        &self.record.path
    }

    /// Where it goes; nowhere before that was read.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        self.target.as_ref()
    }

    /// Judges it by a state of the policy.
    pub(super) fn judge(&mut self, snapshot: &Snapshot) -> Result<Permit, Refusal> {
        self.record.generation = snapshot.generation;
        let permit = snapshot.rules.permit(&self.question()?)?;
        self.record.rule = Some(permit.route.source.clone());
        self.route = Some(Arc::clone(&permit.route));
        Ok(permit)
    }

    fn question(&self) -> Result<Request<'_>, Refusal> {
        let target = self.target.as_ref();
        let target =
            target.ok_or_else(|| Refusal::new(Reason::EgressFailed, "a request without a target"))?;
        Ok(Request {
            target: target.as_rules(),
            method: &self.record.method,
            path: self.path.as_ref().unwrap_or(&self.record.path),
            websocket: self.websocket,
        })
    }

    /// Says who else goes by how it stands.
    pub(super) fn stands(&mut self, standing: &Arc<Standing>) {
        self.standing = Some(Arc::clone(standing));
    }

    /// Uses up what lets it through once, before anything of it leaves. It is to be judged again where that is another
    /// request's.
    pub(super) fn claim(&mut self, permits: &[Permit]) -> Result<Claim, Refusal> {
        let mut claimed: Vec<&Arc<Once>> = Vec::new();
        for Permit { route, once } in permits {
            let Some(once) = once.as_ref().filter(|once| !claimed.iter().any(|have| Arc::ptr_eq(have, once)))
            else {
                continue;
            };
            match self.egress.live.claim(&route.source, once) {
                Ok(Claim::Won) => claimed.push(once),
                Ok(Claim::Lost) => return Ok(Claim::Lost),
                Err(problem) => {
                    log::line("egress", &format!("the {} can't be marked as used: {problem}", route.source));
                    let refusal = Refusal::new(Reason::GrantUnclaimed, "its use could not be written down");
                    return Err(Refusal { rule: Some(route.source.clone()), ..refusal });
                }
            }
        }
        if !claimed.is_empty() {
            self.passes = Passes::Once;
        }
        if let Some(standing) = &self.standing {
            standing.passes(self.is_claimed());
        }
        Ok(Claim::Won)
    }

    /// Whether it has used up a grant for one request: that grant is over, and only a deny rule ends the request.
    pub(super) fn is_claimed(&self) -> bool {
        matches!(self.passes, Passes::Once)
    }

    /// Says that it waits for an approval, and how it is refused without one.
    pub(super) fn hold(&mut self, refusal: &Refusal) {
        self.refused(refusal);
        let ask = refusal.ask.as_deref().map(|asking| &asking.ask);
        self.egress.audit.event(Event::Held { record: &self.record, ask });
    }

    /// Says that it was approved while it waited.
    pub(super) fn release(&mut self) {
        (self.record.reason, self.record.detail) = (None, None);
    }

    /// Judges it as if it had another method.
    pub(super) fn judge_as(&mut self, snapshot: &Snapshot, method: &str) -> Result<Permit, Refusal> {
        let own = std::mem::replace(&mut self.record.method, method.to_owned());
        let judged = self.judge(snapshot);
        self.record.method = own;
        judged
    }

    /// Judges it when it is under way: it could not use up a grant any more.
    fn judge_on(&mut self, snapshot: &Snapshot) -> Result<Arc<Route>, Refusal> {
        self.record.generation = snapshot.generation;
        let question = self.question()?;
        if self.is_claimed() {
            snapshot.rules.judge_claimed(&question)?;
            return self
                .route
                .clone()
                .ok_or_else(|| Refusal::new(Reason::EgressFailed, "a claim without a route"));
        }
        let route = snapshot.rules.judge(&question)?;
        self.record.rule = Some(route.source.clone());
        self.route = Some(Arc::clone(&route));
        Ok(route)
    }

    /// Judges it again by the policy that is now in force: it was allowed before.
    pub(super) fn judge_again(&mut self) -> Result<(), Refusal> {
        if self.record.reason.is_some() {
            return Ok(());
        }
        let snapshot = self.egress.live.now();
        if snapshot.generation == self.record.generation {
            return Ok(());
        }
        let private = self.route.as_ref().is_some_and(|route| route.private);
        let refusal = match self.judge_on(&snapshot) {
            // The address was checked by the old route; a new connection would have to be checked by the new one.
            Ok(route) if private && !route.private => {
                Refusal { rule: Some(route.source.clone()), ..Refusal::new(Reason::AddressPrivate, "") }
            }
            Ok(_) => return Ok(()),
            Err(refusal) => refusal,
        };
        let detail = format!("the policy changed and refuses it now: {}", refusal.reason.code());
        let refusal = Refusal { reason: Reason::PolicyChanged, detail, ask: None, ..refusal };
        self.refused(&refusal);
        Err(refusal)
    }

    /// Says what was seen in a part of it.
    pub(super) fn looked(&mut self, scanned: u64, found: Vec<Noted>) {
        self.record.scanned += scanned;
        self.record.found.extend(found);
    }

    /// Says what path may be told of it: a secret in it is covered.
    pub(super) fn tells(&mut self, path: &str) {
        let path = std::mem::replace(&mut self.record.path, path.to_owned());
        self.path.get_or_insert(path);
    }

    /// Says that what is told of its path is what is sent.
    pub(super) fn is_covered(&mut self) {
        self.path = None;
    }

    /// Counts the body that is sent upstream.
    pub(super) fn counts(&mut self, upload: &Arc<Progress>) {
        self.upload = Some(Arc::clone(upload));
    }

    /// Begins to ask the second scanner about it, where the policy has one.
    pub(super) fn inspect(&mut self, snapshot: &Snapshot) -> Option<Inspection> {
        let url = snapshot.policy.scanner.as_deref()?;
        let inspection = Inspection::begin(&self.egress.scanner, url, &self.record.id);
        self.scans = Some(Arc::clone(inspection.tally()));
        Some(inspection)
    }

    /// Says which credential went in, and whether a value of the agent's was dropped for it.
    pub(super) fn carries(&mut self, credential: &str, replaced: bool) {
        self.record.credential = Some(credential.to_owned());
        self.record.replaced = replaced;
    }

    /// Says that it is refused, or that it failed.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.record.reason = Some(refusal.reason);
        if refusal.rule.is_some() {
            self.record.rule.clone_from(&refusal.rule);
        }
        self.record.detail = Some(refusal.detail.clone()).filter(|detail| !detail.is_empty());
        if let (Reason::SecretPending, Some(asking)) = (refusal.reason, refusal.ask.as_deref()) {
            // The operator is asked by egress itself, as for a request that is held.
            self.egress.audit.event(Event::Held { record: &self.record, ask: Some(&asking.ask) });
        }
    }

    /// Says that the head of the answer is there.
    pub(super) fn answered(&mut self, status: http::StatusCode) {
        self.record.status = Some(status.as_u16());
        self.record.micros.0 = Some(micros(self.started));
    }

    /// Counts bytes that were sent upstream without a body.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.record.sent += bytes as u64;
    }

    /// Counts bytes of the answer's body.
    pub(super) fn received(&mut self, bytes: usize) {
        self.record.received += bytes as u64;
    }

    /// Says that everything has been passed on.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Says that there is nothing to record: requests will follow that say it.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
    }

    /// Says that not everything that was passed on has arrived.
    pub(super) fn lost(&mut self) {
        self.ended = false;
    }

    /// Says that the answer broke off.
    pub(super) fn broken(&mut self, error: &BodyError) {
        // Where the agent's own body is the cause, it has more to say.
        let cause = self.upload.as_ref().and_then(|upload| upload.failure());
        let refusal = cause.filter(|cause| cause.reason == error.reason).cloned();
        self.refused(&refusal.unwrap_or_else(|| error.clone().into()));
    }

    /// Whether it was refused, or failed.
    pub(super) fn is_refused(&self) -> bool {
        self.record.reason.is_some()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // What goes on after the record would be neither counted nor cut.
        if let Some(upload) = &self.upload {
            upload.stop();
        }
        if self.forgotten {
            return;
        }
        let mut record = std::mem::take(&mut self.record);
        record.micros.1 = micros(self.started);
        record.scans = self.scans.as_deref().and_then(Tally::told);
        if let Some(upload) = &self.upload {
            let (scanned, found, unread) = upload.seen();
            record.sent += upload.sent();
            record.scanned += scanned;
            record.found.extend(found);
            record.unread = unread;
        }
        self.egress.metrics.scanned.fetch_add(record.scanned, Ordering::Relaxed);
        for noted in &record.found {
            self.egress.metrics.found(noted.done);
        }
        if std::thread::panicking() {
            record.reason = Some(Reason::EgressFailed);
            record.detail = Some("a fault in egress ended the request".to_owned());
        } else if !self.ended && record.detail.is_none() {
            record.detail = Some("the agent's connection ended before the answer did".to_owned());
        }
        match record.reason {
            Some(reason) => self.egress.metrics.refused(reason),
            None => {
                self.egress.metrics.allowed.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.egress.audit.record(record);
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
