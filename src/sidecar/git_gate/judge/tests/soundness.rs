//! Attacks on what the judge gets to see.

use super::super::{JudgeError, ObjectId, RefUpdate, judge_in, parse_updates};
use super::fixture::{FindsNothing, Pair, run};
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::git::Git;
use crate::sidecar::git_gate::scan::tests::script;
use crate::sidecar::git_gate::scan::{Input, Scan, ScanError, Scanner, Text};

#[test]
fn a_replaced_object_is_judged_as_what_it_is() {
    let pair = Pair::new();
    pair.write("bottle.yaml", "mine\n");
    let evil = pair.commit("touch");
    pair.git(&["checkout", "--quiet", "-B", "clean", "main"]);
    let clean = pair.commit("clean");
    pair.publish("clean");
    run(&pair.mirror(), &["update-ref", &format!("refs/replace/{evil}"), &clean], b"");
    let update = pair.update(&evil, "refs/heads/agent/x");
    assert_eq!(pair.judge(&[update]), [(Reason::PathProtected, "refs/heads/agent/x".into())]);
}

#[test]
fn a_graft_hides_nothing() {
    let pair = Pair::new();
    pair.write("bottle.yaml", "mine\n");
    pair.commit("touch");
    pair.commit("more");
    let graft = format!("{} {}\n", pair.id("HEAD"), pair.id("main"));
    crate::fs::write_atomic(&pair.mirror().join("info/grafts"), graft.as_bytes(), 0o644).unwrap();
    assert_eq!(pair.reasons(), [Reason::PathProtected]);
}

#[test]
fn a_mirror_in_which_history_is_missing_is_not_judged_in() {
    let pair = Pair::new();
    pair.commit("second");
    let update = [pair.update("HEAD", "refs/heads/agent/x")];
    crate::fs::write_atomic(&pair.mirror().join("shallow"), pair.id("HEAD").as_bytes(), 0o644).unwrap();
    assert!(matches!(pair.judge_with(&update, &FindsNothing), Err(JudgeError::Unsound { .. })));
    crate::fs::remove_file(&pair.mirror().join("shallow")).unwrap();
    crate::fs::write_atomic(&pair.mirror().join("objects/pack/pack-x.promisor"), b"", 0o644).unwrap();
    assert!(matches!(pair.judge_with(&update, &FindsNothing), Err(JudgeError::Unsound { .. })));
}

#[test]
fn a_missing_object_is_an_error() {
    let pair = Pair::new();
    pair.write("file", "content\n");
    pair.commit("second");
    let update = [pair.update("HEAD", "refs/heads/agent/x")];
    let blob = pair.id("HEAD:file");
    let (directory, file) = blob.split_at(2);
    crate::fs::remove_file(&pair.work().join(format!(".git/objects/{directory}/{file}"))).unwrap();
    let error = pair.judge_with(&update, &FindsNothing).unwrap_err();
    assert!(error.to_string().contains(&blob), "{error}");
}

#[test]
fn trees_that_could_be_read_in_two_ways_are_refused() {
    let pair = Pair::new();
    let blob = pair.id("HEAD:bottle.yaml");
    let raw = ObjectId::from_hex(blob.as_bytes()).unwrap();
    for names in [["z", "a"], ["same", "same"]] {
        let tree: Vec<u8> = names
            .iter()
            .flat_map(|name| [b"100644 ", name.as_bytes(), b"\0", raw.as_bytes()].concat())
            .collect();
        let tree = pair.git_on(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &tree);
        let commit = pair.git(&["commit-tree", &tree, "-p", "main", "-m", "x"]);
        let refused = pair.judge(&[pair.update(&commit, "refs/heads/agent/x")]);
        assert!(refused.iter().any(|(reason, _)| *reason == Reason::ObjectDenied), "{names:?}: {refused:?}");
    }
}

