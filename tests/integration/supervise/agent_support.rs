//! Supervise as a process of its own, and a client that says exactly what the test says.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't be set up fails, with the backtrace that says where"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::write;

/// How long a condition may take to come true.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

const POLICY: &str = "
version: 1
deny:
- { source: 'bottle.yaml:3', host: evil.example.org }
credentials:
  token: { source: 'bottle.yaml:5', secret: !env VERY_SECRET_SOURCE, inject: bearer }
routes:
- { source: 'bottle.yaml:9', host: api.example.org, scheme: https, ports: [443], methods: [GET], paths: [/v1/**],
    credential: token }
";

const GATE: &str = "
version: 1
repositories:
  app:
    source: 'bottle.yaml:20'
    upstream: !https { url: 'https://code.example.org/team/app.git' }
    push: [{ source: 'bottle.yaml:24', refs: 'refs/heads/agent/**', allow: [create, fast-forward] }]
    max_pack_bytes: 1000000
";

/// A running supervise. It ends with the test.
pub(super) struct Supervise {
    child: Child,
    pub(super) agent: SocketAddr,
    pub(super) operator: SocketAddr,
    stderr: Arc<Mutex<String>>,
    /// What it had at its peak when it was ready, in kB.
    ready: u64,
    _root: TempDir,
}

impl Supervise {
    pub(super) fn start() -> Self {
        let root = TempDir::new().unwrap();
        let path = |name: &str| root.path().join(name);
        write(&path("policy.yaml"), POLICY.as_bytes());
        write(&path("gate.yaml"), GATE.as_bytes());
        for directory in ["egress", "gate"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_bottle"))
            .args(["sidecar", "supervise"])
            .arg("--egress-policy")
            .arg(path("policy.yaml"))
            .arg("--egress-report")
            .arg(path("egress"))
            .arg("--gate-policy")
            .arg(path("gate.yaml"))
            .arg("--gate-report")
            .arg(path("gate"))
            .arg("--grants")
            .arg(path("grants"))
            .arg("--state")
            .arg(path("state"))
            .args(["--listen=127.0.0.1:0", "--operator=127.0.0.1:0"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (kept, pipe) = (Arc::clone(&stderr), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let mut addresses = None;
        eventually("supervise listens", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "supervise ended: {}", stderr.lock().unwrap());
            addresses = addresses_of(&stderr.lock().unwrap());
            addresses.is_some()
        });
        let (agent, operator) = addresses.unwrap();
        let mut supervise = Self { child, agent, operator, stderr, ready: 0, _root: root };
        // What is run for the first time is no growth.
        assert_eq!(supervise.get("/policy").status, 200);
        supervise.ready = supervise.memory("VmHWM");
        supervise
    }

    /// The value of a line of `/proc/PID/status`, in kB.
    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = bottle::fs::read_to_string(path.as_ref()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What it has grown at its peak since it was ready, in kB.
    pub(super) fn growth(&self) -> u64 {
        self.memory("VmHWM").saturating_sub(self.ready)
    }

    pub(super) fn dial(&self) -> Client {
        Client::dial(self.agent)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.dial().request("GET", path, &[], b"")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.dial().request("POST", path, &["Content-Type: application/json"], body.to_string().as_bytes())
    }

    /// Asks for a host, and gives the id.
    #[track_caller]
    pub(super) fn ask(&self, host: &str) -> String {
        let answer = self.post("/requests", &route(host));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The operator's side answers something, and soon.
    #[track_caller]
    pub(super) fn operator_answers(&self) {
        let started = Instant::now();
        let answer = Client::dial(self.operator).request("GET", "/", &[], b"");
        assert!(answer.status >= 200, "{answer:?}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(3), "the operator waited {took:?}");
    }
}

impl Drop for Supervise {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        let log = self.stderr.lock().unwrap();
        assert!(std::thread::panicking() || !log.contains("panicked at"), "supervise panicked: {log}");
    }
}

/// What is sent to ask for a host.
pub(super) fn route(host: &str) -> Value {
    serde_json::json!({ "ask": { "route": { "host": host } }, "reason": "the build needs it" })
}

fn addresses_of(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let address = |before: &str| {
        let rest = log.split_once(before)?.1;
        rest.split('"').next()?.trim().parse().ok()
    };
    Some((address("for the agent on ")?, address("the operator's page is on ")?))
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// A problem with this status and code, with words that help.
    #[track_caller]
    pub(super) fn problem(&self, status: u16, code: &str) {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(json["message"].is_string() && json["hint"].is_string(), "{json}");
        assert_eq!(self.header("x-bottle-reason"), Some(code), "{self:?}");
    }
}

/// A connection.
pub(super) struct Client {
    socket: BufReader<TcpStream>,
    host: String,
}

impl Client {
    pub(super) fn dial(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket: BufReader::new(socket), host: address.to_string() }
    }

    /// Calls by another name.
    pub(super) fn by(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sends bytes. One that was closed takes them as well: what came of it shows in the answer.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        drop(self.socket.get_mut().write_all(bytes));
    }

    #[track_caller]
    pub(super) fn request(&mut self, method: &str, path: &str, lines: &[&str], body: &[u8]) -> Answer {
        let lines = lines.iter().fold(String::new(), |lines, line| lines + line + "\r\n");
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.send(
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{lines}{length}\r\n", self.host).as_bytes(),
        );
        self.send(body);
        self.answer().unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The next answer; none where the connection ends first.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.socket.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        answer.body.resize(length, 0);
        self.socket.read_exact(&mut answer.body).ok()?;
        Some(answer)
    }

    /// Whether the other side has ended the connection, read up to that.
    pub(super) fn ended(&mut self) -> bool {
        let mut rest = [0; 1024];
        loop {
            match self.socket.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Waits for a condition, looking often, and fails the test when it does not come true.
#[track_caller]
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
