//! A hostile agent, and hostile pages in its browser, against the agent's side.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent_support::{Client, Supervise, eventually, route};

const JSON: &str = "Content-Type: application/json";
/// What it may grow by at its peak under any of this, in kB. The parts of a debug build that are run for the first time
/// count as well.
const GROWTH: u64 = 12 << 10;

/// What came of all requests, by code.
fn count(codes: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for code in codes {
        *counts.entry(code).or_insert(0) += 1;
    }
    counts
}

#[test]
fn a_reason_of_a_megabyte_is_refused_and_not_kept() {
    let supervise = Supervise::start();
    let body = json!({ "ask": { "route": { "host": "docs.example.org" } }, "reason": "x".repeat(1 << 20) });
    let body = body.to_string();
    for path in ["/requests", "/mcp"] {
        supervise.dial().request("POST", path, &[JSON], body.as_bytes()).problem(413, "body-too-large");
        // Without a length it is counted as it comes.
        let mut client = supervise.dial();
        let host = supervise.agent;
        client.send(
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n")
                .as_bytes(),
        );
        for part in body.as_bytes().chunks(16 << 10) {
            client.send(format!("{:x}\r\n", part.len()).as_bytes());
            client.send(part);
            client.send(b"\r\n");
        }
        client.send(b"0\r\n\r\n");
        // What was still on its way may have cut the answer off; nothing was taken either way.
        if let Some(answer) = client.answer() {
            answer.problem(413, "body-too-large");
        }
    }
    // A long one within the limit is cut.
    let body = json!({ "ask": { "route": { "host": "docs.example.org" } }, "reason": "x".repeat(60_000) });
    let answer = supervise.post("/requests", &body);
    assert_eq!((answer.status, answer.json()["reason"].as_str().unwrap().len()), (201, 2_000));
    assert!(supervise.growth() < GROWTH, "grown by {} kB", supervise.growth());
}

