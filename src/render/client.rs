//! The templates of a preset, which may be anybody's: what a client reads.
//!
//! They are another environment than the bundle's own. The file's name decides how a value is written, and nothing in a
//! template changes that: there is no filter that declares a text safe, what a block captured is not printed, and switching
//! escaping off has no effect. There are no functions, no other templates to include, and a limit to the work. What comes of
//! a template is a file that the agent reads and nothing else; compose.yaml is made without it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, filters};

use super::context::{Client, Context};
use super::{MARK, RenderError, detail, escape, is_ours};
use crate::manifest::diagnostic::{Diagnostic, Diagnostics};
use crate::manifest::preset::MAX_FILE;
use crate::manifest::source::{Sources, Span, shown};
use crate::preset::Preset;

/// The most steps of one template; bottle's own take some hundred.
const FUEL: u64 = 200_000;

#[derive(Debug)]
pub(super) struct Templates(Environment<'static>);

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        if let Ok(syntax) =
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()
        {
            environment.set_syntax(syntax);
        }
        environment.set_formatter(format);
        environment.add_filter("default", filters::default);
        environment.add_filter("length", filters::length);
        environment.add_filter("lower", filters::lower);
        environment.add_filter("upper", filters::upper);
        Self(environment)
    }
}

impl Templates {
    /// Renders a template of a preset. The error shows the line.
    pub(super) fn render(
        &self,
        preset: &Preset,
        name: &str,
        template: &str,
        context: &Context,
    ) -> Result<String, RenderError> {
        let values = Value::from(Serde(&Client::new(context)));
        let failed = |line: Option<usize>, what: String| {
            let mut sources = Sources::default();
            let file = sources.add(format!("{}/{name}", shown(&preset.name)), template);
            let start: usize =
                template.split_inclusive('\n').take(line.unwrap_or(1).saturating_sub(1)).map(str::len).sum();
            let line = template.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
            let indent = line.len() - line.trim_start().len();
            let span = Span { file, start: start + indent, end: start + line.trim_end().len() };
            RenderError::Client(Box::new(Diagnostics { sources, list: vec![Diagnostic::new(span, what)] }))
        };
        let text = self.0.render_named_str(name, template, values).map_err(|error| {
            failed(error.line(), format!("could not render the template: {}", shown(&detail(&error))))
        })?;
        let file = name.trim_end_matches(".j2");
        let unread = match file.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json") => {
                serde_json::from_str::<serde_json::Value>(&text).err().map(|error| format!("JSON: {error}"))
            }
            Some("yaml" | "yml") => {
                serde_yaml::from_str::<serde_yaml::Value>(&text).err().map(|error| format!("YAML: {error}"))
            }
            _ => None,
        };
        if let Some(why) = unread {
            return Err(failed(
                None,
                format!("what comes of the template is no {why}; a value brings its own quotes"),
            ));
        }
        if text.len() as u64 > MAX_FILE {
            return Err(failed(
                None,
                format!("what comes of the template is larger than {} KiB", MAX_FILE >> 10),
            ));
        }
        if !is_ours(text.as_bytes()) {
            return Err(failed(
                None,
                format!("what comes of the template does not begin with the line that says `{MARK}`"),
            ));
        }
        Ok(text)
    }
}

fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::new(ErrorKind::InvalidOperation, what));
    let text = match value.kind() {
        ValueKind::String if value.is_safe() => {
            return refuse("what a block or a macro gives is not printed".to_owned());
        }
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            let is = |endings: &[&str]| endings.iter().any(|ending| state.name().ends_with(ending));
            if is(&[".json.j2", ".toml.j2", ".yaml.j2", ".yml.j2"]) {
                // No file for Compose, so no `$` is doubled.
                escape::json(text)
            } else if let Some(character) = text.chars().find(|character| character.is_control()) {
                return refuse(format!(
                    "the control character {} has no place in this file",
                    character.escape_default()
                ));
            } else if is(&[".sh.j2"]) {
                escape::shell(text)
            } else {
                text.to_owned()
            }
        }
        // As JSON, TOML, YAML and a shell's reader spell it.
        ValueKind::Bool => value.is_true().to_string(),
        ValueKind::Number => value.to_string(),
        kind => return refuse(format!("a value of the kind {kind} is not printed")),
    };
    out.write_str(&text).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::Templates;
    use crate::preset::Preset;
    use crate::render::context::{Client, Context};

    /// What comes of a template for an agent with one variable of this value.
    fn rendered(name: &str, template: &str, value: &str) -> Result<String, String> {
        let context = Context::with_variable("NAME", value);
        assert_eq!(Client::new(&context).agent.environment.len(), 1);
        let template = format!("# Rendered by bottle\n{template}");
        let text = Templates::default().render(&Preset::default(), name, &template, &context);
        text.map(|text| text.split_once('\n').unwrap().1.to_owned()).map_err(|error| error.to_string())
    }

    const VALUE: &str = "{{ agent.environment[0].value }}";

    #[test]
    fn the_name_of_the_file_decides_how_a_value_is_written() {
        let value = "a'$x\"";
        for (name, wanted) in [
            ("x.toml.j2", "\"a'$x\\\"\""),
            ("x.yaml.j2", "\"a'$x\\\"\""),
            ("x.sh.j2", "'a'\\''$x\"'"),
            ("x.conf.j2", "a'$x\""),
        ] {
            assert_eq!(rendered(name, VALUE, value).as_deref(), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn nothing_in_a_template_switches_the_escaping_off() {
        let attacks = [
            "{% autoescape false %}V{% endautoescape %}",
            "{% autoescape true %}V{% endautoescape %}",
            "{% set x %}{% autoescape false %}V{% endautoescape %}{% endset %}{{ x }}",
            "{% macro m() %}V{% endmacro %}{{ m() }}",
            "{{ agent.environment[0].value|safe }}",
            "{{ agent.environment[0].value|tojson }}",
            "{{ agent.environment[0].value|string }}",
        ];
        for attack in attacks {
            let text = rendered("x.toml.j2", &attack.replace('V', VALUE), "a\"\n[mine]\nb = \"");
            assert!(text.as_ref().map_or(true, |text| !text.contains('\n')), "{attack}: {text:?}");
        }
    }

    #[test]
    fn a_template_reads_no_other_one_and_calls_nothing() {
        for template in [
            "{% include 'compose.yaml.j2' %}",
            "{{ debug() }}",
            "{{ range(9) }}",
            "{{ hash }}",
            "{{ undefined }}",
        ] {
            let error = rendered("x.conf.j2", template, "").unwrap_err();
            assert!(error.contains("--> /x.conf.j2:2:1\n"), "{template}: {error}");
        }
    }

    #[test]
    fn a_template_that_does_not_end_is_ended() {
        let loops = (0..9).fold(String::from("x"), |inner, _| {
            format!("{{% for a in 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}}{inner}{{% endfor %}}")
        });
        let error = rendered("x.conf.j2", &loops, "").unwrap_err();
        assert!(error.contains("fuel"), "{error}");
    }

    #[test]
    fn a_value_in_quotes_of_the_templates_own_is_refused_where_it_would_end_them() {
        let error = rendered("x.yaml.j2", &format!("a: \"{VALUE}\"\n"), "b").unwrap_err();
        assert!(error.contains("no YAML"), "{error}");
        let error = rendered("x.conf.j2", VALUE, "a\u{1b}[2J").unwrap_err();
        assert!(error.contains("control character"), "{error}");
    }
}
