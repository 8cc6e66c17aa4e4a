//! `bottle doctor` where no engine is needed for what it finds.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Output, Place};

const EMPTY: &str = "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n";

#[track_caller]
fn told(output: &Output, line: &str) {
    assert!(output.stdout.contains(line), "no `{line}` in\n{output}");
}

#[test]
fn an_engine_that_does_not_answer_or_is_not_there_is_told_and_what_needs_it_is_not_checked() {
    let place = Place::with(EMPTY);
    let output = place.bottle(["doctor"]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock").run();
    told(&output, "problem: engine-down: `docker version");
    told(&output, "not checked: left-overs: the engine does not answer\n");
    assert_eq!(output.code, 1);
    let output = place.bottle(["doctor"]).env("PATH", "/nonexistent").run();
    told(&output, "problem: engine-missing: `docker version --format '{{json .}}'` could not be run: ");
    told(&output, "problem: compose-missing: ");
}

#[test]
fn a_bundle_that_is_missing_or_is_not_what_the_manifest_says_is_told() {
    let place = Place::with(EMPTY);
    told(&place.bottle(["doctor"]).run(), "problem: bundle-missing: `[TEMP]/work` has no compose.yaml\n");
    place.bottle(["render", "-o", "."]).run().ok();
    let output = place.bottle(["doctor"]).run();
    assert!(!output.stdout.contains("bundle-"), "{output}");
    place.put("work/bottle.yaml", EMPTY.replace("shell", "shell, env: { MORE: \"1\" }"));
    told(
        &place.bottle(["doctor"]).run(),
        "problem: bundle-drift: compose.yaml is not what the manifest renders to: compose.yaml\n",
    );
    assert_eq!(place.read("bottle.yaml").lines().count(), 2);
}

#[test]
fn a_mounted_workspace_that_steers_the_host_or_is_somebody_elses_is_told() {
    let place = Place::with(
        "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell, workspace: { mount: . } } }\n",
    )
    .file(".env", "");
    let link = format!("160000,{},vendor", "1".repeat(40));
    for arguments in [
        &["init", "-q"][..],
        &["update-index", "--add", "--cacheinfo", &link],
        &["config", "core.hooksPath", "hooks"],
        &["remote", "add", "origin", "https://u:correct-horse@git.example.org/app.git"],
    ] {
        let git = std::process::Command::new("git").args(arguments).current_dir(place.work()).status();
        assert!(git.expect("git").success(), "{arguments:?}");
    }
    place.bottle(["render", "-o", "."]).run().ok();
    let output = place.bottle(["doctor"]).env("BOTTLE_UID", "4242").run();
    for line in [
        "problem: workspace-refused: the repository has submodules (vendor), ",
        "problem: workspace-refused: git on the host runs hooks from `hooks`, which the agent can write\n",
        "problem: workspace-refused: the setting `remote.origin.url` of the repository has a secret in it",
        "problem: workspace-owner: ",
        "problem: compose-files-open: COMPOSE_FILE is not set",
        "warning: workspace-files: ",
    ] {
        told(&output, line);
    }
    assert!(!output.stdout.contains("correct-horse"), "{output}");
    let output = place.bottle(["doctor"]).env("COMPOSE_FILE", "compose.yaml:more.yaml").run();
    told(&output, "problem: compose-files-open: COMPOSE_FILE names `more.yaml`, which the agent can write\n");
    let output = place.bottle(["doctor"]).env("COMPOSE_FILE", "compose.yaml:compose.override.yaml").run();
    assert!(!output.stdout.contains("compose-files-open"), "{output}");
}

#[test]
fn a_port_that_is_taken_is_told_with_the_program_that_has_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("it listens").port();
    let place = Place::with(&format!(
        "bottles: {{ b: {{ supervise: {{ port: {port} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell }} }}\n"
    ));
    let output = place.bottle(["doctor"]).run();
    told(&output, &format!("problem: port-taken: 127.0.0.1:{port} is taken by `"));
    told(&output, &format!("(process {})\n", std::process::id()));
}

const SECRETS: &str = "bottles:
  b:
    egress:
      routes:
        - { host: 192.0.2.1, credential: one }
        - { host: 192.0.2.2, credential: two }
    credentials:
      one: { source: { env: BOTTLE_TEST_TOKEN }, inject: { bearer: true } }
      two: { source: { file: token }, inject: { bearer: true } }
    git:
      app: { upstream: \"ssh://git@192.0.2.3/app\", ssh_agent: true, known_host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl }
agents: { a: { bottle: b, preset: shell } }
";

#[test]
fn secrets_that_are_missing_open_or_unusable_are_told_and_never_shown() {
    let place = Place::with(SECRETS);
    let output = place.bottle(["doctor"]).run();
    told(&output, "problem: credential-unset: `BOTTLE_TEST_TOKEN` is not set\n");
    told(&output, "problem: file-missing: there is no `[TEMP]/work/token`\n");
    told(&output, "problem: agent-unusable: `SSH_AUTH_SOCK` is not set\n");

    place.put("work/token", "correct-horse-battery");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.work().join("token"), open).expect("it is ours");
    let beside = Place::with(SECRETS)
        .file(".env", "BOTTLE_TEST_TOKEN=staple-battery-horse\n")
        .bottle(["doctor"])
        .run();
    assert!(!beside.stdout.contains("credential-unset") && !beside.stdout.contains("battery"), "{beside}");
    let run = |json: &[&str]| {
        let start = place
            .bottle(["doctor"])
            .env("BOTTLE_TEST_TOKEN", "staple-battery-horse")
            .env("SSH_AUTH_SOCK", "/nonexistent");
        json.iter().fold(start, |run, arg| run.arg(*arg)).run()
    };
    let output = run(&[]);
    told(&output, "warning: file-open: others can use `[TEMP]/work/token`: its mode is 0644\n");
    told(&output, "problem: agent-unusable: `SSH_AUTH_SOCK` names `/nonexistent`, which is no socket\n");
    assert!(!output.stdout.contains("credential-unset"), "{output}");
    for output in [output, run(&["--json"])] {
        assert!(!output.stdout.contains("battery") && !output.stderr.contains("battery"), "{output}");
    }
}

#[test]
fn json_is_one_object_that_says_the_same() {
    let place = Place::with(EMPTY);
    let output =
        place.bottle(["doctor", "--json"]).env("DOCKER_HOST", "unix:///nonexistent/docker.sock").run();
    let value: serde_json::Value = serde_json::from_str(&output.stdout).expect("it is JSON");
    let first = &value["findings"][0];
    assert_eq!((first["code"].as_str(), first["level"].as_str()), (Some("engine-down"), Some("problem")));
    assert!(first["why"].as_str().is_some_and(|why| !why.is_empty()));
    assert!(first["mend"].as_str().is_some_and(|mend| !mend.is_empty()));
    assert!(value["not_checked"].as_array().is_some_and(|checks| checks.len() > 3));
}
