//! The agent's side over plain HTTP, as an agent without MCP has it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::agent_support::{Supervise, route};

#[test]
fn an_agent_asks_waits_and_withdraws() {
    let supervise = Supervise::start();
    let answer = supervise.post("/requests", &route("docs.example.org"));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let request = answer.json();
    let id = request["id"].as_str().unwrap();
    assert_eq!(request["state"], "pending");
    assert_eq!(request["asked"]["route"]["methods"], json!(["GET", "HEAD"]));
    assert_eq!(request["reason"], "the build needs it");
    // One that is withdrawn while somebody waits ends the wait.
    let path = format!("/requests/{id}");
    let mut waiting = supervise.dial();
    let host = supervise.agent;
    waiting.send(format!("GET {path}?wait=50 HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    assert_eq!(supervise.dial().request("DELETE", &path, &[], b"").status, 200);
    let answer = waiting.answer().unwrap();
    assert_eq!(answer.json()["state"], "withdrawn", "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    supervise.dial().request("DELETE", &path, &[], b"").problem(409, "request-closed");
}

#[test]
fn the_same_is_counted_and_what_is_needless_is_said() {
    let supervise = Supervise::start();
    let id = supervise.ask("docs.example.org");
    let answer = supervise.post("/requests", &route("docs.example.org"));
    assert_eq!((answer.status, &answer.json()["id"], &answer.json()["count"]), (200, &json!(id), &json!(2)));
    let ask = json!({ "ask": { "route": { "host": "api.example.org", "methods": ["GET"], "paths": ["/v1/**"] } }, "reason": "x" });
    supervise.post("/requests", &ask).problem(409, "ask-needless");
    supervise.post("/requests", &route("evil.example.org")).problem(403, "ask-denied");
    supervise.post("/requests", &route("*")).problem(400, "ask-invalid");
}

#[test]
fn pushes_and_findings_can_be_asked_for() {
    let supervise = Supervise::start();
    let push = json!({ "push": { "repository": "app", "refs": "main", "operations": ["fast-forward"] } });
    let answer = supervise.post("/requests", &json!({ "ask": push, "reason": "a release" }));
    assert_eq!((answer.status, &answer.json()["asked"]["push"]["refs"]), (201, &json!("refs/heads/main")));
    let finding = json!({ "exception": { "repository": "app", "finding": "f-0123456789abcdef" } });
    let answer = supervise.post("/requests", &json!({ "ask": finding, "reason": "a made-up key" }));
    assert_eq!((answer.status, &answer.json()["asked"]), (201, &finding));
}

#[test]
fn the_policy_has_no_secrets() {
    let supervise = Supervise::start();
    let answer = supervise.get("/policy");
    let policy = answer.json();
    assert_eq!(policy["egress"]["routes"][0]["credential"], json!(true), "{policy}");
    assert_eq!(policy["git"]["repositories"]["app"]["push"][0]["refs"], "refs/heads/agent/**");
    let text = String::from_utf8(answer.body).unwrap();
    for secret in ["SECRET", "token", "code.example.org", "bottle.yaml"] {
        assert!(!text.contains(secret), "`{secret}` is in {text}");
    }
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let supervise = Supervise::start();
    assert_eq!(supervise.get("/healthz").status, 200);
    assert_eq!(supervise.get("/").status, 200);
    let answer = supervise.get("/nothing");
    answer.problem(404, "path-unknown");
    assert!(answer.json()["hint"].as_str().unwrap().contains("POST /requests"));
    supervise.get("/requests").problem(405, "method-unknown");
    supervise.get("/requests/r-aaaaaaaaaa?wait=50").problem(404, "request-unknown");
}
