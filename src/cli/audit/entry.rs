//! One line of an audit log.

use serde_json::{Map, Value};

use crate::sidecar::supervise::decisions::{printable, time};
use crate::sidecar::text::neutral;

/// The version of the lines' format.
const VERSION: u64 = 1;
/// The most characters that are shown of a text.
const MAX_TEXT: usize = 400;

/// Who wrote a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum From {
    Egress,
    Gate,
    Desk,
}

impl From {
    fn text(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Gate => "git-gate",
            Self::Desk => "decision",
        }
    }
}

/// One line.
#[derive(Debug)]
pub(super) struct Entry {
    /// When it was written, in milliseconds since the epoch.
    pub(super) millis: u64,
    pub(super) from: Option<From>,
    /// The agent's request whose grant allowed this.
    pub(super) request: Option<String>,
    fields: Map<String, Value>,
}

impl Entry {
    /// Reads a line; nothing where it is none.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        if fields.get("v").and_then(Value::as_u64) != Some(VERSION) || !fields.contains_key("event") {
            return None;
        }
        let millis = time::read(fields.get("time")?.as_str()?)?;
        Some(Self { millis, from: None, request: None, fields })
    }

    /// Who must have written it, where only one writes such lines.
    pub(super) fn writer(&self) -> Option<From> {
        match self.get("event") {
            "decision" => Some(From::Desk),
            "request" => Some(From::Egress),
            "fetch" | "push" | "connection" => Some(From::Gate),
            _ => self.from,
        }
    }

    /// The grant and the request of a decision.
    pub(super) fn granted(&self) -> Option<(&str, &str)> {
        let is_decision = self.writer() == Some(From::Desk) && self.fields.contains_key("grant");
        is_decision.then(|| (self.get("grant"), self.get("id")))
    }

    /// The grants that allowed it.
    pub(super) fn grants(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.get("rule"))
            .chain(self.list("rules"))
            .filter_map(|rule| rule.strip_prefix("grant "))
    }

    /// Whether this is its reason, or what was decided.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.get("reason") == code || self.get("decision") == code
    }

    /// Whether it is about a request.
    pub(super) fn belongs_to(&self, id: &str) -> bool {
        self.get("id") == id || self.request.as_deref() == Some(id) || self.get("grant") == id
    }

    /// The line as it was, with who wrote it and the request that it belongs to; printable ASCII.
    pub(super) fn json(&self) -> String {
        let mut fields = self.fields.clone();
        if let Some(from) = self.from {
            fields.insert("from".to_owned(), from.text().into());
        }
        if let Some(request) = &self.request {
            fields.insert("request".to_owned(), request.as_str().into());
        }
        printable(&Value::from(fields).to_string())
    }

    /// The line for people. Nothing in it steers a terminal.
    pub(super) fn text(&self) -> String {
        let from = self.from.map_or("-", From::text);
        let decided = [self.get("decision"), self.get("event")].into_iter().find(|text| !text.is_empty());
        let mut line = format!("{} {from:<8} {:<8}", self.get("time"), decided.unwrap_or_default());
        let subject = self.subject();
        let named = [
            ("", self.get("reason")),
            ("", self.get("id")),
            ("", subject.as_str()),
            ("by ", self.get("by")),
            ("grant ", self.get("grant")),
            ("until ", self.get("until")),
            ("rule ", if self.from == Some(From::Desk) { "" } else { self.get("rule") }),
            ("request ", self.request.as_deref().unwrap_or_default()),
            ("credential ", self.get("credential")),
            ("", self.get("done")),
            ("", self.get("detail")),
            ("", self.get("problem")),
            ("words: ", self.get("words")),
        ];
        for (name, text) in named.into_iter().filter(|(_, text)| !text.is_empty()) {
            let text: String = text.chars().take(MAX_TEXT).collect();
            line.push_str("  ");
            line.push_str(name);
            line.push_str(&text);
        }
        neutral(line.trim_end().as_bytes())
    }

    /// What it is about.
    fn subject(&self) -> String {
        if self.from == Some(From::Desk) {
            // The first line of the rule says where it would stand in the manifest.
            return self
                .get("rule")
                .lines()
                .filter(|line| !line.starts_with('#'))
                .collect::<Vec<_>>()
                .join(" ");
        }
        if self.fields.contains_key("host") {
            let port = self.fields.get("port").map(|port| format!(":{port}")).unwrap_or_default();
            let target = format!("{}://{}{port}{}", self.get("scheme"), self.get("host"), self.get("path"));
            return format!("{} {target}", self.get("method")).trim_start().to_owned();
        }
        let parts =
            [self.get("repository")].into_iter().chain(self.list("refs")).chain(self.list("operations"));
        let parts = parts.chain(self.list("findings")).filter(|part| !part.is_empty());
        let mut subject = parts.collect::<Vec<_>>().join(" ");
        if !self.get("repository").is_empty() {
            subject = format!("{} {subject}", self.get("event"));
        }
        subject
    }

    fn get(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let list = self.fields.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }
}