#[test]
fn a_push_that_is_too_large_is_refused_unread() {
    let mut pair = Pair::new();
    pair.commit("second");
    pair.policy.max_pack_bytes = 10;
    assert_eq!(pair.reasons(), [Reason::PackTooLarge]);
}

#[test]
fn an_object_that_is_too_large_is_refused() {
    let pair = Pair::new();
    // What compresses well makes a small push of it.
    let message = vec![b'x'; 33 << 20];
    pair.write("message", &message);
    let path = pair.work().join("message");
    let tree = pair.git(&["rev-parse", "main^{tree}"]);
    let commit = pair.git(&["commit-tree", &tree, "-p", "main", "-F", path.to_str().unwrap()]);
    let refused = pair.judge(&[pair.update(&commit, "refs/heads/agent/x")]);
    assert!(refused.iter().any(|(reason, _)| *reason == Reason::ObjectTooLarge), "{refused:?}");
}

/// Without its content nobody who fetches the commit could check it out.
#[test]
fn a_new_pointer_of_git_lfs_is_refused_and_one_that_the_upstream_has_may_move() {
    let pair = Pair::new();
    let pointer = |digit: &str, size: u32| {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n", digit.repeat(64))
    };
    pair.write("known.bin", pointer("a", 1));
    pair.commit("known");
    pair.git(&["branch", "--force", "main"]);
    pair.publish("main");
    pair.git(&["mv", "known.bin", "moved.bin"]);
    pair.commit("moved");
    assert_eq!(pair.judge(&[pair.update("HEAD", "refs/heads/agent/x")]), []);
    pair.write("some\u{1b}[2J.bin", pointer("b", 2));
    pair.commit("new");
    pair.git(&["rm", "-q", "some\u{1b}[2J.bin"]);
    pair.commit("gone again");
    let verdict = pair.judge_with(&[pair.update("HEAD", "refs/heads/agent/x")], &FindsNothing).unwrap();
    let [refusal] = verdict.refusals.as_slice() else { panic!("{:?}", verdict.refusals) };
    assert_eq!(refusal.reason, Reason::LfsPointer);
    assert!(refusal.detail.starts_with("`some") && !refusal.detail.contains('\u{1b}'), "{}", refusal.detail);
    // A text that speaks of it is none.
    pair.git(&["reset", "-q", "--hard", "main"]);
    pair.write("notes", format!("a pointer:\n{}", pointer("c", 3)));
    pair.commit("notes");
    assert_eq!(pair.judge(&[pair.update("HEAD", "refs/heads/agent/y")]), []);
}

/// Fails without having looked at anything.
struct Fails;

impl Scanner for Fails {
    fn scan(&self, _: &mut Input<'_>) -> Result<Scan, ScanError> {
        Err(ScanError::TimedOut(1))
    }
}

#[test]
fn a_scan_that_fails_is_a_refusal_beside_the_others() {
    let pair = Pair::new();
    pair.write("bottle.yaml", "mine\n");
    pair.commit("touch");
    let verdict = pair.judge_with(&[pair.update("HEAD", "refs/heads/other")], &Fails).unwrap();
    let reasons: Vec<_> = verdict.refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::RefDenied, Reason::PathProtected, Reason::ScanFailed]);
}

/// Dies in the middle of the text at first, as a warm scanner may.
#[derive(Default)]
struct Stumbles(std::cell::Cell<bool>);

impl Scanner for Stumbles {
    fn scan(&self, input: &mut Input<'_>) -> Result<Scan, ScanError> {
        let mut left = 1;
        let mut send = |_: &[u8]| {
            left -= 1;
            if left < 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        };
        let mut text = Text::start(String::new(), &mut send).map_err(ScanError::Input)?;
        if !self.0.replace(true) {
            assert!(input(&mut text).is_err());
        }
        FindsNothing.scan(input)
    }
}

