//! Every block of YAML in the book is something that bottle accepts, or says by a word of its fence what else it is.
//!
//! | fence | what is checked |
//! | --- | --- |
//! | `yaml` | a whole manifest: `bottle validate` accepts it |
//! | `yaml,fragment` | a part of a manifest, put below what its keys belong to: the JSON Schema accepts its structure |
//! | `yaml,other` | none of a manifest's: it is YAML |

use serde_json::{Value, json};

use super::{Block, pages};
use crate::support::{Place, each, project};

/// Puts a fragment below the keys that it belongs to.
fn completed(fragment: Value) -> Value {
    const BOTTLE: [&str; 6] = ["egress", "credentials", "git", "supervise", "pipelock", "sidecars"];
    const EGRESS: [&str; 6] = ["routes", "deny", "on_secret", "on_refusal", "upstream_proxy", "extra_ca"];
    if let Value::Array(routes) = fragment {
        return json!({ "bottles": { "b": { "egress": { "routes": routes } } } });
    }
    let first =
        fragment.as_object().and_then(|keys| keys.keys().next().cloned()).expect("a fragment has keys");
    if EGRESS.contains(&first.as_str()) {
        json!({ "bottles": { "b": { "egress": fragment } } })
    } else if BOTTLE.contains(&first.as_str()) {
        json!({ "bottles": { "b": fragment } })
    } else {
        fragment
    }
}

/// A manifest names files, which are there, so that what is refused is refused for what it says.
fn validate(block: &Block) {
    let output = Place::with(&block.text).bottle(["validate"]).run();
    assert_eq!(output.code, 0, "{output}");
}

#[test]
fn every_manifest_of_the_book_is_accepted() {
    let schema = bottle::fs::read_to_string(&project("bottle.schema.json")).expect("the schema is committed");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    let schema = jsonschema::validator_for(&schema).expect("the schema can be used");
    let blocks = pages().into_iter().flat_map(|page| {
        let blocks = page.blocks().into_iter().filter(|block| block.language() == "yaml");
        blocks.map(|block| (format!("docs/src/{}:{}", page.name, block.line), block)).collect::<Vec<_>>()
    });
    each(blocks, |name, block| {
        let value: Value =
            serde_yaml::from_str(&block.text).unwrap_or_else(|error| unreachable!("{name}: {error}"));
        match block.words.get(1).map(String::as_str) {
            None => validate(&block),
            Some("fragment") => {
                let whole = completed(value);
                let errors: Vec<String> = schema
                    .iter_errors(&whole)
                    .map(|error| format!("{}: {error}", error.instance_path()))
                    .collect();
                assert!(errors.is_empty(), "{name}: {errors:?}");
            }
            Some("other") => {}
            Some(word) => unreachable!("{name}: `{word}` is no word for a block of YAML"),
        }
    });
}
