//! Attacks on protected paths.

use super::fixture::Pair;
use crate::policy::reason::Reason::PathProtected;

/// A client whose branch has one harmless commit, and an upstream whose default branch has since changed the path.
fn diverged() -> Pair {
    let pair = Pair::new();
    pair.write("mine", "mine\n");
    pair.commit("mine");
    pair.git(&["checkout", "--quiet", "main"]);
    pair.write("bottle.yaml", "version two\n");
    pair.commit("a reviewed change");
    pair.publish("main");
    pair.git(&["checkout", "--quiet", "agent/x"]);
    pair
}

#[test]
fn a_protected_path_is_not_touched_in_any_way() {
    let writes = ["bottle.yaml", "Bottle.YAML", "compose.yaml", ".bottle/x/y", ".BOTTLE/z"];
    for path in writes {
        let pair = Pair::new();
        pair.write(path, "mine\n");
        pair.commit("touch");
        assert_eq!(pair.reasons(), [PathProtected], "{path}");
    }
    let acts: [&[&str]; 4] = [
        &["rm", "--quiet", "bottle.yaml"],
        &["mv", "bottle.yaml", "elsewhere.yaml"],
        &["mv", "README", "compose.yaml"],
        &["update-index", "--chmod=+x", "bottle.yaml"],
    ];
    for act in acts {
        let pair = Pair::new();
        pair.git(act);
        pair.git(&["commit", "--quiet", "-m", "touch"]);
        assert_eq!(pair.reasons(), [PathProtected], "{act:?}");
    }
}

#[test]
fn a_commit_in_the_middle_counts_even_if_it_is_taken_back() {
    let pair = Pair::new();
    pair.write("bottle.yaml", "mine\n");
    pair.commit("touch");
    pair.git(&["revert", "--no-edit", "HEAD"]);
    pair.commit("more");
    assert_eq!(pair.reasons(), [PathProtected, PathProtected]);
}

#[test]
fn names_that_git_quotes_are_compared_as_they_are() {
    for name in ["tab\there", "line\nbreak", "quote\"d", "n\u{e4}me", "back\\slash", " space "] {
        let mut pair = Pair::new();
        pair.policy.protect = vec![format!("conf/{name}"), "conf/x".into()];
        pair.write(&format!("conf/{name}"), "mine\n");
        pair.commit("touch");
        assert_eq!(pair.reasons(), [PathProtected], "{name:?}");
    }
}

#[test]
fn nothing_takes_the_place_of_a_protected_directory() {
    for mode in ["120000", "100644", "160000"] {
        let mut pair = Pair::new();
        pair.policy.protect = vec!["deploy/prod.yaml".into(), ".bottle/**".into()];
        let blob = pair.git_on(&["hash-object", "-w", "--stdin"], b"evil");
        let id = if mode == "160000" { pair.id("HEAD") } else { blob };
        pair.git(&["update-index", "--add", "--cacheinfo", &format!("{mode},{id},deploy")]);
        pair.git(&["update-index", "--add", "--cacheinfo", &format!("{mode},{id},.bottle")]);
        pair.git(&["commit", "--quiet", "-m", "touch"]);
        assert_eq!(pair.reasons(), [PathProtected, PathProtected], "{mode}");
    }
}

#[test]
fn a_root_commit_has_no_licence() {
    let pair = Pair::new();
    pair.git(&["checkout", "--quiet", "--orphan", "agent/root"]);
    pair.commit("a history of its own");
    assert_eq!(pair.reasons(), [PathProtected]);
}

#[test]
fn work_beside_protected_paths_passes() {
    let pair = Pair::new();
    pair.write("sub/bottle.yaml", "mine\n");
    pair.write("bottle.yaml.md", "mine\n");
    pair.commit("mine");
    assert_eq!(pair.reasons(), []);
}