#[test]
fn a_scan_that_fails_in_the_middle_is_begun_again() {
    let pair = Pair::new();
    pair.write("one", "one\n");
    pair.write("two", "two\n");
    pair.commit("second");
    let verdict = pair.judge_with(&[pair.update("HEAD", "refs/heads/agent/x")], &Stumbles::default());
    assert!(verdict.unwrap().passes());
}

#[test]
fn what_only_another_kind_of_ref_reaches_is_new() {
    let pair = Pair::new();
    pair.write("bottle.yaml", "a stranger's\n");
    pair.commit("a stranger's proposal");
    pair.git(&["branch", "proposal"]);
    pair.git(&["push", "--quiet", pair.mirror().to_str().unwrap(), "proposal:refs/pull/1/head"]);
    assert_eq!(pair.reasons(), [Reason::PathProtected]);
}

#[test]
fn a_tree_that_unfolds_without_end_is_refused_in_time() {
    let pair = Pair::new();
    let mut id = pair.id("HEAD:README");
    let mut mode = "100644 blob";
    for _ in 0..9 {
        let entries = (0..10).map(|at| format!("{mode} {id}\t{at}\n")).collect::<Vec<_>>().concat();
        id = pair.git_on(&["mktree"], entries.as_bytes());
        mode = "040000 tree";
    }
    let commit = pair.git(&["commit-tree", &id, "-p", "main", "-m", "x"]);
    let update = [pair.update(&commit, "refs/heads/agent/x")];
    let error = pair.judge_with(&update, &FindsNothing).unwrap_err();
    assert!(error.to_string().contains("out of memory"), "{error}");
}

/// Says that it is done without having asked for the text.
struct Lazy;

impl Scanner for Lazy {
    fn scan(&self, _: &mut Input<'_>) -> Result<Scan, ScanError> {
        Ok(Scan::default())
    }
}

#[test]
fn a_scanner_that_scans_nothing_is_an_error() {
    let pair = Pair::new();
    pair.commit("second");
    assert!(pair.judge_with(&[pair.update("HEAD", "refs/heads/agent/x")], &Lazy).is_err());
}

#[test]
fn a_real_push_is_judged_in_its_quarantine() {
    let pair = Pair::new();
    pair.write("bottle.yaml", "mine\n");
    pair.commit("touch");
    // The hook keeps what it was given, and refuses.
    let kept = pair.mirror().join("kept");
    let body = format!(
        "mkdir '{0}' && cat > '{0}/updates' && cp -r \"$GIT_QUARANTINE_PATH\" '{0}/quarantine'\nexit 1",
        kept.display()
    );
    script(&pair.mirror().join("hooks/pre-receive"), &body);
    let pushed = std::process::Command::new("git")
        .args(["push", "--quiet"])
        .arg(pair.mirror())
        .arg("HEAD:refs/heads/agent/x")
        .current_dir(pair.work())
        .output()
        .unwrap();
    assert!(!pushed.status.success());
    let updates: Vec<RefUpdate> = parse_updates(&crate::fs::read(&kept.join("updates")).unwrap()).unwrap();
    let quarantine = kept.join("quarantine");
    let variables = [
        ("GIT_QUARANTINE_PATH", quarantine.clone()),
        ("GIT_OBJECT_DIRECTORY", quarantine),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", pair.mirror().join("objects")),
    ];
    let git = Git::with_quarantine(
        &pair.mirror(),
        variables.map(|(name, value)| (name.into(), value.into())).into(),
    );
    let verdict = judge_in(&git, "app", &pair.policy, &pair.granted, &updates, &FindsNothing).unwrap();
    assert_eq!(verdict.refusals[0].reason, Reason::PathProtected);
    // Without the quarantine there is nothing to be seen, which is an error and no pass.
    let blind = Git::with_quarantine(&pair.mirror(), Vec::new());
    assert!(judge_in(&blind, "app", &pair.policy, &pair.granted, &updates, &FindsNothing).is_err());
}
