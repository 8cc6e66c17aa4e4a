//! Egress and supervise together, each as a process of its own: the agent asks, the operator decides, and the next
//! request goes by it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bottle::policy::egress::OnRefusal;
use serde_json::{Value, json};

use super::support::{Client, Egress, Node, Origin, Response, Setup, echo, elsewhere, eventually};

/// A supervise beside an egress, on the same directories. It ends with the test.
struct Desk {
    child: Child,
    root: PathBuf,
    agent: SocketAddr,
    operator: SocketAddr,
}

impl Desk {
    fn start(root: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bottle"))
            .args(["sidecar", "supervise", "--egress-policy=policy.yaml", "--egress-report=report"])
            .args(["--grants=grants", "--state=desk", "--listen=127.0.0.1:0", "--operator=127.0.0.1:0"])
            .current_dir(root)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |mark: &str| -> SocketAddr {
            loop {
                let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
                if let Some((_, address)) = line["message"].as_str().unwrap().split_once(mark) {
                    return address.parse().unwrap();
                }
            }
        };
        let (agent, operator) = (address("for the agent on "), address("page is on "));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, root: root.to_owned(), agent, operator }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn send(to: SocketAddr, method: &str, path: &str, more: &str, body: &Value) -> Response {
        let mut client = Client::dial(to.port());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        client.say(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.response(method)
    }

    /// Asks as the agent for paths of the node origin, and gives the request's id.
    fn ask(&self, node: &Node, paths: &[&str]) -> String {
        let route = json!({ "host": "node.test.example", "port": node.port, "paths": paths });
        let body = json!({ "ask": { "route": route }, "reason": "a test wants it" });
        let answer = Self::send(self.agent, "POST", "/requests", "", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// What the agent hears of a request.
    fn hears(&self, id: &str) -> Value {
        Self::send(self.agent, "GET", &format!("/requests/{id}"), "", &Value::Null).json()
    }

    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let token = fs::read_to_string(self.root.join("desk/token")).unwrap();
        let answer =
            Self::send(self.operator, method, path, &format!("Authorization: Bearer {token}\r\n"), body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Approves what waits, as it is shown, and gives the grant's id.
    fn approve(&self, id: &str, scope: &Value) -> String {
        let shown = self.api("GET", &format!("/api/requests/{id}"), &Value::Null);
        let body = json!({ "scope": scope, "review": shown["request"]["review"] });
        let answer = self.api("POST", &format!("/api/requests/{id}/approve"), &body);
        answer["grant"]["id"].as_str().unwrap().to_owned()
    }

    /// The same, and the agent hears that it is live.
    fn approve_live(&self, id: &str, scope: &Value) -> String {
        let grant = self.approve(id, scope);
        eventually("it is live", || self.hears(id)["live"] == json!(true));
        grant
    }

    fn pending(&self) -> Vec<Value> {
        self.api("GET", "/api/requests", &Value::Null)["requests"].as_array().unwrap().clone()
    }

    fn decisions(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("desk/decisions.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["decision"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn world() -> (Node, Egress, Desk) {
    let node = Node::start();
    let mut setup = Setup::new().route(elsewhere(node.route())).report();
    setup.policy.ask = Some("http://supervise:7331".to_owned());
    let egress = setup.start();
    let desk = Desk::start(egress.root.path());
    (node, egress, desk)
}

#[test]
fn what_is_approved_passes_at_once_and_what_is_revoked_is_cut() {
    let (node, egress, desk) = world();
    egress.get(&node.url("/echo")).refused("path-denied");
    let id = desk.ask(&node, &["/echo", "/events"]);
    egress.get(&node.url("/echo")).refused("path-denied");
    let grant = desk.approve_live(&id, &json!({ "seconds": 600 }));
    // The agent has heard that it is live: not one request more is refused.
    egress.get(&node.url("/echo")).ok();
    egress.get(&node.url("/other")).refused("path-denied");
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    desk.api("POST", &format!("/api/grants/{grant}/revoke"), &json!({}));
    client.end();
    eventually("it is refused", || egress.get(&node.url("/echo")).status == 403);
    egress.get(&node.url("/echo")).refused("path-denied");
    assert_eq!(desk.decisions(), ["approve", "revoke"]);
}

#[test]
fn what_is_approved_once_passes_once_whoever_is_away_meanwhile() {
    let (node, mut egress, mut desk) = world();
    let first = desk.ask(&node, &["/echo"]);
    desk.approve_live(&first, &json!("once"));
    egress.get(&node.url("/echo")).ok();
    egress.get(&node.url("/echo")).refused("path-denied");
    eventually("the agent hears of the end", || desk.hears(&first)["ended"] == json!("used"));
    let again = desk.ask(&node, &["/echo"]);
    let grant = desk.approve_live(&again, &json!("once"));
    desk.kill();
    egress.get(&node.url("/echo")).ok();
    let file = egress.path("grants").join(format!("{grant}.yaml"));
    assert!(file.exists(), "nobody has ended it yet");
    egress.get(&node.url("/echo")).refused("path-denied");
    egress.crash_and_restart();
    egress.get(&node.url("/echo")).refused("path-denied");
    let desk = Desk::start(egress.root.path());
    assert!(!file.exists(), "it is over before anything else is heard");
    assert_eq!(desk.hears(&again)["ended"], json!("used"));
    assert_eq!(desk.decisions(), ["approve", "use", "approve", "use"]);
}

/// A grant can't open the private address of a host that the manifest doesn't name: here an approved request gets as far
/// as that.
#[test]
fn a_held_request_is_a_card_and_goes_on_when_that_is_approved() {
    let node = Node::start();
    let other = Origin::https(echo).named("other.test.example");
    let mut setup = Setup::new().route(elsewhere(node.route())).host("other.test.example", "127.0.0.1");
    setup.policy.ask = Some("http://supervise:7331".to_owned());
    setup.policy.on_refusal = Some(OnRefusal::Ask(20));
    let egress = setup.report().start();
    let desk = Desk::start(egress.root.path());
    let url = other.url("/late");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| egress.request("POST", &url, &[], b"body"));
        eventually("the operator is asked", || !desk.pending().is_empty());
        let [card] = desk.pending().try_into().unwrap();
        assert_eq!((&card["origin"], &card["subject"]), (&json!("held"), &json!("other.test.example")));
        assert_eq!(card["rule"]["route"]["paths"], json!(["/late"]));
        assert_eq!(card["reason"], "");
        desk.approve(card["id"].as_str().unwrap(), &json!("once"));
        waiting.join().unwrap().refused("address-private");
    });
    other.untouched();
    // What is held for something else is another card, and the same again is counted there.
    let _waiting: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = egress.open(&other.authority());
            client.say(&format!("GET /two HTTP/1.1\r\nHost: {}\r\n\r\n", other.authority()));
            client
        })
        .collect();
    eventually("it is counted", || desk.pending().iter().any(|card| card["count"] == json!(2)));
    assert_eq!(desk.pending().len(), 1);
}
