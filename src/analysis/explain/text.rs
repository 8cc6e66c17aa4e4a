//! An answer for a person.

use super::{Answer, Request, Use, Verdict};
use crate::manifest::source::shown;

/// Writes an answer as text.
pub fn text(answer: &Answer) -> String {
    let Answer { question, allowed, verdicts, notes } = answer;
    let mut out = String::new();
    // One part is the whole question.
    if let [verdict] = verdicts.as_slice() {
        write(&mut out, question, verdict);
    } else {
        line(&mut out, "", word(*allowed), question);
        for verdict in verdicts {
            write(&mut out, &verdict.subject, verdict);
        }
    }
    for note in notes {
        line(&mut out, "", "note", note);
    }
    out
}

fn word(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "refused" }
}

fn write(out: &mut String, subject: &str, verdict: &Verdict) {
    let Verdict { subject: own, allowed, code, detail, rule, credential, hint, retry, manifest, ask } =
        verdict;
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    line(out, "", word(*allowed), &format!("{subject}{code}"));
    if own != subject && !subject.contains(own.as_str()) {
        line(out, "  ", "what", own);
    }
    let mut more = |name: &str, text: &Option<String>| {
        if let Some(text) = text {
            line(out, "  ", name, text);
        }
    };
    more("detail", detail);
    more("rule", rule);
    more("hint", hint);
    if *retry {
        line(out, "  ", "retry", "the same may succeed later");
    }
    if let Some(Use { name, rule, carried, from }) = credential {
        line(out, "  ", "credential", &format!("`{name}` ({rule}) as {carried}, from {from}"));
    }
    if let Some(manifest) = manifest {
        out.push_str("  in bottle.yaml:\n");
        for text in manifest.lines() {
            out.extend([format!("    {}\n", shown(text))]);
        }
    }
    if let Some(Request { url, tool, body }) = ask {
        line(out, "  ", "ask", &format!("POST {url} (MCP tool {tool})"));
        // Texts and numbers always have a JSON form.
        out.extend([format!("    {}\n", shown(&serde_json::to_string(body).unwrap_or_default()))]);
    }
}

fn line(out: &mut String, indent: &str, name: &str, text: &str) {
    // Texts of the command line and of the manifest may hold what steers a terminal.
    out.extend([format!("{indent}{name}: {}\n", shown(text))]);
}
