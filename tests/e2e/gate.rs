//! What the gate passes on and what it refuses, from the agent's container to the upstream's refs.

use libtest_mimic::Failed;

use crate::Test;
use crate::world::{Project, key_shape, main};

pub(crate) const TESTS: &[Test] = &[
    ("an_honest_push_reaches_the_upstream", honest_push),
    ("a_tag_that_a_rule_allows_reaches_the_upstream", honest_tag),
    ("a_secret_in_the_tip_is_refused", secret_in_the_tip),
    ("a_secret_in_a_commit_that_is_later_reverted_is_refused", secret_reverted),
    ("a_secret_that_only_a_merge_brings_is_refused", secret_in_a_merge),
    ("a_secret_in_a_commit_message_is_refused", secret_in_a_message),
    ("a_secret_in_the_author_is_refused", secret_in_the_author),
    ("a_secret_in_a_tag_is_refused", secret_in_a_tag),
    ("a_secret_in_a_binary_file_is_refused", secret_in_a_binary_file),
    ("a_secret_in_utf_16_is_refused", secret_in_utf_16),
    ("a_secret_in_a_file_name_is_refused", secret_in_a_file_name),
    ("a_secret_in_a_ref_name_is_refused", secret_in_a_ref_name),
    ("a_secret_that_is_put_together_over_two_commits_is_refused", secret_split),
    ("a_secret_with_a_comment_that_allows_it_is_refused", secret_with_allow_comment),
    ("the_pushed_trees_own_scanner_settings_have_no_say", own_settings),
    ("old_history_is_not_flagged_again", old_history),
    ("a_force_is_refused_where_only_fast_forward_is_allowed", force),
    ("a_delete_is_refused_where_it_is_not_allowed", delete),
    ("a_force_and_a_delete_pass_where_they_are_allowed", loose),
    ("one_bad_ref_of_two_leaves_the_upstream_unchanged", two_refs),
    ("a_branch_that_no_rule_names_is_refused", no_rule),
    ("the_default_branch_is_refused", default_branch),
    ("refs_outside_branches_and_tags_are_refused", other_refs),
    ("a_ref_to_a_blob_or_a_tree_is_refused", ref_to_a_blob),
    ("a_protected_path_is_refused_in_any_new_commit", protected_path),
    ("an_honest_merge_of_the_default_branch_passes", honest_merge),
    ("a_repository_without_push_rules_is_fetch_only", fetch_only),
    ("push_options_are_ignored_loudly", push_options),
    ("all_failures_of_a_push_are_told_at_once", all_at_once),
    ("three_hundred_refs_go_through_in_one_push", many_refs),
    ("shallow_and_partial_clones_work", shallow_and_partial),
    ("a_push_on_an_upstream_that_has_moved_is_refused", moved),
    ("what_the_upstreams_own_hook_says_reaches_the_agent", upstream_hook),
    ("a_submodule_of_a_repository_of_the_bottle_is_fetched_and_any_other_is_refused", submodules),
];

/// Pushes what a script commits in a fresh clone, and expects a refusal that leaves the upstream as it is.
fn refused(script: &str, reason: &str) -> Result<String, Failed> {
    let project = main()?;
    let before = project.upstream_refs();
    let text = project.agent_in_clone(script).expect_refused(reason)?;
    let after = project.upstream_refs();
    if before != after {
        return Err(format!("the upstream changed:\n{before}---\n{after}").into());
    }
    Ok(text)
}

/// As [`refused`], for a secret: the answer names the reason and never the secret.
fn secret_refused(seed: u64, script: &str) -> Result<String, Failed> {
    let key = key_shape(seed);
    let text = refused(&format!("key={key}; {script}"), "secret-found")?;
    // Only the gate's own words: git repeats the name that the agent itself gave.
    let repeated = text.lines().any(|line| line.starts_with("remote:") && line.contains(&key));
    assert!(!repeated, "the answer repeats the secret:\n{text}");
    Ok(text)
}

const COMMIT: &str = "git add -A && git commit -q -m change";

fn pushed(project: &Project, script: &str, name: &str) -> Result<String, Failed> {
    let text = project.agent_in_clone(&format!("{script}; git rev-parse HEAD")).expect_ok()?;
    let head = text.trim().lines().last().unwrap_or_default().to_owned();
    assert_eq!(project.upstream_ref(name).as_deref(), Some(head.as_str()), "{text}");
    Ok(text)
}

fn honest_push() -> Result<(), Failed> {
    let script = format!("date >f && {COMMIT} && git push -q origin HEAD:agent/honest");
    pushed(main()?, &script, "refs/heads/agent/honest")?;
    Ok(())
}

