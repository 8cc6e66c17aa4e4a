//! Reading a gitleaks report, and whether it proves that everything was scanned.

use std::collections::HashMap;

use serde::Deserialize;

use super::process::FOUND;
use super::text::Map;
use super::{RawFinding, ScanError};

/// How a canary begins; the rule of this name stands in gitleaks.toml.
pub(super) const CANARY: &str = "bottle-canary-";
const CANARY_RULE: &str = "bottle-canary";

/// What a gitleaks process left behind.
pub(super) struct Outcome<'a> {
    /// Its exit code, or a word for what stood in its place.
    pub(super) status: &'a str,
    /// The report.
    pub(super) stdout: &'a [u8],
    /// The complaints.
    pub(super) stderr: &'a [u8],
}

/// The parts of a finding that are read; gitleaks writes more, and may write yet more in a later version.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "RuleID")]
    rule: String,
    start_line: u64,
    secret: String,
}

/// Gives the findings of a scan that provably saw the whole text; everything else is an error.
pub(super) fn judge(outcome: &Outcome<'_>, map: &Map) -> Result<Vec<RawFinding>, ScanError> {
    let stderr = String::from_utf8_lossy(outcome.stderr).into_owned();
    let failed = |what: String| Err(ScanError::Report { what, stderr: stderr.clone() });
    // The canaries are always found, so that every other status is a failure, 0 among them.
    if outcome.status != FOUND.to_string() {
        return Err(ScanError::Ended { status: outcome.status.into(), stderr });
    }
    let entries: Vec<Entry> = match serde_json::from_slice(outcome.stdout) {
        Ok(entries) => entries,
        // The parser's message has a position and the kind of mistake, never a value out of the report.
        Err(error) => {
            return failed(format!("it is not the JSON it should be ({:?})", error.classify()));
        }
    };
    if let Some(line) = unexpected_complaint(&stderr, entries.len()) {
        return failed(format!("`{}` is not among what it may say", line.trim()));
    }
    let mut canaries: HashMap<u64, u32> = HashMap::new();
    let mut findings = Vec::new();
    for entry in entries {
        if entry.rule == CANARY_RULE {
            // A look-alike in the content says nothing about anything.
            if entry.secret == map.canary() {
                *canaries.entry(entry.start_line).or_default() += 1;
            }
            continue;
        }
        let Some((label, line)) = map.locate(entry.start_line) else {
            return failed(format!("a finding stands on line {}, which holds no content", entry.start_line));
        };
        findings.push(RawFinding { label, line, rule: entry.rule, secret: entry.secret });
    }
    for line in map.canaries() {
        if canaries.remove(&line) != Some(1) {
            return failed(format!("the canary on line {line} was not found once"));
        }
    }
    if let Some((line, _)) = canaries.iter().next() {
        return failed(format!("there is a canary on line {line}, where none was put"));
    }
    Ok(findings)
}

/// The first line on standard error that is not the one that is always there: `leaks found: N`, with the right N.
fn unexpected_complaint(stderr: &str, count: usize) -> Option<&str> {
    let expected = format!("WRN leaks found: {count}");
    let mut seen = false;
    stderr.lines().find(|line| {
        // A time of day, such as `3:12AM`, stands before the level.
        let said = line.split_once(' ').is_some_and(|(time, said)| is_time(time) && said == expected);
        !said || std::mem::replace(&mut seen, true)
    })
}

fn is_time(word: &str) -> bool {
    let digits = word.strip_suffix("AM").or_else(|| word.strip_suffix("PM"));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b':'))
}

#[cfg(test)]
mod tests {
    use super::super::text::Text;
    use super::*;

    const SECRET: &str = "not-a-secret";

    fn canary() -> String {
        format!("{CANARY}{}", "0".repeat(32))
    }

    fn map() -> Map {
        let mut send = |_: &[u8]| Ok(());
        let mut text = Text::start(canary(), &mut send).unwrap();
        text.put(7, b"one\ntwo").unwrap();
        text.finish()
    }

    fn report(entries: &[(&str, u64, &str)]) -> Vec<u8> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(rule, line, secret)| serde_json::json!({"RuleID": rule, "StartLine": line, "Secret": secret}))
            .collect();
        serde_json::to_vec(&entries).unwrap()
    }

    fn run(status: &str, stdout: &[u8], stderr: &str) -> Result<Vec<RawFinding>, ScanError> {
        judge(&Outcome { status, stdout, stderr: stderr.as_bytes() }, &map())
    }

    #[test]
    fn a_whole_report_gives_its_findings() {
        let (canary, fake) = (canary(), format!("{CANARY}{}", "1".repeat(32)));
        let entries = [
            ("bottle-canary", 1, &*canary),
            ("bottle-canary", 5, &canary),
            ("r", 4, SECRET),
            ("bottle-canary", 4, &fake),
        ];
        let findings = run("42", &report(&entries), "3:12AM WRN leaks found: 4\n").unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].label, findings[0].line), (7, Some(2)));
        assert!(!format!("{findings:?}").contains(SECRET));
    }

    #[test]
    fn everything_else_fails() {
        let canary = canary();
        let whole = report(&[("bottle-canary", 1, &canary), ("bottle-canary", 5, &canary)]);
        let good = "3:12AM WRN leaks found: 2\n";
        assert!(run("42", &whole, good).is_ok());
        assert!(run("0", &whole, good).is_err());
        assert!(run("1", &whole, good).is_err());
        assert!(run("a signal", &whole, good).is_err());
        assert!(run("42", b"", good).is_err());
        assert!(run("42", b"null", good).is_err());
        assert!(run("42", &whole, "3:12AM WRN leaks found: 3\n").is_err());
        assert!(run("42", &whole, "3:12AM ERR something\n3:12AM WRN leaks found: 2\n").is_err());
        assert!(run("42", &whole, &good.repeat(2)).is_err());
        let one = "3:12AM WRN leaks found: 1\n";
        assert!(run("42", &report(&[("bottle-canary", 1, &canary)]), one).is_err());
        assert!(run("42", &report(&[("bottle-canary", 5, &canary)]), one).is_err());
        let three = "3:12AM WRN leaks found: 3\n";
        let twice = report(&[
            ("bottle-canary", 1, &canary),
            ("bottle-canary", 5, &canary),
            ("bottle-canary", 5, &canary),
        ]);
        assert!(run("42", &twice, three).is_err());
        let outside =
            report(&[("bottle-canary", 1, &canary), ("bottle-canary", 5, &canary), ("r", 2, SECRET)]);
        let error = run("42", &outside, three).unwrap_err();
        assert!(!error.to_string().contains(SECRET));
    }
}
