//! How a refusal tells itself.

use super::support::{Egress, Origin, Response, Setup, echo};

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    (origin, egress)
}

fn refuse(egress: &Egress, lines: &[&str]) -> Response {
    egress.request("GET", "https://evil.example.net/", lines, b"").refused("route-missing")
}

#[test]
fn programs_get_json_with_code_rule_hint_retry_and_id() {
    let (_origin, egress) = world();
    for lines in
        [&[][..], &["Accept: */*"], &["Accept: application/json"], &["Accept: application/vnd.x+json"]]
    {
        let response = refuse(&egress, lines);
        assert_eq!(response.header("content-type"), Some("application/json"), "{response:?}");
        let body = response.json();
        assert_eq!(body["code"], "route-missing");
        assert_eq!(body["retry"], false);
        assert!(body["rule"].is_null() || body["rule"].is_string());
        for name in ["hint", "id", "message"] {
            assert!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {body}");
        }
        assert!(body["message"].as_str().unwrap().contains("evil.example.net"), "{body}");
    }
}

#[test]
fn people_get_one_plain_sentence() {
    let (_origin, egress) = world();
    for accept in [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/plain",
        "text/*;q=0.9, application/json;q=0.1",
    ] {
        let response = refuse(&egress, &[&format!("Accept: {accept}")]);
        let content_type = response.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("text/plain"), "{response:?}");
        let text = response.text();
        assert_eq!(text.trim_end().lines().count(), 1, "{text:?}");
        assert!(text.contains("evil.example.net") && !text.starts_with('{'), "{text}");
    }
}

#[test]
fn what_the_agent_sent_is_not_echoed_as_markup() {
    let (origin, egress) = world();
    let response =
        egress.request("GET", &origin.url("/<script>alert(1)</script>"), &["Accept: text/html"], b"");
    let content_type = response.header("content-type").unwrap_or_default().to_owned();
    assert!(response.status == 400 || !content_type.contains("html"), "{response:?}");
}

#[test]
fn the_id_is_the_one_of_the_audit_log() {
    let (_origin, egress) = world();
    let id = refuse(&egress, &[]).json()["id"].as_str().unwrap().to_owned();
    let line = egress.audited(|line| line["id"] == id.as_str());
    assert_eq!(line["reason"], "route-missing", "{line}");
    assert_eq!(line["host"], "evil.example.net", "{line}");
    let other = refuse(&egress, &[]).json()["id"].as_str().unwrap().to_owned();
    assert_ne!(id, other);
}

#[test]
fn head_is_refused_without_a_body_and_the_connection_goes_on() {
    let origin = Origin::https(echo);
    let route = bottle::policy::egress::Route { paths: super::support::paths(&["/b"]), ..origin.route() };
    let egress = Setup::new().route(route).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("HEAD /a HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    let response = client.response("HEAD");
    assert_eq!(response.header("x-bottle-reason"), Some("path-denied"), "{response:?}");
    client.get(&origin.authority(), "/b").ok();
}

#[test]
fn a_refusal_leaves_the_connection_usable_though_a_body_comes() {
    let (origin, egress) = world();
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST /a HTTP/1.1\r\nHost: {}\r\nContent-Length: 16\r\n\r\nGET /inner HTTP/",
        origin.authority()
    ));
    let response = client.response("POST").refused("method-denied");
    // The body is no request: either it was read to its end, or the connection is closed.
    client.say(&format!("GET /next HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    if response.header("connection") == Some("close") {
        assert!(client.try_response("GET").is_none());
    } else {
        client.response("GET").ok();
        assert_eq!(origin.targets(), ["/next"]);
    }
}

#[test]
fn a_refused_upload_is_answered_though_the_client_keeps_sending() {
    let (origin, egress) = world();
    let mut client = egress.open(&origin.authority());
    client
        .say(&format!("POST /a HTTP/1.1\r\nHost: {}\r\nContent-Length: 8000000\r\n\r\n", origin.authority()));
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..122 {
        if client.try_send(&piece).is_err() {
            break;
        }
    }
    // The answer is not lost to a reset by unread bytes.
    client.response("POST").refused("method-denied");
    origin.untouched();
}

#[test]
fn a_refusal_is_not_kept_by_caches() {
    let (_origin, egress) = world();
    let response = refuse(&egress, &[]);
    assert_eq!(response.header("cache-control"), Some("no-store"), "{response:?}");
}

#[test]
fn what_retry_says_fits_the_cause() {
    let (origin, egress) = world();
    assert_eq!(refuse(&egress, &[]).json()["retry"], false);
    let body = egress.request("POST", &origin.url("/"), &[], b"x").refused("method-denied").json();
    assert_eq!(body["retry"], false);
}

#[test]
fn where_supervise_is_a_refusal_names_the_request_to_make() {
    let origin = Origin::https(echo);
    let mut setup = Setup::new().route(origin.route()).deny(super::support::deny("denied.example.net"));
    setup.policy.ask = Some("http://supervise:7331".to_owned());
    let egress = setup.start();
    let body = egress
        .request("POST", "https://api.example.net/v1/jobs?key=x", &[], b"")
        .refused("route-missing")
        .json();
    let expected = serde_json::json!({
        "route": { "host": "api.example.net", "methods": ["POST"], "paths": ["/v1/jobs"] }
    });
    assert_eq!(body["ask"], expected, "{body}");
    let hint = body["hint"].as_str().unwrap();
    assert!(
        hint.ends_with("; or ask: POST http://supervise:7331/requests (MCP tool request_route)"),
        "{hint}"
    );
    assert!(body["message"].as_str().unwrap().contains("or ask: POST"), "{body}");
    let plain = egress.request("GET", "https://api.example.net/", &["Accept: text/plain"], b"").text();
    assert!(plain.contains("or ask: POST http://supervise:7331/requests"), "{plain}");
    let denied =
        egress.request("GET", "https://denied.example.net/", &[], b"").refused("route-denied").json();
    assert!(denied.get("ask").is_none() && !denied["hint"].as_str().unwrap().contains("ask"), "{denied}");
}

#[test]
fn without_supervise_no_refusal_names_a_request() {
    let (_origin, egress) = world();
    let body = refuse(&egress, &[]).json();
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["code", "rule", "hint", "retry", "id", "message"]);
}
