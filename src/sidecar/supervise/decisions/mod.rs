//! The log of decisions: one JSON object a line, each with the hash of the one before it. The format is documented in
//! `docs/src/audit.md`.
//!
//! What is hashed is the line's own text, not what a parser makes of it: there is nothing to agree on but bytes.

pub(crate) mod time;
pub(super) mod verify;

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::refused::Refused;
use super::state::Scope;
use super::store::Decision;
use crate::policy::reason::Reason;
use crate::sidecar::text::hex;
pub(crate) use verify::verify;

/// The file in the state directory.
pub(crate) const FILE: &str = "decisions.jsonl";
/// The version of the lines' format.
const VERSION: u32 = 1;
/// What the first line names as the hash of the one before it.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What stands between the text that is hashed and its hash.
const HASH: &str = ",\"hash\":\"";

/// The fields of a line, in their order.
#[derive(Serialize)]
struct Fields<'a> {
    v: u32,
    time: String,
    event: &'static str,
    seq: i64,
    id: &'a str,
    decision: &'static str,
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    rule: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    words: &'a str,
    prev: &'a str,
}

/// The line of a decision, with its line break, and its hash.
pub(super) fn line(seq: i64, prev: &str, decision: &Decision) -> Result<(String, String), Refused> {
    let Decision { verdict, at, by, request, grant, scope, until, rule, words } = decision;
    let fields = Fields {
        v: VERSION,
        time: time::written(*at),
        event: "decision",
        seq,
        id: request,
        decision: verdict,
        by,
        grant: grant.as_deref(),
        scope: scope.map(|scope| match scope {
            Scope::Once => "once",
            Scope::Seconds(_) => "seconds",
            Scope::Bottle => "bottle",
            Scope::Always => "always",
        }),
        until: until.map(time::written),
        rule,
        words,
        prev,
    };
    let json = serde_json::to_string(&fields)
        .map_err(|error| Refused::plain(Reason::StoreFailed, error.to_string()))?;
    let mut line = printable(json.strip_suffix('}').unwrap_or(&json));
    let hash = hex(&Sha256::digest(line.as_bytes()));
    line.push_str(HASH);
    line.push_str(&hash);
    line.push_str("\"}\n");
    Ok((line, hash))
}

/// The hash that a line says it has.
pub(super) fn hash_of(line: &str) -> Option<&str> {
    split(line.trim_end_matches('\n')).map(|(_, hash)| hash)
}

/// The text of a line that is hashed, and the hash that it says it has. No text in a line can hold what stands between
/// them: its quotes would be escaped.
fn split(line: &str) -> Option<(&str, &str)> {
    let (text, rest) = line.rsplit_once(HASH)?;
    let hash = rest.strip_suffix("\"}")?;
    let is_hash =
        hash.len() == GENESIS.len() && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then_some((text, hash))
}

/// Escapes what isn't printable ASCII in JSON; only its strings have such characters.
pub(crate) fn printable(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + HASH.len() + GENESIS.len() + 3);
    let mut units = [0; 2];
    for c in json.chars() {
        match c {
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut units) {
                    // A String takes everything that is written to it.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out
}
