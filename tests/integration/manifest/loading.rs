//! Where the manifest is read from.

use insta::assert_snapshot;

use crate::support::Place;

const MINIMAL: &str = "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n";
const BROKEN: &str = "botles: {}\n";

#[test]
fn the_nearest_manifest_above_the_working_directory_is_used() {
    let place = Place::with(BROKEN).file("near/bottle.yaml", MINIMAL).file("near/deep/er/x", "");
    assert_snapshot!(place.bottle(["validate"]).below("work/near/deep/er").run(), @r#"
    ----- stderr -----
    valid: 1 bottle, 1 agent
    ----- exit code 0 -----
    "#);
    assert_eq!(place.bottle(["validate"]).run().code, 1);
}

#[test]
fn a_directory_called_like_the_manifest_is_passed_over() {
    let place = Place::with(MINIMAL).file("sub/bottle.yaml/x", "");
    assert_eq!(place.bottle(["validate"]).below("work/sub").run().code, 0);
}

#[test]
fn without_a_manifest_the_error_says_how_to_name_one() {
    assert_snapshot!(Place::new().bottle(["validate"]).run(), @r#"
    ----- stderr -----
    error: there is no `bottle.yaml` here or in a directory above
    hint: write one, or name a file with `-f FILE`
    ----- exit code 1 -----
    "#);
}

#[test]
fn a_file_can_be_named() {
    let place = Place::with(BROKEN).file("other/policy.yaml", MINIMAL);
    place.bottle(["validate", "-f", "other/policy.yaml"]).run().ok();
    place.bottle(["validate", "--file", "../work/other/policy.yaml"]).run().ok();
    place.bottle(["validate"]).env("BOTTLE_FILE", "other/policy.yaml").run().ok();
    assert_snapshot!(place.bottle(["validate", "-f", "missing.yaml"]).run(), @r#"
    ----- stderr -----
    error: could not read `[TEMP]/work/missing.yaml`: No such file or directory (os error 2)
    ----- exit code 1 -----
    "#);
    assert_snapshot!(place.bottle(["validate", "-f", "other"]).run(), @r#"
    ----- stderr -----
    error: could not read `[TEMP]/work/other`: Is a directory (os error 21)
    ----- exit code 1 -----
    "#);
}

#[test]
fn a_dash_means_standard_input() {
    let place = Place::with(BROKEN);
    place.bottle(["validate", "-f", "-"]).stdin(MINIMAL).run().ok();
    assert_snapshot!(place.bottle(["validate", "-f", "-"]).stdin("bottles: { b: { x: 1 } }\n").run(), @r#"
    ----- stderr -----
    error: unknown key `x` in a bottle
     --> <stdin>:1:17
      |
    1 | bottles: { b: { x: 1 } }
      |                 ^
    hint: known here: `extends`, `egress`, `credentials`, `git`, `supervise`, `pipelock`, `sidecars`
    ----- exit code 1 -----
    "#);
}

#[test]
fn a_very_long_chain_of_bottles_is_refused_and_does_not_overflow_the_stack() {
    use std::fmt::Write as _;
    let mut manifest = String::from("bottles:\n  b0: {}\n");
    for index in 1..3_000 {
        writeln!(manifest, "  b{index}: {{ extends: b{} }}", index - 1).expect("a string takes it");
    }
    let output = Place::with(&manifest).bottle(["validate"]).run();
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("extend"), "{}", output.stderr.lines().next().unwrap_or_default());
}

#[test]
fn a_manifest_in_a_file_with_a_name_that_steers_the_terminal_cannot_do_so() {
    let place = Place::new().file("a\u{1b}[2J\u{202e}.yaml", BROKEN);
    let output = place.bottle(["validate", "-f", "a\u{1b}[2J\u{202e}.yaml"]).run();
    assert_snapshot!(output, @r#"
    ----- stderr -----
    error: unknown key `botles` in the manifest
     --> a\u{1b}[2J\u{202e}.yaml:1:1
      |
    1 | botles: {}
      | ^^^^^^
    hint: did you mean `bottles`?
    ----- exit code 1 -----
    "#);
}

#[test]
fn nesting_without_end_is_refused_and_does_not_overflow_the_stack() {
    for open in ["[", "{a: ", "- "] {
        let place = Place::with(&format!("bottles: {}\n", open.repeat(20_000)));
        assert_eq!(place.bottle(["validate"]).run().code, 1, "`{open}`");
    }
    assert_eq!(Place::with(&"- ".repeat(20_000)).bottle(["validate"]).run().code, 1);
}

#[test]
fn a_mistake_far_out_on_a_very_long_line_is_shown() {
    let place = Place::with(&format!("bottles: {{ {}b: {{ x: 1 }} }}\n", " ".repeat(100_000)));
    let output = place.bottle(["validate"]).run();
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stderr.contains(" --> bottle.yaml:1:100017\n"), "{output}");
    assert!(output.stderr.len() < 1_000, "{output}");
}