fn honest_tag() -> Result<(), Failed> {
    let script = "git tag -a -m release agent-1 && git push -q origin agent-1 && git rev-parse agent-1";
    let text = main()?.agent_in_clone(script).expect_ok()?;
    assert_eq!(main()?.upstream_ref("refs/tags/agent-1").as_deref(), Some(text.trim()));
    refused("git tag -a -m other v1 && git push origin v1", "ref-denied")?;
    Ok(())
}

fn secret_in_the_tip() -> Result<(), Failed> {
    let text = secret_refused(
        1,
        &format!("echo \"id = $key\" >config && {COMMIT} && git push origin HEAD:agent/tip"),
    )?;
    assert!(text.contains("config"), "the answer does not name the file:\n{text}");
    Ok(())
}

fn secret_reverted() -> Result<(), Failed> {
    let script = format!(
        "echo \"id = $key\" >config && {COMMIT} && git revert --no-edit HEAD >log && git push origin HEAD:agent/reverted"
    );
    secret_refused(2, &script)?;
    Ok(())
}

fn secret_in_a_merge() -> Result<(), Failed> {
    let script = format!(
        "git switch -q -c a && echo a >a && {COMMIT} && git switch -q -c b HEAD~ && echo b >b && {COMMIT} && \
         git merge -q --no-commit a && echo \"id = $key\" >b && {COMMIT} && git push origin HEAD:agent/merge"
    );
    secret_refused(3, &script)?;
    Ok(())
}

fn secret_in_a_message() -> Result<(), Failed> {
    secret_refused(4, "git commit -q --allow-empty -m \"id = $key\" && git push origin HEAD:agent/message")?;
    Ok(())
}

fn secret_in_the_author() -> Result<(), Failed> {
    secret_refused(
        5,
        "git commit -q --allow-empty -m x --author \"$key <a@example.org>\" && git push origin HEAD:agent/author",
    )?;
    Ok(())
}

fn secret_in_a_tag() -> Result<(), Failed> {
    secret_refused(6, "git tag -a -m \"id = $key\" agent-secret && git push origin agent-secret")?;
    Ok(())
}

fn secret_in_a_binary_file() -> Result<(), Failed> {
    let script = format!(
        "printf '\\000\\001\\002 id = %s \\000' \"$key\" >blob.bin && echo '*.bin binary -diff' >.gitattributes && {COMMIT} && \
         git push origin HEAD:agent/binary"
    );
    secret_refused(7, &script)?;
    Ok(())
}

fn secret_in_utf_16() -> Result<(), Failed> {
    let python = "python3 -c \"import sys; open('wide.txt','wb').write(('id = '+sys.argv[1]+chr(10)).encode('utf-16'))\" $key";
    secret_refused(8, &format!("{python} && {COMMIT} && git push origin HEAD:agent/wide"))?;
    Ok(())
}

fn secret_in_a_file_name() -> Result<(), Failed> {
    secret_refused(9, &format!("echo x >\"$key\" && {COMMIT} && git push origin HEAD:agent/name"))?;
    Ok(())
}

fn secret_in_a_ref_name() -> Result<(), Failed> {
    secret_refused(10, "git push origin HEAD:refs/heads/agent/$key")?;
    Ok(())
}

fn secret_split() -> Result<(), Failed> {
    let script = format!(
        "printf 'id = %s' \"$(echo $key | cut -c1-10)\" >half && {COMMIT} && printf '%s\\n' \"$(echo $key | cut -c11-)\" >>half && \
         {COMMIT} && git push origin HEAD:agent/half"
    );
    secret_refused(11, &script)?;
    Ok(())
}

fn secret_with_allow_comment() -> Result<(), Failed> {
    secret_refused(
        12,
        &format!(
            "echo \"id = $key # gitleaks:allow\" >config && {COMMIT} && git push origin HEAD:agent/allow"
        ),
    )?;
    Ok(())
}

fn own_settings() -> Result<(), Failed> {
    let script = format!(
        "echo \"id = $key\" >config && printf '[allowlist]\\npaths = [\".*\"]\\n' >.gitleaks.toml && \
         echo 'config:aws-access-token:1' >.gitleaksignore && mkdir node_modules && cp config node_modules/package-lock.json && \
         {COMMIT} && git push origin HEAD:agent/settings"
    );
    secret_refused(13, &script)?;
    Ok(())
}

fn old_history() -> Result<(), Failed> {
    let project = main()?;
    let key = key_shape(14);
    // The upstream itself has it already, from before.
    let seed = format!(
        "hash-object -w --stdin <<'X' >blob && printf '100644 blob %s\\tfixture\\n100644 blob %s\\tREADME\\n' \"$(cat blob)\" \
         \"$(git rev-parse main:README)\" | git mktree >tree && git -c user.name=u -c user.email=u@example.org commit-tree \
         -p main -m fixture \"$(cat tree)\" >commit && git update-ref refs/heads/main \"$(cat commit)\" && rm blob tree commit\n\
         id = {key}\nX"
    );
    // The here-document's body follows its command line.
    let (line, body) = seed.split_once('\n').ok_or("it has lines")?;
    project.upstream(&format!("{line}\n{body}\n")).expect_ok()?;
    let script =
        format!("echo more >>fixture && echo new >new && {COMMIT} && git push -q origin HEAD:agent/history");
    pushed(project, &script, "refs/heads/agent/history")?;
    Ok(())
}

