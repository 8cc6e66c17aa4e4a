//! What happens when something outside of the agent fails.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::Test;
use crate::world::{Project, eventually, main, upstream_override};

pub(crate) const TESTS: &[Test] = &[
    ("ten_clones_at_once_cause_one_fetch_of_the_upstream", ten_clones),
    ("a_stopped_upstream_fails_every_fetch_and_push", stopped_upstream),
    ("a_silent_upstream_does_not_hold_the_agent", silent_upstream),
    ("a_gate_that_is_killed_in_a_push_recovers", killed_gate),
    ("a_stopped_gate_lets_nothing_through", stopped_gate),
    ("an_upstream_with_another_host_key_is_refused", wrong_host_key),
    ("an_upstream_that_does_not_know_the_key_is_refused", wrong_key),
];

const URL: &str = "ssh://git@git.example.org:2222/srv/git/app.git";

fn ten_clones() -> Result<(), Failed> {
    let project = main()?;
    // Something new, so that a fetch is needed at all.
    project.upstream("update-ref refs/heads/fresh $(git -c user.name=u -c user.email=u@example.org commit-tree -m fresh main^{tree})").expect_ok()?;
    let packs = "ls /srv/git/trace | wc -l";
    let trace = "mkdir -p /srv/git/trace && git config --global uploadpack.packObjectsHook /srv/git/trace.sh && \
         printf '#!/bin/sh\\ntouch /srv/git/trace/$$\\nexec \"$@\"\\n' >/srv/git/trace.sh && chmod +x /srv/git/trace.sh && rm -f /srv/git/trace/*";
    let upstream = |script: &str| {
        project.exec("upstream", &["--user", "git", "--env", "HOME=/srv/git"], &["sh", "-c", script])
    };
    upstream(trace).expect_ok()?;
    let script = format!(
        "d=$(mktemp -d); for n in 0 1 2 3 4 5 6 7 8 9; do git clone -q {URL} $d/$n || touch $d/failed & done; wait; \
         test ! -e $d/failed && for n in 0 1 2 3 4 5 6 7 8 9; do git -C $d/$n rev-parse --verify -q origin/fresh; done"
    );
    let text = project.agent(&script).expect_ok()?;
    assert_eq!(text.lines().count(), 10, "{text}");
    let count = upstream(packs).expect_ok()?;
    upstream("git config --global --unset uploadpack.packObjectsHook").expect_ok()?;
    assert_eq!(count.trim(), "1", "packs that the upstream made");
    Ok(())
}

fn stopped_upstream() -> Result<(), Failed> {
    let project = main()?;
    project.compose(&["stop", "--timeout", "2", "upstream"]).expect_ok()?;
    let fetch = project.agent("git -C /workspace fetch origin");
    let clone = project.agent(&format!("git clone {URL} $(mktemp -d)/x"));
    let push = project.agent("cd /workspace && git push origin HEAD:agent/stopped");
    project.compose(&["start", "upstream"]).expect_ok()?;
    fetch.expect_refused("upstream-down")?;
    clone.expect_refused("upstream-down")?;
    push.expect_refused("bottle: ")?;
    eventually("the upstream answers again", || project.agent(&format!("git ls-remote {URL}")).ok)
}

fn silent_upstream() -> Result<(), Failed> {
    let project = main()?;
    project.agent(&format!("git ls-remote {URL}")).expect_ok()?;
    project.compose(&["pause", "upstream"]).expect_ok()?;
    let start = Instant::now();
    let fetch = project.agent("git -C /workspace fetch origin");
    let took = start.elapsed();
    project.compose(&["unpause", "upstream"]).expect_ok()?;
    fetch.expect_refused("upstream-down")?;
    assert!(took < Duration::from_mins(1), "the agent was held for {took:?}");
    eventually("the upstream answers again", || project.agent(&format!("git ls-remote {URL}")).ok)
}

