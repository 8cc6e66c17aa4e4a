//! What a grant lets pass, and what none does.

use super::super::Verdict;
use super::fixture::{EVERYTHING, Pair};
use crate::policy::gate::PushRule;
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::scan::tests::{gitleaks, key};

fn push_to(pair: &Pair, name: &str) -> Verdict {
    let verdict = pair.judge_with(&[pair.update("HEAD", name)], &gitleaks()).unwrap();
    let said = format!("{:?}", (&verdict.notes, &verdict.refusals, &verdict.names, &verdict.findings));
    assert!(!said.contains(&key()), "the secret is told: {said}");
    verdict
}

fn push(pair: &Pair) -> Verdict {
    push_to(pair, "refs/heads/agent/x")
}

/// The one finding of a push.
fn id(pair: &Pair) -> String {
    let verdict = push(pair);
    assert!(verdict.refusals.iter().all(|refusal| refusal.reason == Reason::SecretFound), "{verdict:?}");
    let [id] = verdict.findings.as_slice() else { panic!("not one finding: {verdict:?}") };
    assert!(verdict.refusals[0].detail.ends_with(&format!(" [{id}]")), "{:?}", verdict.refusals);
    id.clone()
}

fn allow(pair: &mut Pair, id: &str) {
    pair.granted.findings.insert(id.to_owned(), "grant g-1".to_owned());
}

fn rule(refs: &str) -> PushRule {
    PushRule { source: "grant g-1".to_owned(), refs: refs.to_owned(), allow: EVERYTHING.to_vec() }
}

#[test]
fn a_finding_that_was_allowed_passes_and_is_noted_without_the_secret() {
    let mut pair = Pair::new();
    pair.write("config", format!("key = {}\n", key()));
    pair.commit("second");
    let id = id(&pair);
    allow(&mut pair, &id);
    let verdict = push(&pair);
    assert!(verdict.passes(), "{verdict:?}");
    assert_eq!(verdict.allowed, std::slice::from_ref(&id));
    assert!(verdict.notes.iter().any(|note| note.contains(&id) && note.contains("grant g-1")));
    pair.granted.findings.clear();
    assert!(!push(&pair).passes(), "its end is not felt");
}

#[test]
fn the_same_secret_has_the_same_id_in_every_file_and_commit() {
    let mut pair = Pair::new();
    pair.write("config", format!("key = {}\n", key()));
    pair.commit("second");
    let first = id(&pair);
    pair.write("elsewhere/other.txt", format!("one\ntwo\nthe key is {} here\n", key()));
    pair.commit("third");
    assert_eq!(id(&pair), first);
    allow(&mut pair, &first);
    assert!(push(&pair).passes());
}

#[test]
fn another_secret_another_repository_and_another_rule_have_other_ids() {
    let pair = Pair::new();
    pair.write("config", format!("key = {}\n", key()));
    pair.commit("second");
    let first = id(&pair);
    let mut other = Pair::new();
    let changed = key().replace('Z', "Y");
    assert_ne!(changed, key());
    other.write("config", format!("key = {changed}\n"));
    other.commit("second");
    assert_ne!(id(&other), first);
    allow(&mut other, &first);
    assert!(!push(&other).passes());
    let of = |repository, rule| super::super::findings::finding_id(repository, rule, &[b"secret"]);
    assert_ne!(of("app", "rule"), of("web", "rule"));
    assert_ne!(of("app", "rule"), of("app", "other"));
    // The parts can't be shifted into one another.
    assert_ne!(of("app", "rule"), of("appr", "ule"));
    assert_ne!(
        super::super::findings::finding_id("app", "rule", &[b"ab", b"c"]),
        super::super::findings::finding_id("app", "rule", &[b"a", b"bc"])
    );
}

#[test]
fn a_finding_that_was_allowed_takes_no_other_one_with_it() {
    let mut pair = Pair::new();
    pair.write("config", format!("key = {}\n", key()));
    pair.commit("second");
    let id = id(&pair);
    allow(&mut pair, &id);
    pair.write("other", format!("key = {}\n", key().replace('Z', "Y")));
    pair.commit("third");
    let verdict = push(&pair);
    assert_eq!(verdict.refusals.len(), 1, "{verdict:?}");
    assert_ne!(verdict.findings, [id]);
}

#[test]
fn a_key_store_has_an_id_by_its_path_and_content_whatever_the_commit() {
    let mut pair = Pair::new();
    pair.write("store.p12", b"one");
    pair.commit("second");
    let first = id(&pair);
    pair.git(&["commit", "--quiet", "--amend", "-m", "the same in another commit"]);
    assert_eq!(id(&pair), first);
    allow(&mut pair, &first);
    assert!(push(&pair).passes());
    pair.write("store.p12", b"two");
    pair.commit("third");
    assert!(!push(&pair).passes(), "another content passes");
}

#[test]
fn a_name_that_holds_a_secret_is_told_nowhere() {
    let pair = Pair::new();
    pair.commit("second");
    let verdict = push_to(&pair, &format!("refs/heads/elsewhere/{}", key()));
    assert!(verdict.refusals.len() >= 2, "{verdict:?}");
    assert_eq!(verdict.names, ["refs/heads/elsewhere/[redacted]"]);
}

#[test]
fn a_granted_rule_allows_what_it_says() {
    let mut pair = Pair::new();
    pair.commit("second");
    assert_eq!(push_to(&pair, "refs/heads/feature/x").refusals[0].reason, Reason::RefDenied);
    pair.granted.push.push(rule("refs/heads/feature/**"));
    let verdict = push_to(&pair, "refs/heads/feature/x");
    assert!(verdict.passes(), "{verdict:?}");
    assert_eq!(verdict.accepted[0].rule, "grant g-1");
    assert_eq!(push_to(&pair, "refs/heads/other").refusals[0].reason, Reason::RefDenied);
}

#[test]
fn no_grant_lifts_the_protection_of_a_path_or_of_the_default_branch() {
    let mut pair = Pair::new();
    for refs in ["refs/heads/**", "refs/heads/*", "refs/**", "**"] {
        pair.granted.push.push(rule(refs));
    }
    pair.write("bottle.yaml", "version two\n");
    pair.commit("second");
    let reasons: Vec<_> = push(&pair).refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::PathProtected]);
    let reasons: Vec<_> =
        push_to(&pair, "refs/heads/main").refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::DefaultBranch, Reason::PathProtected]);
    // Not even one that names the branch.
    pair.granted.push.push(rule("refs/heads/main"));
    let reasons: Vec<_> =
        push_to(&pair, "refs/heads/main").refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::PathProtected]);
    assert_eq!(push_to(&pair, "refs/pull/1/head").refusals[0].reason, Reason::RefNamespace);
}
