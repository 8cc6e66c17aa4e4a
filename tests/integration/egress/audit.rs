//! The audit log and the admin address.

use std::fmt::Write as _;
use std::fs;

use bottle::policy::egress::Inject;
use bottle::policy::gate::SecretSource;
use bottle::policy::reason::Reason;
use serde_json::Value;

use super::support::{Client, Egress, Origin, Setup, echo, eventually};

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    (origin, egress)
}

/// The lines that tell of requests.
fn requests(egress: &Egress) -> Vec<Value> {
    egress.audit().into_iter().filter(|line| line["event"] == "request").collect()
}

#[test]
fn each_decision_is_one_line() {
    let (origin, egress) = world();
    egress.get(&origin.url("/allowed?q=1")).ok();
    egress.request("POST", &origin.url("/denied"), &[], b"x").refused("method-denied");
    egress.get("https://evil.example.net/").refused("route-missing");
    eventually("three lines", || requests(&egress).len() == 3);
    let lines = requests(&egress);
    let line = &lines[0];
    assert_eq!(line["decision"], "allow", "{line}");
    assert_eq!(line["host"], "origin.test.example", "{line}");
    assert_eq!(line["port"], origin.port, "{line}");
    assert_eq!(line["method"], "GET", "{line}");
    assert_eq!(line["path"], "/allowed", "the query may hold anything: {line}");
    assert_eq!(line["rule"], "bottle.yaml:7", "{line}");
    assert_eq!(line["status"], 200, "{line}");
    for (line, reason) in [(&lines[1], "method-denied"), (&lines[2], "route-missing")] {
        assert_eq!(line["decision"], "deny", "{line}");
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["status"], 403, "{line}");
    }
    for line in &lines {
        for name in ["v", "time", "id", "generation"] {
            assert!(!line[name].is_null(), "{name}: {line}");
        }
    }
}

#[test]
fn stdout_and_the_file_have_the_same_lines() {
    let (origin, egress) = world();
    egress.get(&origin.url("/")).ok();
    egress.get("https://evil.example.net/").refused("route-missing");
    let read = || fs::read_to_string(egress.path("state/audit.jsonl")).unwrap();
    eventually("all lines are there", || requests(&egress).len() == 2 && egress.stdout() == read());
}

#[test]
fn refusals_before_any_request_are_recorded_as_well() {
    let (origin, egress) = world();
    let mut client = egress.dial();
    client.say("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n");
    client.response("CONNECT").refused("address-denied");
    egress.audited_reason("address-denied");
    let (_, mut client) = egress.connect(&origin.authority());
    client.say("SSH-2.0-OpenSSH_9.2p1\r\n");
    client.end();
    egress.audited(|line| line["event"] == "request" && line["reason"] == "request-malformed");
    let (_, mut client) = egress.connect(&origin.authority());
    client.send(&Client::hello(&egress, "origin.test.example", false));
    client.end();
    egress.audited_reason("host-mismatch");
}

#[test]
fn what_the_agent_writes_can_not_forge_a_line() {
    let (origin, egress) = world();
    let path = "/%0a%7b%22event%22:%22request%22%7d\"},{\"event\":\"request\"";
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), path);
    egress.get(&origin.url("/last")).ok();
    egress.audited(|line| line["path"] == "/last");
    // Each line is an object of its own; `audit` has parsed all of them.
    assert!(egress.audit().iter().all(|line| line["time"].is_string()));
}

#[test]
fn a_reader_that_stopped_does_not_block_requests() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).nobody_reads_stdout().start();
    let long = "x".repeat(2000);
    let mut client = egress.open(&origin.authority());
    // Far more than a pipe holds.
    for _ in 0..200 {
        client.get(&origin.authority(), &format!("/{long}")).ok();
    }
    // The file has them all the same.
    eventually("the file has all lines", || requests(&egress).len() == 200);
    egress.admin("/metrics").ok();
}

