//! The page of settings names keys that are there, none of the policy's is missing, and its defaults are those of the code.

use std::collections::BTreeMap;

use serde_json::Value;

use super::page;
use crate::support::{Place, project};

/// The types of which every key must have its line.
const WHOLE: [&str; 5] = ["Bottle", "Egress", "Route", "Repository", "PushRule"];

/// The cells of the lines whose first cell is `Type.key`, without that one.
fn settings() -> BTreeMap<String, Vec<String>> {
    let page = page("reference/settings.md");
    let mut settings = BTreeMap::new();
    for line in page.text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, rest @ ..] = cells.as_slice() else { unreachable!("a line has cells") };
        assert_eq!(rest.len(), 4, "{line}");
        assert!(rest.iter().all(|cell| !cell.is_empty()), "{line}");
        let name = name.trim_matches('`');
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            let cells = rest.iter().map(|cell| (*cell).to_owned()).collect();
            assert!(settings.insert(name.to_owned(), cells).is_none(), "{name} stands there twice");
        }
    }
    settings
}

fn schema() -> Value {
    let text = bottle::fs::read_to_string(&project("bottle.schema.json")).expect("the schema is committed");
    serde_json::from_str(&text).expect("the schema is JSON")
}

#[test]
fn every_setting_is_a_key_and_every_key_of_the_policy_is_a_setting() {
    let (settings, schema) = (settings(), schema());
    for name in settings.keys() {
        let (kind, key) = name.split_once('.').expect("a setting is `Type.key`");
        assert!(schema["$defs"][kind]["properties"].get(key).is_some(), "the manifest has no {name}");
    }
    for kind in WHOLE {
        for key in schema["$defs"][kind]["properties"].as_object().expect("it has keys").keys() {
            assert!(settings.contains_key(&format!("{kind}.{key}")), "{kind}.{key} is not in the table");
        }
    }
}

/// What must be written has no default, and the other way round.
#[test]
fn what_must_be_written_is_said_to_be() {
    let schema = schema();
    for (name, cells) in settings() {
        let (kind, key) = name.split_once('.').expect("a setting is `Type.key`");
        let required = schema["$defs"][kind]["required"].as_array().cloned().unwrap_or_default();
        let default = cells.first().expect("there is a default");
        // That an upstream over SSH needs its key is not for a schema to say.
        let said = default == "must be written";
        assert_eq!(required.iter().any(|name| name == key), said, "{name}: {default}");
    }
}

/// A value of a rendered file as the page writes a default.
fn written(value: &serde_yaml::Value) -> String {
    match value {
        serde_yaml::Value::Sequence(items) if items.is_empty() => "none".to_owned(),
        serde_yaml::Value::Sequence(items) => items.iter().map(written).collect::<Vec<_>>().join(", "),
        serde_yaml::Value::Null => "none".to_owned(),
        serde_yaml::Value::String(text) => format!("`{text}`"),
        other => format!("`{}`", serde_yaml::to_string(other).expect("it is YAML").trim()),
    }
}

#[test]
fn the_defaults_are_those_that_are_rendered() {
    let place = Place::with(
        "bottles:\n  b:\n    egress: { routes: [{ host: a.example.org }] }\n    git:\n      app:\n        upstream: https://git.example.org/app\n\
         agents: { a: { bottle: b, preset: shell } }\n",
    );
    let compose = place.bottle(["render", "--linux-binary", "/bin/true"]).run().ok();
    let yaml = |text: &str| -> serde_yaml::Value { serde_yaml::from_str(text).expect("it is YAML") };
    let egress = yaml(&place.read(".bottle/a/egress/policy.yaml"));
    let gate = yaml(&place.read(".bottle/a/git-gate/gate.yaml"));
    let (route, app) = (&egress["routes"][0], &gate["repositories"]["app"]);
    let agent = &yaml(&compose)["services"]["agent"];
    let settings = settings();
    let default = |name: &str| settings[name].first().expect("there is a default").as_str();
    for key in ["ports", "methods", "paths", "scheme", "websocket", "private", "credential", "on_secret"] {
        assert_eq!(default(&format!("Route.{key}")), written(&route[key]), "{key}: {route:?}");
    }
    assert!(route["max_upload_bytes"].is_null() && default("Route.max_upload") == "no limit");
    assert_eq!(default("Repository.protect"), written(&app["protect"]), "{app:?}");
    assert_eq!(default("Repository.max_pack"), "`256m`");
    assert_eq!(app["max_pack_bytes"].as_u64(), Some(256 << 20), "{app:?}");
    assert!(default("Repository.push").starts_with(&written(&app["push"])), "{app:?}");
    assert_eq!(default("Resources.memory"), written(&agent["mem_limit"]), "{agent:?}");
    assert_eq!(default("Resources.pids"), written(&agent["pids_limit"]), "{agent:?}");
    assert!(agent.get("cpus").is_none() && default("Resources.cpus") == "no limit");
}
