//! The agent's side with a real MCP client, the official Python SDK, in each way of connecting that it knows.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that can't be set up fails, with the backtrace that says where"
)]

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::agent_support::Supervise;
use crate::support::project;

/// The interpreter that has the SDK. Without it these tests fail, so that nobody takes what was skipped for what has
/// passed; `BOTTLE_TEST_WITHOUT_MCP` says that it is meant.
fn python(test: &str) -> Option<PathBuf> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let python = cache.join("bottle/mcp-client/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var_os("BOTTLE_TEST_WITHOUT_MCP").is_some(),
        "the MCP client is missing: run scripts/setup.sh, or set BOTTLE_TEST_WITHOUT_MCP to test without it"
    );
    println!("skipped: {test}: the MCP client is not on this machine");
    None
}

/// What the SDK's client gets, connected in this way.
fn client(test: &str, mode: &str) -> Option<Value> {
    let python = python(test)?;
    let supervise = Supervise::start();
    let output = Command::new(python)
        .arg(project("tests/integration/supervise/agent_mcp.py"))
        .arg(format!("http://{}/mcp", supervise.agent))
        .arg(mode)
        .env_clear()
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[track_caller]
fn check(got: &Value) {
    let tools: Vec<&String> = got["tools"].as_object().unwrap().keys().collect();
    assert_eq!(tools, ["policy", "request_route", "request_push", "request_exception", "wait", "withdraw"]);
    assert_eq!(got["described"], json!(true));
    let route = &got["tools"]["request_route"];
    assert_eq!(route["additionalProperties"], json!(false), "{route}");
    assert_eq!(route["required"], json!(["host", "reason"]), "{route}");
    for name in ["host", "scheme", "port", "methods", "paths", "websocket", "reason"] {
        assert!(route["properties"][name]["description"].is_string(), "{name}: {route}");
    }
    assert!(!got["tools"].to_string().contains("$ref"), "a schema is in one piece: {}", got["tools"]);
    assert_eq!(got["policy"]["egress"]["routes"][0]["host"], "api.example.org");
    assert_eq!(got["asked"]["state"], "pending");
    assert_eq!(got["asked"]["asked"]["route"]["paths"], json!(["/v2/**"]));
    assert_eq!((&got["refused"][0], &got["refused"][1]["code"]), (&json!(true), &json!("ask-denied")));
    assert_eq!(got["waited"]["state"], "pending");
    assert_eq!(got["withdrawn"]["state"], "withdrawn");
    assert_eq!(got["ended"]["state"], "withdrawn");
}

#[test]
fn the_official_client_with_a_handshake() {
    if let Some(got) = client("the_official_client_with_a_handshake", "legacy") {
        check(&got);
        assert!(got["instructions"].as_str().unwrap().contains("`wait`"), "{got}");
    }
}

#[test]
fn the_official_client_without_a_handshake() {
    if let Some(got) = client("the_official_client_without_a_handshake", "2026-07-28") {
        check(&got);
    }
}

#[test]
fn the_official_client_that_finds_out() {
    if let Some(got) = client("the_official_client_that_finds_out", "auto") {
        check(&got);
        assert!(got["instructions"].as_str().unwrap().contains("`wait`"), "{got}");
    }
}
