//! Parts of the manifest whose sidecars don't exist yet: accepted by `validate`, refused by `render`, never dropped.

use insta::assert_snapshot;

use crate::support::{Output, Place};

#[track_caller]
fn refused(bottle: &str, agent: &str) -> Output {
    let place =
        Place::with(&format!("bottles:\n  b:\n    {bottle}\nagents:\n  a:\n    bottle: b\n    {agent}\n"));
    place.bottle(["validate"]).run().ok();
    let output = place.bottle(["render"]).run();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output}");
    assert_eq!(place.tree(), ["bottle.yaml"]);
    output
}

const NONE: &str = "supervise: false";
const SHELL: &str = "preset: shell";

#[test]
fn what_happens_to_a_secret_in_a_request_is_refused() {
    assert_snapshot!(refused("egress: { on_secret: block, routes: [{ host: api.example.org, on_secret: ask }] }", SHELL), @r#"
    ----- stderr -----
    error: `on_secret` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:3:26
      |
    3 |     egress: { on_secret: block, routes: [{ host: api.example.org, on_secret: ask }] }
      |                          ^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it

    error: `on_secret` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:3:78
      |
    3 |     egress: { on_secret: block, routes: [{ host: api.example.org, on_secret: ask }] }
      |                                                                              ^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}

#[test]
fn an_empty_egress_allows_nothing_and_needs_no_sidecar() {
    for egress in ["", "extra_ca: [x.pem]"] {
        let place = Place::with(&format!(
            "bottles: {{ b: {{ egress: {{ {egress} }} }} }}\nagents: {{ a: {{ bottle: b, preset: shell }} }}\n"
        ));
        let compose = place.bottle(["render"]).run().ok();
        assert!(compose.contains("network_mode: none") && !compose.contains("egress"), "{compose}");
    }
}

#[test]
fn pipelock_is_refused() {
    assert_snapshot!(refused("pipelock: { image: registry.example.org/pipelock:1 }", SHELL), @r#"
    ----- stderr -----
    error: the sidecar `pipelock` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:3:15
      |
    3 |     pipelock: { image: registry.example.org/pipelock:1 }
      |               ^^^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}

#[test]
fn bundled_sidecars_are_refused() {
    assert_snapshot!(refused("sidecars: bundled", SHELL), @r#"
    ----- stderr -----
    error: `sidecars: bundled` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:3:15
      |
    3 |     sidecars: bundled
      |               ^^^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}

#[test]
fn the_presets_claude_and_codex_are_refused() {
    assert_snapshot!(refused(NONE, "preset: claude"), @r#"
    ----- stderr -----
    error: the preset `claude` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:7:13
      |
    7 |     preset: claude
      |             ^^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
    assert_snapshot!(refused(NONE, "preset: codex"), @r#"
    ----- stderr -----
    error: the preset `codex` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:7:13
      |
    7 |     preset: codex
      |             ^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}

#[test]
fn a_mounted_workspace_is_refused() {
    assert_snapshot!(refused(NONE, "preset: shell\n    workspace: { mount: . }"), @r#"
    ----- stderr -----
    error: `workspace: { mount: … }` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:8:25
      |
    8 |     workspace: { mount: . }
      |                         ^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}

#[test]
fn prompt_and_skills_are_refused() {
    assert_snapshot!(refused(NONE, "preset: shell\n    prompt: prompts/x.md\n    skills: [skills/a, skills/b]"), @r#"
    ----- stderr -----
    error: `prompt` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:8:13
      |
    8 |     prompt: prompts/x.md
      |             ^^^^^^^^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it

    error: `skills` is not part of this version of bottle yet, so this can't be rendered
     --> bottle.yaml:9:14
      |
    9 |     skills: [skills/a, skills/b]
      |              ^^^^^^^^
    hint: take it out of the manifest to render the rest; `bottle validate` accepts it
    ----- exit code 1 -----
    "#);
}

#[test]
fn everything_that_is_not_built_is_reported_at_once() {
    let output =
        refused("egress: { on_secret: ask }\n    sidecars: bundled", "preset: claude\n    prompt: p");
    assert_eq!(output.stderr.matches("error: ").count(), 4, "{output}");
}
