//! What a hostile agent tries at the gate's door, and what a hostile hook could try at the broker's.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use super::support::{World, commit, eventually, git, git_command, write};

/// Sends bytes to the gate and gives what it answers.
fn send(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", world.gate.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    drop(stream.shutdown(Shutdown::Both));
    String::from_utf8_lossy(&answer).into_owned()
}

fn line(body: &str) -> Vec<u8> {
    format!("{:04x}{body}", body.len() + 4).into_bytes()
}

#[test]
fn an_unknown_repository_is_refused_with_the_known_ones() {
    let world = World::new();
    let text = git(world.root.path(), &["ls-remote", &world.gate.url("other")])
        .failure("bottle: repository-unknown");
    assert!(text.contains("there is `app`"), "{text}");
}

#[test]
fn a_request_that_git_does_not_make_never_reaches_gits_daemon() {
    let world = World::new();
    for (body, reason) in [
        ("git-upload-pack /../../etc\0host=git-gate\0", "repository-unknown"),
        ("git-upload-pack /--upload-pack=id\0host=git-gate\0", "repository-unknown"),
        ("git-upload-pack ext::sh -c id\0host=git-gate\0", "repository-unknown"),
        ("git-upload-pack /~root/app\0host=git-gate\0", "repository-unknown"),
        ("git-upload-pack /app.git/../app.git\0host=git-gate\0", "repository-unknown"),
        ("git-upload-archive /app.git\0host=git-gate\0", "request-invalid"),
        ("git-upload-pack /app.git\0host=data.evil.example\0", "request-invalid"),
        ("git-upload-pack /app.git\0host=git-gate\0\0evil=1\0", "request-invalid"),
    ] {
        let answer = send(&world, &line(body));
        assert!(answer.contains(&format!("ERR bottle: {reason}")), "{body:?}: {answer}");
    }
    assert!(send(&world, b"GET / HTTP/1.0\r\n\r\n").contains("ERR bottle: request-invalid"));
    assert!(world.sshd.commands().is_empty(), "{}", world.sshd.commands());
}

#[test]
fn remotes_of_the_agents_making_are_refused_by_git_or_by_the_gate() {
    let world = World::new();
    for name in ["-x", "..", "app.git/hooks", "%2e%2e", "_health/../app"] {
        let url = format!("git://127.0.0.1:{}/{name}", world.gate.port);
        git(world.root.path(), &["ls-remote", "--", &url]).failure("");
    }
    git(world.root.path(), &["push", &world.gate.url("_health"), "HEAD:refs/heads/x"]).failure("");
}

/// The environment in which the gate's own git runs `ssh`.
fn wrapper(world: &World) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bottle"));
    command.args(["sidecar", "git-gate", "ssh", "user@host"]);
    command.env("BOTTLE_GATE_RUN", world.path("run")).env("BOTTLE_GATE_POLICY", world.path("etc/gate.yaml"));
    command.env("BOTTLE_REPOSITORY", "app").stdin(std::process::Stdio::null());
    command
}

#[test]
fn the_broker_runs_two_commands_on_one_path() {
    let world = World::new();
    let path = world.path("upstream.git").display().to_string();
    for command in [
        "id".to_owned(),
        "git-upload-archive '/x'".to_owned(),
        "git-upload-pack '/etc'".to_owned(),
        format!("git-upload-pack '{path}'; id"),
        format!("git-upload-pack {path}"),
        format!("git-upload-pack --x '{path}'"),
    ] {
        let ran = super::support::Ran::from(wrapper(&world).arg(&command).output().unwrap());
        ran.failure("refused to run");
    }
    let other =
        wrapper(&world).env("BOTTLE_REPOSITORY", "other").arg(format!("git-upload-pack '{path}'")).output();
    super::support::Ran::from(other.unwrap()).failure("no repository with an upstream behind SSH");
    assert!(world.sshd.commands().is_empty());
    // Options have no effect: they are the broker's business.
    let served =
        wrapper(&world).args(["-oProxyCommand=touch /x", &format!("git-upload-pack '{path}'")]).output();
    assert!(super::support::Ran::from(served.unwrap()).text.contains("refs/heads/main"));
}

