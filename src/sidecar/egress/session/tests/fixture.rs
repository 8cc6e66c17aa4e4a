//! An egress in this process, a client of it, and an origin behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use clap::Parser as _;
use http::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::policy::reason::Reason;
use crate::sidecar::audit::Readers;
use crate::sidecar::egress::audit::Audit;
use crate::sidecar::egress::http1::{Decoded, Decoder, HeadLimits, ResponseHead, parse_response};
use crate::sidecar::egress::limits::Limits;
use crate::sidecar::egress::live::Live;
use crate::sidecar::egress::metrics::Metrics;
use crate::sidecar::egress::pipelock::Scanner;
use crate::sidecar::egress::tls::{Authority, Roots};
use crate::sidecar::egress::upstream::{Io, Upstream};
use crate::sidecar::egress::{Egress, session};

/// Longer than anything here takes, and shorter than the patience of who waits for the tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing that is waited for in these tests may take for ever.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    limits: Limits,
}

/// An egress that serves.
pub(super) struct Bottle {
    pub(super) directory: TempDir,
    pub(super) egress: Arc<Egress>,
    pub(super) drain: watch::Sender<bool>,
    pub(super) serving: JoinHandle<()>,
    address: SocketAddr,
}

impl Bottle {
    /// Starts with these routes.
    pub(super) async fn start(routes: &str) -> Self {
        Self::limited(routes, &[]).await
    }

