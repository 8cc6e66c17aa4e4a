//! Keys and host keys: strict, separate, and explained.

use std::fs;
use std::process::{Command, Stdio};

use bottle::policy::gate::{GatePolicy, SshKey, SshUpstream, Upstream};

use super::sshd::keygen;
use super::support::{World, eventually, git, tool, write};

fn ssh(policy: &mut GatePolicy) -> &mut SshUpstream {
    match policy.repositories.get_mut("app").map(|app| &mut app.upstream) {
        Some(Upstream::Ssh(ssh)) => ssh,
        _ => unreachable!("the world's upstream is behind SSH"),
    }
}

#[test]
fn a_changed_host_key_is_refused() {
    let world = World::new();
    let agent = world.clone_to("agent");
    keygen(&world.path("sshd/other"));
    let known = fs::read_to_string(world.path("sshd/other.pub")).unwrap();
    // The connection that is there would still do; a new gate has none.
    let mut world = world;
    world.gate.kill();
    write(&world.path("etc/known_hosts"), &format!("[127.0.0.1]:{} {known}", world.sshd.port), 0o644);
    world.restart();
    git(&agent, &["remote", "set-url", "origin", &world.gate.url("app")]).success();
    let text = git(&agent, &["fetch", "origin"]).failure("bottle: host-key-mismatch");
    assert!(text.contains("Host key verification failed"), "{text}");
    assert!(world.sshd.commands().lines().count() < 4, "{}", world.sshd.commands());
}

#[test]
fn a_host_without_a_known_key_is_refused() {
    let mut world = World::new();
    world.gate.kill();
    write(&world.path("etc/known_hosts"), "", 0o644);
    world.restart();
    git(world.root.path(), &["ls-remote", &world.gate.url("app")]).failure("bottle: host-key-mismatch");
}

#[test]
fn a_key_that_the_upstream_does_not_know_is_refused() {
    let mut world = World::new();
    world.gate.kill();
    for name in ["app", "app.pub"] {
        fs::remove_file(world.path("etc/identity").join(name)).unwrap();
    }
    keygen(&world.path("etc/identity/app"));
    world.restart();
    let text =
        git(world.root.path(), &["ls-remote", &world.gate.url("app")]).failure("bottle: upstream-auth");
    assert!(text.contains("Permission denied (publickey)"), "{text}");
}

#[test]
fn an_encrypted_key_stops_the_gate_with_the_way_out() {
    let mut world = World::new();
    world.gate.kill();
    let key = world.path("etc/identity/app");
    let mut encrypt = Command::new(tool("ssh-keygen"));
    encrypt.args(["-q", "-p", "-P", "", "-N", "some words", "-f"]).arg(&key).stdout(Stdio::piped());
    assert!(encrypt.output().unwrap().status.success());
    world.restart();
    assert_eq!(world.gate.port, 0);
    assert_eq!(world.gate.wait(), Some(1));
    let log = world.gate.log();
    assert!(log.contains("the identity file is encrypted; use `ssh_agent: true`"), "{log}");
}

#[test]
fn a_missing_mount_stops_the_gate_with_its_name() {
    let mut world = World::new();
    world.gate.kill();
    fs::remove_file(world.path("etc/known_hosts")).unwrap();
    world.restart();
    assert_eq!(world.gate.wait(), Some(1));
    assert!(world.gate.log().contains("known_hosts is not mounted"), "{}", world.gate.log());
}

#[test]
fn the_operators_agent_is_used_through_the_bridge() {
    let holder = tempfile::tempdir().unwrap();
    let socket = holder.path().join("operator.sock");
    let mut agent = Command::new(tool("ssh-agent"));
    let mut agent = agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    eventually("the operator's agent listens", || socket.exists());
    let world = World::with(
        |policy| {
            let ssh = ssh(policy);
            if let SshKey::IdentityFile(file) = &ssh.key {
                let mut add = Command::new(tool("ssh-add"));
                add.args(["-q", file]).env("SSH_AUTH_SOCK", &socket);
                assert!(add.status().unwrap().success());
            }
            ssh.key = SshKey::Agent(socket.display().to_string());
        },
        &[],
    );
    world.clone_to("agent");
    drop(world);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn under_two_users_the_hooks_world_cannot_read_a_key() {
    if !rustix_root() {
        // Becoming another user needs root; CI and the container tests have it.
        return;
    }
    let mut world = World::new();
    world.gate.kill();
    for directory in ["run", "state"] {
        fs::remove_dir_all(world.path(directory)).unwrap();
        fs::create_dir_all(world.path(directory)).unwrap();
    }
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
    };
    let at = |name: &str| world.path(name).display().to_string();
    run("chmod", &["755", &at("")]);
    run("chmod", &["1777", &at("run")]);
    run("chown", &["65534:65534", &at("state")]);
    // `nobody` and `bin`, which every Debian has: ssh wants its user to be in the list of users.
    // A key of any host user, readable by nobody else.
    run("chown", &["12345:12345", &at("etc/identity/app")]);
    run("chmod", &["600", &at("etc/identity/app")]);
    let gate = super::support::Gate::start(world.root.path(), &["--git-user=65534", "--keys-user=2"]);
    git(world.root.path(), &["clone", "--quiet", &gate.url("app"), "agent"]).success();
    let denied = |path: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "ls", path]);
        assert!(!command.output().unwrap().status.success(), "{path} is open");
    };
    denied(&at("run/keys/agents/0"));
    denied(&at("run/keys/mux"));
    let mut read = Command::new("setpriv");
    read.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat", &at("etc/identity/app")]);
    assert!(!read.output().unwrap().status.success());
    // Another user than the listener's gets no answer from the broker.
    let mut other = Command::new("setpriv");
    other.args(["--reuid=12345", "--regid=12345", "--clear-groups", env!("CARGO_BIN_EXE_bottle")]);
    other.args(["sidecar", "git-gate", "ssh", &format!("git-upload-pack '{}'", at("upstream.git"))]);
    other.env("BOTTLE_GATE_RUN", at("run")).env("BOTTLE_GATE_POLICY", at("etc/gate.yaml"));
    let text = super::support::Ran::from(other.env("BOTTLE_REPOSITORY", "app").output().unwrap());
    text.failure("user 12345 may not ask");
}

fn rustix_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}
