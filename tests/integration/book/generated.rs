//! What the book says of the code is made of it: the command line, the keys of the manifest, the lines of the audit logs.
//!
//! `BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- book:: metrics` writes all of it.

use std::fmt::Write as _;

use bottle::sidecar::audit::shape::{EVENTS, EVERY, Event, Field};
use serde_json::Value;

use super::page;
use crate::support::{Bottle, Place, project};

/// The text of a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A page with its generated sections as they must be.
fn with_sections(text: &str, sections: &[(&str, String)]) -> String {
    sections.iter().fold(text.to_owned(), |text, (name, wanted)| {
        let begin = format!("<!-- generated: {name} -->\n");
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| unreachable!("no section `{name}`"));
        let (_, after) = rest.split_once("<!-- end -->").expect("a section ends");
        format!("{before}{begin}\n{wanted}\n<!-- end -->{after}")
    })
}

/// Compares the generated sections of a page with what they must be, or writes them.
#[track_caller]
pub(crate) fn sections(name: &str, sections: &[(&str, String)]) {
    let page = page(name);
    super::is_current(&page.path, &with_sections(&page.text, sections));
}

fn fields<'a>(fields: impl IntoIterator<Item = &'a Field>) -> String {
    let mut table = "| field | is | meaning |\n| --- | --- | --- |\n".to_owned();
    for Field { name, kind, meaning } in fields {
        writeln!(table, "| `{name}` | {} | {} |", kind.word(), cell(meaning)).expect("a string takes it");
    }
    table
}

#[test]
fn the_fields_of_the_audit_logs_are_those_that_are_written() {
    let event = |name| fields(Event::named(name).expect("the event is there").fields);
    let mut others = String::new();
    for Event { name, by, meaning, fields: own } in EVENTS {
        if !["request", "push", "decision"].contains(name) {
            write!(others, "### `{name}` ({by})\n\n{meaning}\n\n{}\n", fields(*own))
                .expect("a string takes it");
        }
    }
    let wanted = [
        ("audit every", fields(EVERY)),
        ("audit request", event("request")),
        ("audit push", event("push")),
        ("audit decision", event("decision")),
        ("audit others", others.trim_end().to_owned() + "\n"),
    ];
    sections("audit.md", &wanted);
}

/// A documented field that nobody writes is worse than none.
#[test]
fn every_field_of_the_audit_logs_is_written_somewhere() {
    let writers = ["egress/audit/mod.rs", "git_gate/audit.rs", "audit/queue.rs", "audit/json.rs"];
    let mut text = String::new();
    for writer in writers {
        text += &bottle::fs::read_to_string(&project("src/sidecar").join(writer)).expect("a source is text");
    }
    for event in EVENTS.iter().filter(|event| event.name != "decision") {
        for field in event.fields {
            assert!(text.contains(&format!("\"{}\"", field.name)), "{}: {}", event.name, field.name);
        }
    }
}

const COMMAND_LINE: &str = "# The command line

What `--help` says of each command. The same is in the manual pages (`bottle man DIRECTORY`); `bottle completions SHELL` prints
completions. What the exit codes mean is in [Exit codes](../exit-codes.md).

<!-- Generated: BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- book:: -->
";

/// Adds the help of a command and of those below it.
fn add(place: &Place, command: &[String], page: &mut String) {
    let help = command.iter().fold(place.bottle([]), Bottle::arg).arg("--help").run().ok();
    let name =
        std::iter::once("bottle").chain(command.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end()).expect("a string takes all of it");
    let (_, below) = help.split_once("\nCommands:\n").unwrap_or_default();
    let names = below.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        line.split(' ').next().filter(|name| !name.is_empty() && *name != "help")
    });
    for name in names {
        add(place, &[command, &[name.to_owned()]].concat(), page);
    }
}

#[test]
fn the_command_line_is_what_help_says() {
    let mut page = COMMAND_LINE.to_owned();
    add(&Place::new(), &[], &mut page);
    super::is_current(&project("docs/src/reference/command-line.md"), &page);
}

const MANIFEST: &str = "# Every key of the manifest

Made of the JSON Schema (`bottle schema`). *Must* marks a key that can't be left out. [The manifest](../manifest.md) says what the
keys do together, and [Settings and their risks](settings.md) what each of them costs.

<!-- Generated: BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- book:: -->
";

const DEFS: &str = "#/$defs/";

/// What a value is, in words, with a link to a type of several keys.
fn kind(value: &Value, defs: &Value) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|name| name.strip_prefix(DEFS)) {
        let target = &defs[name];
        return if target.get("properties").is_some() {
            format!("[{name}](#{})", name.to_lowercase())
        } else {
            kind(target, defs)
        };
    }
    if let Some(choices) = value.get("anyOf").or_else(|| value.get("oneOf")).and_then(Value::as_array) {
        return choices.iter().map(|choice| kind(choice, defs)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = value["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        return words.collect::<Vec<_>>().join(", ");
    }
    if let Some(word) = value.get("const") {
        return word.as_str().map_or_else(|| format!("`{word}`"), |word| format!("`{word}`"));
    }
    match value["type"].as_str() {
        Some("array") => format!("list of: {}", kind(&value["items"], defs)),
        Some("object") if value["additionalProperties"].get("then").is_some() => {
            format!(
                "names, each with: {}",
                value
                    .pointer("/additionalProperties/else")
                    .map_or_else(String::new, |value| kind(value, defs))
            )
        }
        Some("object") => format!("names, each with: {}", kind(&value["additionalProperties"], defs)),
        Some("integer") => match (&value["minimum"], &value["maximum"]) {
            (Value::Number(min), Value::Number(max)) => format!("{min} to {max}"),
            (Value::Number(min), _) => format!("number, at least {min}"),
            _ => "number".to_owned(),
        },
        Some("boolean") => "`true` or `false`".to_owned(),
        Some(other) => other.to_owned(),
        None => "text".to_owned(),
    }
}

#[test]
fn every_key_of_the_manifest_has_its_line() {
    let schema = bottle::fs::read_to_string(&project("bottle.schema.json")).expect("the schema is committed");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    let defs = &schema["$defs"];
    let mut page = MANIFEST.to_owned();
    let types = defs.as_object().expect("there are types").iter();
    let types = types.filter(|(name, value)| !name.starts_with("Heir") && value.get("properties").is_some());
    for (name, value) in
        std::iter::once(("bottle.yaml", &schema)).chain(types.map(|(name, value)| (name.as_str(), value)))
    {
        let text = value["description"].as_str().expect("a type is described");
        write!(
            page,
            "\n## {name}\n\n{}\n\n| key | must | is | meaning |\n| --- | --- | --- | --- |\n",
            text.replace('\n', " ")
        )
        .expect("a string takes all of it");
        let required = value["required"].as_array().cloned().unwrap_or_default();
        for (key, property) in value["properties"].as_object().expect("it has keys") {
            let must = if required.iter().any(|name| name == key) { "yes" } else { "" };
            let text = cell(property["description"].as_str().expect("a key is described"));
            writeln!(page, "| `{key}` | {must} | {} | {text} |", cell(&kind(property, defs)))
                .expect("a string takes all of it");
        }
    }
    super::is_current(&project("docs/src/reference/manifest.md"), &page);
}