#[test]
fn a_state_volume_that_is_full_does_not_block_or_open_anything() {
    // A small file system in a mount namespace of egress's own stands for the volume.
    let script = "mount -t tmpfs -o size=64k,mode=700 none \"$0\" && exec \"$@\"";
    let probe = std::process::Command::new("unshare").args(["-rm", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: no mount namespace can be had here");
        return;
    }
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).wrapped(&["unshare", "-rm", "sh", "-c", script]).start();
    let state = egress.path("state");
    let inside = format!("/proc/{}/root{}", egress.pid(), state.display());
    assert!(fs::exists(format!("{inside}/audit.jsonl")).unwrap(), "the volume can't be seen from here");
    // As much as there is room for: the end is an error.
    fs::write(format!("{inside}/filler"), vec![0; 1 << 20]).unwrap_err();
    for _ in 0..50 {
        egress.get(&origin.url("/")).ok();
    }
    egress.get("https://evil.example.net/").refused("route-missing");
    eventually("the failure is told", || {
        let health = egress.admin("/healthz").json();
        !health["audit"]["file"]["failure"].is_null()
    });
    // Stdout has every line.
    eventually("stdout has all lines", || egress.stdout().matches("\"event\":\"request\"").count() == 51);
}

#[test]
fn healthz_says_what_is_missing_and_stays_green() {
    let origin = Origin::https(echo);
    let source = SecretSource::File("/nonexistent/secret".to_owned());
    let egress = Setup::new().route(origin.route()).credential("api", Inject::Bearer, source).start();
    let response = egress.admin("/healthz").ok();
    assert!(
        response.text().contains("api") && response.text().contains("/nonexistent/secret"),
        "{response:?}"
    );
}

#[test]
fn metrics_are_prometheus_text_and_count() {
    let (origin, egress) = world();
    egress.get(&origin.url("/")).ok();
    egress.get("https://evil.example.net/").refused("route-missing");
    let response = egress.admin("/metrics").ok();
    assert!(response.header("content-type").unwrap().starts_with("text/plain"), "{response:?}");
    let text = response.text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("bottle_egress_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(text.contains("bottle_egress_requests_refused_total{reason=\"route-missing\"} 1"), "{text}");
    assert!(text.lines().any(|line| line == "bottle_egress_requests_allowed_total 1"), "{text}");
    assert!(Reason::ALL.len() > 20);
}

/// The table is made of what egress answers: what the text of Prometheus says of each name.
#[test]
fn the_metrics_of_the_book_are_those_that_egress_has() {
    let (_origin, egress) = world();
    // A label shows with its first sample.
    egress.get("https://evil.example.net/").refused("route-missing");
    let text = egress.admin("/metrics").ok().text();
    let mut table = "| name | kind | meaning |\n| --- | --- | --- |\n".to_owned();
    let mut help = ("", "");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("# HELP bottle_egress_") {
            help = words.split_once(' ').unwrap();
        } else if let Some(words) = line.strip_prefix("# TYPE ") {
            let (_, kind) = words.split_once(' ').unwrap();
            let label = lines.peek().and_then(|sample| sample.split_once('{')?.1.split_once('='));
            let label = label.map(|(label, _)| format!("{{{label}}}")).unwrap_or_default();
            let meaning = crate::book::cell(help.1);
            writeln!(table, "| `{}{label}` | {kind} | {meaning} |", help.0).unwrap();
        }
    }
    assert!(table.lines().count() > 15, "{table}");
    crate::book::sections("egress-admin.md", &[("metrics", table)]);
}

#[test]
fn policy_shows_what_is_in_force() {
    let (_origin, mut egress) = world();
    let before = egress.generation();
    assert_eq!(before, 1);
    egress.swap(|policy| policy.deny.push(super::support::deny("other.test.example")));
    let body = egress.admin("/policy").ok().json();
    assert_eq!(body["generation"], before + 1);
    assert_eq!(body["policy"]["deny"][0]["host"], "other.test.example");
}

#[test]
fn the_admin_address_serves_nothing_else() {
    let (_origin, egress) = world();
    for path in ["/", "/healthz/", "/../state/audit.jsonl", "/policy?x", "//policy"] {
        let response = egress.admin(path);
        assert!(
            response.status == 404 || path.contains('?') && response.status == 200,
            "{path}: {response:?}"
        );
    }
    let mut client = Client::dial(egress.admin_port);
    client.say("POST /policy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response("POST").status, 405);
    let mut client = Client::dial(egress.admin_port);
    client.say("CONNECT origin.test.example:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(client.try_response("GET").is_none_or(|response| response.status >= 400));
}

#[test]
fn the_agents_address_serves_no_admin_page() {
    let (_origin, egress) = world();
    for path in ["/healthz", "/metrics", "/policy"] {
        let mut client = egress.dial();
        client.say(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", egress.port));
        let response = client.response("GET");
        assert!(response.status >= 400, "{response:?}");
        assert!(!response.text().contains("generation"));
    }
}
