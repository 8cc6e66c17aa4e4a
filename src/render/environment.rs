//! The template environment: the templates, and escaping by the name of the file.
//!
//! The author of a template has no say in escaping: what a file's name asks for is applied to every value.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

use super::escape;

macro_rules! templates {
    ($($name:literal,)*) => {
        /// The templates by their name, which is their path below `templates/`.
        pub(super) const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../templates/", $name))),)*];
    };
}

templates! {
    "agent/closed.sh.j2",
    "agent/entrypoint.sh.j2",
    "agent/gitconfig.j2",
    "compose.yaml.j2",
    "git-gate/access-hook.sh.j2",
    "git-gate/entrypoint.sh.j2",
    "git-gate/gitleaks.toml.j2",
    "git-gate/known_hosts.j2",
    "git-gate/pre-receive.sh.j2",
    "gitignore.j2",
    "sidecars.yaml.j2",
}

/// Values become double-quoted JSON with `$` doubled: Compose replaces variables in this file, and only in this one.
const COMPOSE: AutoEscape = AutoEscape::Custom(Cow::Borrowed("compose"));
/// Values become single-quoted words.
const SHELL: AutoEscape = AutoEscape::Custom(Cow::Borrowed("shell"));
/// Values become double-quoted JSON, which is a basic string of TOML's too (TOML 1.0, "String").
const JSON: AutoEscape = AutoEscape::Custom(Cow::Borrowed("json"));
/// Values stand as they are, and a control character is an error.
const PLAIN: AutoEscape = AutoEscape::Custom(Cow::Borrowed("plain"));

pub(super) fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()
    {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".yaml.j2") {
            COMPOSE
        } else if name.ends_with(".sh.j2") {
            SHELL
        } else if name.ends_with(".json.j2") || name.ends_with(".toml.j2") {
            JSON
        } else {
            PLAIN
        }
    });
    environment.set_formatter(format);
    environment.add_filter("from_environment", from_environment);
    for (name, text) in TEMPLATES.iter().copied() {
        // The unit test below parses every template, so a mistake in one can't get into a release; here it would
        // surface as a missing template.
        drop(environment.add_template(name, text));
    }
    environment
}

fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let refuse = |what: &str| {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{what} has no place in a rendered file")))
    };
    let text = match value.kind() {
        ValueKind::String if value.is_safe() => value.to_string(),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            let escape = state.auto_escape();
            if *escape == COMPOSE {
                escape::compose(text)
            } else if *escape == JSON {
                escape::json(text)
            } else if let Some(character) = text.chars().find(|character| character.is_control()) {
                return refuse(&format!("the control character {}", character.escape_default()));
            } else if *escape == SHELL {
                escape::shell(text)
            } else {
                text.to_owned()
            }
        }
        ValueKind::Bool | ValueKind::Number => value.to_string(),
        ValueKind::Undefined => return refuse("an undefined value"),
        kind => return refuse(&format!("a value of the kind {kind}")),
    };
    out.write_str(&text).map_err(Error::from)
}

/// A reference to an environment variable of whoever runs Compose; empty where it isn't set, so that the sidecar starts
/// and says which credential is missing.
fn from_environment(name: &str) -> Result<Value, Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(Error::new(ErrorKind::InvalidOperation, "not the name of an environment variable"));
    }
    Ok(Value::from_safe_string(format!("\"${{{name}-}}\"")))
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::{TEMPLATES, new};

    #[test]
    fn every_template_parses() {
        let mut environment = minijinja::Environment::new();
        for (name, text) in TEMPLATES {
            environment.add_template(name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(new().templates().count(), TEMPLATES.len());
    }

    #[test]
    fn the_name_of_the_file_decides_how_a_value_is_written() {
        let mut environment = new();
        let render = |environment: &minijinja::Environment<'_>, name: &str| {
            environment.get_template(name).expect("it was added").render(context! { value => "a'$x\"" })
        };
        for name in ["x.yaml.j2", "x.sh.j2", "x.json.j2", "x.toml.j2", "x.conf.j2"] {
            environment.add_template(name, "{{ value }}").expect("it parses");
        }
        assert_eq!(render(&environment, "x.yaml.j2").expect("YAML"), "\"a'$$x\\\"\"");
        assert_eq!(render(&environment, "x.sh.j2").expect("shell"), "'a'\\''$x\"'");
        for name in ["x.json.j2", "x.toml.j2"] {
            assert_eq!(render(&environment, name).expect("a string"), "\"a'$x\\\"\"");
        }
        assert_eq!(render(&environment, "x.conf.j2").expect("text"), "a'$x\"");
    }

    #[test]
    fn a_control_character_a_missing_value_and_a_structure_are_errors() {
        let mut environment = new();
        environment.add_template("x.sh.j2", "{{ value }}").expect("it parses");
        environment.add_template("x.yaml.j2", "{{ value }}").expect("it parses");
        let render =
            |name: &str, context| environment.get_template(name).expect("it was added").render(context);
        assert!(render("x.sh.j2", context! { value => "a\nb" }).is_err());
        assert!(render("x.yaml.j2", context! {}).is_err());
        assert!(render("x.yaml.j2", context! { value => vec![1] }).is_err());
        assert!(render("x.yaml.j2", context! { value => () }).is_err());
    }
}
