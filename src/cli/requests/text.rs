//! How the terminal shows what supervise says. All of it is made harmless here, whoever has done so before.

use std::fmt::Write as _;

use serde_json::Value;

use crate::sidecar::text::neutral;

/// JSON on one line, in printable ASCII.
pub(super) fn json(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if matches!(c, ' '..='~') {
            line.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string can't fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
    }
    line
}

/// The text at a JSON pointer; nothing where there is none.
pub(in crate::cli) fn at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => neutral(text.as_bytes()),
        Some(other) => neutral(other.to_string().as_bytes()),
    }
}

/// The list at a JSON pointer.
pub(in crate::cli) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The requests as a table.
pub(super) fn requests(answer: &Value) -> String {
    let now = number(answer, "/now");
    let rows = list(answer, "/requests").iter().map(|request| {
        [
            at(request, "/id"),
            at(request, "/state/is"),
            at(request, "/kind"),
            at(request, "/subject"),
            at(request, "/count"),
            ago(now, number(request, "/last")),
        ]
    });
    table(["ID", "STATE", "KIND", "FOR", "TIMES", "LAST"], rows.collect())
}

/// The grants as a table.
pub(super) fn grants(answer: &Value) -> String {
    let rows = list(answer, "/grants").iter().map(|grant| {
        let live = grant.pointer("/live") == Some(&Value::Bool(true));
        [at(grant, "/id"), at(grant, "/request"), at(grant, "/subject"), left(grant), live.to_string()]
    });
    table(["ID", "REQUEST", "FOR", "LEFT", "LIVE"], rows.collect())
}

/// The credentials as a table.
pub(super) fn credentials(answer: &Value) -> String {
    let rows = list(answer, "/credentials").iter().map(|credential| {
        let entered = if credential.pointer("/entered") == Some(&Value::Bool(true)) { "yes" } else { "no" };
        [at(credential, "/name"), entered.to_owned(), at(credential, "/problem")]
    });
    table(["NAME", "ENTERED", "PROBLEM"], rows.collect())
}

/// What is left of a grant's time, or what it lasts for.
pub(in crate::cli) fn left(grant: &Value) -> String {
    match grant.pointer("/left").and_then(Value::as_u64) {
        Some(left) if grant.pointer("/scope") == Some(&Value::from("once")) => {
            format!("once, within {}", duration(left))
        }
        Some(left) => duration(left),
        None => at(grant, "/scope"),
    }
}

/// One request with all that the operator needs to decide.
pub(super) fn request(answer: &Value) -> String {
    let (now, request) = (number(answer, "/now"), answer.pointer("/request").unwrap_or(&Value::Null));
    let mut text =
        format!("{} {}: {}", at(request, "/id"), at(request, "/state/is"), at(request, "/subject"));
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = write!(text, "\n{name:<12}{value}");
        }
    };
    for (number, line) in lines(request, "/manifest").into_iter().enumerate() {
        field(if number == 0 { "rule" } else { "" }, line);
    }
    let each = |pointer: &str| list(request, pointer).iter().map(|value| at(value, "")).collect::<Vec<_>>();
    for adds in each("/adds") {
        field("adds", adds);
    }
    for value in list(request, "/now") {
        field("now", lines(value, "").pop().unwrap_or_default());
    }
    for warning in each("/warnings") {
        field("look twice", warning);
    }
    field("credential", at(request, "/credential"));
    field(
        "asked",
        format!(
            "{} time(s), first {}, last {}",
            at(request, "/count"),
            ago(now, number(request, "/created")),
            ago(now, number(request, "/last"))
        ),
    );
    for line in list(request, "/refusals") {
        let words =
            ["/time", "/method", "/operations/0", "/host", "/repository", "/path", "/refs/0", "/reason"];
        let words: Vec<_> = words.iter().map(|word| at(line, word)).filter(|word| !word.is_empty()).collect();
        field("refused", words.join(" "));
    }
    if at(request, "/origin") == "held" {
        field("asked by", "egress, which held a request to this host; the agent has said nothing".to_owned());
    }
    field("agent's words", format!(" {}", quoted(&at(request, "/reason"))));
    field("your words", at(request, "/state/words"));
    field("grant", at(request, "/grant"));
    field("live", at(request, "/live"));
    field("review", at(request, "/review"));
    text.push('\n');
    text
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { format!("\u{201c}{text}\u{201d}") }
}

/// The lines of a text that has some of its own.
pub(in crate::cli) fn lines(value: &Value, pointer: &str) -> Vec<String> {
    let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    text.lines().map(|line| neutral(line.as_bytes())).collect()
}

/// The number at a JSON pointer; 0 where there is none.
pub(in crate::cli) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// How long ago something was.
pub(in crate::cli) fn ago(now: u64, at: u64) -> String {
    format!("{} ago", duration(now.saturating_sub(at)))
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|text| text.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{json as line, request, requests};

    #[test]
    fn what_the_agent_wrote_can_not_steer_the_terminal() {
        let hostile = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}a\nb";
        let value = json!({ "id": "r-1", "subject": hostile, "reason": hostile, "manifest": hostile,
            "adds": [hostile], "state": { "is": hostile }, "refusals": [{ "path": hostile }], "review": hostile });
        let answer = json!({ "now": 5, "request": value.clone(), "requests": [value] });
        for text in [request(&answer), requests(&answer), line(&answer)] {
            assert!(!text.chars().any(|c| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
        }
        assert!(
            request(&answer).contains("agent's words \u{201c}?]0;x??31m?a b\u{201d}"),
            "{}",
            request(&answer)
        );
        assert_eq!(line(&json!("ü\u{1f600}")), "\"\\u00fc\\ud83d\\ude00\"");
    }
}