fn force() -> Result<(), Failed> {
    pushed(
        main()?,
        &format!("date >f && {COMMIT} && git push -q origin HEAD:agent/forced"),
        "refs/heads/agent/forced",
    )?;
    refused(
        &format!("echo other >f && {COMMIT} && git push --force origin HEAD:agent/forced"),
        "operation-denied",
    )?;
    Ok(())
}

fn delete() -> Result<(), Failed> {
    pushed(
        main()?,
        &format!("date >f && {COMMIT} && git push -q origin HEAD:agent/kept"),
        "refs/heads/agent/kept",
    )?;
    refused("git push origin :agent/kept", "operation-denied")?;
    Ok(())
}

fn loose() -> Result<(), Failed> {
    let project = main()?;
    pushed(
        project,
        &format!("date >f && {COMMIT} && git push -q origin HEAD:loose/x"),
        "refs/heads/loose/x",
    )?;
    pushed(
        project,
        &format!("echo y >f && {COMMIT} && git push -q --force origin HEAD:loose/x"),
        "refs/heads/loose/x",
    )?;
    project.agent_in_clone("git push -q origin :loose/x").expect_ok()?;
    assert_eq!(project.upstream_ref("refs/heads/loose/x"), None);
    Ok(())
}

fn two_refs() -> Result<(), Failed> {
    refused(
        &format!("date >f && {COMMIT} && git push origin HEAD:agent/good HEAD:release/bad"),
        "ref-denied",
    )?;
    Ok(())
}

fn no_rule() -> Result<(), Failed> {
    let text = refused("git push origin HEAD:feature/x", "ref-denied")?;
    assert!(text.contains("hint:"), "{text}");
    Ok(())
}

fn default_branch() -> Result<(), Failed> {
    let text = refused(
        &format!("date >f && {COMMIT} && git push origin HEAD:main"),
        "bottle: refused refs/heads/main",
    )?;
    assert!(text.contains("ref-denied") || text.contains("default-branch-protected"), "{text}");
    Ok(())
}

fn other_refs() -> Result<(), Failed> {
    for name in ["refs/notes/commits", "refs/replace/x", "refs/hidden/x", "refs/heads-not/x"] {
        refused(&format!("git push origin HEAD:{name}"), "ref-namespace-denied")?;
    }
    Ok(())
}

fn ref_to_a_blob() -> Result<(), Failed> {
    refused("git push origin $(git rev-parse HEAD:README):refs/tags/agent-blob", "object-denied")?;
    refused("git push origin $(git rev-parse 'HEAD^{tree}'):refs/tags/agent-tree", "object-denied")?;
    Ok(())
}

fn protected_path() -> Result<(), Failed> {
    refused(
        &format!("echo 'bottles: {{}}' >bottle.yaml && {COMMIT} && git push origin HEAD:agent/policy"),
        "path-protected",
    )?;
    let reverted = format!(
        "mkdir .bottle && echo x >.bottle/x && {COMMIT} && git revert --no-edit HEAD >log && rm log && git push origin HEAD:agent/policy"
    );
    refused(&reverted, "path-protected")?;
    refused(
        &format!("git mv README compose.yaml && {COMMIT} && git push origin HEAD:agent/policy"),
        "path-protected",
    )?;
    Ok(())
}

fn honest_merge() -> Result<(), Failed> {
    let project = main()?;
    pushed(
        project,
        &format!("date >branch && {COMMIT} && git push -q origin HEAD:agent/merging"),
        "refs/heads/agent/merging",
    )?;
    // Somebody with the right to do so changes the policy on the default branch.
    let upstream = "c=$(git rev-parse main); b=$(echo policy | git hash-object -w --stdin); \
         t=$( (git ls-tree main; printf '100644 blob %s\\tbottle.yaml\\n' $b) | git mktree); \
         n=$(git -c user.name=u -c user.email=u@example.org commit-tree -p $c -m policy $t); git update-ref refs/heads/main $n $c";
    project.upstream_shell(upstream).expect_ok()?;
    let script = "git switch -q agent/merging && git merge -q --no-edit origin/main && git push -q origin HEAD:agent/merging";
    pushed(project, script, "refs/heads/agent/merging")?;
    Ok(())
}

fn fetch_only() -> Result<(), Failed> {
    // `second` has an address at which nobody answers: judging a push needs its mirror, so the upstream is asked first.
    main()?
        .agent("git -C /workspace push git://git-gate/second.git HEAD:refs/heads/agent/x")
        .expect_refused("bottle:")?;
    Ok(())
}

