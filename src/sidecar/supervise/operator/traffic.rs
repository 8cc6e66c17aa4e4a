//! The audit logs of the sidecars, read from their end: the youngest lines first, within a bound of bytes.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::fs;
use crate::sidecar::supervise::config::Places;
use crate::sidecar::supervise::rule::Enforcer;
use crate::sidecar::text::neutral;

/// The file in a report directory; the older ones have a number after it.
const FILE: &str = "audit.jsonl";
/// The report itself.
pub(super) const STATUS: &str = "status.json";
const OLDER: [&str; 3] = ["audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"];
/// The most bytes that are looked through for one answer.
const BUDGET: u64 = 4 << 20;
/// How much is read at a time.
const BLOCK: u64 = 64 << 10;
/// The most bytes of a line.
const MAX_LINE: usize = 64 << 10;
/// The most characters that are shown of a text.
const MAX_TEXT: usize = 400;
/// The most lines of an answer.
pub(super) const MAX_LINES: usize = 500;

/// One line, made harmless. What a line doesn't have is left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(super) struct Line {
    /// The sidecar.
    pub(super) from: String,
    pub(super) time: String,
    pub(super) event: String,
    pub(super) id: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u64>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) status: Option<u64>,
    pub(super) credential: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) refs: Vec<String>,
    pub(super) operations: Vec<String>,
    pub(super) findings: Vec<String>,
    pub(super) problem: Option<String>,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// All of them.
    All,
    /// Those of what was refused.
    Refused,
    /// Those with this reason code.
    Code(String),
}

impl Wanted {
    /// Reads what a query says: a reason code, `refused`, or nothing for all.
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "" => Self::All,
            "refused" => Self::Refused,
            code => Self::Code(code.to_owned()),
        }
    }

    fn takes(&self, line: &Line) -> bool {
        match self {
            Self::All => true,
            Self::Refused => line.decision.as_deref() == Some("deny"),
            Self::Code(code) => line.reason.as_deref() == Some(code),
        }
    }
}

impl Line {
    /// What is done: the method, or what a push does.
    pub(super) fn action(&self) -> String {
        match (&self.method, self.event.as_str()) {
            (Some(method), _) => method.clone(),
            (None, "push" | "fetch") => format!("{} {}", self.event, self.operations.join(", ")),
            (None, _) => String::new(),
        }
    }

    /// What it is about, in a few words.
    pub(super) fn subject(&self) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        if let Some(host) = &self.host {
            let usual = match self.scheme.as_deref() {
                Some("http") => 80,
                _ => 443,
            };
            let port = self.port.filter(|port| *port != usual).map(|port| format!(":{port}"));
            return format!("{host}{}{}", port.unwrap_or_default(), text(&self.path));
        }
        if self.repository.is_some() {
            return format!("{} {}", text(&self.repository), self.refs.join(", ")).trim_end().to_owned();
        }
        self.problem.clone().or_else(|| self.detail.clone()).unwrap_or_default()
    }

    fn read(bytes: &[u8], from: &str) -> Option<Self> {
        let mut line: Self = serde_json::from_slice(bytes).ok()?;
        from.clone_into(&mut line.from);
        let Self {
            from: _,
            time,
            event,
            id,
            decision,
            reason,
            rule,
            detail,
            scheme,
            host,
            port: _,
            method,
            path,
            status: _,
            credential,
            repository,
            refs,
            operations,
            findings,
            problem,
        } = &mut line;
        let optional =
            [id, decision, reason, rule, detail, scheme, host, method, path, credential, repository, problem];
        let lists = [refs, operations, findings].into_iter().flatten();
        for text in optional.into_iter().flatten().chain(lists).chain([time, event]) {
            *text = neutral(text.chars().take(MAX_TEXT).collect::<String>().as_bytes());
        }
        Some(line)
    }
}

/// The youngest lines of all sidecars, no more than `most`, the youngest first.
pub(super) fn youngest(places: &Places, wanted: &Wanted, most: usize) -> Vec<Line> {
    let most = most.min(MAX_LINES);
    let mut lines = Vec::new();
    for (enforcer, name) in [(Enforcer::Egress, "egress"), (Enforcer::GitGate, "git-gate")] {
        let Some(directory) = places.report(enforcer) else { continue };
        let mut found = 0;
        let mut budget = BUDGET;
        for file in std::iter::once(FILE).chain(OLDER) {
            let mut take = |bytes: &[u8]| {
                if let Some(line) = Line::read(bytes, name).filter(|line| wanted.takes(line)) {
                    lines.push(line);
                    found += 1;
                }
                found < most
            };
            // A file that isn't there, or has just been renamed, has no lines.
            if !backwards(&directory.join(file), &mut budget, &mut take).unwrap_or(true) {
                break;
            }
        }
    }
    // RFC 3339 in UTC sorts as text; the sort is stable.
    lines.sort_by(|one, other| other.time.cmp(&one.time));
    lines.truncate(most);
    lines
}

