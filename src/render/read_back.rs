//! The proof that no value has become structure.
//!
//! A rendered YAML file is read back and compared with the same template rendered with harmless words in the place of
//! every text. Both must be the same tree, with each word where its text belongs; so whatever a text is made of, it has
//! moved nothing, ended nothing and started nothing.
//!
//! What it can't see is a scalar that Compose's reader types otherwise than this one (a bare `1_000` is a number there and
//! a text here). Quoting every value takes care of those; a property test asks Compose itself.

use std::collections::HashMap;

use minijinja::Template;
use minijinja::value::{Serde, Value};
use serde::Serialize;
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

/// Checks `text`, which is `template` rendered with `context`. The error says where they differ.
pub(super) fn check(template: &Template<'_, '_>, context: &impl Serialize, text: &str) -> Result<(), String> {
    let context = serde_json::to_value(context).map_err(|error| error.to_string())?;
    let mut words = Words::default();
    let harmless = words.replace(&context);
    let expected = template.render(Value::from(Serde(harmless))).map_err(|error| error.to_string())?;
    let expected: Yaml = serde_yaml::from_str(&expected)
        .map_err(|error| format!("the template itself is no YAML: {error}"))?;
    let actual: Yaml = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    compare(&expected, &actual, &words.texts, "")
}

#[derive(Default)]
struct Words {
    texts: HashMap<String, String>,
}

impl Words {
    fn word(&mut self, text: &str) -> String {
        // No number, date, truth value or word of YAML's looks like this.
        let word = format!("Qz{}zQ", self.texts.len());
        self.texts.insert(word.clone(), text.to_owned());
        word
    }

    fn replace(&mut self, value: &Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.word(text)),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.replace(item)).collect()),
            Json::Object(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key.clone(), self.replace(value))).collect())
            }
            other => other.clone(),
        }
    }
}

/// The text for which a scalar with words in it stands. Compose sees `$$` where a text has `$`.
fn filled(scalar: &str, texts: &HashMap<String, String>) -> String {
    if let Some(text) = texts.get(scalar) {
        return text.replace('$', "$$");
    }
    // A word inside a longer scalar: a path that starts with a text, a reference to an environment variable.
    let mut filled = scalar.to_owned();
    if scalar.contains("Qz") {
        for (word, text) in texts {
            filled = filled.replace(word.as_str(), &text.replace('$', "$$"));
        }
    }
    filled
}

fn compare(
    expected: &Yaml,
    actual: &Yaml,
    texts: &HashMap<String, String>,
    place: &str,
) -> Result<(), String> {
    let differ = |what: &str| Err(format!("{what} at `{}`", place.trim_start_matches('.')));
    match (expected, actual) {
        (Yaml::String(expected), Yaml::String(actual)) => {
            if filled(expected, texts) == *actual {
                Ok(())
            } else {
                differ("another text")
            }
        }
        (Yaml::Sequence(expected), Yaml::Sequence(actual)) => {
            if expected.len() != actual.len() {
                return differ("another number of items");
            }
            let mut pairs = expected.iter().zip(actual).enumerate();
            pairs.try_for_each(|(index, (expected, actual))| {
                compare(expected, actual, texts, &format!("{place}[{index}]"))
            })
        }
        (Yaml::Mapping(expected), Yaml::Mapping(actual)) => {
            if expected.len() != actual.len() {
                return differ("another number of keys");
            }
            for ((expected_key, expected), (actual_key, actual)) in expected.iter().zip(actual) {
                compare(expected_key, actual_key, texts, &format!("{place}.<key>"))?;
                let name = actual_key.as_str().unwrap_or("?");
                compare(expected, actual, texts, &format!("{place}.{name}"))?;
            }
            Ok(())
        }
        (expected, actual) if expected == actual => Ok(()),
        _ => differ("another kind of value"),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;
    use minijinja::value::{Serde, Value};
    use serde_json::json;

    use super::check;

    /// Renders without any escaping, as a template with a mistake would.
    fn unescaped(template: &str, value: &str) -> Result<(), String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_template("t", template).expect("it parses");
        let template = environment.get_template("t").expect("it was added");
        let context = json!({ "value": value });
        let text = template.render(Value::from(Serde(&context))).expect("it renders");
        check(&template, &context, &text)
    }

    #[test]
    fn a_value_that_stays_a_value_passes() {
        assert_eq!(unescaped("a: {{ value }}\nb: 1\n", "plain"), Ok(()));
    }

    #[test]
    fn a_value_that_becomes_structure_is_found() {
        for value in
            ["x\nc: 1", "{x: 1}", "[x]", "2024", "~", "true", "x # y", "*x", "&x y", "!!int 1", "a: b", "$x"]
        {
            assert!(unescaped("a: {{ value }}\nb: 1\n", value).is_err(), "`{value}` passed");
        }
    }

    #[test]
    fn a_value_that_adds_a_key_beside_itself_is_found() {
        assert!(unescaped("{{ value }}: 1\nb: 1\n", "b: 1\nc").is_err());
    }
}
