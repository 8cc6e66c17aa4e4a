//! What the files mean, put together to what can be in force.
//!
//! A policy that is wrong leaves the last good one in force. A grant that is wrong is not applied, even if it was good
//! before: a grant only adds, so that without it nothing is open that should be closed.

use std::sync::Arc;

use super::Snapshot;
use super::files::{Meaning, Source};
use crate::policy::egress::EgressPolicy;
use crate::policy::grant::Grant;
use crate::policy::rules::Rules;
use crate::sidecar::egress::credential::Credentials;
use crate::sidecar::grants::{self, Grants};

/// A state of the policy in the making.
pub(super) struct State {
    /// None where there is no good policy, old or new.
    good: Option<(EgressPolicy, Grants, Rules)>,
    problems: Vec<String>,
}

impl State {
    /// Puts the files and the grants that have not ended together.
    pub(super) fn new(
        source: &Source,
        meaning: &Meaning,
        grants: Grants,
        current: Option<&Snapshot>,
    ) -> Self {
        let judged = match &meaning.policy {
            Ok(policy) => Rules::new(policy, &[])
                .map(|_| policy.clone())
                .map_err(|error| format!("{}: {error}", source.policy.display())),
            Err(problem) => Err(problem.clone()),
        };
        let (policy, problem) = match judged {
            Ok(policy) => (Some(policy), None),
            Err(problem) => (current.map(|current| current.policy.clone()), Some(problem)),
        };
        let mut problems: Vec<_> = problem.into_iter().chain(meaning.problems.iter().cloned()).collect();
        let good = policy.and_then(|policy| {
            let (grants, rules) = with_grants(source, &policy, grants, &mut problems)?;
            Some((policy, grants, rules))
        });
        Self { good, problems }
    }

    /// Adds a problem where the policy names other authorities than the first one did: those are the ones in use.
    pub(super) fn compare_authorities(&mut self, source: &Source, first: &mut Option<Vec<String>>) {
        let Some((policy, ..)) = &self.good else { return };
        if first.get_or_insert_with(|| policy.extra_ca.clone()) != &policy.extra_ca {
            let file = source.policy.display();
            self.problems.push(format!("{file}: `extra_ca` is read only at the start: start egress again"));
        }
    }

    /// What is wrong, in one text.
    pub(super) fn problem(&self) -> Option<String> {
        grants::told(&self.problems)
    }

    /// The snapshot, if it differs from what is in force.
    pub(super) fn swap(self, source: &Source, current: Option<&Arc<Snapshot>>) -> Option<Arc<Snapshot>> {
        let (policy, grants, rules) = self.good?;
        let (generation, credentials) = match current {
            Some(current) if current.policy == policy && current.grants == grants => return None,
            Some(current) if current.policy.credentials == policy.credentials => {
                (current.generation + 1, Arc::clone(&current.credentials))
            }
            _ => {
                let generation = current.map_or(1, |current| current.generation + 1);
                (generation, Arc::new(Credentials::new(&policy.credentials, source.entered.as_deref())))
            }
        };
        Some(Arc::new(Snapshot { generation, policy, grants, rules, credentials }))
    }
}

/// The rules of a good policy and of those grants that go with it.
fn with_grants(
    source: &Source,
    policy: &EgressPolicy,
    mut grants: Grants,
    problems: &mut Vec<String>,
) -> Option<(Grants, Rules)> {
    let together = |grants: &[(String, Grant)]| {
        let grants: Vec<_> = grants.iter().map(|(_, grant)| grant.clone()).collect();
        Rules::new(policy, &grants)
    };
    if let Ok(rules) = together(&grants) {
        return Some((grants, rules));
    }
    grants.retain(|(name, grant)| {
        let judged = Rules::new(policy, std::slice::from_ref(grant));
        problems
            .extend(judged.as_ref().err().map(|error| format!("{}: {error}", source.grant(name).display())));
        judged.is_ok()
    });
    match together(&grants) {
        Ok(rules) => Some((grants, rules)),
        // What is good alone is good together; if it isn't, only the policy itself can be relied on.
        Err(error) => {
            problems.push(format!("the grants together: {error}"));
            Some((Vec::new(), together(&[]).ok()?))
        }
    }
}