#[test]
fn a_flood_of_ten_thousand_is_bounded_and_the_operator_is_served() {
    let supervise = Supervise::start();
    let codes: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let supervise = &supervise;
                scope.spawn(move || {
                    let mut client = supervise.dial();
                    let mut codes = Vec::new();
                    for number in 0..1_250 {
                        let body = route(&format!("h{thread}-{number}.example.org")).to_string();
                        let answer = client.request("POST", "/requests", &[JSON], body.as_bytes());
                        let code = answer.json()["code"].as_str().unwrap_or("taken").to_owned();
                        assert!(code == "taken" || answer.status == 429, "{answer:?}");
                        codes.push(code);
                    }
                    codes
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            supervise.operator_answers();
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let counts = count(codes);
    assert_eq!(counts.get("taken"), Some(&20), "{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 10_000, "{counts:?}");
    assert!(counts.contains_key("desk-full") && counts.contains_key("too-fast"), "{counts:?}");
    assert!(supervise.growth() < GROWTH, "grown by {} kB", supervise.growth());
}

#[test]
fn asking_and_withdrawing_in_a_loop_is_slowed_down() {
    let supervise = Supervise::start();
    let mut client = supervise.dial();
    let mut codes = Vec::new();
    for number in 0..1_000 {
        let body = route(&format!("h{number}.example.org")).to_string();
        let answer = client.request("POST", "/requests", &[JSON], body.as_bytes()).json();
        codes.push(answer["code"].as_str().unwrap_or("taken").to_owned());
        if let Some(id) = answer["id"].as_str() {
            client.request("DELETE", &format!("/requests/{id}"), &[], b"");
        }
    }
    let counts = count(codes);
    let taken = counts.get("taken").copied().unwrap_or_default();
    // Half of what may be written at once, and one a second; the machine may be slow.
    assert!((50..200).contains(&taken), "{counts:?}");
}

#[test]
fn a_page_that_made_its_name_lead_here_is_refused() {
    let supervise = Supervise::start();
    let body = route("docs.example.org").to_string();
    for host in
        ["evil.example.org", "evil.example.org:80", "127.0.0.1.evil.example.org", "0.0.0.0", "[::]", ""]
    {
        for (method, path) in [
            ("POST", "/requests"),
            ("GET", "/policy"),
            ("GET", "/"),
            ("GET", "/requests/r-aaaaaaaaaa"),
            ("DELETE", "/requests/r-aaaaaaaaaa"),
            ("POST", "/mcp"),
            ("GET", "/mcp"),
            ("GET", "/nothing"),
        ] {
            let body = if method == "POST" { body.as_bytes() } else { b"" };
            let answer = supervise.dial().by(host).request(method, path, &[JSON], body);
            answer.problem(421, "host-unknown");
        }
    }
    // Two names, or one in the target and another beside it.
    let answer = supervise.dial().request("GET", "/policy", &["Host: evil.example.org"], b"");
    assert!(answer.status >= 400, "{answer:?}");
    let answer = supervise.dial().by("evil.example.org").request("GET", "http://supervise/policy", &[], b"");
    assert!(answer.status >= 400, "{answer:?}");
    for host in ["supervise", "supervise:7331", "localhost:1", "SUPERVISE", "[::1]:80"] {
        let answer = supervise.dial().by(host).request("GET", "/policy", &[], b"");
        assert_eq!(answer.status, 200, "`{host}`: {answer:?}");
    }
}

#[test]
fn a_page_of_another_origin_can_neither_ask_nor_read() {
    let supervise = Supervise::start();
    let body = route("docs.example.org").to_string();
    for origin in ["null", "https://evil.example.org", "http://supervise.evil.example.org", "file://"] {
        let origin = format!("Origin: {origin}");
        for path in ["/requests", "/mcp"] {
            let answer = supervise.dial().request("POST", path, &[JSON, &origin], body.as_bytes());
            answer.problem(403, "origin-refused");
        }
        supervise.dial().request("GET", "/policy", &[&origin], b"").problem(403, "origin-refused");
    }
    // What a form or a script without a preflight can send.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
    ] {
        let kind = format!("Content-Type: {kind}");
        for path in ["/requests", "/mcp"] {
            let answer = supervise.dial().request("POST", path, &[&kind], body.as_bytes());
            answer.problem(415, "type-unsupported");
        }
    }
    supervise.dial().request("POST", "/requests", &[], body.as_bytes()).problem(415, "type-unsupported");
    let answer = supervise.dial().request("OPTIONS", "/requests", &["Origin: https://evil.example.org"], b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
}

#[test]
fn no_path_approves() {
    let supervise = Supervise::start();
    let id = supervise.ask("docs.example.org");
    let body = json!({ "id": id, "scope": "always", "state": "approved", "review": "" }).to_string();
    for path in [
        format!("/requests/{id}/approve"),
        format!("/requests/{id}"),
        format!("/requests/{id}%2fapprove"),
        format!("/mcp/../requests/{id}/approve"),
        format!("/./requests/{id}/approve"),
        format!("/requests/{id};approve"),
        format!("http://{}/requests/{id}/approve", supervise.operator),
        format!("//{}/requests/{id}/approve", supervise.operator),
        "/approve".to_owned(),
        "/grants".to_owned(),
        "/mcp".to_owned(),
        "*".to_owned(),
    ] {
        for method in ["POST", "PUT", "PATCH", "APPROVE"] {
            let answer = supervise.dial().request(method, &path, &[JSON], body.as_bytes());
            assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
        }
    }
    let answer = supervise.dial().request("CONNECT", &supervise.operator.to_string(), &[], b"");
    assert!(answer.status >= 400, "{answer:?}");
    assert_eq!(supervise.get(&format!("/requests/{id}")).json()["state"], "pending");
    assert_eq!(supervise.get("/policy").json()["grants"], json!([]));
}

#[test]
fn escapes_and_markup_stay_text() {
    let supervise = Supervise::start();
    let reason =
        "\u{1b}[2J\u{1b}]52;c;cm0gLXJm\u{7}\u{202e}\u{2066}<script>alert(1)</script>\r\nSet-Cookie: x=y";
    let body = json!({ "ask": { "route": { "host": "docs.example.org" } }, "reason": reason });
    let answer = supervise.post("/requests", &body);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("set-cookie"), None);
    let kept = answer.json()["reason"].as_str().unwrap().to_owned();
    assert!(!kept.chars().any(|c| c.is_control() || "\u{202e}\u{2066}".contains(c)), "{kept:?}");
    for host in
        ["\u{1b}[2J.example.org", "a\u{202e}.example.org", "<b>.example.org", "a.example.org\r\nX: y", "a b"]
    {
        let answer = supervise.post("/requests", &route(host));
        answer.problem(400, "ask-invalid");
        assert!(!answer.json().to_string().chars().any(|c| c == '\u{202e}'), "{answer:?}");
    }
}

#[test]
fn deep_json_is_refused() {
    let supervise = Supervise::start();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let asked = format!("{{\"ask\":{deep},\"reason\":\"x\"}}");
    let asked = asked.as_bytes();
    supervise.dial().request("POST", "/requests", &[JSON], asked).problem(400, "ask-invalid");
    let call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"wait\",\"arguments\":{{\"id\":{deep}}}}}}}"
    );
    let accept = "Accept: application/json, text/event-stream";
    let answer = supervise.dial().request("POST", "/mcp", &[JSON, accept], call.as_bytes());
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(supervise.get("/healthz").status, 200);
}

#[test]
fn asking_and_withdrawing_at_the_same_time_leaves_no_request_twice() {
    let supervise = Supervise::start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = supervise.dial();
                for number in 0..10 {
                    let body = route(&format!("h{number}.example.org")).to_string();
                    let answer = client.request("POST", "/requests", &[JSON], body.as_bytes()).json();
                    let Some(id) = answer["id"].as_str() else {
                        // Another has withdrawn the same already.
                        assert_eq!(answer["code"], "ask-repeated");
                        continue;
                    };
                    let answer = client.request("DELETE", &format!("/requests/{id}"), &[], b"");
                    // Another may have withdrawn the one that both have asked for.
                    assert!([200, 409, 429].contains(&answer.status), "{answer:?}");
                    if answer.status != 429 {
                        let state =
                            &client.request("GET", &format!("/requests/{id}"), &[], b"").json()["state"];
                        assert_eq!(state, "withdrawn");
                    }
                }
            });
        }
    });
}

