//! Credentials that the operator enters. What is in a message, supervise can't read: it only passes it on.

use super::looking::remove;
use super::{By, Change, Decision, Desk, Refused, failed};
use crate::policy::reason::Reason;
use crate::sidecar::letter::{FILE, Letter};
use crate::sidecar::report::Credentials;
use crate::sidecar::supervise::rule::Enforcer;

impl Desk {
    /// What egress reports of its credentials; none where it takes none.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.places.letters.as_ref()?;
        self.report(Enforcer::Egress)?.credentials
    }

    /// Leaves a letter for egress. That the operator did so is durable before.
    ///
    /// # Errors
    ///
    /// The manifest has no such credential, egress takes none or has another key by now, or something can't be written.
    pub(crate) fn enter(&self, letter: &Letter, by: By) -> Result<(), Refused> {
        let (Some(letters), Some(reported)) = (&self.places.letters, self.credentials()) else {
            return Err(Refused::new(
                Reason::EgressSilent,
                "egress has not said that it takes credentials",
                "see the health of egress; it may be starting",
            ));
        };
        let name = &letter.credential;
        let policies = self.read_policies()?;
        if !policies.egress.as_ref().is_some_and(|policy| policy.credentials.contains_key(name)) {
            return Err(Refused::new(
                Reason::CredentialUnknown,
                "bottle.yaml has no such credential that a route uses",
                "list those that can be entered with `bottle requests credential`",
            ));
        }
        if letter.message.key != reported.key {
            return Err(Refused::new(
                Reason::ReviewStale,
                "the credential was sealed for a key that egress no longer has",
                "enter it again",
            ));
        }
        let mut inner = self.lock();
        let decision = Decision {
            verdict: if letter.remove { "remove" } else { "enter" },
            at: inner.now(),
            by: by.text(),
            request: name.clone(),
            grant: None,
            scope: None,
            until: None,
            rule: format!("credential: {name}"),
            words: String::new(),
        };
        self.save(&mut inner, Change { decision: Some(decision), ..Change::default() })?;
        letter.leave(letters).map_err(failed)
    }

    /// Takes a letter back that egress has not taken.
    ///
    /// # Errors
    ///
    /// The directory can't be written.
    pub(crate) fn take_letter_back(&self) -> Result<(), Refused> {
        self.places.letters.as_ref().map_or(Ok(()), |letters| remove(letters, FILE.as_ref()))
    }
}
