//! Attacks with secrets: each is hidden somewhere, and has to be found there.

use super::super::{Verdict, format};
use super::fixture::Pair;
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::scan::tests::{gitleaks, key};

fn push(pair: &Pair, updates: &[(&str, &str)]) -> Verdict {
    let updates: Vec<_> = updates.iter().map(|(revision, name)| pair.update(revision, name)).collect();
    let verdict = pair.judge_with(&updates, &gitleaks()).unwrap();
    let said = format(&verdict, None).join("\n");
    assert!(!said.contains(&key()), "the secret is told: {said}");
    verdict
}

/// Pushes HEAD, expects nothing but secrets to be refused, and gives what is said about them.
fn found(pair: &Pair) -> Vec<String> {
    refused(&push(pair, &[("HEAD", "refs/heads/agent/x")]))
}

fn refused(verdict: &Verdict) -> Vec<String> {
    assert!(!verdict.passes(), "nothing was found");
    assert!(
        verdict.refusals.iter().all(|refusal| refusal.reason == Reason::SecretFound),
        "{:?}",
        verdict.refusals
    );
    verdict.refusals.iter().map(|refusal| refusal.detail.clone()).collect()
}

fn passes(pair: &Pair) {
    let verdict = push(pair, &[("HEAD", "refs/heads/agent/x")]);
    assert!(verdict.passes(), "{:?}", verdict.refusals);
}

#[test]
fn in_the_tip() {
    let pair = Pair::new();
    pair.write("src/config", format!("one\ntwo = {}\n", key()));
    let commit = pair.commit("second");
    let told = found(&pair);
    let expected =
        format!("rule `aws-access-token` in `src/config` line 2, commit {} [f-", commit.split_at(10).0);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with(&expected), "{told:?}");
}

#[test]
fn in_a_commit_that_is_taken_back() {
    let pair = Pair::new();
    pair.write("config", key());
    pair.commit("second");
    pair.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(found(&pair).len(), 1);
}

#[test]
fn only_in_a_merge() {
    let pair = Pair::new();
    pair.write("mine", "mine\n");
    pair.commit("mine");
    pair.git(&["checkout", "--quiet", "main"]);
    pair.write("theirs", "theirs\n");
    pair.commit("theirs");
    pair.publish("main");
    pair.git(&["checkout", "--quiet", "agent/x"]);
    pair.git(&["merge", "--quiet", "--no-commit", "main"]);
    pair.write("mine", key());
    pair.commit("merge");
    assert!(found(&pair)[0].contains("in `mine` line 1"));
}

#[test]
fn in_a_message_a_name_or_a_header_of_a_commit() {
    let raw = |author: &str, header: &str, message: &str| {
        let pair = Pair::new();
        let (tree, parent) = (pair.id("main^{tree}"), pair.id("main"));
        let who = "C <c@example.com> 1700000000 +0000";
        let text = format!(
            "tree {tree}\nparent {parent}\nauthor {author} <a@example.com> 1700000000 +0000\ncommitter {who}\n{header}\n{message}\n"
        );
        let commit =
            pair.git_on(&["hash-object", "-w", "-t", "commit", "--literally", "--stdin"], text.as_bytes());
        refused(&push(&pair, &[(&commit, "refs/heads/agent/x")]))
    };
    let key = key();
    assert!(raw("A", "", &format!("fix\n\nuse {key}"))[0].contains("message or a header"));
    assert_eq!(raw(&key, "", "fix").len(), 1);
    assert_eq!(raw("A", &format!("note {key}\n"), "fix").len(), 1);
    assert_eq!(raw("A", &format!("gpgsig x\n {key}\n"), "fix").len(), 1);
    assert_eq!(raw("A", &format!("encoding {key}\n"), "fix").len(), 1);
}

#[test]
fn in_a_tag_and_in_a_tag_of_a_tag() {
    let pair = Pair::new();
    pair.git(&["tag", "-a", "-m", &format!("see {}", key()), "inner"]);
    pair.git(&["tag", "-a", "-m", "harmless", "outer", "inner"]);
    assert!(refused(&push(&pair, &[("inner", "refs/tags/inner")]))[0].contains("in tag "));
    assert!(refused(&push(&pair, &[("outer", "refs/tags/outer")]))[0].contains("in tag "));
}

#[test]
fn in_files_that_look_like_something_else() {
    let key = key();
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{key}").encode_utf16().flat_map(bytes).collect()
    };
    let files: [(&str, Vec<u8>); 10] = [
        ("image.png", [b"\x89PNG\r\n\x1a\n\0\0", key.as_bytes(), b"\0\0"].concat()),
        ("archive.zip", [b"PK\x03\x04\0\0", key.as_bytes()].concat()),
        ("little.txt", utf16(u16::to_le_bytes)),
        ("big.txt", utf16(u16::to_be_bytes)),
        ("marked.dat", key.clone().into_bytes()),
        ("allowed.py", format!("k = '{key}'  # gitleaks:allow\n").into_bytes()),
        ("package-lock.json", format!("{{\"x\": \"{key}\"}}").into_bytes()),
        ("node_modules/x/index.js", format!("x = '{key}'").into_bytes()),
        ("ignored.txt", key.clone().into_bytes()),
        ("na\tme\n\u{e9}\"\\", key.clone().into_bytes()),
    ];
    let pair = Pair::new();
    pair.write(".gitattributes", "*.dat binary -diff\n");
    pair.write(".gitleaks.toml", "[allowlist]\npaths = ['''.*''']\n");
    pair.write(".gitleaksignore", ":aws-access-token:1\nignored.txt:aws-access-token:1\n");
    for (path, content) in &files {
        // Each with content of its own, so that each is an object of its own.
        pair.write(path, [content, b"\n".as_slice(), path.as_bytes()].concat());
    }
    pair.commit("second");
    let told = found(&pair).join("\n");
    for (path, _) in &files {
        let path = if path.starts_with("na\t") { "na\\tme\\n\u{e9}\"\\" } else { path };
        assert!(told.contains(&format!("in `{path}`")), "{path}: {told}");
    }
}

