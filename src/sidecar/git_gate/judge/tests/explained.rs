//! What `bottle explain` says of a push, and what becomes of that push.

use indexmap::IndexMap;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::fixture::{EVERYTHING, FindsNothing, Pair};
use crate::analysis::explain::{self, Push};
use crate::policy::gate::PushOperation::{self, Create, Delete, FastForward, Force};
use crate::policy::gate::{GatePolicy, PushRule, VERSION};

const PATTERNS: &[&str] = &[
    "refs/heads/**",
    "refs/heads/*",
    "refs/heads/agent/**",
    "refs/heads/agent/x",
    "refs/heads/*/y",
    "refs/heads/main",
    "refs/heads/gone",
    "refs/tags/**",
    "refs/tags/v1",
];

/// The rule sets; each is asked about every ref below.
const SETS: usize = 112;

fn rules() -> impl Strategy<Value = Vec<PushRule>> {
    let rule = (prop::sample::select(PATTERNS), prop::sample::subsequence(EVERYTHING, 1..=4));
    prop::collection::vec(rule, 0..5).prop_map(|rules| {
        let rules = rules.into_iter().zip(10..).map(|((refs, allow), line)| PushRule {
            source: format!("bottle.yaml:{line}"),
            refs: refs.to_owned(),
            allow,
        });
        rules.collect()
    })
}

#[test]
fn explain_and_the_judge_never_disagree() {
    let mut pair = Pair::new();
    pair.commit("second");
    for name in ["feature/y", "gone"] {
        pair.git(&["branch", name]);
    }
    pair.git(&["tag", "v1"]);
    for name in ["agent/x", "feature/y", "gone", "refs/tags/v1"] {
        pair.publish(name);
    }
    pair.commit("third");
    let pushed: [(&str, &str, PushOperation); 9] = [
        ("HEAD", "refs/heads/agent/new/z", Create),
        ("HEAD", "refs/heads/other", Create),
        ("HEAD", "refs/heads/agent/x", FastForward),
        ("HEAD", "refs/heads/main", FastForward),
        ("main", "refs/heads/feature/y", Force),
        ("", "refs/heads/gone", Delete),
        ("HEAD", "refs/tags/v2", Create),
        ("HEAD", "refs/tags/v1", Force),
        ("HEAD", "refs/notes/x", Create),
    ];
    let updates: Vec<_> = pushed.iter().map(|(revision, name, _)| pair.update(revision, name)).collect();
    let mut runner = TestRunner::deterministic();
    let (mut allowed, mut refused) = (0, 0);
    for _ in 0..SETS {
        pair.policy.push = rules().new_tree(&mut runner).unwrap().current();
        pair.granted.push = rules().new_tree(&mut runner).unwrap().current();
        pair.granted.push.truncate(1);
        let verdict = pair.judge_with(&updates, &FindsNothing).unwrap();
        let repositories = IndexMap::from([("app".to_owned(), pair.policy.clone())]);
        let gate = GatePolicy { version: VERSION, ask: None, repositories };
        for (_, name, operation) in pushed {
            let asked = Push {
                repository: "app",
                refname: name,
                operation: Some(operation),
                paths: &[],
                default_branch: Some("main"),
            };
            let said = explain::push(Some(&gate), &pair.granted.push, asked);
            let told = &said.verdicts[0];
            let case = format!("{name}: {told:?} and {verdict:?} by {:?}", pair.policy.push);
            if let Some(refusal) = verdict.refusals.iter().find(|refusal| refusal.subject == name) {
                assert!(!said.allowed, "{case}");
                assert_eq!((told.code, &told.rule), (Some(refusal.reason.code()), &refusal.rule), "{case}");
                refused += 1;
            } else {
                let accepted = verdict.accepted.iter().find(|accepted| accepted.name == name.as_bytes());
                assert!(said.allowed, "{case}");
                assert_eq!(told.rule, accepted.map(|accepted| accepted.rule.clone()), "{case}");
                allowed += 1;
            }
        }
    }
    assert!(allowed > 40 && refused > 100, "{allowed} allowed, {refused} refused");
}