#[test]
fn an_honest_merge_of_the_default_branch_passes() {
    let pair = diverged();
    pair.git(&["merge", "--quiet", "--no-edit", "main"]);
    assert_eq!(pair.reasons(), []);
    // Also after the default branch has gone on, and from a second branch of the client.
    pair.git(&["checkout", "--quiet", "-b", "agent/y", "main~1"]);
    pair.commit("other work");
    pair.git(&["merge", "--quiet", "--no-edit", "agent/x"]);
    pair.git(&["checkout", "--quiet", "main"]);
    pair.write("bottle.yaml", "version three\n");
    pair.commit("another reviewed change");
    pair.publish("main");
    pair.git(&["checkout", "--quiet", "agent/y"]);
    assert_eq!(pair.reasons(), []);
    pair.git(&["merge", "--quiet", "--no-edit", "main"]);
    assert_eq!(pair.reasons(), []);
}

#[test]
fn a_merge_that_makes_something_up_is_refused() {
    let pair = diverged();
    pair.git(&["merge", "--quiet", "--no-edit", "--no-commit", "main"]);
    pair.write("bottle.yaml", "mine\n");
    pair.commit("evil merge");
    assert_eq!(pair.reasons(), [PathProtected]);
}

#[test]
fn a_merge_that_drops_the_reviewed_change_is_refused() {
    let pair = diverged();
    pair.git(&["merge", "--quiet", "--no-edit", "-s", "ours", "main"]);
    assert_eq!(pair.reasons(), [PathProtected]);
}

#[test]
fn going_back_by_merging_an_old_commit_is_refused() {
    // The branch begins at the reviewed change; the merge brings an old upstream commit and its version.
    for order in [["main", "main~1"], ["main~1", "main"]] {
        let pair = diverged();
        let tree = pair.id("main~1^{tree}");
        let merge = pair.git(&["commit-tree", &tree, "-p", order[0], "-p", order[1], "-m", "back"]);
        pair.git(&["checkout", "--quiet", "-B", "agent/x", &merge]);
        assert_eq!(pair.reasons(), [PathProtected], "{order:?}");
    }
    // The same with a commit in between, so that no parent is an ancestor of the other.
    let pair = diverged();
    pair.git(&["checkout", "--quiet", "-b", "agent/old", "main~1"]);
    pair.commit("on the old version");
    pair.git(&["checkout", "--quiet", "-B", "agent/x", "main"]);
    pair.git(&["merge", "--quiet", "--no-commit", "-s", "ours", "agent/old"]);
    pair.write("bottle.yaml", "version one\n");
    pair.commit("back");
    assert_eq!(pair.reasons(), [PathProtected]);
}

#[test]
fn a_conflict_between_upstream_versions_may_end_with_the_default_branch() {
    for (result, refused) in [("version two\n", false), ("version side\n", true), ("version other\n", true)] {
        let pair = diverged();
        pair.git(&["checkout", "--quiet", "-B", "side", "main~1"]);
        pair.write("bottle.yaml", "version side\n");
        pair.commit("somebody's branch");
        pair.publish("side");
        pair.git(&["checkout", "--quiet", "-B", "agent/x"]);
        pair.git(&["merge", "--quiet", "--no-commit", "-s", "ours", "main"]);
        pair.write("bottle.yaml", result);
        pair.commit("resolved");
        assert_eq!(pair.reasons() == [PathProtected], refused, "{result}");
    }
}

#[test]
fn unrelated_histories_bring_no_protected_path() {
    let pair = Pair::new();
    pair.git(&["checkout", "--quiet", "--orphan", "agent/root"]);
    pair.git(&["rm", "--quiet", "-rf", "."]);
    pair.write("else", "x\n");
    pair.commit("a history of its own");
    assert_eq!(pair.reasons(), []);
    pair.git(&["merge", "--quiet", "--no-edit", "--allow-unrelated-histories", "main"]);
    assert_eq!(pair.reasons(), []);
    pair.git(&["rm", "--quiet", "bottle.yaml"]);
    pair.git(&["commit", "--quiet", "--amend", "-m", "lost"]);
    assert_eq!(pair.reasons(), [PathProtected]);
}
