//! The second scanner when it is slow, gone, or says what it shouldn't: nothing is let through.

use std::time::{Duration, Instant};

use bottle::policy::egress::Route;
use serde_json::json;

use super::support::{
    Client, Egress, Manner, Origin, PipelockStandIn, Setup, any, echo, eventually, free_port,
};

fn world(limits: &[(&str, u64)]) -> (Origin, PipelockStandIn, Egress) {
    let (origin, scanner) = (Origin::https(echo), PipelockStandIn::start());
    let mut setup = Setup::new().route(Route { methods: any(), ..origin.route() }).scanner(scanner.url());
    for (name, value) in limits {
        setup = setup.limit(name, *value);
    }
    let egress = setup.start();
    (origin, scanner, egress)
}

/// A request is refused for want of a verdict, and the refusal says so with this.
#[track_caller]
fn no_verdict(egress: &Egress, origin: &Origin, detail: &str) {
    let before = origin.seen().len();
    let answer = egress.get(&origin.url("/")).refused("scanner-unavailable");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["retry"], true);
    assert!(answer.text().contains(detail), "{answer:?}");
    assert_eq!(origin.seen().len(), before);
}

#[test]
fn no_scanner_is_no_permission() {
    let origin = Origin::https(echo);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let egress = Setup::new().route(origin.route()).scanner(nobody).start();
    no_verdict(&egress, &origin, "can't be reached");
    origin.untouched();
    let line = egress.audited_reason("scanner-unavailable");
    assert_eq!((&line["decision"], &line["scanner"]), (&"deny".into(), &"none".into()));
}

#[test]
fn a_scanner_whose_name_has_no_address_is_no_permission() {
    let origin = Origin::https(echo);
    let nobody = "http://inspect.pipelock.test.invalid:9090".to_owned();
    let egress = Setup::new().route(origin.route()).scanner(nobody).limit("scan", 3000).start();
    egress.get(&origin.url("/")).refused("scanner-unavailable");
    origin.untouched();
}

#[test]
fn a_slow_scanner_is_no_permission() {
    let (origin, scanner, egress) = world(&[("scan", 300)]);
    scanner.answers(Manner::Never);
    let start = Instant::now();
    no_verdict(&egress, &origin, "no verdict in time");
    assert!(start.elapsed() >= Duration::from_millis(300));
    origin.untouched();
    scanner.answers(Manner::Documented);
    egress.get(&origin.url("/")).ok();
}

