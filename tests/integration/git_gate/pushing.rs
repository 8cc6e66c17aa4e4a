//! Pushes: all or nothing, forwarded, and refused with a reason.

use std::fs;

use super::support::{World, commit, git};

#[test]
fn a_commit_goes_from_a_clone_to_the_upstream() {
    let world = World::new();
    let agent = world.clone_to("agent");
    let tip = commit(&agent, "fix.txt", "fixed\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/fix"]).success();
    assert_eq!(world.upstream("refs/heads/agent/fix"), tip);
    let tip = commit(&agent, "fix.txt", "fixed twice\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/fix"]).success();
    assert_eq!(world.upstream("refs/heads/agent/fix"), tip);
    // The mirror has it too, so that nothing is fetched again.
    let fetches = world.sshd.fetches();
    let refs = git(&agent, &["ls-remote", "origin"]).success();
    assert!(refs.contains(&tip), "{refs}");
    assert_eq!(world.sshd.fetches(), fetches);
}

#[test]
fn a_push_of_which_one_ref_is_bad_changes_nothing() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "fixed\n");
    let before = world.upstream_refs();
    let text = git(&agent, &["push", "origin", "HEAD:refs/heads/agent/fix", "HEAD:refs/heads/main"]);
    let text = text.failure(": default-branch-protected");
    assert!(text.contains("remote: bottle: nothing was sent"), "{text}");
    assert_eq!(world.upstream_refs(), before);
    assert!(!world.sshd.commands().contains("git-receive-pack"));
    let seen = git(&agent, &["ls-remote", "origin"]).success();
    assert!(!seen.contains("agent/fix"), "{seen}");
}

#[test]
fn force_and_delete_must_be_named() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    for branch in ["agent/x", "free/x"] {
        git(&agent, &["push", "origin", &format!("HEAD:refs/heads/{branch}")]).success();
    }
    git(&agent, &["reset", "--quiet", "--hard", "HEAD^"]).success();
    let other = commit(&agent, "fix.txt", "two\n");
    let before = world.upstream_refs();
    let force = git(&agent, &["push", "--force", "origin", "HEAD:refs/heads/agent/x"]);
    force.failure(": operation-denied");
    git(&agent, &["push", "origin", ":refs/heads/agent/x"]).failure(": operation-denied");
    assert_eq!(world.upstream_refs(), before);
    git(&agent, &["push", "--force", "origin", "HEAD:refs/heads/free/x"]).success();
    assert_eq!(world.upstream("refs/heads/free/x"), other);
    git(&agent, &["push", "origin", ":refs/heads/free/x"]).success();
    assert_eq!(world.upstream("refs/heads/free/x"), "");
}

#[test]
fn a_ref_that_moved_upstream_is_never_overwritten() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/free/x"]).success();
    // Somebody else moves it, past the gate.
    let seed = world.path("seed");
    commit(&seed, "other.txt", "other\n");
    git(&seed, &["push", "--force", "../upstream.git", "HEAD:refs/heads/free/x"]).success();
    let before = world.upstream_refs();
    commit(&agent, "fix.txt", "two\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/free/x"]).failure("bottle: upstream-moved");
    git(&agent, &["push", "--force", "origin", "HEAD:refs/heads/free/x"]).failure("bottle: upstream-moved");
    git(&agent, &["push", "origin", ":refs/heads/free/x"]).failure("bottle: upstream-moved");
    assert_eq!(world.upstream_refs(), before);
    // After a fetch the agent sees it and may go on.
    git(&agent, &["fetch", "--quiet", "origin"]).success();
    git(&agent, &["push", "--force", "origin", "HEAD:refs/heads/free/x"]).success();
}

#[test]
fn what_the_upstream_refuses_is_refused_with_its_words() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    let hook = world.path("upstream.git/hooks/pre-receive");
    super::support::write(&hook, "#!/bin/sh\nprintf 'no \\033[31mred\\033[0m today\\n' >&2\nexit 1\n", 0o755);
    let text =
        git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).failure("bottle: upstream-refused");
    assert!(text.contains("remote: bottle: upstream: no ?[31mred?[0m today"), "{text}");
    assert_eq!(world.upstream("refs/heads/agent/x"), "");
    fs::remove_file(hook).unwrap();
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).success();
}

#[test]
fn push_options_are_ignored_loudly() {
    let world = World::new();
    let agent = world.clone_to("agent");
    let tip = commit(&agent, "fix.txt", "one\n");
    let text = git(&agent, &["push", "-o", "ci.skip", "origin", "HEAD:refs/heads/agent/x"]).success();
    assert!(text.contains("remote: bottle: note: 1 push option(s) ignored"), "{text}");
    assert_eq!(world.upstream("refs/heads/agent/x"), tip);
}

#[test]
fn every_line_of_a_refusal_is_marked() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    let text =
        git(&agent, &["push", "origin", "HEAD:refs/heads/main", "HEAD:refs/heads/x"]).failure(": ref-denied");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("remote:")).collect();
    assert!(lines.len() >= 3, "{text}");
    assert!(
        lines.iter().all(|line| line.trim_end().is_empty() || line.starts_with("remote: bottle: ")),
        "{text}"
    );
}

#[test]
fn a_push_while_the_upstream_is_down_is_refused() {
    let mut world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    world.sshd.stop();
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).failure("bottle: upstream-down");
    world.sshd.start();
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).success();
}

#[test]
fn many_refs_are_pushed_at_once() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    for number in 0..50 {
        git(&agent, &["branch", &format!("agent/n{number}")]).success();
    }
    git(&agent, &["push", "--quiet", "origin", "refs/heads/agent/*:refs/heads/agent/*"]).success();
    assert_eq!(world.upstream_refs().matches("refs/heads/agent/n").count(), 50);
}

#[test]
fn a_secret_in_a_commit_that_was_undone_never_leaves() {
    let world = World::new();
    let agent = world.clone_to("agent");
    // Put together here, so that none stands in the tree.
    let key = ["AK", "IA", "Z7QRTW5N", "MX4VBSKD"].concat();
    commit(&agent, "settings.ini", &format!("key = {key}\n"));
    commit(&agent, "settings.ini", "key = none\n");
    let text = git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).failure(": secret-found");
    assert!(!text.contains(&key), "the secret is repeated");
    assert!(!world.sshd.commands().contains("git-receive-pack"));
    assert!(!world.gate.log().contains(&key));
}

#[test]
fn a_commit_that_touches_a_protected_path_is_refused() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "bottle.yaml", "bottles: {}\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).failure(": path-protected");
    assert_eq!(world.upstream("refs/heads/agent/x"), "");
}