/// Takes all places of those that wait: whoever finds none has its answer at once, so more are sent until none is left.
fn wait_everywhere(supervise: &Supervise, id: &str, request: &str) -> Vec<Client> {
    let mut waiting = Vec::new();
    eventually("all places are taken", || {
        for _ in 0..if waiting.is_empty() { 16 } else { 1 } {
            let mut client = supervise.dial();
            client.send(request.as_bytes());
            waiting.push(client);
        }
        thread::sleep(Duration::from_millis(50));
        supervise.get(&format!("/requests/{id}?wait=1")).status == 429
    });
    waiting
}

#[test]
fn clients_that_leave_give_their_places_back() {
    let supervise = Supervise::start();
    let id = supervise.ask("docs.example.org");
    let host = supervise.agent;
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "wait", "arguments": { "id": id } },
    });
    let call = call.to_string();
    let requests = [
        format!("GET /requests/{id}?wait=50 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\n{JSON}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Length: {}\r\n\r\n{call}",
            call.len()
        ),
    ];
    for request in requests {
        let waiting = wait_everywhere(&supervise, &id, &request);
        supervise.get(&format!("/requests/{id}?wait=1")).problem(429, "waits-full");
        assert_eq!(supervise.get(&format!("/requests/{id}")).status, 200);
        drop(waiting);
        eventually("the places are free", || supervise.get(&format!("/requests/{id}?wait=1")).status == 200);
    }
}

#[test]
fn half_open_connections_are_cut_and_the_operator_does_not_notice() {
    let supervise = Supervise::start();
    let started = Instant::now();
    let mut half: Vec<Client> = (0..200)
        .map(|number| {
            let mut client = supervise.dial();
            match number % 3 {
                0 => client.send(b"GET /policy HT"),
                1 => client.send(b"POST /requests HTTP/1.1\r\nHost: supervise\r\nX: "),
                _ => {}
            }
            client
        })
        .collect();
    supervise.operator_answers();
    // All places are taken; this one comes when the first are cut.
    let mut client = supervise.dial();
    assert_eq!(client.request("GET", "/healthz", &[], b"").status, 200);
    assert!(started.elapsed() < Duration::from_secs(25), "it took {:?}", started.elapsed());
    supervise.operator_answers();
    assert!(half[0].ended());
    assert!(supervise.growth() < GROWTH, "grown by {} kB", supervise.growth());
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let supervise = Supervise::start();
    let mut client = supervise.dial();
    let host = supervise.agent;
    client.send(
        format!("POST /requests HTTP/1.1\r\nHost: {host}\r\n{JSON}\r\nContent-Length: 100\r\n\r\n{{\"ask\":")
            .as_bytes(),
    );
    let started = Instant::now();
    client.answer().unwrap().problem(408, "body-slow");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(client.ended());
}

#[test]
fn a_head_that_does_not_end_is_refused() {
    let supervise = Supervise::start();
    let mut client = supervise.dial();
    client.send(b"GET /policy HTTP/1.1\r\nHost: supervise\r\n");
    for _ in 0..64 {
        client.send(format!("X-Long: {}\r\n", "x".repeat(1 << 10)).as_bytes());
    }
    if let Some(answer) = client.answer() {
        assert_eq!(answer.status, 431, "{answer:?}");
    }
    assert_eq!(supervise.get("/healthz").status, 200);
}

#[test]
fn mcp_without_a_session_serves_whoever_claims_one() {
    let supervise = Supervise::start();
    let accept = "Accept: application/json, text/event-stream";
    let call = |lines: &[&str], message: Value| {
        let lines: Vec<&str> = [JSON, accept].into_iter().chain(lines.iter().copied()).collect();
        supervise.dial().request("POST", "/mcp", &lines, message.to_string().as_bytes())
    };
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" },
        },
    });
    // However many begin, nothing is kept for them.
    for _ in 0..200 {
        let answer = call(&[], initialize.clone());
        assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None), "{answer:?}");
        assert_eq!(answer.json()["result"]["protocolVersion"], "2025-06-18");
    }
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    // One from before supervise was started again.
    let answer = call(&["Mcp-Session-Id: of-yesterday", "MCP-Protocol-Version: 2025-06-18"], list);
    assert_eq!(answer.json()["result"]["tools"].as_array().map(Vec::len), Some(6), "{answer:?}");
    for method in ["GET", "DELETE"] {
        let answer = supervise.dial().request(method, "/mcp", &["Accept: text/event-stream"], b"");
        assert_eq!(answer.status, 405, "{answer:?}");
    }
    for body in ["", "{", "[]", "null", "{\"jsonrpc\":\"1.0\"}"] {
        let answer = supervise.dial().request("POST", "/mcp", &[JSON, accept], body.as_bytes());
        assert!((400..500).contains(&answer.status), "`{body}`: {answer:?}");
    }
    assert!(supervise.growth() < GROWTH, "grown by {} kB", supervise.growth());
}