fn push_options() -> Result<(), Failed> {
    let script = format!("date >f && {COMMIT} && git push -o ci.skip origin HEAD:agent/options");
    let text = main()?.agent_in_clone(&script).expect_ok()?;
    assert!(text.contains("push option"), "{text}");
    Ok(())
}

fn all_at_once() -> Result<(), Failed> {
    let script = format!(
        "key={}; echo \"id = $key\" >config && echo x >bottle.yaml && {COMMIT} && \
         git push origin HEAD:agent/all HEAD:release/x HEAD:refs/notes/x",
        key_shape(15)
    );
    let text = refused(&script, "secret-found")?;
    for reason in ["path-protected", "ref-denied", "ref-namespace-denied"] {
        assert!(text.contains(reason), "`{reason}` is missing:\n{text}");
    }
    Ok(())
}

fn many_refs() -> Result<(), Failed> {
    let script = format!(
        "date >f && {COMMIT} && for n in $(seq 300); do echo HEAD:refs/heads/agent/many/$n; done >refs && \
         git push -q origin $(cat refs)"
    );
    main()?.agent_in_clone(&script).expect_ok()?;
    let refs = main()?.upstream("for-each-ref refs/heads/agent/many | wc -l").text;
    assert_eq!(refs.trim(), "300");
    Ok(())
}

fn shallow_and_partial() -> Result<(), Failed> {
    let url = "ssh://git@git.example.org:2222/srv/git/app.git";
    for options in
        ["--depth=1", "--filter=blob:none", "--filter=tree:0 --no-checkout", "--depth=1 --single-branch"]
    {
        let script = format!(
            "d=$(mktemp -d) && git clone -q {options} {url} $d/w && git -C $d/w log --oneline -1 && git -C $d/w show HEAD:README"
        );
        let text = main()?.agent(&script).expect_ok()?;
        assert!(text.contains("hello from app"), "{options}: {text}");
    }
    Ok(())
}

fn moved() -> Result<(), Failed> {
    let project = main()?;
    pushed(
        project,
        &format!("date >f && {COMMIT} && git push -q origin HEAD:agent/moving"),
        "refs/heads/agent/moving",
    )?;
    // The upstream moves after the agent has cloned and before it pushes.
    let script = format!(
        "git switch -q agent/moving && echo mine >mine && {COMMIT} && touch /tmp/ready && \
         until [ -e /tmp/go ]; do sleep 0.05; done; rm /tmp/go /tmp/ready; git push origin HEAD:agent/moving"
    );
    let pushing = std::thread::spawn(move || project.agent_in_clone(&script));
    crate::world::eventually("the agent is ready to push", || project.agent("test -e /tmp/ready").ok)?;
    project.upstream("update-ref refs/heads/agent/moving main").expect_ok()?;
    project.agent("touch /tmp/go").expect_ok()?;
    pushing.join().map_err(|_| "the push's thread panicked")?.expect_refused("upstream-moved")?;
    assert_eq!(project.upstream_ref("refs/heads/agent/moving"), project.upstream_ref("refs/heads/main"));
    Ok(())
}

fn upstream_hook() -> Result<(), Failed> {
    let project = main()?;
    let install = "printf '#!/bin/sh\\necho the house says no >&2\\nexit 1\\n' >hooks/pre-receive && chmod +x hooks/pre-receive";
    project.upstream_shell(install).expect_ok()?;
    let said =
        refused(&format!("date >f && {COMMIT} && git push origin HEAD:agent/house"), "upstream-refused");
    project.upstream_shell("rm hooks/pre-receive").expect_ok()?;
    assert!(said?.contains("the house says no"));
    Ok(())
}

fn submodules() -> Result<(), Failed> {
    let project = main()?;
    let url = "ssh://git@git.example.org:2222/srv/git/app.git";
    // Named as it is, and relative to the remote of the repository that it is in (git-submodule(1)).
    let said = project
        .agent_in_clone(&format!(
            "git submodule --quiet add {url} vendor && git submodule --quiet add ../app.git relative && {COMMIT} && \
             git push -q origin HEAD:agent/submodules && cd .. && \
             git clone -q --recurse-submodules --branch agent/submodules {url} again && \
             cat again/vendor/README again/relative/README"
        ))
        .expect_ok()?;
    assert!(said.ends_with("hello from app\nhello from app\n"), "{said}");
    for other in [
        "ssh://git@git.example.org:2222/srv/git/other.git",
        "git@elsewhere.example.org:x.git",
        "../other.git",
    ] {
        project
            .agent_in_clone(&format!("git submodule --quiet add {other} other"))
            .expect_refused("repository-unknown")?;
    }
    Ok(())
}