/// Gives the lines of a file, the last one first, until `take` says that it is enough or the budget is used up. Says
/// whether to go on.
fn backwards(
    path: &Path,
    budget: &mut u64,
    take: &mut impl FnMut(&[u8]) -> bool,
) -> Result<bool, std::io::Error> {
    let mut file = fs::open_itself(path).map_err(|error| error.source)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(true);
    }
    let mut at = metadata.len();
    // The beginning of the line that the block before ends in.
    let mut rest: Vec<u8> = Vec::new();
    while at > 0 {
        let length = BLOCK.min(at).min(*budget);
        if length == 0 {
            return Ok(false);
        }
        *budget -= length;
        at -= length;
        file.seek(SeekFrom::Start(at))?;
        let mut block = Vec::new();
        (&mut file).take(length).read_to_end(&mut block)?;
        block.append(&mut rest);
        let mut lines = block.rsplit(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() && at > 0 {
                // A line that is too long to be one is given up.
                rest = if line.len() > MAX_LINE { Vec::new() } else { line.to_vec() };
            } else if !line.is_empty() && !take(line) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What changes with a file: its length and its time.
pub(super) type Stamp = Vec<Option<(u64, Option<SystemTime>)>>;

/// The stamps of the sidecars' reports and of their logs.
pub(super) fn stamps(places: &Places) -> (Stamp, Stamp) {
    let look = |file: &str| {
        let each = [Enforcer::Egress, Enforcer::GitGate].into_iter().map(|enforcer| {
            let metadata = fs::metadata(&places.report(enforcer)?.join(file)).ok()?;
            Some((metadata.len(), metadata.modified().ok()))
        });
        each.collect()
    };
    (look(STATUS), look(FILE))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{Wanted, youngest};
    use crate::fs;
    use crate::sidecar::supervise::config::Places;

    fn places(root: &std::path::Path) -> Places {
        Places {
            egress_policy: None,
            gate_policy: None,
            egress_report: Some(root.to_owned()),
            gate_report: None,
            letters: None,
            grants: root.join("grants"),
            state: root.join("state"),
        }
    }

    fn line(number: usize, reason: &str) -> String {
        format!(
            r#"{{"v":1,"time":"2026-01-02T03:04:{number:08}Z","event":"request","decision":"deny","reason":"{reason}","host":"h{number}.example","path":"/"}}"#
        )
    }

    #[test]
    fn the_youngest_come_first_over_blocks_and_files() {
        let root = tempfile::tempdir().unwrap();
        let mut old = String::new();
        for number in 0..2000 {
            writeln!(old, "{}", line(number, "host-unknown")).unwrap();
        }
        fs::write_atomic(&root.path().join("audit.jsonl.1"), old.as_bytes(), 0o644).unwrap();
        // The last line is still being written.
        let new = format!("{}\n{}\n{{\"v\":1,\"ti", line(2000, "path-denied"), line(2001, "host-unknown"));
        fs::write_atomic(&root.path().join("audit.jsonl"), new.as_bytes(), 0o644).unwrap();
        let places = places(root.path());
        let hosts = |wanted: &Wanted, most| -> Vec<String> {
            youngest(&places, wanted, most).iter().filter_map(|line| line.host.clone()).collect()
        };
        assert_eq!(hosts(&Wanted::All, 3), ["h2001.example", "h2000.example", "h1999.example"]);
        assert_eq!(hosts(&Wanted::parse("path-denied"), 10), ["h2000.example"]);
        assert_eq!(hosts(&Wanted::Refused, 500).last().map(String::as_str), Some("h1502.example"));
        assert!(hosts(&Wanted::All, usize::MAX).len() == 500, "the bound");
    }

    #[test]
    fn what_the_agent_sent_is_harmless() {
        let root = tempfile::tempdir().unwrap();
        let text =
            "{\"time\":\"t\",\"event\":\"request\",\"host\":\"a\\u001b[31m\\u202eb\",\"path\":\"/x\\n\"}\n";
        fs::write_atomic(&root.path().join("audit.jsonl"), text.as_bytes(), 0o644).unwrap();
        let lines = youngest(&places(root.path()), &Wanted::All, 5);
        assert_eq!(lines.first().map(super::Line::subject).as_deref(), Some("a?[31m?b/x"));
    }
}
