//! The proof that no value has become structure.
//!
//! A rendered YAML file is read back and compared with the same template rendered with harmless words in the place of
//! every text. Both must be the same tree, with each word where its text belongs; so whatever a text is made of, it has
//! moved nothing, ended nothing and started nothing.
//!
//! What it can't see is a scalar that Compose's reader types otherwise than this one (a bare `1_000` is a number there and
//! a text here). Quoting every value takes care of those; a property test asks Compose itself.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use minijinja::Template;
use minijinja::value::{Serde, Value};
use serde::Serialize;
use serde_json::Value as Json;
use serde_yaml::Value as Yaml;

/// Checks rendered files. What a template gives for harmless words depends on nothing but the shape of its values, so
/// that the tree of it is kept for the next agent.
#[derive(Debug, Default)]
pub(super) struct Checker {
    last: RefCell<Option<(String, Rc<Yaml>)>>,
}

impl Checker {
    /// Checks `text`, which is `template` rendered with `context`. The error says where they differ.
    pub(super) fn check(
        &self,
        template: &Template<'_, '_>,
        context: &impl Serialize,
        text: &str,
    ) -> Result<(), String> {
        let mut harmless = serde_json::to_value(context).map_err(|error| error.to_string())?;
        let mut words = Words::default();
        words.replace(&mut harmless);
        let expected = template.render(Value::from(Serde(harmless))).map_err(|error| error.to_string())?;
        let expected = self.parse(expected)?;
        let actual: Yaml = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        compare(&expected, &actual, &words.texts).map_err(|Difference { what, mut place }| {
            place.reverse();
            format!("{what} at `{}`", place.concat().trim_start_matches('.'))
        })
    }

    fn parse(&self, text: String) -> Result<Rc<Yaml>, String> {
        let mut last = self.last.borrow_mut();
        if let Some((of, tree)) = &*last
            && *of == text
        {
            return Ok(Rc::clone(tree));
        }
        let tree: Yaml = serde_yaml::from_str(&text)
            .map_err(|error| format!("the template itself is no YAML: {error}"))?;
        let tree = Rc::new(tree);
        *last = Some((text, Rc::clone(&tree)));
        Ok(tree)
    }
}

/// How every word begins, and how it ends. No number, date, truth value or word of YAML's looks like this.
const BEGIN: &str = "Qz";
const END: &str = "zQ";

/// The texts by the numbers of their words.
#[derive(Default)]
struct Words {
    texts: Vec<String>,
}

impl Words {
    fn replace(&mut self, value: &mut Json) {
        match value {
            Json::String(text) => {
                let word = format!("{BEGIN}{}{END}", self.texts.len());
                self.texts.push(std::mem::replace(text, word));
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Json::Object(entries) => entries.values_mut().for_each(|value| self.replace(value)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
}

/// The text for which a scalar with words in it stands. Compose sees `$$` where a text has `$`.
fn filled<'a>(scalar: &'a str, texts: &[String]) -> Cow<'a, str> {
    if !scalar.contains(BEGIN) {
        return Cow::Borrowed(scalar);
    }
    // A word may be a part of a longer scalar: a path that starts with a text, a reference to an environment variable.
    // Each is replaced once, from the left: a text may look like a word itself.
    let (mut filled, mut rest) = (String::new(), scalar);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        filled.push_str(before);
        let found = after
            .split_once(END)
            .and_then(|(number, after)| Some((texts.get(number.parse::<usize>().ok()?)?, after)));
        if let Some((text, after)) = found {
            filled.push_str(&text.replace('$', "$$"));
            rest = after;
        } else {
            filled.push_str(BEGIN);
            rest = after;
        }
    }
    filled.push_str(rest);
    Cow::Owned(filled)
}

/// What differs, and where: the parts of the place, the innermost first.
struct Difference {
    what: &'static str,
    place: Vec<String>,
}

impl Difference {
    fn inside(mut self, part: String) -> Self {
        self.place.push(part);
        self
    }
}

fn compare(expected: &Yaml, actual: &Yaml, texts: &[String]) -> Result<(), Difference> {
    let differ = |what| Err(Difference { what, place: Vec::new() });
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
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                compare(expected, actual, texts).map_err(|inner| inner.inside(format!("[{index}]")))?;
            }
            Ok(())
        }
        (Yaml::Mapping(expected), Yaml::Mapping(actual)) => {
            if expected.len() != actual.len() {
                return differ("another number of keys");
            }
            for ((expected_key, expected), (actual_key, actual)) in expected.iter().zip(actual) {
                compare(expected_key, actual_key, texts)
                    .map_err(|inner| inner.inside(".<key>".to_owned()))?;
                let name = || format!(".{}", actual_key.as_str().unwrap_or("?"));
                compare(expected, actual, texts).map_err(|inner| inner.inside(name()))?;
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

    use super::Checker;

    /// Renders without any escaping, as a template with a mistake would.
    fn unescaped(template: &str, value: &str) -> Result<(), String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_template("t", template).expect("it parses");
        let template = environment.get_template("t").expect("it was added");
        let context = json!({ "value": value });
        let text = template.render(Value::from(Serde(&context))).expect("it renders");
        Checker::default().check(&template, &context, &text)
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
