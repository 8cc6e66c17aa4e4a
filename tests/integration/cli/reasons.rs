//! The reason codes: their documentation is what the code says, and each of them is provoked by a test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bottle::policy::reason::Reason;

use crate::support::entries;

const HEAD: &str = "# Reason codes

One code per cause, the same in an answer of egress, a `remote:` line of the gate, supervise's answers, a finding of
`bottle doctor`, the logs and here. *Again* says whether the same request may succeed later although nobody changed it
or the manifest.

<!-- Generated from src/policy/reason.rs: BOTTLE_UPDATE_DOCS=1 cargo test --test integration -- reasons -->

| code | what it means | what helps | again |
| --- | --- | --- | --- |
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for reason in Reason::ALL {
        let cell = |text: &str| text.replace('|', "\\|");
        let again = if reason.retry_helps() { "yes" } else { "" };
        writeln!(page, "| `{reason}` | {} | {} | {again} |", cell(reason.sentence()), cell(reason.hint()))
            .expect("a string takes all of it");
    }
    page
}

#[test]
fn the_page_of_reasons_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/reasons.md");
    if std::env::var_os("BOTTLE_UPDATE_DOCS").is_some() {
        bottle::fs::write_atomic(&path, page().as_bytes(), 0o644).expect("the page is writable");
    }
    let committed = bottle::fs::read_to_string(&path).expect("the page is there");
    assert!(committed == page(), "docs/src/reasons.md is out of date; its first lines say how it is made");
}

/// The text of all tests: their own directory, and what is in the source for tests alone.
fn tests(directory: &Path, all: &mut String) {
    for path in entries(directory) {
        if path.is_dir() {
            tests(&path, all);
            continue;
        }
        // This file names codes without provoking them.
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("cli/reasons.rs") {
            continue;
        }
        let text = bottle::fs::read_to_string(&path).expect("a source is text");
        let parts: Vec<PathBuf> = path.iter().map(PathBuf::from).collect();
        let whole = parts.iter().any(|part| part.ends_with("tests") || part.ends_with("tests.rs"));
        all.push_str(if whole {
            &text
        } else {
            text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests)
        });
    }
}

/// Whether a word stands in a text as a whole.
fn has_word(text: &str, word: &str) -> bool {
    let inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        !inside(at.checked_sub(1).and_then(|before| bytes.get(before))) && !inside(bytes.get(at + word.len()))
    })
}

#[test]
fn every_reason_is_provoked_by_a_test() {
    let mut text = String::new();
    for directory in ["src", "tests"] {
        tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut text);
    }
    let provoked =
        |reason: &Reason| has_word(&text, reason.code()) || has_word(&text, &format!("Reason::{reason:?}"));
    let missing: Vec<_> =
        Reason::ALL.iter().filter(|reason| !provoked(reason)).map(|reason| reason.code()).collect();
    assert!(missing.is_empty(), "no test names {}", missing.join(", "));
}
