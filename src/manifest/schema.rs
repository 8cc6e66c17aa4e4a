//! The JSON Schema of the manifest, made from its types.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Manifest;

/// The JSON Schema (draft 2020-12) as text, with a final line break.
///
/// It says which keys there are and of what kind their values are. The syntax of hosts, URLs and patterns, and what
/// refers to what, only `bottle validate` knows.
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Manifest>();
    schema.insert("title".to_owned(), "bottle.yaml".into());
    let mut schema = Value::from(schema);
    without_null(&mut schema);
    with_heirs(&mut schema);
    format!("{schema:#}\n")
}

/// What a bottle that extends another one may leave to it: mappings merge, so their keys may come from the parent.
const INHERITED: [&str; 8] =
    ["Bottle", "Credential", "Inject", "Basic", "Repository", "Supervise", "SuperviseOptions", "Pipelock"];

/// Gives a bottle with `extends` types of its own, in which no key is required. What a list holds is not merged, so its
/// items stay as they are.
fn with_heirs(schema: &mut Value) {
    fn rename(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(rename),
            Value::Object(entries) => {
                let name =
                    entries.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(DEFS));
                if let Some(name) = name.filter(|name| INHERITED.contains(name)).map(str::to_owned) {
                    entries.insert("$ref".to_owned(), format!("{DEFS}Heir{name}").into());
                }
                entries.values_mut().for_each(rename);
            }
            _ => {}
        }
    }
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        for name in INHERITED {
            let Some(mut heir) = definitions.get(name).cloned() else { continue };
            if let Value::Object(entries) = &mut heir {
                entries.shift_remove("required");
            }
            rename(&mut heir);
            definitions.insert(format!("Heir{name}"), heir);
        }
    }
    if let Some(bottle) = schema.pointer_mut("/properties/bottles/additionalProperties") {
        *bottle = json!({
            "if": { "required": ["extends"] },
            "then": { "$ref": format!("{DEFS}HeirBottle") },
            "else": { "$ref": format!("{DEFS}Bottle") },
        });
    }
}

/// Where the definitions are.
const DEFS: &str = "#/$defs/";

/// Takes `null` out of every type: a key that may be left out is optional, but a key without a value is a mistake.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(entries) => {
            if let Some(Value::Array(types)) = entries.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    entries.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = entries.get_mut("anyOf") {
                choices.retain(|choice| *choice != json!({ "type": "null" }));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    entries.shift_remove("anyOf");
                    for (key, value) in only.into_iter().rev() {
                        entries.shift_insert(0, key, value);
                    }
                }
            }
            entries.values_mut().for_each(without_null);
        }
        _ => {}
    }
}