fn killed_gate() -> Result<(), Failed> {
    let project = main()?;
    let script = "head -c 60000000 /dev/urandom >big && git -c core.compression=0 add big && git commit -q -m big && touch /tmp/pushing && git push origin HEAD:agent/killed";
    let pushing = std::thread::spawn(move || project.agent_in_clone(script));
    eventually("the push has begun", || project.agent("test -e /tmp/pushing").ok)?;
    eventually("the gate has a quarantine", || {
        project.gate("git", "ls -d /var/lib/bottle/mirrors/app.git/objects/*incoming*").ok
    })?;
    project.compose(&["kill", "--signal", "KILL", "git-gate"]).expect_ok()?;
    let said = pushing.join().map_err(|_| "the push's thread panicked")?;
    assert!(!said.ok, "the push says that it went well:\n{}", said.text);
    // Compose's `restart: unless-stopped` does not cover a kill by its own command.
    project.up_again(&[]).expect_ok()?;
    project.agent("rm -f /tmp/pushing").expect_ok()?;
    project
        .agent_in_clone(
            "date >f && git add f && git commit -q -m f && git push -q origin HEAD:agent/recovered",
        )
        .expect_ok()?;
    let left = project.gate("git", "ls -d /var/lib/bottle/mirrors/app.git/objects/*incoming*");
    assert!(!left.ok, "the killed push left something behind:\n{}", left.text);
    project
        .gate("git", "git -c safe.directory='*' -C /var/lib/bottle/mirrors/app.git fsck --connectivity-only")
        .expect_ok()?;
    Ok(())
}

fn stopped_gate() -> Result<(), Failed> {
    let project = main()?;
    let before = project.upstream_refs();
    project.compose(&["stop", "--timeout", "5", "git-gate"]).expect_ok()?;
    let push = project.agent("cd /workspace && timeout 20 git push origin HEAD:agent/unguarded");
    let direct = project.agent(&format!("GIT_CONFIG_SYSTEM=/dev/null timeout 20 git -c core.sshCommand='ssh -o ConnectTimeout=3' ls-remote {URL}"));
    project.up_again(&[]).expect_ok()?;
    assert!(!push.ok && !direct.ok, "{}\n{}", push.text, direct.text);
    assert_eq!(project.upstream_refs(), before);
    Ok(())
}

/// A bottle of its own whose agent is only asked, with the keys that `arrange` leaves.
fn refused_bottle(
    name: &str,
    reason: &str,
    arrange: impl FnOnce(&Project, &str) -> Result<String, String>,
) -> Result<(), Failed> {
    let project = Project::new(name)?;
    let host_key = project.keys()?;
    let known = arrange(&project, &host_key)?;
    project.write("bottle.yaml", &format!(
        "bottles:\n  dev:\n    git:\n      app:\n        upstream: {URL}\n        identity_file: id_ed25519\n        known_host_key: {known}\n\
         agents:\n  {}: {{ bottle: dev, preset: shell }}\n", project.slug
    ));
    project.write("compose.override.yaml", &upstream_override("app"));
    project.render()?;
    project.up()?;
    project.agent(&format!("git clone {URL} $(mktemp -d)/x")).expect_refused(reason)?;
    project.down();
    Ok(())
}

fn wrong_host_key() -> Result<(), Failed> {
    refused_bottle("hostkey", "host-key-mismatch", |project, _| {
        let said = project.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "other"]);
        let other = std::fs::read_to_string(project.directory.join("other.pub"))
            .map_err(|error| format!("{error}: {}", said.text))?;
        Ok(other.split(' ').take(2).collect::<Vec<_>>().join(" "))
    })
}

fn wrong_key() -> Result<(), Failed> {
    refused_bottle("wrongkey", "upstream-auth", |project, host_key| {
        project.write("upstream/authorized_keys", "# nobody\n");
        Ok(host_key.to_owned())
    })
}
