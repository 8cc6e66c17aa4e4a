//! An nginx origin with TLS, HTTP/1 and HTTP/2, that serves the files of a directory.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bottle::policy::egress::{OnSecret, Route, Scheme};
use tempfile::TempDir;

use super::setup::{any, paths};
use super::{Leaf, eventually, free_port, tool};

/// A running nginx. It ends with the test.
pub(in super::super) struct Nginx {
    child: Child,
    pub(in super::super) port: u16,
    root: TempDir,
}

impl Nginx {
    /// Starts it with directives for its `server`.
    pub(in super::super) fn start(directives: &str) -> Self {
        let root = TempDir::new().unwrap();
        let place = root.path().display();
        let leaf = Leaf::usual();
        let port = free_port();
        fs::create_dir(root.path().join("www")).unwrap();
        // The worker may be another user than the one who runs the tests.
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let text = format!(
            "daemon off;\nuser {user};\nworker_processes 1;\npid {place}/pid;\nerror_log {place}/error.log;\n\
             events {{ worker_connections 4096; }}\nhttp {{\naccess_log {place}/access.log;\n\
             client_body_temp_path {place}/body;\nproxy_temp_path {place}/proxy;\nfastcgi_temp_path {place}/fcgi;\n\
             uwsgi_temp_path {place}/uwsgi;\nscgi_temp_path {place}/scgi;\nkeepalive_requests 100000;\n\
             server {{\nlisten 127.0.0.1:{port} ssl http2;\nssl_certificate {place}/cert.pem;\n\
             ssl_certificate_key {place}/key.pem;\nclient_max_body_size 0;\nroot {place}/www;\n{}\n}}\n}}\n",
            directives.replace("{root}", &place.to_string()),
        );
        for (name, text) in
            [("nginx.conf", text.as_str()), ("cert.pem", &leaf.cert_pem), ("key.pem", &leaf.key_pem)]
        {
            fs::write(root.path().join(name), text).unwrap();
        }
        let mut command = Command::new(tool("nginx"));
        command.arg("-p").arg(root.path()).arg("-e").arg(root.path().join("error.log"));
        command.arg("-c").arg(root.path().join("nginx.conf"));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("nginx listens", || {
            let ended = child.try_wait().unwrap();
            let log = || fs::read_to_string(root.path().join("error.log")).unwrap_or_default();
            assert!(ended.is_none(), "nginx ended: {}", log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { child, port, root }
    }

    /// Where its files are.
    pub(in super::super) fn www(&self) -> PathBuf {
        self.root.path().join("www")
    }

    /// Its own directory.
    pub(in super::super) fn root(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    pub(in super::super) fn authority(&self) -> String {
        format!("nginx.test.example:{}", self.port)
    }

    pub(in super::super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.authority())
    }

    /// A route that allows everything but WebSockets.
    pub(in super::super) fn route(&self) -> Route {
        Route {
            source: "bottle.yaml:11".to_owned(),
            host: "nginx.test.example".to_owned(),
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

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers; killed, it would leave them.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        drop(self.child.wait());
    }
}
