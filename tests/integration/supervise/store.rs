//! What supervise keeps when it is killed, its files are damaged, or it is started twice; and reading its log.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "what is missing in an answer fails the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Output, PROGRAM, Place};

const POLICY: &str = "version: 1\nroutes: []\n";

/// A supervise that runs in a place.
struct Running {
    child: Child,
    agent: SocketAddr,
    operator: SocketAddr,
    token: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn place() -> Place {
    Place::new().file("policy.yaml", POLICY).file("report/.keep", "")
}

fn command(place: &Place) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["sidecar", "supervise", "--egress-policy=policy.yaml", "--egress-report=report"])
        .args(["--grants=grants", "--state=state", "--listen=127.0.0.1:0", "--operator=127.0.0.1:0"])
        .current_dir(place.work())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Running {
    fn start(place: &Place) -> Self {
        let mut child = command(place).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut said = String::new();
        let mut address = |after: &str| -> SocketAddr {
            loop {
                let line = lines.next().unwrap_or_else(|| panic!("it ended: {said}")).expect("text");
                said.push_str(&line);
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                let message = line["message"].as_str().unwrap_or_default();
                if let Some((_, address)) = message.split_once(after) {
                    return address.trim().parse().expect("an address");
                }
            }
        };
        let (agent, operator) = (address("for the agent on "), address("page is on "));
        std::thread::spawn(move || lines.for_each(drop));
        let token = place.read("state/token").trim().to_owned();
        Self { child, agent, operator, token }
    }

    fn client(&self) -> Client {
        Client { agent: self.agent, operator: self.operator, token: self.token.clone() }
    }
}

/// Both sides of a supervise; nothing where it was killed before it answered.
#[derive(Clone)]
struct Client {
    agent: SocketAddr,
    operator: SocketAddr,
    token: String,
}

