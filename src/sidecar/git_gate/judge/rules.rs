//! The push rules.

use super::show::printable;
use super::{Accepted, Granted, Refusal};
use crate::policy::ask::{Ask, PushAsk};
use crate::policy::gate::{PushOperation, PushRule, Repository};
use crate::policy::glob;
use crate::policy::reason::Reason;

/// The rules of a repository: those of the policy, and those that were granted.
pub(super) struct Rules<'a> {
    /// The repository's name.
    pub(super) name: &'a str,
    pub(super) repository: &'a Repository,
    pub(super) granted: &'a Granted,
}

impl Rules<'_> {
    /// Gives the rule that allows an operation on a ref, or says why none does.
    ///
    /// One rule that matches and has the operation is enough. The default branch needs more: a rule that spells it out,
    /// so that a pattern written for something else can't open it by accident. A granted rule is a rule like the others;
    /// one for a single push is for one of its refs, and is none any more when one of those `accepted` has it.
    pub(super) fn judge(
        &self,
        default_branch: &[u8],
        name: &[u8],
        operation: PushOperation,
        accepted: &[Accepted],
    ) -> Result<&str, Box<Refusal>> {
        let subject = printable(name);
        let is_default = name == default_branch;
        let applies = |refs: &str| {
            if is_default {
                refs.as_bytes() == name && !refs.contains('*')
            } else {
                glob::matches(refs.as_bytes(), name)
            }
        };
        let is_used = |rule: &PushRule| {
            self.granted.once.contains_key(&rule.source)
                && accepted.iter().any(|accepted| accepted.rule == rule.source)
        };
        let granted = || self.granted.push.iter().filter(|rule| !is_used(rule));
        let rules = || self.repository.push.iter().chain(granted());
        let matching: Vec<_> = rules().filter(|rule| applies(&rule.refs)).collect();
        if let Some(rule) = matching.iter().find(|rule| rule.allow.contains(&operation)) {
            return Ok(&rule.source);
        }
        let ask = std::str::from_utf8(name).ok().map(|refs| {
            let operations = vec![operation];
            Ask::Push(PushAsk { repository: self.name.to_owned(), refs: refs.to_owned(), operations })
        });
        let Some(first) = matching.first() else {
            let (reason, detail) = match (is_default, rules().next().is_none()) {
                (true, _) => (
                    Reason::DefaultBranch,
                    "it is the upstream's default branch, and no push rule names it".into(),
                ),
                (false, true) => {
                    (Reason::RefDenied, "the repository has no push rules: it is for fetching only".into())
                }
                (false, false) => (Reason::RefDenied, "no push rule matches it".into()),
            };
            let rule = Some(self.repository.source.clone());
            return Err(Box::new(Refusal { reason, subject, detail, rule, ask }));
        };
        let mut allowed: Vec<&str> =
            matching.iter().flat_map(|rule| &rule.allow).map(|allowed| allowed.text()).collect();
        allowed.sort_unstable();
        allowed.dedup();
        let allowed = if allowed.is_empty() { "nothing".into() } else { allowed.join(", ") };
        let detail = format!("the push would be `{}`, and the push rule allows {allowed}", operation.text());
        let rule = Some(first.source.clone());
        Err(Box::new(Refusal { reason: Reason::OperationDenied, subject, detail, rule, ask }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::git_gate::judge::tests::fixture::repository;
    use PushOperation::{Create, Delete, FastForward, Force};

    fn reason(rules: &[(&str, &[PushOperation])], name: &str, operation: PushOperation) -> Option<Reason> {
        let repository = repository(rules, &[]);
        let rules = Rules { name: "app", repository: &repository, granted: &Granted::default() };
        rules.judge(b"refs/heads/main", name.as_bytes(), operation, &[]).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_granted_rule_is_a_rule_like_the_others() {
        let repository = repository(&[("refs/heads/agent/**", &[Create])], &[]);
        let rule =
            |refs: &str| PushRule { source: "grant g-1".into(), refs: refs.into(), allow: vec![Force] };
        let judge = |granted: &[PushRule], name: &str, operation| {
            let granted = &Granted { push: granted.to_vec(), ..Granted::default() };
            let rules = Rules { name: "app", repository: &repository, granted };
            rules
                .judge(b"refs/heads/main", name.as_bytes(), operation, &[])
                .map(str::to_owned)
                .map_err(|refusal| refusal.reason)
        };
        let granted = [rule("refs/heads/agent/x")];
        assert_eq!(judge(&granted, "refs/heads/agent/x", Create).unwrap(), "bottle.yaml:10");
        assert_eq!(judge(&granted, "refs/heads/agent/x", Force).unwrap(), "grant g-1");
        assert_eq!(judge(&granted, "refs/heads/agent/y", Force), Err(Reason::OperationDenied));
        // A grant's wildcard opens the default branch no more than the manifest's does.
        for wide in ["refs/heads/**", "refs/heads/mai*", "refs/**"] {
            assert_eq!(judge(&[rule(wide)], "refs/heads/main", Force), Err(Reason::DefaultBranch), "{wide}");
        }
        assert_eq!(judge(&[rule("refs/heads/main")], "refs/heads/main", Force).unwrap(), "grant g-1");
    }

    #[test]
    fn one_rule_that_matches_and_has_the_operation_is_enough() {
        let rules: &[(&str, &[PushOperation])] = &[
            ("refs/heads/agent/**", &[Create]),
            ("refs/heads/agent/x", &[Force]),
            ("refs/tags/v*", &[Create]),
        ];
        assert_eq!(reason(rules, "refs/heads/agent/x", Create), None);
        assert_eq!(reason(rules, "refs/heads/agent/x", Force), None);
        assert_eq!(reason(rules, "refs/heads/agent/y", Force), Some(Reason::OperationDenied));
        assert_eq!(reason(rules, "refs/heads/agent/x", Delete), Some(Reason::OperationDenied));
        assert_eq!(reason(rules, "refs/tags/v1", Create), None);
        assert_eq!(reason(rules, "refs/tags/1", Create), Some(Reason::RefDenied));
        assert_eq!(reason(rules, "refs/heads/other", Create), Some(Reason::RefDenied));
        assert_eq!(reason(&[], "refs/heads/other", Create), Some(Reason::RefDenied));
    }

    #[test]
    fn the_default_branch_must_be_named() {
        assert_eq!(
            reason(&[("refs/heads/**", &[FastForward])], "refs/heads/main", FastForward),
            Some(Reason::DefaultBranch)
        );
        assert_eq!(reason(&[("refs/heads/main", &[FastForward])], "refs/heads/main", FastForward), None);
        assert_eq!(
            reason(&[("refs/heads/main", &[Create])], "refs/heads/main", Force),
            Some(Reason::OperationDenied)
        );
        let both: &[(&str, &[PushOperation])] =
            &[("refs/heads/*", &[Force]), ("refs/heads/main", &[FastForward])];
        assert_eq!(reason(both, "refs/heads/main", Force), Some(Reason::OperationDenied));
    }
}
