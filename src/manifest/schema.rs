//! The JSON Schema of the manifest, made from its types.

use schemars::generate::SchemaSettings;

use super::Manifest;

/// The JSON Schema (draft 2020-12) as text, with a final line break.
///
/// It says which keys there are and of what kind their values are. The syntax of hosts, URLs and patterns, and what
/// refers to what, only `bottle validate` knows.
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Manifest>();
    schema.insert("title".to_owned(), "bottle.yaml".into());
    format!("{:#}\n", serde_json::Value::from(schema))
}