#[test]
fn split_over_two_commits() {
    let pair = Pair::new();
    let key = key();
    let (one, two) = key.split_at(9);
    pair.write("config", one);
    pair.commit("one half");
    pair.write("config", one.to_owned() + two);
    pair.commit("the other half");
    assert_eq!(found(&pair).len(), 1);
}

#[test]
fn in_the_name_of_a_file_a_directory_or_a_ref() {
    let key = key();
    for path in [format!("{key}.txt"), format!("a/{key}/b")] {
        let pair = Pair::new();
        pair.write(&path, "harmless\n");
        pair.commit("second");
        pair.git(&["rm", "--quiet", &path]);
        pair.commit("taken back");
        assert!(found(&pair)[0].contains("in the name of a file"), "{path}");
    }
    let pair = Pair::new();
    let verdict = push(&pair, &[("HEAD", &format!("refs/heads/agent/{key}"))]);
    assert!(refused(&verdict)[0].contains("in the name of a ref"));
}

#[test]
fn an_empty_directory_has_a_name_as_well() {
    let pair = Pair::new();
    let empty = pair.git_on(&["hash-object", "-w", "-t", "tree", "--stdin"], b"");
    let listing = format!("{}\n040000 tree {empty}\t{}\n", pair.git(&["ls-tree", "HEAD"]), key());
    let tree = pair.git_on(&["mktree"], listing.as_bytes());
    let commit = pair.git(&["commit-tree", &tree, "-p", "main", "-m", "x"]);
    assert_eq!(refused(&push(&pair, &[(&commit, "refs/heads/agent/x")])).len(), 1);
}

#[test]
fn the_ref_that_brings_it_is_named() {
    let pair = Pair::new();
    pair.write("config", key());
    pair.commit("second");
    let verdict = push(&pair, &[("main", "refs/heads/agent/good"), ("HEAD", "refs/heads/agent/bad")]);
    assert_eq!(verdict.refusals[0].subject, "refs/heads/agent/bad");
}

#[test]
fn a_key_store_is_a_secret_by_its_name() {
    let pair = Pair::new();
    pair.write("certs/Server.P12", [0x30, 0x82, 0, 1]);
    pair.commit("second");
    assert!(found(&pair)[0].contains("`certs/Server.P12`"));
}

#[test]
fn rules_for_a_kind_of_file_apply_to_that_kind() {
    let value = ["c3VwZXJ", "zZWNyZXQ="].concat();
    let manifest = format!("apiVersion: v1\nkind: Secret\ndata:\n  word: {value}\n");
    let pair = Pair::new();
    pair.write("secret.md", &manifest);
    pair.commit("documentation");
    passes(&pair);
    pair.write("deploy/secret.yml", manifest + "\n");
    pair.commit("second");
    assert!(found(&pair)[0].contains("bottle-path-kubernetes-secret"));
}

/// An upstream that has a secret in its history, in an encoded form as well.
fn tainted() -> Pair {
    let pair = Pair::new();
    pair.git(&["checkout", "--quiet", "main"]);
    pair.write("old", format!("one\nkey = {}\n", key()));
    pair.commit("a mistake of long ago");
    pair.publish("main");
    pair.git(&["checkout", "--quiet", "-B", "agent/x", "main"]);
    pair
}

#[test]
fn old_history_and_old_secrets_in_edited_files_are_not_flagged_again() {
    let pair = tainted();
    passes(&pair);
    pair.write("old", format!("zero\none\nkey = {}\n", key()));
    pair.commit("an edit above it");
    pair.write("old", format!("zero\nhalf\none\nkey = {}\nmore\n", key()));
    pair.commit("another edit");
    passes(&pair);
    pair.git(&["mv", "old", "renamed"]);
    pair.write("renamed", format!("key = {}\n", key()));
    pair.commit("moved and edited");
    passes(&pair);
}

#[test]
fn an_old_secret_covers_neither_a_new_one_nor_a_new_place() {
    let other = key().replace("Z7QR", "Y6PS");
    let pair = tainted();
    pair.write("old", format!("one\nkey = {}\nother = {other}\n", key()));
    pair.commit("another secret");
    let told = found(&pair);
    assert_eq!((told.len(), told[0].contains("`old` line 3")), (1, true), "{told:?}");
    let pair = tainted();
    pair.write("new", key());
    pair.commit("copied");
    assert!(found(&pair)[0].contains("`new`"));
    let pair = tainted();
    pair.commit(&format!("about {}", key()));
    assert_eq!(found(&pair).len(), 1);
    // A chain that begins with a new file has nothing old in it.
    let pair = Pair::new();
    pair.write("new", key());
    pair.commit("new");
    pair.write("new", key() + "\n");
    pair.commit("edited");
    assert_eq!(found(&pair).len(), 2);
}

#[test]
fn a_large_file_is_scanned_to_its_end() {
    let pair = Pair::new();
    pair.write("large", "0123456789 abcde\n".repeat(300_000) + &key());
    pair.commit("second");
    assert!(found(&pair)[0].contains("`large` line 300001"));
}
