//! What the scanner says: only what is documented as a permission is one.

use http::StatusCode;
use serde::Deserialize;

use super::question::Question;
use super::unavailable;
use crate::policy::reason::Reason;
use crate::sidecar::egress::body::BodyError;

/// The answer. Newer versions may say more than this.
#[derive(Deserialize)]
struct Told {
    status: String,
    #[serde(default)]
    decision: Option<String>,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Finding {
    rule_id: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
}

/// The most findings that a refusal names.
const MAX_NAMED: usize = 3;
/// The most characters of a word of the scanner's in a refusal.
const MAX_WORD: usize = 64;

/// Reads the answer to a question.
///
/// # Errors
///
/// Everything but a permission.
pub(super) fn verdict(
    status: StatusCode,
    body: &[u8],
    question: &Question,
    id: &str,
) -> Result<(), BodyError> {
    let told: Result<Told, _> = serde_json::from_slice(body);
    if status != StatusCode::OK {
        let code =
            told.ok().and_then(|told| told.errors.into_iter().next()).map(|problem| word(&problem.code));
        let code = code.map_or_else(String::new, |code| format!(" ({code})"));
        return Err(unavailable(format!("the scanner answered {}{code}", status.as_u16())));
    }
    let Told { status, decision, kind, request_id, findings, errors } =
        told.map_err(|_| unavailable("the scanner's answer can't be read"))?;
    if status != "completed" || !errors.is_empty() {
        return Err(unavailable("the scanner did not complete the scan"));
    }
    if kind != question.kind.text() || request_id.as_deref() != Some(id) {
        return Err(unavailable("the scanner's answer belongs to another question"));
    }
    match decision.as_deref() {
        Some("allow") if findings.is_empty() => Ok(()),
        // What it would only warn of has been found all the same, and nobody reads its warnings.
        Some("deny" | "warn") => Err(BodyError { reason: Reason::ScannerDenied, detail: named(&findings) }),
        _ => Err(unavailable("the scanner's decision is none that is documented")),
    }
}

/// The rules that found something; they quote nothing of it.
fn named(findings: &[Finding]) -> String {
    let rules: Vec<_> = findings.iter().take(MAX_NAMED).map(|finding| word(&finding.rule_id)).collect();
    if rules.is_empty() { "the scanner names no rule".to_owned() } else { rules.join(", ") }
}

/// A word of the scanner's: what is no plain text is left out.
fn word(text: &str) -> String {
    let plain =
        |char: &char| matches!(char, ' '..='~') && !matches!(char, '<' | '>' | '&' | '"' | '`' | '\\');
    text.chars().filter(plain).take(MAX_WORD).collect()
}
