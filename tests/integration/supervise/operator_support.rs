//! A supervise that runs, an agent that asks it, and plain HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Bottle, PROGRAM, Place, entries};

const POLICY: &str = "version: 1
credentials:
  token: { source: 'bottle.yaml:9', secret: !env BOTTLE_CREDENTIAL_token, inject: bearer }
routes:
  - { source: 'bottle.yaml:3', host: secret.example.org, scheme: https, ports: [443], methods: [GET], paths: [/**], credential: token }
  - { source: 'bottle.yaml:4', host: known.example.org, scheme: https, ports: [443], methods: [GET], paths: [/v1/**] }
...
";

/// A supervise that ends with the test.
pub(super) struct Supervise {
    pub(super) place: Place,
    child: Child,
    pub(super) agent: SocketAddr,
    pub(super) operator: SocketAddr,
}

impl Drop for Supervise {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Supervise {
    pub(super) fn start() -> Self {
        let place =
            Place::new().file("policy.yaml", POLICY).file("report/audit.jsonl", "").file("letters/.keep", "");
        let mut child = Command::new(PROGRAM)
            .args(["sidecar", "supervise", "--egress-policy=policy.yaml", "--egress-report=report"])
            .args([
                "--credentials=letters",
                "--grants=grants",
                "--state=state",
                "--listen=127.0.0.1:0",
                "--operator=127.0.0.1:0",
            ])
            .current_dir(place.work())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut address = |after: &str| -> SocketAddr {
            loop {
                let line = lines.next().expect("it tells its addresses").expect("it tells text");
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                let message = text(&line, "/message");
                if let Some((_, address)) = message.split_once(after) {
                    return address.trim().parse().expect("an address");
                }
            }
        };
        let (agent, operator) = (address("for the agent on "), address("page is on "));
        std::thread::spawn(move || lines.for_each(drop));
        Self { place, child, agent, operator }
    }

    /// Asks as the agent, and gives the id.
    pub(super) fn ask(&self, ask: &Value, reason: &str) -> String {
        let reason = if reason.is_empty() { "a test wants it" } else { reason };
        let body = json!({ "ask": ask, "reason": reason }).to_string();
        let answer = http(self.agent, "POST", "/requests", &[("content-type", "application/json")], &body);
        text(&answer.json(), "/id").to_owned()
    }

    pub(super) fn ask_for(&self, host: &str, reason: &str) -> String {
        self.ask(&json!({ "route": { "host": host, "methods": ["GET", "POST"] } }), reason)
    }

    /// What the agent hears of a request.
    pub(super) fn hears(&self, id: &str) -> Value {
        http(self.agent, "GET", &format!("/requests/{id}"), &[], "").json()
    }

    /// `bottle requests` with the token.
    pub(super) fn requests(&self, args: &[&str]) -> Bottle<'_> {
        let url = format!("--url=http://{}", self.operator);
        let all = ["requests", &url, "--token-file=state/token"].into_iter().chain(args.iter().copied());
        all.fold(self.place.bottle([]), Bottle::arg)
    }

    /// The same, as JSON.
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let said = self.requests(args).arg("--json").run().ok();
        serde_json::from_str(&said).expect("it prints JSON")
    }

    /// A URL that opens the page once.
    pub(super) fn link(&self) -> String {
        text(&self.json(&["open"]), "/url").to_owned()
    }

    /// The texts of the grants' files.
    pub(super) fn grants(&self) -> Vec<String> {
        let files = entries(&self.place.work().join("grants"));
        files.iter().map(|path| bottle::fs::read_to_string(path).expect("a grant")).collect()
    }

    /// Reports as egress does: with every grant that is there.
    pub(super) fn report(&self) {
        let files = entries(&self.place.work().join("grants"));
        let ids: Vec<_> = files.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
        let report = json!({ "generation": 2 + ids.len(), "grants": ids, "problem": null });
        self.place.put("work/report/status.json", report.to_string());
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| unreachable!("{error}: {self:?}"))
    }
}

/// The text at a JSON pointer.
#[track_caller]
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| unreachable!("no text at {pointer}: {value}"))
}

/// Sends one request, and waits for the answer to end.
pub(super) fn http(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
    let length = body.len();
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    for (name, value) in headers {
        text = format!("{text}{name}: {value}\r\n");
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).expect("it reads");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("it answers") > 0, "{method} {path}: no answer: {head:?}");
    }
    // Not all servers close the connection when they are asked to.
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().expect("a length"))
    });
    let mut body = Vec::new();
    reader.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body).expect("the body ends");
    let body = String::from_utf8(body).expect("it answers in UTF-8");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body }
}

/// Waits until something is there.
#[track_caller]
pub(super) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}
