//! Attacks with refs.

use std::time::{Duration, Instant};

use super::super::{ObjectId, RefUpdate, Verdict};
use super::fixture::{EVERYTHING, FindsNothing, Pair};
use crate::policy::gate::PushOperation::{self, Create, Delete, FastForward, Force};
use crate::policy::gate::PushRule;
use crate::policy::reason::Reason;

fn operations(verdict: &Verdict) -> Vec<PushOperation> {
    assert!(verdict.passes(), "{:?}", verdict.refusals);
    verdict.accepted.iter().map(|accepted| accepted.operation).collect()
}

fn operation(pair: &Pair, revision: &str, name: &str) -> PushOperation {
    operations(&pair.judge_with(&[pair.update(revision, name)], &FindsNothing).unwrap())[0]
}

#[test]
fn what_is_done_to_a_ref_is_read_off_the_mirror() {
    let pair = Pair::new();
    pair.commit("second");
    assert_eq!(operation(&pair, "HEAD", "refs/heads/agent/x"), Create);
    pair.publish("agent/x");
    pair.commit("third");
    assert_eq!(operation(&pair, "HEAD", "refs/heads/agent/x"), FastForward);
    assert_eq!(operation(&pair, "main", "refs/heads/agent/x"), Force);
    assert_eq!(operation(&pair, "", "refs/heads/agent/x"), Delete);
    pair.git(&["tag", "v1", "main"]);
    assert_eq!(operation(&pair, "v1", "refs/tags/v1"), Create);
    pair.publish("refs/tags/v1");
    assert_eq!(operation(&pair, "HEAD", "refs/tags/v1"), Force);
    // A branch that comes to stand on the upstream's own commits, past what is new.
    pair.publish("agent/x");
    pair.git(&["checkout", "--quiet", "-B", "main"]);
    pair.commit("fourth");
    pair.publish("main");
    assert_eq!(operation(&pair, "main", "refs/heads/agent/x"), FastForward);
}

#[test]
fn an_accepted_update_says_what_the_upstream_must_still_have() {
    let pair = Pair::new();
    pair.publish("agent/x");
    pair.git(&["commit", "--quiet", "--amend", "-m", "other"]);
    let verdict = pair.judge_with(&[pair.update("HEAD", "refs/heads/agent/x")], &FindsNothing).unwrap();
    let accepted = &verdict.accepted[0];
    assert_eq!(accepted.expected, Some(pair.mirror_value("refs/heads/main")));
    assert_eq!(accepted.new.unwrap().to_string(), pair.id("HEAD"));
    assert!(accepted.force());
}

#[test]
fn a_client_that_lies_about_the_old_value_is_refused() {
    let pair = Pair::new();
    pair.commit("second");
    pair.publish("agent/x");
    pair.git(&["commit", "--quiet", "--amend", "--allow-empty", "-m", "rewritten"]);
    let name = "refs/heads/agent/x";
    let honest = pair.update("HEAD", name);
    let main = pair.mirror_value("refs/heads/main");
    let zero = pair.update("", "refs/heads/agent/none").new;
    for old in [main, zero, honest.new] {
        assert_eq!(
            pair.judge(&[RefUpdate { old, ..honest.clone() }]),
            [(Reason::UpstreamMoved, name.into())]
        );
    }
    // Nor does the lie turn a rewrite into a creation.
    let mut strict = pair;
    strict.policy.push =
        vec![PushRule { source: "x:1".into(), refs: "refs/heads/agent/**".into(), allow: vec![Create] }];
    let lie = RefUpdate { old: zero, ..honest };
    assert!(strict.judge(&[lie]).iter().any(|(reason, _)| *reason == Reason::OperationDenied));
    let nothing = RefUpdate { old: zero, new: zero, name: b"refs/heads/agent/none".to_vec() };
    assert!(!strict.judge(&[nothing]).is_empty());
}

#[test]
fn every_bad_ref_of_a_push_is_named_at_once() {
    let pair = Pair::new();
    pair.commit("second");
    let head = |name: &str| RefUpdate { ..pair.update("HEAD", name) };
    let updates = [
        head("refs/heads/agent/good"),
        head("refs/heads/main"),
        head("refs/heads/other"),
        head("refs/notes/x"),
        head("refs/replace/0123456789012345678901234567890123456789"),
        head("refs/heads/HEAD"),
        head("refs/heads/agent/twice"),
        head("refs/heads/agent/twice"),
    ];
    let refused = pair.judge(&updates);
    for (reason, name) in [
        (Reason::DefaultBranch, "refs/heads/main"),
        (Reason::RefDenied, "refs/heads/other"),
        (Reason::RefNamespace, "refs/notes/x"),
        (Reason::RefNamespace, "refs/replace/0123456789012345678901234567890123456789"),
        (Reason::RefNamespace, "refs/heads/HEAD"),
        (Reason::ObjectDenied, "refs/heads/agent/twice"),
    ] {
        assert!(refused.contains(&(reason, name.into())), "{reason} {name}: {refused:?}");
    }
    assert_eq!(refused.len(), 6);
}