impl Client {
    fn ask(&self, host: &str) -> Option<String> {
        let body = json!({ "ask": { "route": { "host": host } }, "reason": "a test wants it" });
        let answer = call(self.agent, "POST", "/requests", "", &body.to_string())?;
        Some(answer["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned())
    }

    fn operate(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let token = format!("authorization: Bearer {}\r\n", self.token);
        call(self.operator, method, path, &token, &body.to_string())
    }

    /// Approves a request, and gives the grant once that is acknowledged.
    fn approve(&self, id: &str) -> Option<String> {
        let view = self.operate("GET", &format!("/api/requests/{id}"), &Value::Null)?;
        let body = json!({ "scope": "bottle", "review": view["request"]["review"], "words": "yes" });
        let answer = self.operate("POST", &format!("/api/requests/{id}/approve"), &body)?;
        Some(answer["grant"]["id"].as_str().unwrap_or_else(|| panic!("no grant: {answer}")).to_owned())
    }

    fn revoke(&self, grant: &str) -> Option<()> {
        let answer = self.operate("POST", &format!("/api/grants/{grant}/revoke"), &json!({}))?;
        assert_eq!(answer["grant"]["ended"]["cause"], "revoked", "{answer}");
        Some(())
    }
}

fn call(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

fn verify(place: &Place) -> Output {
    place.bottle(["audit", "verify", "state/decisions.jsonl"]).run()
}

/// What supervise says when it can't start.
fn fails(place: &Place) -> String {
    let output = command(place).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("text")
}

fn grants(place: &Place) -> Vec<String> {
    place.tree().into_iter().filter(|path| path.starts_with("grants/")).collect()
}

fn cut(path: PathBuf, bytes: u64) {
    std::fs::File::options().write(true).open(path).expect("it is there").set_len(bytes).expect("it is cut");
}

/// What was acknowledged before the kill, and what was only begun.
#[derive(Default)]
struct Told {
    approved: Vec<(String, String)>,
    revoked: Vec<String>,
    revoking: Option<String>,
}

#[test]
fn a_kill_at_any_moment_loses_no_acknowledged_decision_and_forges_none() {
    let place = place();
    let told = Arc::new(Mutex::new(Told::default()));
    let mut number = 0;
    for round in 0_u64..12 {
        let mut running = Running::start(&place);
        let (client, shared, first) = (running.client(), Arc::clone(&told), number);
        number += 4;
        let worker = std::thread::spawn(move || {
            for host in first..first + 4 {
                let id = client.ask(&format!("h{host}.example.com"))?;
                let grant = client.approve(&id)?;
                shared.lock().expect("it is there").approved.push((id, grant.clone()));
                if host % 2 == 0 {
                    shared.lock().expect("it is there").revoking = Some(grant.clone());
                    client.revoke(&grant)?;
                    let mut told = shared.lock().expect("it is there");
                    told.revoked.push(grant);
                    told.revoking = None;
                }
            }
            Some(())
        });
        std::thread::sleep(Duration::from_millis(7 * round + round * round));
        running.child.kill().expect("it runs");
        running.child.wait().expect("it ends");
        drop(worker.join());
        // Before supervise has had a chance to mend anything.
        if place.exists("state/decisions.jsonl") {
            assert_eq!(verify(&place).code, 0);
        }
        let again = Running::start(&place);
        verify(&place).ok();
        let log = place.read("state/decisions.jsonl");
        let files = grants(&place);
        let mut told = told.lock().expect("it is there");
        let begun = told.revoking.take();
        for (id, grant) in &told.approved {
            let line =
                log.lines().find(|line| line.contains(id) && line.contains("\"decision\":\"approve\""));
            assert!(line.is_some_and(|line| line.contains(grant)), "round {round}: {id} {grant}");
            let there = files.contains(&format!("grants/{grant}.yaml"));
            let revoked = told.revoked.contains(grant);
            if begun.as_ref() != Some(grant) {
                assert_eq!(there, !revoked, "round {round}: {grant}");
            }
        }
        // Whatever became of what was only begun, it is the same in the file and in the log.
        if let Some(grant) = begun {
            let logged =
                log.lines().any(|line| line.contains(&grant) && line.contains("\"decision\":\"revoke\""));
            assert_eq!(files.contains(&format!("grants/{grant}.yaml")), !logged);
            if logged {
                told.revoked.push(grant);
            }
        }
        drop(again);
    }
    assert!(!told.lock().expect("it is there").approved.is_empty(), "nothing was ever acknowledged");
}

#[test]
fn a_truncated_store_is_told_and_leaves_no_grant_in_force() {
    let place = place();
    let running = Running::start(&place);
    let client = running.client();
    client.approve(&client.ask("api.example.com").expect("it answers")).expect("it answers");
    drop(running);
    assert_eq!(grants(&place).len(), 1);
    cut(place.work().join("state/store.db"), 3000);
    let said = fails(&place);
    assert!(said.contains("can't be relied on"), "{said}");
    assert!(grants(&place).is_empty());
}

#[test]
fn a_lost_write_ahead_log_revives_no_revoked_grant() {
    let place = place();
    let running = Running::start(&place);
    let client = running.client();
    let grant = client.approve(&client.ask("api.example.com").expect("it answers")).expect("it answers");
    drop(running);
    // All of the first life goes into the database itself.
    let running = Running::start(&place);
    running.client().revoke(&grant).expect("it answers");
    drop(running);
    cut(place.work().join("state/store.db-wal"), 0);
    let said = fails(&place);
    assert!(said.contains("decisions that the store has lost"), "{said}");
    assert!(grants(&place).is_empty());
}

#[test]
fn a_second_supervise_on_the_same_state_is_refused_and_changes_nothing() {
    let place = place();
    let running = Running::start(&place);
    let client = running.client();
    client.approve(&client.ask("api.example.com").expect("it answers")).expect("it answers");
    assert!(fails(&place).contains("in use"));
    assert_eq!(grants(&place).len(), 1);
}

#[test]
fn an_approval_is_acknowledged_and_its_grant_written_within_a_moment() {
    let place = place();
    let running = Running::start(&place);
    let client = running.client();
    let mut times = Vec::new();
    for number in 0..20 {
        let id = client.ask(&format!("h{number}.example.com")).expect("it answers");
        let start = Instant::now();
        client.approve(&id).expect("it answers");
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[10] < Duration::from_secs(1), "{times:?}");
    assert_eq!(grants(&place).len(), 20);
}

const EGRESS: &str = concat!(
    r#"{"v":1,"time":"2026-01-02T03:00:00.000Z","event":"start","program":"bottle","generation":1}"#,
    "\n",
    r#"{"v":1,"time":"2026-01-02T03:04:05.678Z","event":"request","id":"c-1","generation":1,"decision":"deny","reason":"route-missing","scheme":"https","host":"api.example.com","port":443,"method":"GET","path":"/\u001b[2J"}"#,
    "\n",
    r#"{"v":1,"time":"2026-01-02T03:06:00.000Z","event":"request","id":"c-2","generation":2,"decision":"allow","rule":"grant g-abc","scheme":"https","host":"api.example.com","port":443,"method":"GET","path":"/"}"#,
    "\nnot a line\n",
);
const GATE: &str = concat!(
    r#"{"v":1,"time":"2026-01-02T03:05:00.000Z","event":"push","id":"p-1","generation":1,"decision":"deny","reason":"ref-denied","repository":"app","refs":["refs/heads/x"],"operations":["create"]}"#,
    "\n",
);
const DECISIONS: &str = concat!(
    r##"{"v":1,"time":"2026-01-02T03:05:30.000Z","event":"decision","seq":1,"id":"r-xyz","decision":"approve","by":"page","grant":"g-abc","rule":"# egress: routes:\n- { host: \"api.example.com\" }","words":"fine\u202e","prev":"","hash":""}"##,
    "\n",
);

fn logs() -> Place {
    Place::new().file("egress.jsonl", EGRESS).file("gate.jsonl", GATE).file("decisions.jsonl", DECISIONS)
}

#[test]
fn the_logs_are_read_in_order_joined_and_made_harmless() {
    let place = logs();
    let output = place.bottle(["audit", "egress.jsonl", "gate.jsonl", "decisions.jsonl"]).run();
    insta::assert_snapshot!(output, @r#"
    2026-01-02T03:00:00.000Z egress   start
    2026-01-02T03:04:05.678Z egress   deny      route-missing  c-1  GET https://api.example.com:443/?[2J
    2026-01-02T03:05:00.000Z git-gate deny      ref-denied  p-1  push app refs/heads/x create
    2026-01-02T03:05:30.000Z decision approve   r-xyz  - { host: "api.example.com" }  by page  grant g-abc  words: fine?
    2026-01-02T03:06:00.000Z egress   allow     c-2  GET https://api.example.com:443/  rule grant g-abc  request r-xyz
    ----- stderr -----
    warning: 1 line is none of an audit log
    ----- exit code 0 -----
    "#);
}

#[test]
fn the_logs_are_filtered_by_code_time_and_request() {
    let place = logs();
    let ids = |args: &[&str]| -> Vec<String> {
        let files = ["audit", "--json", "egress.jsonl", "gate.jsonl", "decisions.jsonl"];
        let all = files.iter().chain(args).fold(place.bottle([]), |bottle, arg| bottle.arg(*arg));
        let said = all.run().ok();
        assert!(said.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{said}");
        let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.map(|line| line["id"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(ids(&[]), ["-", "c-1", "p-1", "r-xyz", "c-2"]);
    assert_eq!(ids(&["--code=ref-denied"]), ["p-1"]);
    assert_eq!(ids(&["--code=route-missing", "--code=approve"]), ["c-1", "r-xyz"]);
    assert_eq!(ids(&["--since=2026-01-02T04:05:30+01:00"]), ["r-xyz", "c-2"]);
    assert_eq!(ids(&["--since=1h"]), Vec::<String>::new());
    assert_eq!(ids(&["--id=r-xyz"]), ["r-xyz", "c-2"]);
    assert_eq!(ids(&["--id=g-abc"]), ["r-xyz", "c-2"]);
}

#[test]
fn a_time_that_is_none_is_a_mistake_of_usage() {
    for time in ["yesterday", "5", "h", "-1h", "99999999999999999999d"] {
        let output = logs().bottle(["audit", "egress.jsonl"]).arg(format!("--since={time}")).run();
        assert_eq!(output.code, 2, "{time}: {output}");
    }
}

#[test]
fn verify_names_the_line_that_was_changed() {
    let place = place();
    let running = Running::start(&place);
    let client = running.client();
    for number in 0..3 {
        let id = client.ask(&format!("h{number}.example.com")).expect("it answers");
        client.approve(&id).expect("it answers");
    }
    drop(running);
    let whole = verify(&place).ok();
    let head = whole.trim_end().rsplit(' ').next().expect("a hash").to_owned();
    assert!(whole.starts_with("whole: decisions 1 to 3, head "), "{whole}");
    let log = place.read("state/decisions.jsonl");
    let changed = log.replacen("h1.example.com", "h7.example.com", 1);
    place.put("work/state/decisions.jsonl", &changed);
    let output = verify(&place);
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (1, "error: `state/decisions.jsonl`: line 2 (decision 2) was changed: its hash is another\n")
    );
    assert!(fails(&place).contains("decision 2 is not the one of the store"));
    // A log without its end is whole; the hash that was noted tells.
    let short: String = log.split_inclusive('\n').take(2).collect();
    place.put("work/state/decisions.jsonl", &short);
    verify(&place).ok();
    let output =
        place.bottle(["audit", "verify", "state/decisions.jsonl", "--head"]).arg(head.as_str()).run();
    assert_eq!(output.code, 1, "{output}");
}
