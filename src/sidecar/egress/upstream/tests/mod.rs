//! The way out against real servers on loopback, most of them hostile.

mod address;
mod answer;
mod dial;
mod http1;
mod http2;
mod pool;
mod proxy;
mod refused;
mod resolver;
mod tls;
mod websocket;

use hickory_resolver::config::ResolveHosts;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use indexmap::IndexMap;
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::resolver::Resolver;
use super::tls::Tls;
use super::{Answer, Outgoing, Upstream};
use crate::policy::egress::{EgressPolicy, OnSecret, Route, Scheme, VERSION};
use crate::policy::host::Host;
use crate::policy::rules::Rules;
use crate::sidecar::egress::body::{self, Body, BodyError};
use crate::sidecar::egress::limits::Limits;
use crate::sidecar::egress::live::Snapshot;
use crate::sidecar::egress::refusal::Refusal;

/// The limits of tests: long ones are never waited for.
fn limits() -> Limits {
    let long = Duration::from_secs(20);
    Limits {
        connections: 1024,
        streams: 16,
        head_bytes: 16 << 10,
        headers: 64,
        connect_line: long,
        handshake: long,
        head: long,
        idle: long,
        stall: long,
        dial: long,
        answer: long,
        half_closed: long,
        drain: long,
        scan: long,
        scans: 4,
    }
}

fn upstream(limits: Limits) -> Upstream {
    trusting(Arc::new(RootCertStore::empty()), limits)
}

fn trusting(roots: Arc<RootCertStore>, limits: Limits) -> Upstream {
    Upstream {
        resolver: Resolver::system(ResolveHosts::Auto).unwrap(),
        tls: Tls::new(roots).unwrap(),
        pool: Arc::default(),
        permits: Arc::new(tokio::sync::Semaphore::new(limits.connections)),
        limits,
        own: std::sync::OnceLock::new(),
        shared: false,
    }
}

fn policy() -> EgressPolicy {
    EgressPolicy {
        version: VERSION,
        routes: Vec::new(),
        deny: Vec::new(),
        extra_hosts: [("origin.example.org".to_owned(), IpAddr::from([127, 0, 0, 1]))].into_iter().collect(),
        upstream_proxy: None,
        extra_ca: Vec::new(),
        ask: None,
        on_refusal: None,
        scanner: None,
        credentials: IndexMap::default(),
    }
}

fn snapshot(policy: EgressPolicy) -> Arc<Snapshot> {
    let rules = Rules::new(&policy, &[]).unwrap();
    Arc::new(Snapshot { generation: 1, policy, grants: Vec::new(), rules, credentials: Arc::default() })
}

fn route(private: bool) -> Arc<Route> {
    Arc::new(Route {
        source: "bottle.yaml:1".to_owned(),
        host: "origin.example.org".to_owned(),
        scheme: Scheme::Http,
        ports: vec![80],
        methods: vec!["ANY".to_owned()],
        paths: vec!["/**".to_owned()],
        websocket: true,
        private,
        credential: None,
        on_secret: OnSecret::Block,
        max_upload_bytes: None,
        strip_tools: Vec::new(),
    })
}

/// A request to `origin.example.org`, which is on loopback.
fn request(port: u16, method: Method, body: Body) -> Outgoing {
    Outgoing {
        snapshot: snapshot(policy()),
        route: route(true),
        scheme: Scheme::Http,
        host: Host::Name("origin.example.org".to_owned()),
        port,
        head: Request::builder().method(method).uri("/path?query").body(()).unwrap().into_parts().0,
        body,
        websocket: false,
    }
}

fn get(port: u16) -> Outgoing {
    request(port, Method::GET, body::empty())
}

fn https(port: u16) -> Outgoing {
    Outgoing { scheme: Scheme::Https, ..get(port) }
}

/// The answer, which must be a response.
async fn send(upstream: &Upstream, request: Outgoing) -> Result<http::Response<Body>, Refusal> {
    match upstream.send(request).await? {
        Answer::Response(response) => Ok(response),
        Answer::Upgraded { .. } => panic!("an upgrade that was not asked for"),
    }
}

async fn text(body: Body) -> Result<String, BodyError> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap())
}

/// The text of the answer to a GET, which must come.
async fn get_text(upstream: &Upstream, port: u16) -> String {
    text(send(upstream, get(port)).await.unwrap().into_body()).await.unwrap()
}

/// A server without manners: each connection is given to `script` with its number. Gives its port, and the number of
/// its connections.
async fn server<F, S>(script: F) -> (u16, Arc<AtomicUsize>)
where
    F: Fn(usize, TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(script(counted.fetch_add(1, Ordering::SeqCst), stream));
        }
    });
    (port, count)
}

/// A server that reads a head, sends `answer`, and then keeps the connection open until the other side closes it.
async fn answering(answer: impl Into<Bytes>) -> (u16, Arc<AtomicUsize>) {
    let answer = answer.into();
    server(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            while let Some(_head) = read_head(&mut stream).await {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// The bytes up to the end of a head; none when the connection ends before.
async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}
