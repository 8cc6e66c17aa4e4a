//! Fetches: never stale, never twice the work, bounded.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use bottle::policy::gate::Upstream;

use super::support::{World, commit, eventually, git, git_command, write};

#[test]
fn a_fetch_sees_what_the_upstream_has_at_that_moment() {
    let world = World::new();
    let agent = world.clone_to("agent");
    for number in 0..3 {
        let tip = commit(&world.path("seed"), "README.md", &format!("{number}\n"));
        git(
            &world.path("seed"),
            &["push", "--quiet", "../upstream.git", "main", "main:refs/tags/v1", "--force"],
        )
        .success();
        git(&agent, &["fetch", "--quiet", "--tags", "--force", "origin"]).success();
        assert_eq!(git(&agent, &["rev-parse", "origin/main"]).success().trim(), tip);
    }
    git(&world.path("upstream.git"), &["update-ref", "-d", "refs/tags/v1"]).success();
    assert!(!git(&agent, &["ls-remote", "origin"]).success().contains("refs/tags/v1"));
}

#[test]
fn an_upstream_that_speaks_an_older_protocol_is_served() {
    for old in ["unset GIT_PROTOCOL", "export GIT_PROTOCOL=version=1"] {
        let world = World::new();
        world.sshd.hook(&format!("{old}\n"));
        let agent = world.clone_to("agent");
        assert_eq!(git(&agent, &["branch", "--show-current"]).success().trim(), "main");
        // The same refs are recognised as the same: only the first access fetched.
        git(&agent, &["ls-remote", "origin"]).success();
        assert_eq!(world.gate.log().matches("app: fetched in").count(), 1, "{old}");
        let tip = commit(&world.path("seed"), "README.md", "moved\n");
        git(&world.path("seed"), &["push", "--quiet", "../upstream.git", "main", "main:refs/tags/v1"])
            .success();
        git(&agent, &["fetch", "--quiet", "origin"]).success();
        assert_eq!(git(&agent, &["rev-parse", "origin/main"]).success().trim(), tip);
    }
}

#[test]
fn the_default_branch_follows_the_upstreams() {
    let world = World::new();
    world.clone_to("agent");
    let upstream = world.path("upstream.git");
    git(&upstream, &["branch", "-m", "main", "trunk"]).success();
    git(&upstream, &["symbolic-ref", "HEAD", "refs/heads/trunk"]).success();
    let other = world.clone_to("other");
    assert_eq!(git(&other, &["branch", "--show-current"]).success().trim(), "trunk");
}

#[test]
fn a_fetch_fails_when_the_upstream_is_down() {
    let mut world = World::new();
    let agent = world.clone_to("agent");
    world.sshd.stop();
    let text = git(&agent, &["fetch", "origin"]).failure("remote error: bottle: upstream-down");
    assert!(text.contains("app: "), "{text}");
    git(world.root.path(), &["clone", &world.gate.url("app"), "other"]).failure("bottle: upstream-down");
    world.sshd.start();
    git(&agent, &["fetch", "origin"]).success();
}

#[test]
fn a_silent_upstream_is_given_up_in_bounded_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::with(
        |policy| {
            if let Some(Upstream::Ssh(ssh)) = policy.repositories.get_mut("app").map(|app| &mut app.upstream)
            {
                ssh.port = port;
            }
        },
        &["--check-limit=4"],
    );
    let start = Instant::now();
    git(world.root.path(), &["clone", &world.gate.url("app"), "agent"]).failure("bottle: upstream-down");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(listener);
}

#[test]
fn a_connection_that_hangs_is_replaced() {
    let world = World::with(|_| {}, &["--check-limit=10"]);
    let agent = world.clone_to("agent");
    let list = Command::new("pgrep")
        .args(["-P", &world.gate.pid("broker").to_string(), "-x", "ssh"])
        .output()
        .unwrap();
    let master = String::from_utf8(list.stdout).unwrap().trim().to_owned();
    Command::new("kill").args(["-STOP", &master]).status().unwrap();
    git(&agent, &["fetch", "origin"]).failure("bottle: upstream-down");
    git(&agent, &["fetch", "origin"]).success();
}

#[test]
fn a_connection_that_died_is_replaced() {
    let world = World::new();
    let agent = world.clone_to("agent");
    let list = Command::new("pgrep")
        .args(["-P", &world.gate.pid("broker").to_string(), "-x", "ssh"])
        .output()
        .unwrap();
    let master = String::from_utf8(list.stdout).unwrap().trim().to_owned();
    Command::new("kill").args(["-KILL", &master]).status().unwrap();
    git(&agent, &["fetch", "origin"]).success();
}

#[test]
fn ten_clones_at_once_are_one_fetch() {
    let world = World::new();
    let url = world.gate.url("app");
    let clone = |number: usize| {
        let mut command = git_command(world.root.path());
        command.args(["clone", "--quiet", &url, &format!("agent{number}")]).spawn().unwrap()
    };
    let clones: Vec<_> = (0..10).map(clone).collect();
    for mut clone in clones {
        assert!(clone.wait().unwrap().success());
    }
    assert_eq!(world.sshd.fetches(), 1);
}

