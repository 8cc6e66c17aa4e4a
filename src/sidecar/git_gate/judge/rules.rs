//! The push rules.

use super::Refusal;
use super::show::printable;
use crate::policy::gate::{PushOperation, Repository};
use crate::policy::glob;
use crate::policy::reason::Reason;

/// Says why a repository's rules don't allow an operation on a ref, or nothing.
///
/// One rule that matches and has the operation is enough. The default branch needs more: a rule that spells it out, so
/// that a pattern written for something else can't open it by accident.
pub(super) fn problem(
    repository: &Repository,
    default_branch: &[u8],
    name: &[u8],
    operation: PushOperation,
) -> Option<Refusal> {
    let subject = printable(name);
    let is_default = name == default_branch;
    let applies = |refs: &str| {
        if is_default {
            refs.as_bytes() == name && !refs.contains('*')
        } else {
            glob::matches(refs.as_bytes(), name)
        }
    };
    let matching: Vec<_> = repository.push.iter().filter(|rule| applies(&rule.refs)).collect();
    if matching.iter().any(|rule| rule.allow.contains(&operation)) {
        return None;
    }
    let Some(first) = matching.first() else {
        let (reason, detail) = match (is_default, repository.push.is_empty()) {
            (true, _) => (
                Reason::DefaultBranch,
                "it is the upstream's default branch, and no push rule names it".into(),
            ),
            (false, true) => {
                (Reason::RefDenied, "the repository has no push rules: it is for fetching only".into())
            }
            (false, false) => (Reason::RefDenied, "no push rule matches it".into()),
        };
        return Some(Refusal { reason, subject, detail, rule: Some(repository.source.clone()) });
    };
    let mut allowed: Vec<&str> =
        matching.iter().flat_map(|rule| &rule.allow).map(|allowed| word(*allowed)).collect();
    allowed.sort_unstable();
    allowed.dedup();
    let allowed = if allowed.is_empty() { "nothing".into() } else { allowed.join(", ") };
    let detail = format!("the push would be `{}`, and the push rule allows {allowed}", word(operation));
    Some(Refusal { reason: Reason::OperationDenied, subject, detail, rule: Some(first.source.clone()) })
}

/// The operation's name in the manifest.
pub(super) fn word(operation: PushOperation) -> &'static str {
    match operation {
        PushOperation::Create => "create",
        PushOperation::FastForward => "fast-forward",
        PushOperation::Force => "force",
        PushOperation::Delete => "delete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::git_gate::judge::tests::fixture::repository;
    use PushOperation::{Create, Delete, FastForward, Force};

    fn reason(rules: &[(&str, &[PushOperation])], name: &str, operation: PushOperation) -> Option<Reason> {
        let repository = repository(rules, &[]);
        problem(&repository, b"refs/heads/main", name.as_bytes(), operation).map(|refusal| refusal.reason)
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
