use http::StatusCode;
use serde_json::{Value, json};

use crate::policy::reason::Reason;
use crate::sidecar::egress::pipelock::answer::verdict;
use crate::sidecar::egress::pipelock::question::Question;

fn judged(status: u16, body: impl AsRef<[u8]>) -> Result<(), (Reason, String)> {
    let question = Question::text("x".to_owned());
    let status = StatusCode::from_u16(status).unwrap();
    verdict(status, body.as_ref(), &question, "r-1").map_err(|error| (error.reason, error.detail))
}

fn told(decision: &str) -> Value {
    json!({
        "status": "completed", "decision": decision, "kind": "dlp", "scan_id": "scan-0123456789abcdef",
        "request_id": "r-1", "duration_ms": 1, "engine_version": "0",
    })
}

#[test]
fn only_a_completed_scan_that_allows_is_a_permission() {
    assert_eq!(judged(200, told("allow").to_string()), Ok(()));
    // What newer versions say beside it.
    let mut newer = told("allow");
    newer["session_id"] = json!("s");
    assert_eq!(judged(200, newer.to_string()), Ok(()));
}

#[test]
fn what_was_found_is_named_by_its_rules_and_by_nothing_else() {
    let mut denied = told("deny");
    denied["findings"] = json!([
        { "scanner": "dlp", "rule_id": "DLP-Some <Key>\u{202e}\n", "severity": "critical", "message": "the token itself" },
        { "scanner": "dlp", "rule_id": "x".repeat(100), "severity": "high", "message": "m" },
    ]);
    let (reason, detail) = judged(200, denied.to_string()).unwrap_err();
    assert_eq!(reason, Reason::ScannerDenied);
    assert_eq!(detail, format!("DLP-Some Key, {}", "x".repeat(64)));
    assert_eq!(judged(200, told("warn").to_string()).unwrap_err().0, Reason::ScannerDenied);
}

#[test]
fn every_other_answer_is_no_verdict() {
    let with = |key: &str, value: Value| {
        let mut told = told("allow");
        told[key] = value;
        told.to_string()
    };
    let without = |key: &str| {
        let mut told = told("allow");
        told.as_object_mut().unwrap().remove(key);
        told.to_string()
    };
    let allow = told("allow").to_string();
    for body in [
        with("status", json!("error")),
        with("status", json!("Completed")),
        with("decision", json!("ALLOW")),
        with("decision", json!("maybe")),
        with("decision", json!(null)),
        with("decision", json!(true)),
        with("kind", json!("url")),
        with("request_id", json!("r-2")),
        with("errors", json!([{ "code": "internal_error", "message": "m", "retryable": false }])),
        with("findings", json!([{ "rule_id": "DLP-x" }])),
        with("findings", json!("none")),
        without("status"),
        without("decision"),
        without("kind"),
        without("request_id"),
        // Twice the same key, and something after the end.
        allow.replace("\"status\":", "\"status\":\"error\",\"status\":"),
        format!("{allow}{allow}"),
        allow.strip_suffix('}').expect("an object").to_owned(),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"allow\"".to_owned(),
        "<html>allow</html>".to_owned(),
    ] {
        assert_eq!(judged(200, &body).unwrap_err().0, Reason::ScannerUnavailable, "{body}");
    }
    assert_eq!(judged(200, [0xff, 0xfe]).unwrap_err().0, Reason::ScannerUnavailable);
}

#[test]
fn another_status_is_no_verdict_whatever_the_body_says() {
    for status in [201, 204, 206, 301, 400, 401, 405, 413, 429, 500, 503] {
        let (reason, detail) = judged(status, told("allow").to_string()).unwrap_err();
        assert_eq!((reason, detail), (Reason::ScannerUnavailable, format!("the scanner answered {status}")));
    }
    let error = json!({ "status": "error", "errors": [{ "code": "rate_limited", "message": "m", "retryable": true }] });
    assert_eq!(judged(429, error.to_string()).unwrap_err().1, "the scanner answered 429 (rate_limited)");
}