#[test]
fn an_upstream_that_moves_during_a_check_is_checked_again() {
    let world = World::new();
    let agent = world.clone_to("agent");
    // The first check from now on reads the refs before the move and tells them after it.
    let (held, go) = (world.path("held"), world.path("go"));
    let script = format!(
        "if mkdir {held}; then unset GIT_PROTOCOL; eval \"$SSH_ORIGINAL_COMMAND\" | {{ head -c 4 >{held}/start; \
         mkdir {held}/told; while [ ! -e {go} ]; do sleep 0.02; done; cat {held}/start -; }}; exit; fi 2>&-\n",
        held = held.display(),
        go = go.display()
    );
    world.sshd.hook(&script);
    let mut first = git_command(&agent).args(["ls-remote", "origin"]).spawn().unwrap();
    eventually("the first check is held", || held.join("told").exists());
    let tip = commit(&world.path("seed"), "README.md", "moved\n");
    git(&world.path("seed"), &["push", "--quiet", "../upstream.git", "main"]).success();
    let mut second = git_command(&agent);
    second.args(["ls-remote", "origin"]).stdout(std::process::Stdio::piped());
    let second = second.spawn().unwrap();
    write(&go, "", 0o644);
    let seen = second.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains(&tip));
    assert!(first.wait().unwrap().success());
}

#[test]
fn shallow_and_partial_clones_work() {
    let world = World::new();
    commit(&world.path("seed"), "big.txt", &"x".repeat(5000));
    git(&world.path("seed"), &["push", "--quiet", "../upstream.git", "main"]).success();
    let url = world.gate.url("app");
    let root = world.root.path();
    git(root, &["clone", "--quiet", "--depth=1", &url, "shallow"]).success();
    assert_eq!(git(&world.path("shallow"), &["rev-list", "--count", "HEAD"]).success().trim(), "1");
    git(root, &["clone", "--quiet", "--filter=blob:none", &url, "partial"]).success();
    git(&world.path("partial"), &["cat-file", "-p", "HEAD:big.txt"]).success();
    // A commit that is no tip can be asked for by name.
    let first = git(&world.path("seed"), &["rev-parse", "HEAD^"]).success();
    git(&world.path("shallow"), &["fetch", "--quiet", "--depth=1", "origin", first.trim()]).success();
}

#[test]
fn an_empty_upstream_is_served_as_empty() {
    let world = World::new();
    std::fs::remove_dir_all(world.path("upstream.git")).unwrap();
    git(world.root.path(), &["init", "--quiet", "--bare", "upstream.git"]).success();
    let agent = world.clone_to("agent");
    let tip = commit(&agent, "first.txt", "first\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/first"]).success();
    assert_eq!(world.upstream("refs/heads/agent/first"), tip);
}

#[test]
fn an_upstream_with_long_object_names_is_served() {
    let world = World::new();
    std::fs::remove_dir_all(world.path("upstream.git")).unwrap();
    git(world.root.path(), &["init", "--quiet", "-b", "main", "--object-format=sha256", "long"]).success();
    commit(&world.path("long"), "a.txt", "a\n");
    git(world.root.path(), &["clone", "--quiet", "--bare", "long", "upstream.git"]).success();
    let agent = world.clone_to("agent");
    assert_eq!(git(&agent, &["rev-parse", "HEAD"]).success().trim().len(), 64);
}

#[test]
fn a_mirror_that_is_damaged_is_made_anew() {
    let mut world = World::new();
    world.clone_to("agent");
    world.gate.kill();
    let mirror = world.path("state/app.git");
    write(&mirror.join("refs/heads/main.lock"), "", 0o644);
    write(&mirror.join("packed-refs.lock"), "", 0o644);
    write(&mirror.join("objects/tmp_objdir-incoming-x/pack/tmp_pack_y"), "half", 0o644);
    write(&mirror.join("config"), "[core]\n\thooksPath = /tmp\n", 0o644);
    world.restart();
    world.clone_to("again");
    assert!(!mirror.join("objects/tmp_objdir-incoming-x").exists());
    world.gate.kill();
    std::fs::remove_dir_all(mirror.join("objects/pack")).unwrap();
    std::fs::create_dir(mirror.join("objects/pack")).unwrap();
    world.restart();
    world.clone_to("third");
}

#[test]
fn a_small_exchange_does_not_stall() {
    let world = World::new();
    // Git asks for refs in several small writes, of which the second waits for the first to be acknowledged: 40 ms when
    // the gate's kernel takes its time.
    let exchange = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", world.gate.port)).unwrap();
        let until_flush = |stream: &mut TcpStream| {
            let (mut told, mut buffer) = (Vec::new(), [0; 4096]);
            while !told.ends_with(b"0000") {
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0, "{}", String::from_utf8_lossy(&told));
                told.extend_from_slice(&buffer[..count]);
            }
        };
        stream.write_all(b"003agit-upload-pack /_health.git\0host=git-gate\0\0version=2\0").unwrap();
        until_flush(&mut stream);
        let start = Instant::now();
        for part in ["0014command=ls-refs\n", "0001", "0009peel\n", "000csymrefs\n", "0000"] {
            stream.write_all(part.as_bytes()).unwrap();
        }
        until_flush(&mut stream);
        start.elapsed()
    };
    let best = (0..5).map(exchange).min().unwrap();
    assert!(best < Duration::from_millis(30), "{best:?}");
}

#[test]
fn a_client_that_says_nothing_does_not_keep_others_out() {
    let world = World::with(|_| {}, &["--max-connections=2"]);
    let silent: Vec<_> =
        (0..2).map(|_| TcpStream::connect(("127.0.0.1", world.gate.port)).unwrap()).collect();
    let url = world.gate.url("app");
    git(world.root.path(), &["ls-remote", &url]).failure("bottle: gate-busy");
    for mut stream in silent {
        // It is closed by the gate.
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    }
    git(world.root.path(), &["ls-remote", &url]).success();
}
