//! A stand-in for pipelock: it is not pipelock, and it scans nothing.
//!
//! It answers as pipelock's documentation says that the Scan API does (docs/scan-api.md of luckyPipewrench/pipelock): the
//! same fields, limits, error codes and statuses. What it denies is what holds the word [`LEAK`]. Beside that it can be
//! told to be slow, to answer what it never should, or to go away.

use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use super::PATIENCE;
use super::message::Seen;
use super::origin::{Conn, Origin};

/// What it denies wherever it stands.
pub(in super::super) const LEAK: &str = "LEAK-0123456789abcdefghijklmnopqrstuvwxyz-LEAK";

/// A question that came.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    pub(in super::super) kind: String,
    /// The URL or the text.
    pub(in super::super) about: String,
}

/// How it answers.
#[derive(Clone, Debug)]
pub(in super::super) enum Manner {
    /// As documented.
    Documented,
    /// With this status and error code.
    Error(u16, &'static str),
    /// With these changes to a permission.
    With(Value),
    /// With these bytes for an answer.
    Raw(&'static [u8]),
    /// By ending the connection.
    Cut,
    /// As documented, and then the connection ends without a word of it.
    Once,
    /// Not before it is told otherwise.
    Never,
}

/// The stand-in. It ends with the test.
pub(in super::super) struct PipelockStandIn {
    origin: Origin,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    manner: Manner,
    asked: Vec<Asked>,
    /// How many questions wait for their answer, and how many did at the most.
    under_way: usize,
    most: usize,
}

impl PipelockStandIn {
    pub(in super::super) fn start() -> Self {
        let state = State { manner: Manner::Documented, asked: Vec::new(), under_way: 0, most: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        Self { origin: Origin::http(move |seen, conn| own.answer(seen, conn)), shared }
    }

    /// Where the policy says it is.
    pub(in super::super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.origin.port)
    }

    pub(in super::super) fn port(&self) -> u16 {
        self.origin.port
    }

    /// From now on it answers so, also what waits.
    pub(in super::super) fn answers(&self, manner: Manner) {
        self.shared.state.lock().unwrap().manner = manner;
        self.shared.changed.notify_all();
    }

    /// The questions that came.
    pub(in super::super) fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().unwrap().asked.clone()
    }

    /// The questions of this kind.
    pub(in super::super) fn asked_about(&self, kind: &str) -> Vec<String> {
        let asked = self.asked().into_iter().filter(|asked| asked.kind == kind);
        asked.map(|asked| asked.about).collect()
    }

    /// How many questions were there at a time, at the most.
    pub(in super::super) fn most(&self) -> usize {
        self.shared.state.lock().unwrap().most
    }

    /// How many connections came.
    pub(in super::super) fn connections(&self) -> usize {
        self.origin.connections()
    }
}

/// The limits of the interface.
const MAX_BODY: usize = 4 << 20;
const MAX_URL: usize = 8192;
const MAX_TEXT: usize = 512 << 10;

impl Shared {
    fn answer(&self, seen: &Seen, conn: &mut Conn) -> std::io::Result<()> {
        let question = match read(seen) {
            Ok(question) => question,
            Err((status, code)) => return say(conn, status, &error(&Value::Null, code)),
        };
        let kind = question["kind"].clone();
        let input = &question["input"];
        let about = input["url"].as_str().or(input["text"].as_str()).unwrap_or_default().to_owned();
        let denied = about.contains(LEAK);
        let mut state = self.state.lock().unwrap();
        state.asked.push(Asked { kind: kind.as_str().unwrap_or_default().to_owned(), about });
        state.under_way += 1;
        state.most = state.most.max(state.under_way);
        let waits = |state: &mut State| matches!(state.manner, Manner::Never);
        let (mut state, _) = self.changed.wait_timeout_while(state, PATIENCE, waits).unwrap();
        state.under_way -= 1;
        let manner = state.manner.clone();
        drop(state);
        let mut answer = json!({
            "status": "completed", "decision": "allow", "kind": kind, "scan_id": "scan-a1b2c3d4e5f60789",
            "request_id": question["context"]["request_id"], "duration_ms": 1, "engine_version": "0.0.0",
        });
        match manner {
            Manner::Documented | Manner::Once | Manner::Never => {
                if denied {
                    answer["decision"] = json!("deny");
                    answer["findings"] = json!([{
                        "scanner": "dlp", "rule_id": "DLP-Stand-in", "severity": "critical",
                        "message": "Secret-like token detected (Stand-in)",
                    }]);
                }
                say(conn, 200, &answer)?;
                if matches!(manner, Manner::Once) {
                    Err(std::io::ErrorKind::ConnectionAborted.into())
                } else {
                    Ok(())
                }
            }
            Manner::Error(status, code) => say(conn, status, &error(&kind, code)),
            Manner::With(changes) => {
                for (key, value) in changes.as_object().unwrap() {
                    answer[key] = value.clone();
                }
                say(conn, 200, &answer)
            }
            Manner::Raw(bytes) => {
                conn.write_all(bytes)?;
                conn.flush()?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            Manner::Cut => Err(std::io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Reads a question as strictly as the interface does.
fn read(seen: &Seen) -> Result<Value, (u16, &'static str)> {
    if !seen.line().starts_with("POST ") {
        return Err((405, "method_not_allowed"));
    }
    if seen.target() != "/api/v1/scan" {
        return Err((404, "not_found"));
    }
    if seen.header("authorization") != Some("Bearer inspect") {
        return Err((401, "unauthorized"));
    }
    if seen.length > MAX_BODY as u64 {
        return Err((400, "body_too_large"));
    }
    let question: Value = serde_json::from_slice(&seen.body).map_err(|_| (400, "invalid_json"))?;
    let known = |value: &Value, keys: &[&str]| {
        value.is_null()
            || value.as_object().is_some_and(|map| map.keys().all(|key| keys.contains(&key.as_str())))
    };
    let fits = known(&question, &["kind", "input", "context", "options"])
        && known(&question["input"], &["url", "text", "content", "tool_name", "arguments"])
        && known(&question["context"], &["request_id", "session_id", "agent_name"])
        && known(&question["options"], &["include_evidence"]);
    if !fits {
        return Err((400, "invalid_json"));
    }
    let text = |key: &str| question["input"][key].as_str().unwrap_or_default();
    match question["kind"].as_str() {
        Some("url") if (1..=MAX_URL).contains(&text("url").len()) && text("url").starts_with("http") => {}
        Some("dlp") if (1..=MAX_TEXT).contains(&text("text").len()) => {}
        Some("url" | "dlp") => return Err((400, "invalid_input")),
        Some("prompt_injection" | "tool_call") => return Err((400, "kind_disabled")),
        _ => return Err((400, "invalid_kind")),
    }
    Ok(question)
}

fn error(kind: &Value, code: &str) -> Value {
    json!({
        "status": "error", "kind": kind.as_str().unwrap_or_default(), "scan_id": "scan-a1b2c3d4e5f60789",
        "engine_version": "0.0.0",
        "errors": [{ "code": code, "message": "the stand-in was told to say so", "retryable": code == "rate_limited" }],
    })
}

fn say(conn: &mut Conn, status: u16, body: &Value) -> std::io::Result<()> {
    let extra = match status {
        405 => "Allow: POST\r\n",
        429 => "Retry-After: 1\r\n",
        _ => "",
    };
    let body = body.to_string();
    conn.say(&format!(
        "HTTP/1.1 {status} Documented\r\nContent-Type: application/json\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}
