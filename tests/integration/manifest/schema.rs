//! The JSON Schema: committed, current, and of one mind with the loader.

use serde_json::Value;

use crate::support::{Place, each, manifests, project};

fn committed() -> String {
    bottle::fs::read_to_string(&project("bottle.schema.json")).expect("the schema is committed")
}

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&committed()).expect("the schema is JSON");
    jsonschema::meta::validate(&schema).expect("the schema is a JSON Schema");
    jsonschema::validator_for(&schema).expect("the schema can be used")
}

fn as_json(path: &std::path::Path) -> Value {
    let text = bottle::fs::read_to_string(path).expect("the sample can be read");
    let value: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
    // An empty file is an empty manifest.
    if value.is_null() { serde_json::json!({}) } else { value }
}

#[test]
fn the_committed_schema_is_current() {
    let printed = Place::new().bottle(["schema"]).run().ok();
    assert!(
        printed == committed(),
        "bottle.schema.json is out of date; run `bottle schema > bottle.schema.json`"
    );
}

#[test]
fn every_key_has_a_description() {
    fn look(place: &str, value: &Value, missing: &mut Vec<String>) {
        let Value::Object(entries) = value else { return };
        for (name, property) in entries.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if property.get("description").is_none() {
                missing.push(format!("{place}.{name}"));
            }
        }
        for (name, definition) in entries.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            look(name, definition, missing);
        }
    }
    let mut missing = Vec::new();
    look("manifest", &serde_json::from_str(&committed()).expect("the schema is JSON"), &mut missing);
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_schema_accepts_every_valid_manifest_and_every_example() {
    let validator = validator();
    let examples = crate::support::entries(&project("examples")).into_iter().map(|path| {
        (path.file_name().and_then(|name| name.to_str()).expect("text").to_owned(), path.join("bottle.yaml"))
    });
    each(manifests("tests/manifests/valid").into_iter().chain(examples), |_, path| {
        let errors: Vec<String> = validator
            .iter_errors(&as_json(&path))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    });
}

/// The faults that are of structure: an unknown or missing key, a wrong type, an empty list, an unknown word.
fn is_structural(name: &str) -> bool {
    let endings = [
        "_unknown_key",
        "_unknown_key_far",
        "_privileged_unknown",
        "_unknown_word",
        "_unknown_operation",
        "_is_empty",
        "_is_list",
        "_is_null",
        "_is_false",
        "_is_true",
        "_is_mapping",
        "manifest_is_text",
        "route_is_text",
        "private_is_text",
        "private_is_yes",
        "methods_is_text",
        "command_is_text",
        "port_is_quoted",
        "port_is_negative",
        "route_port_zero",
        "route_port_too_large",
        "pids_too_small",
        "without_bottle",
        "without_env",
        "without_host",
        "without_upstream",
        "without_source",
        "without_allow",
        "without_port",
        "without_registry",
        "without_image_key",
        "without_username",
    ];
    endings.iter().any(|ending| name.ends_with(ending))
        && !matches!(name, "workspace_is_empty" | "agent_key_is_list")
}

#[test]
fn the_schema_refuses_every_fault_of_structure() {
    let validator = validator();
    let cases = manifests("tests/manifests/invalid").into_iter().filter(|(name, _)| is_structural(name));
    each(cases, |_, path| assert!(!validator.is_valid(&as_json(&path)), "the schema accepts it"));
}