#[test]
fn a_scanner_that_becomes_slow_within_a_body_ends_it() {
    let (origin, scanner, egress) = world(&[("scan", 300)]);
    let mut client = egress.open(&origin.authority());
    client.say(&format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 4\r\n\r\n", origin.authority()));
    eventually("the head has passed", || origin.connections() == 1);
    scanner.answers(Manner::Never);
    client.say("body");
    client.response("POST").refused("scanner-unavailable");
    assert!(origin.seen().is_empty());
}

#[test]
fn every_documented_error_is_no_permission() {
    let (origin, scanner, egress) = world(&[]);
    for (status, code) in [
        (400, "invalid_json"),
        (400, "invalid_input"),
        (400, "kind_disabled"),
        (401, "unauthorized"),
        (405, "method_not_allowed"),
        (413, "body_too_large"),
        (429, "rate_limited"),
        (500, "internal_error"),
        (503, "kill_switch_active"),
        (503, "scan_deadline_exceeded"),
    ] {
        scanner.answers(Manner::Error(status, code));
        no_verdict(&egress, &origin, &format!("answered {status} ({code})"));
    }
    origin.untouched();
    let metrics = egress.admin("/metrics").text();
    let none = metrics.lines().find(|line| line.contains("scans_total{verdict=\"none\"}")).unwrap();
    assert!(none.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 10, "{none}");
}

#[test]
fn an_answer_that_is_not_documented_is_no_permission() {
    let (origin, scanner, egress) = world(&[]);
    for changes in [
        json!({ "status": "error" }),
        json!({ "status": "partial" }),
        json!({ "decision": null }),
        json!({ "decision": "perhaps" }),
        json!({ "kind": "tool_call" }),
        json!({ "request_id": "another" }),
        json!({ "findings": [{ "rule_id": "DLP-x" }] }),
    ] {
        scanner.answers(Manner::With(changes));
        no_verdict(&egress, &origin, "the scanner");
    }
    scanner.answers(Manner::With(json!({ "decision": "warn", "findings": [{ "rule_id": "POLICY-x" }] })));
    egress.get(&origin.url("/")).refused("scanner-denied");
    // A newer version may say more.
    scanner.answers(Manner::With(json!({ "session_id": "s", "something": [1] })));
    egress.get(&origin.url("/")).ok();
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn what_is_no_answer_is_no_permission() {
    let (origin, scanner, egress) = world(&[("scan", 3000)]);
    let garbage: [&'static [u8]; 5] = [
        b"",
        b"\x00\x01\x02 no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":\"completed\",\"decision\":\"allow\"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nallow",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n",
    ];
    for bytes in garbage {
        scanner.answers(Manner::Raw(bytes));
        no_verdict(&egress, &origin, "the scanner");
    }
    scanner.answers(Manner::Cut);
    no_verdict(&egress, &origin, "broke the connection off");
    origin.untouched();
    scanner.answers(Manner::Documented);
    egress.get(&origin.url("/")).ok();
}

#[test]
fn connections_to_the_scanner_are_used_again() {
    let (origin, scanner, egress) = world(&[]);
    for _ in 0..12 {
        egress.request("POST", &origin.url("/"), &[], b"text").ok();
    }
    assert_eq!(scanner.asked().len(), 24);
    assert!(scanner.connections() <= 4, "{} connections", scanner.connections());
    let metrics = egress.admin("/metrics").text();
    let made = format!("bottle_egress_scan_connections_total {}\n", scanner.connections());
    assert!(metrics.contains(&made), "{metrics}");
}

#[test]
fn a_connection_that_the_scanner_closed_meanwhile_costs_nobody_a_request() {
    let (origin, scanner, egress) = world(&[]);
    scanner.answers(Manner::Once);
    for _ in 0..8 {
        egress.request("POST", &origin.url("/"), &[], b"text").ok();
    }
    assert_eq!(origin.seen().len(), 8);
}

#[test]
fn no_more_questions_are_asked_at_a_time_than_may_be() {
    let (origin, scanner, egress) = world(&[("scans", 3)]);
    scanner.answers(Manner::Never);
    let mut clients: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = egress.open(&origin.authority());
            client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
            client
        })
        .collect();
    let waiting = "bottle_egress_scans_under_way 8\n";
    eventually("all of them ask", || egress.admin("/metrics").text().contains(waiting));
    eventually("as many as may are there", || scanner.most() == 3);
    assert_eq!(scanner.asked().len(), 3);
    scanner.answers(Manner::Documented);
    for client in &mut clients {
        client.response("GET").ok();
    }
    assert_eq!((scanner.most(), scanner.asked().len()), (3, 8));
}

#[test]
fn a_policy_that_takes_up_a_scanner_asks_it_from_then_on() {
    let (origin, scanner) = (Origin::https(echo), PipelockStandIn::start());
    let mut egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).ok();
    assert_eq!(scanner.connections(), 0);
    let url = scanner.url();
    egress.swap(|policy| policy.scanner = Some(url));
    egress.get(&origin.url("/")).ok();
    assert_eq!(scanner.asked().len(), 1);
    scanner.answers(Manner::Cut);
    no_verdict(&egress, &origin, "broke the connection off");
}

/// The stand-in is no use where it is more generous than what it stands for.
#[test]
fn the_stand_in_refuses_what_the_interface_refuses() {
    let scanner = PipelockStandIn::start();
    let ask = |line: &str, token: &str, body: &str| {
        let mut client = Client::dial(scanner.port());
        client.say(&format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let answer = client.response("POST");
        (answer.status, answer.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
    };
    let post = "POST /api/v1/scan";
    let fine = r#"{"kind":"dlp","input":{"text":"x"}}"#;
    assert_eq!(ask(post, "inspect", fine), (200, String::new()));
    let long = format!(r#"{{"kind":"dlp","input":{{"text":"{}"}}}}"#, "x".repeat((512 << 10) + 1));
    for (line, token, body, status, code) in [
        ("GET /api/v1/scan", "inspect", "", 405, "method_not_allowed"),
        (post, "other", fine, 401, "unauthorized"),
        (post, "inspect", "{", 400, "invalid_json"),
        (post, "inspect", r#"{"kind":"dlp","input":{"text":"x"},"more":1}"#, 400, "invalid_json"),
        (post, "inspect", r#"{"kind":"other","input":{}}"#, 400, "invalid_kind"),
        (post, "inspect", r#"{"kind":"tool_call","input":{"tool_name":"x"}}"#, 400, "kind_disabled"),
        (post, "inspect", r#"{"kind":"dlp","input":{"text":""}}"#, 400, "invalid_input"),
        (post, "inspect", r#"{"kind":"url","input":{"url":"ftp://x"}}"#, 400, "invalid_input"),
        (post, "inspect", &long, 400, "invalid_input"),
    ] {
        assert_eq!(ask(line, token, body), (status, code.to_owned()), "{body:.60}");
    }
}
