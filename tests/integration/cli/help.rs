//! Help and mistakes of usage.

use std::process::Command;

use insta::assert_snapshot;

use crate::support::{Bottle, Place, each, project, snapshots};

#[test]
fn every_command_explains_itself() {
    let commands: [&[&str]; 19] = [
        &["--help"],
        &["-h"],
        &["diff", "--help"],
        &["explain", "--help"],
        &["explain", "egress", "--help"],
        &["explain", "push", "--help"],
        &["explain", "credential", "--help"],
        &["graph", "--help"],
        &["init", "--help"],
        &["render", "--help"],
        &["requests", "--help"],
        &["requests", "approve", "--help"],
        &["requests", "credential", "--help"],
        &["schema", "--help"],
        &["top", "--help"],
        &["validate", "--help"],
        &["sidecar", "--help"],
        &["render", "-h"],
        &["validate", "-h"],
    ];
    each(
        commands.map(|args| (args.join("_").replace("--", "").replace('-', "short_"), args)),
        |name, args| {
            let place = Place::new();
            let output = args.iter().fold(place.bottle([]), Bottle::arg).run();
            assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
            snapshots("help").bind(|| assert_snapshot!(name, output.stdout));
        },
    );
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = Place::new().bottle(["-V"]).run();
    assert_eq!(output.ok(), format!("bottle {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_long_version_names_the_commit_of_the_work_tree_and_what_it_was_tested_with() {
    // In an archive there is no commit, whatever repository the archive was unpacked in.
    let commit = if project(".git").exists() {
        let output = Command::new("git")
            .args(["rev-parse", "HEAD"])
            .current_dir(project(""))
            .output()
            .expect("git runs");
        String::from_utf8(output.stdout).expect("an id is text").trim().to_owned()
    } else {
        "unknown".to_owned()
    };
    let text = Place::new().bottle(["--version"]).run().ok();
    let lines: Vec<&str> = text.lines().collect();
    let [version, named, tested] = lines.as_slice() else { unreachable!("{text}") };
    assert_eq!(*version, format!("bottle {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(*named, format!("commit {commit}"));
    assert!(tested.starts_with("tested with Docker Engine "), "{text}");
}

#[test]
fn without_a_command_the_help_goes_to_standard_error() {
    let output = Place::new().bottle([]).run();
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(output.stderr.contains("Usage: bottle [OPTIONS] <COMMAND>"), "{output}");
}

#[test]
fn mistakes_of_usage_exit_with_2_and_say_what_was_meant() {
    let place = Place::new();
    assert_snapshot!(place.bottle(["rendr"]).run(), @r#"
    ----- stderr -----
    error: unrecognized subcommand 'rendr'

      tip: a similar subcommand exists: 'render'

    Usage: bottle [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ----- exit code 2 -----
    "#);
    assert_snapshot!(place.bottle(["render", "--chekc"]).run(), @r#"
    ----- stderr -----
    error: unexpected argument '--chekc' found

      tip: a similar argument exists: '--check'

    Usage: bottle render --check [AGENT]

    For more information, try '--help'.
    ----- exit code 2 -----
    "#);
    assert_snapshot!(place.bottle(["render", "one", "two"]).run(), @r#"
    ----- stderr -----
    error: unexpected argument 'two' found

    Usage: bottle render [OPTIONS] [AGENT]

    For more information, try '--help'.
    ----- exit code 2 -----
    "#);
    assert_snapshot!(place.bottle(["render", "--all"]).run(), @r#"
    ----- stderr -----
    error: the following required arguments were not provided:
      --output <DIR>

    Usage: bottle render --output <DIR> --all [AGENT]

    For more information, try '--help'.
    ----- exit code 2 -----
    "#);
    assert_snapshot!(place.bottle(["validate", "--trust", "me"]).run(), @r#"
    ----- stderr -----
    error: invalid value 'me' for '--trust <WHOSE>'
      [possible values: manifest, home]

    For more information, try '--help'.
    ----- exit code 2 -----
    "#);
    assert_eq!(place.bottle(["schema", "extra"]).run().code, 2);
    assert!(place.tree().is_empty());
}