/// Asks the broker without the wrapper.
fn ask(world: &World, question: &str) -> String {
    let mut stream = UnixStream::connect(world.path("run/keys/broker.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_broker_takes_no_host_no_path_and_no_option() {
    let world = World::new();
    assert!(ask(&world, "\"ping\"\n").contains("pong"));
    for question in [
        r#"{"session":{"repository":"app","service":"upload-pack","protocol":null,"host":"evil"}}"#,
        r#"{"session":{"repository":"app","service":"upload-archive","protocol":null}}"#,
        r#"{"run":"id"}"#,
        "id",
    ] {
        assert_eq!(ask(&world, &format!("{question}\n")), "", "{question}");
    }
    for question in [
        r#"{"session":{"repository":"other","service":"upload-pack","protocol":null}}"#,
        r#"{"session":{"repository":"app","service":"upload-pack","protocol":null}}"#,
        r#"{"credential":{"repository":"app","protocol":"https","host":"evil.example"}}"#,
    ] {
        assert!(ask(&world, &format!("{question}\n")).contains("refused"), "{question}");
    }
    assert!(world.sshd.commands().is_empty());
}

#[test]
fn the_broker_answers_one_user_only() {
    let world = World::new();
    let run = world.path("second");
    std::fs::create_dir_all(run.join("keys/mux")).unwrap();
    let mut broker = Command::new(env!("CARGO_BIN_EXE_bottle"));
    broker
        .args(["sidecar", "git-gate", "broker", "--peer=54321", "--policy"])
        .arg(world.path("etc/gate.yaml"));
    broker.arg("--run").arg(&run).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut broker = broker.spawn().unwrap();
    broker.stdin.as_mut().unwrap().write_all(b"{}\n").unwrap();
    let socket = run.join("keys/broker.sock");
    eventually("the second broker listens", || UnixStream::connect(&socket).is_ok());
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"\"ping\"\n").unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    // Without its lifeline it ends by itself.
    drop(broker.stdin.take());
    assert!(broker.wait().unwrap().success());
    assert!(answer.contains("may not ask"), "{answer}");
}

#[test]
fn hooks_and_settings_in_the_mirror_have_no_say() {
    let mut world = World::new();
    let agent = world.clone_to("agent");
    world.gate.kill();
    let touched = world.path("touched");
    let mirror = world.path("state/app.git");
    write(&mirror.join("hooks/pre-receive"), &format!("#!/bin/sh\ntouch {}\n", touched.display()), 0o755);
    let config = format!("[core]\n\tfsmonitor = touch {0}\n\tsshCommand = touch {0}\n", touched.display());
    write(&mirror.join("config"), &config, 0o644);
    world.restart();
    git(&agent, &["remote", "set-url", "origin", &world.gate.url("app")]).success();
    commit(&agent, "fix.txt", "one\n");
    git(&agent, &["push", "origin", "HEAD:refs/heads/main"]).failure(": default-branch-protected");
    assert!(!touched.exists());
}

#[test]
fn a_gate_killed_in_the_middle_of_a_push_recovers() {
    let mut world = World::new();
    let agent = world.clone_to("agent");
    let tip = commit(&agent, "fix.txt", "one\n");
    // The upstream holds the push, the gate dies, the upstream goes on.
    let (held, go) = (world.path("held"), world.path("go"));
    let text = format!(
        "#!/bin/sh\ntouch {}\nwhile [ ! -e {} ]; do sleep 0.02; done\n",
        held.display(),
        go.display()
    );
    let hook = world.path("upstream.git/hooks/pre-receive");
    write(&hook, &text, 0o755);
    let mut push = git_command(&agent);
    let mut push = push.args(["push", "--quiet", "origin", "HEAD:refs/heads/agent/x"]).spawn().unwrap();
    eventually("the upstream holds the push", || held.exists());
    let listener = world.gate.pid("serve").to_string();
    Command::new("kill").args(["-KILL", &listener]).status().unwrap();
    // Without its listener the whole gate ends, and says so by its exit code.
    assert_eq!(world.gate.wait(), Some(1));
    write(&go, "", 0o644);
    push.wait().unwrap();
    std::fs::remove_file(&hook).unwrap();
    world.restart();
    let again = world.clone_to("again");
    git(&agent, &["remote", "set-url", "origin", &world.gate.url("app")]).success();
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).success();
    assert_eq!(world.upstream("refs/heads/agent/x"), tip);
    git(&again, &["fetch", "origin"]).success();
    assert_eq!(git(&again, &["rev-parse", "origin/agent/x"]).success().trim(), tip);
}

#[test]
fn a_push_that_is_too_large_is_cut_off() {
    let world = World::with(
        |policy| {
            if let Some(app) = policy.repositories.get_mut("app") {
                app.max_pack_bytes = 10_000;
            }
        },
        &[],
    );
    let agent = world.clone_to("agent");
    let noise: Vec<_> = (0..40_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();
    let noise = noise.concat();
    commit(&agent, "noise.txt", &noise);
    git(&agent, &["push", "origin", "HEAD:refs/heads/agent/x"]).failure("");
    assert_eq!(world.upstream("refs/heads/agent/x"), "");
}

#[test]
fn the_health_check_needs_the_daemon_and_the_broker_but_no_upstream() {
    let mut world = World::new();
    world.sshd.stop();
    let port = format!("--at=127.0.0.1:{}", world.gate.port);
    let check = || {
        let mut check = Command::new(env!("CARGO_BIN_EXE_bottle"));
        super::support::Ran::from(check.args(["sidecar", "git-gate", "check", &port]).output().unwrap())
    };
    check().success();
    let hook = world.path("etc/hooks/access-hook");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o644)).unwrap();
    check().failure("the gate does not serve");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    check().success();
    // A broker that is stopped answers nobody.
    let broker = world.gate.pid("broker").to_string();
    Command::new("kill").args(["-STOP", &broker]).status().unwrap();
    check().failure("gate-failed");
}

/// Git keeps the certificate of a signed push outside of the quarantine, and takes one that it never offered to take.
#[test]
fn a_signed_push_is_refused() {
    let world = World::new();
    let policy = world.path("etc/gate.yaml");
    let hook = |certificate: Option<&str>| {
        let update = format!("{} {} refs/heads/agent/x", "0".repeat(40), "1".repeat(40));
        let script = format!(
            "echo {update} | \"$0\" sidecar git-gate hook pre-receive --policy \"$1\" --repository app"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_bottle")]).arg(&policy);
        if let Some(certificate) = certificate {
            command.env("GIT_PUSH_CERT", certificate);
        }
        super::support::Ran::from(command.output().unwrap())
    };
    hook(Some("1")).failure("bottle: request-invalid: a signed push");
    assert!(!hook(None).failure("bottle: ").contains("request-invalid"));
}
