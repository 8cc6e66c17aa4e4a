//! Pipes that close, and programs that must not be started.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::support::{Bottle, PROGRAM, Place};

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let manifest = crate::support::project("examples/egress/bottle.yaml");
    let manifest = manifest.to_str().expect("the path is text");
    let url = "https://api.example.org/v1/messages";
    for args in [
        &["schema"][..],
        &["--help"],
        &["render", "--help"],
        &["completions", "bash"],
        &["graph", "-f", manifest],
        &["diff", manifest, manifest],
        &["explain", "egress", "GET", url, "-f", manifest],
    ] {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the program ends");
        assert!(output.status.success(), "{args:?}: {}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn standard_output_that_is_full_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = Command::new(PROGRAM).arg("schema").stdout(full).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
}

#[test]
fn commands_that_need_no_engine_start_no_program_at_all() {
    let place = Place::with(
        "bottles: { b: { git: { r: { upstream: \"https://git.example.org/r\" } } } }\nagents: { a: { bottle: b, preset: shell } }\n",
    );
    let bin = place.root().join("bin");
    for name in ["docker", "docker-compose", "git", "sh", "ssh", "gitleaks"] {
        place.put(
            &format!("bin/{name}"),
            format!("#!/bin/sh\necho {name} \"$@\" >>{}/calls\n", place.root().display()),
        );
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let run = |args: &[&str]| {
        let run = place.bottle([]).env("PATH", &bin).env("DOCKER_HOST", "unix:///nonexistent");
        let output = args.iter().fold(run, Bottle::arg).run();
        assert_eq!(output.code, 0, "{args:?}: {output}");
    };
    run(&["validate"]);
    run(&["schema"]);
    run(&["render"]);
    run(&["render", "-o", "."]);
    run(&["render", "--check"]);
    run(&["diff", "bottle.yaml", "bottle.yaml"]);
    run(&["graph"]);
    run(&["--help"]);
    // The answer is no.
    for args in [["egress", "GET", "https://a.example.org/"], ["push", "r", "x"]] {
        let run = place.bottle(["explain"]).env("PATH", &bin);
        let output = args.iter().fold(run, |run, arg| run.arg(*arg)).run();
        assert!(output.code == 1 && output.stdout.starts_with("refused: "), "{output}");
    }
    assert!(
        !place.root().join("calls").exists(),
        "{}",
        bottle::fs::read_to_string(&place.root().join("calls")).expect("text")
    );
}

/// Rendering reads no secret: the files and variables that the manifest names need not be there.
#[test]
fn rendering_needs_no_secret_and_puts_none_into_the_bundle() {
    let place = Place::with(
        "bottles: { b: { credentials: { c: { source: { env: FORGE_TOKEN }, inject: { basic: { username: u } } }, f: { source: { file: ./token }, inject: { basic: { username: u } } } }, git: { r: { upstream: \"https://git.example.org/r\", credential: c }, s: { upstream: \"https://git.example.org/s\", credential: f } } } }\nagents: { a: { bottle: b, preset: shell } }\n",
    );
    let without = place.bottle(["render"]).run().ok();
    place.put("work/token", "file-with-a-value\n");
    let with = place.bottle(["render"]).env("FORGE_TOKEN", "variable-with-a-value").run().ok();
    assert_eq!(without, with);
    for path in place.tree().iter().filter(|path| path.starts_with(".bottle/a/")) {
        assert!(!place.read(path).contains("with-a-value"), "{path}");
    }
}
