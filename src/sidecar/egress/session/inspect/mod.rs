//! Looking into what an agent sends, before it leaves.
//!
//! Searched are the URL, the names and values of headers, the body and its trailers, and the messages of a WebSocket; what
//! is found is in [`crate::scan`]. Nothing leaves before it is decided: what may be the beginning of a secret is held
//! back, and a body that is packed goes on only as far as what it unpacks to was looked at. What can be told of a finding
//! is its kind, its name and its fingerprint, and never its text.

mod body;
mod frames;
mod head;
mod packed;
mod parts;

use std::sync::Arc;

pub(super) use self::body::Inspected;
pub(super) use self::frames::Frames;
pub(super) use self::head::{covered_path, look};
pub(super) use self::packed::{Packed, unreadable};

use super::target::Target;
use crate::policy::egress::{OnSecret, Route};
use crate::policy::reason::Reason;
use crate::policy::rules::Exception;
use crate::policy::secret::SecretId;
use crate::scan::{Finding, Kind, Known, Scanner};
use crate::sidecar::egress::Egress;
use crate::sidecar::egress::audit::{Done, Noted};
use crate::sidecar::egress::live::Snapshot;
use crate::sidecar::egress::refusal::Refusal;
use crate::sidecar::log;
use crate::sidecar::used::Claim;

/// What stands in the place of each byte of a secret that is covered: it may stand in a URL, a header and a text in JSON.
const COVER: u8 = b'*';

/// The most findings of a request that are told one by one.
const MOST_NOTED: usize = 20;

/// What a request's contents are judged by.
#[derive(Clone)]
pub(super) struct Inspector {
    egress: Arc<Egress>,
    target: Arc<Target>,
    route: Arc<Route>,
    known: Arc<Known>,
    /// The secrets that were let pass in this request: a grant for one request lets them pass wherever they stand in it.
    passed: Vec<SecretId>,
    noted: Vec<Noted>,
    /// What was noted so far, and is not noted again.
    told: Vec<(SecretId, Done)>,
}

/// What is to be done about a finding that doesn't have the request refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Pass,
    Cover,
}

/// Whether each byte of a finding can be covered where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// It can.
    Open,
    /// It can't: it stands in what is packed or encoded, or in what can't be another text.
    Fixed,
}

impl Inspector {
    /// Begins with a request that a route allows.
    pub(super) fn new(
        egress: &Arc<Egress>,
        target: &Arc<Target>,
        route: &Arc<Route>,
        snapshot: &Snapshot,
    ) -> Self {
        Self {
            egress: Arc::clone(egress),
            target: Arc::clone(target),
            route: Arc::clone(route),
            known: snapshot.credentials.known(),
            passed: Vec::new(),
            noted: Vec::new(),
            told: Vec::new(),
        }
    }

    /// What was found so far, each finding once.
    pub(super) fn take_noted(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.noted)
    }

    /// Goes by the credentials as they are now, for what may go on for long.
    fn renew(&mut self) {
        self.known = self.egress.live.now().credentials.known();
    }

    /// A search through one stream of text.
    fn scanner(&self) -> Scanner {
        Scanner::new(Arc::clone(&self.known), self.own())
    }

    /// Searches what is all there.
    fn scan(&self, text: &[u8], found: &mut Vec<Finding>) {
        crate::scan::scan(&self.known, self.own(), text, &mut |finding| found.push(finding));
    }

    /// The credential whose placeholder may stand in the request.
    fn own(&self) -> Option<&str> {
        self.route.credential.as_deref()
    }

    /// Judges a finding.
    fn judge(&mut self, finding: &Finding, place: Place) -> Result<Answer, Refusal> {
        let id = SecretId::of(finding);
        if self.passed.contains(&id) {
            return Ok(Answer::Pass);
        }
        let judged = match (self.route.on_secret, place) {
            (OnSecret::Block, _) => Err(self.refusal(&id, "")),
            (OnSecret::Redact, Place::Open) => Ok(Answer::Cover),
            (OnSecret::Redact, Place::Fixed) => {
                Err(self.refusal(&id, "; it can't be covered where it stands: in what is packed or encoded"))
            }
            (OnSecret::Ask, _) => self.excepted(&id),
        };
        let done = match &judged {
            Ok(Answer::Pass) => Done::Passed,
            Ok(Answer::Cover) => Done::Covered,
            Err(_) => Done::Refused,
        };
        if self.told.len() < MOST_NOTED && !self.told.iter().any(|(known, how)| *known == id && *how == done)
        {
            self.told.push((id.clone(), done));
            self.noted.push(Noted { id, done });
        }
        judged
    }

    /// The refusal of a finding that was to be covered, of which a part has left.
    fn too_late(&mut self, finding: &Finding) -> Refusal {
        let id = SecretId::of(finding);
        for noted in self.noted.iter_mut().filter(|noted| noted.id == id) {
            noted.done = Done::Refused;
        }
        self.refusal(&id, "; a part of it has already been sent")
    }

    /// Whether the operator lets a secret pass: asked each time, since an approval ends.
    fn excepted(&mut self, id: &SecretId) -> Result<Answer, Refusal> {
        let snapshot = self.egress.live.now();
        let host = &self.target.host;
        while let Some(Exception { secret, once }) = snapshot.rules.exception(host, id) {
            let Some(once) = once else { return Ok(Answer::Pass) };
            match self.egress.live.claim(&secret.source, once) {
                Ok(Claim::Won) => {
                    self.passed.push(id.clone());
                    return Ok(Answer::Pass);
                }
                // It is spent now, and not given again.
                Ok(Claim::Lost) => {}
                Err(problem) => {
                    log::line("egress", &format!("the {} can't be marked as used: {problem}", secret.source));
                    let refusal = Refusal::new(Reason::GrantUnclaimed, "its use could not be written down");
                    return Err(Refusal { rule: Some(secret.source.clone()), ..refusal });
                }
            }
        }
        let refusal = self.refusal(id, "");
        Err(match snapshot.rules.ask_for(host, id) {
            Some(ask) => Refusal { reason: Reason::SecretPending, hint: None, ask: Some(ask), ..refusal },
            None => refusal,
        })
    }

    fn refusal(&self, id: &SecretId, more: &str) -> Refusal {
        let hint = match id.kind() {
            Kind::Placeholder => Some(
                "send a placeholder only to the hosts whose routes use its credential: egress puts that in there".to_owned(),
            ),
            Kind::Credential | Kind::Token => None,
        };
        Refusal {
            rule: Some(self.route.source.clone()),
            hint,
            ..Refusal::new(Reason::SecretSent, format!("it holds {} [{id}]{more}", id.plain()))
        }
    }
}
