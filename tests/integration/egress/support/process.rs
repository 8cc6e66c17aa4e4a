//! Egress itself: the real program as a process of its own.

use std::fs;
use std::io::{BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use bottle::policy::egress::EgressPolicy;
use bottle::policy::whole::END;
use serde_json::Value;
use tempfile::TempDir;

use super::setup::Setup;
use super::{Client, Response, eventually, free_port};

/// A running egress. It ends with the test.
pub(in super::super) struct Egress {
    child: Child,
    pub(in super::super) port: u16,
    pub(in super::super) admin_port: u16,
    pub(in super::super) root: TempDir,
    pub(in super::super) policy: EgressPolicy,
    start: Start,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    /// What it had at its peak when it was ready, in kB.
    ready: u64,
    /// Kept open where nobody reads it.
    _unread: Option<ChildStdout>,
}

/// How the process is started, each time.
struct Start {
    args: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// Keeps what a pipe brings.
fn keep(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let kept = Arc::new(Mutex::new(String::new()));
    let text = Arc::clone(&kept);
    let mut pipe = BufReader::new(pipe);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            text.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    kept
}

fn command(start: &Start, root: &Path, port: u16, admin: u16) -> Command {
    let Start { args, env, wrapper } = start;
    let mut words = wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_bottle")]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.args(["sidecar", "egress", "--policy"]).arg(root.join("policy.yaml"));
    command.arg(format!("--listen=127.0.0.1:{port}")).arg(format!("--admin=127.0.0.1:{admin}"));
    for name in ["state", "trust", "grants"] {
        command.arg(format!("--{name}")).arg(root.join(name));
    }
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Egress {
    pub(super) fn start(setup: Setup) -> Self {
        let Setup { root, policy, args, env, stdout, wrapper } = setup;
        let start = Start { args, env, wrapper };
        write_policy(root.path(), &serde_yaml::to_string(&policy).unwrap());
        let (port, admin_port) = (free_port(), free_port());
        let mut child = command(&start, root.path(), port, admin_port).spawn().unwrap();
        let stderr = keep(child.stderr.take().unwrap());
        let (kept, unread) = match child.stdout.take() {
            Some(pipe) if stdout => (keep(pipe), None),
            pipe => (Arc::default(), pipe),
        };
        let mut egress = Self {
            child,
            port,
            admin_port,
            root,
            policy,
            start,
            stdout: kept,
            stderr,
            ready: 0,
            _unread: unread,
        };
        egress.wait_ready();
        egress
    }

    fn wait_ready(&mut self) {
        for port in [self.port, self.admin_port] {
            eventually("egress listens", || {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "egress ended: {}", self.log());
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            });
        }
        self.ready = self.memory("VmHWM");
    }

    #[track_caller]
    pub(super) fn fails(setup: Setup) -> String {
        write_policy(setup.root.path(), &serde_yaml::to_string(&setup.policy).unwrap());
        let start = Start { args: setup.args, env: setup.env, wrapper: setup.wrapper };
        let mut command = command(&start, setup.root.path(), free_port(), free_port());
        let mut child = command.spawn().unwrap();
        let mut status = None;
        eventually("egress ends by itself", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(!status.unwrap().success(), "it ended well: {text}");
        text
    }

    /// Ends it and starts it again with the same directories.
    pub(in super::super) fn restart(&mut self) {
        self.terminate();
        drop(self.child.wait());
        self.spawn_again();
    }

    /// The same, when it was killed without a chance to tidy up.
    pub(in super::super) fn crash_and_restart(&mut self) {
        self.child.kill().unwrap();
        drop(self.child.wait());
        self.spawn_again();
    }

    fn spawn_again(&mut self) {
        let mut command = command(&self.start, self.root.path(), self.port, self.admin_port);
        self.child = command.spawn().unwrap();
        self.stdout = keep(self.child.stdout.take().unwrap());
        self.stderr = keep(self.child.stderr.take().unwrap());
        self.wait_ready();
    }

    pub(in super::super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(in super::super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(in super::super) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub(in super::super) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("egress ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(in super::super) fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has written on stderr.
    pub(in super::super) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// What it has written on stdout.
    pub(in super::super) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// The value of a line of `/proc/PID/status`, in kB.
    pub(in super::super) fn memory(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What it has grown at its peak since it was ready, in kB: the program itself doesn't count.
    pub(in super::super) fn growth(&self) -> u64 {
        self.memory("VmHWM").saturating_sub(self.ready)
    }

    /// A connection to it, of which nothing was said yet.
    pub(in super::super) fn dial(&self) -> Client {
        Client::dial(self.port)
    }

    /// What `CONNECT` is answered with, and the connection.
    pub(in super::super) fn connect(&self, authority: &str) -> (Response, Client) {
        let mut client = self.dial();
        client.say(&format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        (client.response("CONNECT"), client)
    }

    /// A TLS session for this authority, ready for HTTP/1 requests.
    #[track_caller]
    pub(in super::super) fn open(&self, authority: &str) -> Client {
        let (response, client) = self.connect(authority);
        assert_eq!(response.status, 200, "{response:?}");
        client.handshake(self, host_of(authority), &["http/1.1"]).expect("the handshake goes well")
    }

    /// Sends one request with the method, header lines and body to an `https` or `http` URL.
    #[track_caller]
    pub(in super::super) fn request(&self, method: &str, url: &str, lines: &[&str], body: &[u8]) -> Response {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = match rest.find('/') {
            Some(place) => rest.split_at(place),
            None => (rest, "/"),
        };
        let lines = lines.iter().fold(String::new(), |lines, line| lines + line + "\r\n");
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let (mut client, target) = if scheme == "http" {
            (self.dial(), url)
        } else {
            let port = if authority.contains(':') { "" } else { ":443" };
            let (response, client) = self.connect(&format!("{authority}{port}"));
            if response.status != 200 {
                return response;
            }
            (client.handshake(self, host_of(authority), &["http/1.1"]).expect("a handshake"), path)
        };
        client.say(&format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\n{lines}{length}\r\n"));
        client.send(body);
        client.response(method)
    }

    #[track_caller]
    pub(in super::super) fn get(&self, url: &str) -> Response {
        self.request("GET", url, &[], b"")
    }

    /// What the admin address answers to a GET.
    pub(in super::super) fn admin(&self, path: &str) -> Response {
        let mut client = Client::dial(self.admin_port);
        client.say(&format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
        client.response("GET")
    }

    /// The lines of the audit log that are complete.
    pub(in super::super) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("report/audit.jsonl"));
        let text = text.or_else(|_| fs::read_to_string(self.path("state/audit.jsonl"))).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for a line of the audit log that meets the condition.
    #[track_caller]
    pub(in super::super) fn audited(&self, condition: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually("a line of the audit log", || {
            found = self.audit().into_iter().find(&condition);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits for a decision with this reason.
    #[track_caller]
    pub(in super::super) fn audited_reason(&self, code: &str) -> Value {
        self.audited(|line| line["reason"] == code)
    }

    /// Puts a changed policy in force, and waits until it is.
    pub(in super::super) fn swap(&mut self, change: impl FnOnce(&mut EgressPolicy)) {
        let before = self.generation();
        change(&mut self.policy);
        write_policy(self.root.path(), &serde_yaml::to_string(&self.policy).unwrap());
        eventually("the new policy is in force", || {
            let health = self.admin("/healthz");
            assert_eq!(health.status, 200, "the policy is bad: {health:?}");
            self.generation() > before
        });
    }

    /// The generation of the policy that is in force.
    pub(in super::super) fn generation(&self) -> u64 {
        let policy = self.admin("/policy").json();
        policy["generation"].as_u64().unwrap_or_else(|| panic!("no generation in {policy}"))
    }

    /// The address of the proxy as a URL.
    pub(in super::super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(in super::super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// Replaces the policy file as the renderer does.
pub(in super::super) fn write_policy(root: &Path, text: &str) {
    let text = format!("{text}{END}");
    bottle::fs::write_atomic(&root.join("policy.yaml"), text.as_bytes(), 0o644).unwrap();
}

/// The host of an authority, without its port.
fn host_of(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

impl Drop for Egress {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        let log = self.log();
        if std::thread::panicking() {
            // Captured with the failing test's own output.
            println!("--- stderr of egress\n{log}--- stdout of egress\n{}", self.stdout());
        } else {
            assert!(!log.contains("panicked at"), "egress panicked: {log}");
        }
    }
}