    /// Starts with these routes and limits, which are options of the command line.
    pub(super) async fn limited(routes: &str, limits: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (state, trust) = (directory.path().join("state"), directory.path().join("trust"));
        for path in [&state, &trust] {
            std::fs::create_dir(path).unwrap();
        }
        write_policy(directory.path(), routes);
        let limits = Line::parse_from([&["egress"], limits].concat()).limits;
        let roots = Roots::load(&[]).unwrap();
        let live = Live::open(&directory.path().join("policy.yaml"), None, None, None).unwrap();
        live.watch().unwrap();
        let egress = Arc::new(Egress {
            live,
            authority: Authority::open(&state, &trust, &roots).unwrap(),
            upstream: Upstream::new(&roots, &limits, false).unwrap(),
            audit: Arc::new(Audit::open(&state, Readers::Owner).unwrap()),
            reporter: None,
            entered: None,
            held: Arc::new(tokio::sync::Semaphore::new(session::MOST_HELD)),
            scanner: Arc::new(Scanner::new(&limits)),
            metrics: Metrics::default(),
            limits,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, draining) = watch::channel(false);
        let serving = tokio::spawn(session::serve(listener, Arc::clone(&egress), draining));
        Self { directory, egress, drain, serving, address }
    }

    /// Puts other routes in force.
    pub(super) async fn change(&self, routes: &str) {
        let mut snapshots = self.egress.live.subscribe();
        write_policy(self.directory.path(), routes);
        soon(snapshots.changed()).await.unwrap();
    }

    /// A connection to the proxy.
    pub(super) async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: Box::new(stream), buffer: BytesMut::new() }
    }

    /// A connection after CONNECT.
    pub(super) async fn connected(&self, authority: &str) -> Client {
        let mut client = self.client().await;
        client.send(&format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")).await;
        let head = client.head(&Method::CONNECT).await;
        assert_eq!(head.status, 200, "{head:?}");
        client
    }

    /// What a client of the bottle trusts and offers.
    pub(super) fn tls(&self, protocol: &str) -> tokio_rustls::TlsConnector {
        let pem = self.directory.path().join("trust/ca.pem");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    /// A TLS session for HTTP/1.1 within CONNECT.
    pub(super) async fn inside(&self, authority: &str) -> Client {
        let client = self.connected(authority).await;
        let name = authority.split(':').next().unwrap().to_owned();
        let tls = self.tls("http/1.1").connect(ServerName::try_from(name).unwrap(), client.stream);
        Client { stream: Box::new(soon(tls).await.unwrap()), buffer: BytesMut::new() }
    }

    /// How often something was refused for this reason, as soon as it was at least once.
    pub(super) async fn refused(&self, reason: Reason) -> u64 {
        let count =
            || self.egress.metrics.refusals().find(|(found, _)| *found == reason).map(|(_, count)| count);
        soon(async {
            loop {
                if let Some(count) = count() {
                    return count;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }
}

fn write_policy(directory: &Path, routes: &str) {
    let text =
        format!("version: 1\nextra_hosts: {{ origin.example.org: 127.0.0.1 }}\nroutes: [{routes}]\n...\n");
    crate::fs::write_atomic(&directory.join("policy.yaml"), text.as_bytes(), 0o644).unwrap();
}

/// A route to the origin, without TLS, for `/ok` and what is below it.
pub(super) fn route(origin: &Origin, more: &str) -> String {
    format!(
        "{{ source: \"bottle.yaml:1\", host: origin.example.org, scheme: http, ports: [{}], \
         methods: [GET, HEAD, POST], paths: [/ok, /ok/**], private: true {more} }}",
        origin.port
    )
}

/// An answer, with its body where it was complete.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) body: String,
}

impl Answer {
    /// The status and the reason of a refusal.
    pub(super) fn refusal(&self) -> (u16, &str) {
        let code = self.header("x-bottle-reason").unwrap_or_default();
        if self.header("content-type") == Some("application/json") && !self.body.is_empty() {
            let told: serde_json::Value = serde_json::from_str(&self.body).unwrap();
            assert_eq!(told["code"], code);
        }
        (self.head.status.as_u16(), code)
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 16, headers: 100 };

/// One end of a connection that speaks HTTP/1, as little as is needed.
pub(super) struct Client {
    pub(super) stream: Box<dyn Io>,
    buffer: BytesMut,
}

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
        soon(self.stream.flush()).await.unwrap();
    }

    /// Reads on; whether there was more.
    async fn fill(&mut self) -> std::io::Result<bool> {
        Ok(soon(self.stream.read_buf(&mut self.buffer)).await? > 0)
    }

    pub(super) async fn head(&mut self, method: &Method) -> ResponseHead {
        loop {
            if let Some((head, length)) = parse_response(&self.buffer, method, LIMITS).unwrap() {
                self.buffer.advance(length);
                return head;
            }
            assert!(self.fill().await.unwrap(), "the connection ended before the answer: {:?}", self.buffer);
        }
    }

    /// The whole answer to a request with this method.
    pub(super) async fn answer_to(&mut self, method: &Method) -> Answer {
        let head = self.head(method).await;
        let mut decoder = Decoder::of_response(head.framing, LIMITS);
        let mut body = Vec::new();
        loop {
            match decoder.decode(&mut self.buffer).unwrap() {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(_) => {}
                Decoded::End => break,
                Decoded::Partial if self.fill().await.unwrap() => {}
                Decoded::Partial => {
                    assert!(decoder.at_close(), "the answer ended before its end");
                    break;
                }
            }
        }
        Answer { head, body: String::from_utf8(body).unwrap() }
    }

    /// The whole answer to a request that has one with a body.
    pub(super) async fn answer(&mut self) -> Answer {
        self.answer_to(&Method::GET).await
    }

    /// Sends a request and gives its answer.
    pub(super) async fn ask(&mut self, text: &str) -> Answer {
        self.send(text).await;
        self.answer().await
    }

    /// Reads until this text has come, and gives everything up to its end.
    pub(super) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(start) = memchr::memmem::find(&self.buffer, text.as_bytes()) {
                let read = self.buffer.split_to(start + text.len());
                return String::from_utf8(read.to_vec()).unwrap();
            }
            assert!(self.fill().await.unwrap(), "`{text}` never came: {:?}", self.buffer);
        }
    }

    /// Everything up to the end, and whether that came in order.
    pub(super) async fn rest(&mut self) -> (String, bool) {
        let orderly = loop {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => break true,
                Err(_) => break false,
            }
        };
        (String::from_utf8_lossy(&self.buffer.split()).into_owned(), orderly)
    }
}

/// An origin without TLS that does as it is told with each connection.
pub(super) struct Origin {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// Hands each connection to the script.
    pub(super) async fn start<F>(script: impl Fn(Client) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(script(Client { stream: Box::new(stream), buffer: BytesMut::new() }));
            }
        });
        Self { port, connections }
    }

    /// Answers every request that has no body with its path.
    pub(super) async fn echo() -> Self {
        Self::start(|mut stream| async move {
            loop {
                let mut ended = stream.buffer.is_empty() && !stream.fill().await.unwrap_or(false);
                while !ended && memchr::memmem::find(&stream.buffer, b"\r\n\r\n").is_none() {
                    ended = !stream.fill().await.unwrap_or(false);
                }
                if ended {
                    return;
                }
                let head = stream.until("\r\n\r\n").await;
                let path = head.split(' ').nth(1).unwrap();
                let length = path.len();
                let body = if head.starts_with("HEAD") { "" } else { path };
                stream.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")).await;
            }
        })
        .await
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A request line's URL.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://origin.example.org:{}{path}", self.port)
    }

    /// The head of a request.
    pub(super) fn request(&self, method: &str, path: &str, more: &str) -> String {
        let port = self.port;
        let url = self.url(path);
        format!("{method} {url} HTTP/1.1\r\nHost: origin.example.org:{port}\r\n{more}\r\n")
    }
}
