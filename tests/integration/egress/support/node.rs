//! A node origin: HTTPS with HTTP/1 and HTTP/2, server-sent events, trailers, WebSockets (origin.js).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use bottle::policy::egress::{OnSecret, Route, Scheme};
use tempfile::TempDir;

use super::setup::{any, paths};
use super::{Leaf, tool};

/// A running node origin. It ends with the test.
pub(in super::super) struct Node {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub(in super::super) port: u16,
    _root: TempDir,
}

impl Node {
    pub(in super::super) fn start() -> Self {
        let root = TempDir::new().unwrap();
        let leaf = Leaf::usual();
        for (name, text) in [
            ("origin.js", include_str!("origin.js")),
            ("cert.pem", &leaf.cert_pem),
            ("key.pem", &leaf.key_pem),
        ] {
            std::fs::write(root.path().join(name), text).unwrap();
        }
        let mut command = Command::new(tool("node"));
        command.arg("origin.js").current_dir(root.path()).env_clear();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("node says its port");
        Self { child, _stdout: stdout, port, _root: root }
    }

    pub(in super::super) fn authority(&self) -> String {
        format!("node.test.example:{}", self.port)
    }

    pub(in super::super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority())
    }

    /// A route that allows everything but WebSockets.
    pub(in super::super) fn route(&self) -> Route {
        Route {
            source: "bottle.yaml:9".to_owned(),
            host: "node.test.example".to_owned(),
            scheme: Scheme::Https,
            ports: vec![self.port],
            methods: any(),
            paths: paths(&["/**"]),
            websocket: false,
            private: true,
            credential: None,
            on_secret: OnSecret::Block,
            max_upload_bytes: None,
            strip_tools: Vec::new(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