#[test]
fn the_default_branch_is_protected_before_it_exists() {
    let pair = Pair::new();
    pair.git(&[
        "--git-dir",
        pair.mirror().to_str().unwrap(),
        "symbolic-ref",
        "HEAD",
        "refs/heads/agent/trunk",
    ]);
    let refused = pair.judge(&[pair.update("HEAD", "refs/heads/agent/trunk")]);
    assert_eq!(refused, [(Reason::DefaultBranch, "refs/heads/agent/trunk".into())]);
}

#[test]
fn branches_name_commits_and_tags_name_commits_in_the_end() {
    let pair = Pair::new();
    pair.commit("second");
    let blob = pair.git_on(&["hash-object", "-w", "--stdin"], b"a file\n");
    pair.git(&["tag", "-a", "-m", "one", "annotated"]);
    pair.git(&["tag", "-a", "-m", "two", "nested", "annotated"]);
    pair.git(&["tag", "-a", "-m", "three", "of-blob", &blob]);
    pair.git(&["tag", "-a", "-m", "four", "of-tree", "HEAD^{tree}"]);
    pair.git(&["tag", "deep-0"]);
    for depth in 1..=10 {
        pair.git(&["tag", "-a", "-m", "x", &format!("deep-{depth}"), &format!("deep-{}", depth - 1)]);
    }
    for (revision, good) in [
        ("annotated", true),
        ("nested", true),
        ("HEAD", true),
        ("of-blob", false),
        ("of-tree", false),
        ("deep-10", false),
        (&blob, false),
        ("HEAD^{tree}", false),
    ] {
        let refused = pair.judge(&[pair.update(revision, "refs/tags/t")]);
        assert_eq!(refused.is_empty(), good, "{revision}: {refused:?}");
        assert!(refused.iter().all(|(reason, _)| *reason == Reason::ObjectDenied));
        let refused = pair.judge(&[pair.update(revision, "refs/heads/agent/b")]);
        assert_eq!(refused.is_empty(), revision == "HEAD", "{revision}: {refused:?}");
    }
}

#[test]
fn three_hundred_refs_take_seconds() {
    let pair = Pair::new();
    let commits: Vec<String> = (0..300)
        .map(|at| {
            let from = if at == 0 { "from HEAD^0\n" } else { "" };
            format!("commit refs/heads/made\ncommitter a <a@example.org> {at} +0000\ndata 1\n.\n{from}\n")
        })
        .collect();
    pair.git_on(&["fast-import", "--quiet"], commits.concat().as_bytes());
    let last = pair.update("made", "refs/heads/agent/0");
    let ids = pair.git(&["rev-list", "--max-count=300", "made"]);
    let refs = ids.lines().enumerate().map(|(at, id)| RefUpdate {
        new: ObjectId::from_hex(id.as_bytes()).unwrap(),
        name: format!("refs/heads/agent/{at}").into_bytes(),
        ..last.clone()
    });
    let updates: Vec<_> = refs.collect();
    let started = Instant::now();
    let verdict = pair.judge_with(&updates, &FindsNothing).unwrap();
    assert_eq!(operations(&verdict), vec![Create; 300]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_repository_with_sha256_is_judged_alike() {
    let pair = Pair::with_hash("sha256");
    pair.write("sub/file", "x\n");
    pair.commit("second");
    pair.git(&["tag", "-a", "-m", "one", "v1"]);
    assert_eq!(operation(&pair, "HEAD", "refs/heads/agent/x"), Create);
    assert_eq!(operation(&pair, "v1", "refs/tags/v1"), Create);
    pair.write("bottle.yaml", "mine\n");
    pair.commit("touch");
    assert_eq!(pair.reasons(), [Reason::PathProtected]);
}

#[test]
fn nothing_is_allowed_without_rules() {
    let mut pair = Pair::new();
    pair.policy.push.clear();
    assert_eq!(pair.reasons(), [Reason::RefDenied]);
    pair.policy.push =
        vec![PushRule { source: "x:1".into(), refs: "refs/heads/main".into(), allow: EVERYTHING.to_vec() }];
    pair.commit("second");
    assert_eq!(pair.judge(&[pair.update("HEAD", "refs/heads/main")]), []);
}
