//! What the operator decides.

use super::super::preflight;
use super::super::refused::Refused;
use super::super::rule::Rule;
use super::super::state::{EndCause, Granted, Request, Scope, State};
use super::super::store::{Change, Decision};
use super::{Desk, decision, fresh_id, words};
use crate::policy::reason::Reason;
use crate::sidecar::log::line;

/// The most grants in force; the sidecars read no more than a thousand.
const MAX_GRANTS: usize = 250;
/// The longest time for which something can be approved, in seconds.
pub(super) const MAX_SECONDS: u64 = 30 * 24 * 3600;
/// When what was approved for once ends unused, in seconds.
pub(super) const ONCE: u64 = 8 * 3600;

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
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Terminal => "terminal",
        }
    }
}

impl Desk {
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
                Reason::ReviewStale,
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
                Reason::DeskFull,
                format!("{MAX_GRANTS} grants are in force"),
                "revoke some, or write them into bottle.yaml",
            ));
        }
        let until = match approval.scope {
            Scope::Once => Some(at + ONCE),
            Scope::Seconds(seconds) if (1..=MAX_SECONDS).contains(&seconds) => Some(at + seconds),
            Scope::Seconds(_) => {
                return Err(Refused::new(
                    Reason::TooWide,
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
                Reason::GrantUnknown,
                "there is no such grant in force",
                "list the grants that are in force",
            )
        })?;
        self.end(&mut inner, grant, EndCause::Revoked, by.text())
    }
}
