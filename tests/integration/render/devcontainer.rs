//! The file by which an editor opens the agent's container.

use insta::assert_snapshot;

use crate::support::Place;

const CLOSED: &str = "bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n";
const PATH: &str = ".devcontainer/devcontainer.json";

#[test]
fn an_editor_gets_the_agent_of_the_compose_file_as_it_is() {
    let place = Place::with(CLOSED);
    place.bottle(["render", "--devcontainer"]).run().ok();
    assert_snapshot!(place.read(PATH), @r#"
    // Rendered by bottle from bottle.yaml; do not edit.
    {
      "name": "bottle-a",
      "dockerComposeFile": "../compose.yaml",
      "service": "agent",
      "workspaceFolder": "/workspace",
      "overrideCommand": false,
      "shutdownAction": "stopCompose",
      "remoteUser": "1000",
      "updateRemoteUserUID": false,
      "otherPortsAttributes": {
        "onAutoForward": "ignore"
      }
    }
    "#);
    let first = place.read(PATH);
    place.bottle(["render", "--devcontainer", "-o", "."]).run().ok();
    assert_eq!(place.read(PATH), first);
}

#[test]
fn several_agents_have_a_file_each() {
    let two = "bottles: { b: {} }\nagents:\n  one: { bottle: b, preset: shell }\n  two: { bottle: b, preset: shell }\n";
    let place = Place::with(two);
    place.bottle(["render", "--devcontainer", "--all", "-o", "."]).run().ok();
    for agent in ["one", "two"] {
        let text = place.read(&format!(".devcontainer/{agent}/devcontainer.json"));
        assert!(text.contains(&format!("\"../../compose.{agent}.yaml\"")), "{text}");
    }
    assert!(!place.exists(PATH));
}

#[test]
fn a_file_of_somebody_else_stays_and_nothing_is_written() {
    let place = Place::with(CLOSED).file(PATH, "// mine\n{}\n");
    let error = place.bottle(["render", "--devcontainer"]).run().fails(1);
    assert!(error.contains("devcontainer.json` is not a file that bottle wrote"), "{error}");
    assert_eq!(place.tree(), [PATH, "bottle.yaml"]);
    // Without the option nobody looks at it.
    place.bottle(["render"]).run().ok();
    assert_eq!(place.read(PATH), "// mine\n{}\n");
}

#[test]
fn a_link_in_the_place_of_the_directory_is_not_followed() {
    let place = Place::with(CLOSED);
    std::fs::create_dir(place.root().join("elsewhere")).expect("it can be made");
    std::os::unix::fs::symlink("../elsewhere", place.work().join(".devcontainer")).expect("it can be made");
    let error = place.bottle(["render", "--devcontainer"]).run().fails(1);
    assert!(error.contains("is a symbolic link"), "{error}");
    assert!(crate::support::files(&place.root().join("elsewhere")).is_empty());
}

#[test]
fn a_check_sees_what_was_changed_in_it() {
    let place = Place::with(CLOSED);
    place.bottle(["render", "--devcontainer", "-o", "."]).run().ok();
    place.bottle(["render", "--devcontainer", "--check"]).run().ok();
    // It would run on the host of whoever opens the directory.
    let bad = place.read(PATH).replace("{\n", "{\n  \"initializeCommand\": \"id\",\n");
    place.put(&format!("work/{PATH}"), bad);
    let error = place.bottle(["render", "--devcontainer", "--check"]).run().fails(1);
    assert!(error.contains("-  \"initializeCommand\": \"id\",\n"), "{error}");
}

#[test]
fn it_is_said_that_a_push_may_change_the_file_where_it_may() {
    let manifest = |protect: &str| {
        format!(
            "bottles:\n  b:\n    git:\n      app:\n        upstream: https://git.example.org/app\n        push: [{{ refs: \"agent/**\", allow: [create] }}]\n{protect}agents: {{ a: {{ bottle: b, preset: shell }} }}\n"
        )
    };
    let warnings = |manifest: &str| {
        let output = Place::with(manifest).bottle(["render", "--devcontainer"]).run();
        assert_eq!(output.code, 0, "{output}");
        output.stderr
    };
    let said = warnings(&manifest(""));
    let hint =
        "hint: write `protect: [\"bottle.yaml\", \"compose.yaml\", \".bottle/**\", \".devcontainer/**\"]`";
    assert!(said.contains("a push to `app` may change") && said.contains(hint), "{said}");
    let said = warnings(&manifest("        protect: [\"bottle.yaml\", \".devcontainer/**\"]\n"));
    assert!(!said.contains("a push to") && said.contains("SSH agent"), "{said}");
}
