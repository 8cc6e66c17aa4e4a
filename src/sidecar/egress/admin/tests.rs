use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fs;
use crate::policy::reason::Reason;
use crate::sidecar::audit::Readers;
use crate::sidecar::egress::audit::Audit;
use crate::sidecar::egress::limits::Limits;
use crate::sidecar::egress::live::Live;
use crate::sidecar::egress::metrics::Metrics;
use crate::sidecar::egress::pipelock::Scanner;
use crate::sidecar::egress::tls::{Authority, Roots};
use crate::sidecar::egress::upstream::Upstream;
use crate::sidecar::egress::{Egress, admin};

const PATIENCE: Duration = Duration::from_secs(30);

const POLICY: &str = "version: 1
routes:
  - { source: 'bottle.yaml:3', host: a.example.org, scheme: https, ports: [443], methods: [GET], paths: [/**] }
credentials:
  one: { source: 'bottle.yaml:9', secret: !env NO_VARIABLE_HAS_THIS_NAME, inject: bearer }
...
";

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    limits: Limits,
}

/// An egress of which only the admin address is served.
struct World {
    root: TempDir,
    egress: Arc<Egress>,
    address: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let policy = root.path().join("policy.yaml");
        fs::write_atomic(&policy, POLICY.as_bytes(), 0o644).unwrap();
        let live = Live::open(&policy, None, None, None).unwrap();
        live.watch().unwrap();
        let roots = Roots::load(&[]).unwrap();
        let (state, trust) = (root.path().join("state"), root.path().join("trust"));
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(&trust).unwrap();
        let authority = Authority::open(&state, &trust, &roots).unwrap();
        let limits = Line::parse_from(["egress"]).limits;
        let upstream = Upstream::new(&roots, &limits, false).unwrap();
        let audit = Arc::new(Audit::open(&state, Readers::Owner).unwrap());
        let egress = Arc::new(Egress {
            live,
            authority,
            upstream,
            audit,
            reporter: None,
            entered: None,
            held: Arc::new(tokio::sync::Semaphore::new(1)),
            scanner: Arc::new(Scanner::new(&limits)),
            metrics: Metrics::default(),
            limits,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(admin::serve(listener, Arc::clone(&egress)));
        Self { root, egress, address }
    }

    fn policy(&self) -> PathBuf {
        self.root.path().join("policy.yaml")
    }

    /// Sends bytes and gives the answer's head and body.
    async fn say(&self, request: &str) -> (String, String) {
        let answer = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(PATIENCE, answer).await.expect("it answers in time");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head.to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = self.say(&format!("GET {path} HTTP/1.1\r\nHost: egress\r\n\r\n")).await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    async fn health(&self) -> (u16, Value) {
        let (status, body) = self.get("/healthz").await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

/// Reads the text format of Prometheus, strictly: every sample has its help and its type before it.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut samples = HashMap::new();
    let (mut helped, mut typed) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').unwrap().0.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(["counter", "gauge"].contains(&kind));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            typed = name.to_owned();
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            assert_eq!(family, typed, "{line}");
            assert!(family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} came twice");
        }
    }
    samples
}

#[tokio::test]
async fn health_is_green_and_names_what_is_missing() {
    let world = World::new().await;
    let (status, health) = world.health().await;
    assert_eq!(status, 200);
    assert_eq!((&health["status"], &health["generation"]), (&"degraded".into(), &1.into()));
    assert!(health["credentials_missing"]["one"].is_string(), "{health}");
    assert!(health["problem"].is_null() && health["audit"]["file"]["failure"].is_null(), "{health}");
}

#[tokio::test]
async fn health_is_red_while_a_file_is_wrong() {
    let world = World::new().await;
    let mut problems = world.egress.live.problems();
    fs::write_atomic(&world.policy(), b"version: 1\nroutes: [\n", 0o644).unwrap();
    timeout(PATIENCE, problems.wait_for(Option::is_some)).await.unwrap().unwrap();
    let (status, health) = world.health().await;
    assert_eq!((status, &health["status"]), (503, &"failing".into()));
    assert!(health["problem"].as_str().unwrap().contains("policy.yaml:3:1: "), "{health}");
    fs::write_atomic(&world.policy(), POLICY.as_bytes(), 0o644).unwrap();
    timeout(PATIENCE, problems.wait_for(Option::is_none)).await.unwrap().unwrap();
    assert_eq!(world.health().await.0, 200);
}

#[tokio::test]
async fn metrics_are_read_back_as_they_were_counted() {
    let world = World::new().await;
    world.egress.metrics.connections.fetch_add(7, Ordering::Relaxed);
    world.egress.metrics.refused(Reason::RouteMissing);
    world.egress.metrics.refused(Reason::RouteMissing);
    let (status, text) = world.get("/metrics").await;
    assert_eq!(status, 200);
    let samples = samples(&text);
    let is =
        |name: &str, value: f64| assert!((samples[name] - value).abs() < f64::EPSILON, "{name} in {text}");
    is("bottle_egress_connections_total", 7.0);
    is("bottle_egress_requests_refused_total{reason=\"route-missing\"}", 2.0);
    is("bottle_egress_policy_generation", 1.0);
    is("bottle_egress_policy_problem", 0.0);
    is("bottle_egress_audit_dropped_total{target=\"stdout\"}", 0.0);
    assert!(samples["bottle_egress_resident_memory_bytes"] > 1e5);
}

#[tokio::test]
async fn the_policy_in_force_is_shown_with_its_generation() {
    let world = World::new().await;
    let (status, body) = world.get("/policy?x").await;
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &shown["generation"]), (200, &1.into()));
    assert_eq!(shown["policy"]["routes"][0]["source"], "bottle.yaml:3");
    assert_eq!(shown["policy"]["credentials"]["one"]["secret"]["env"], "NO_VARIABLE_HAS_THIS_NAME");
}

#[tokio::test]
async fn only_what_is_there_is_served_and_only_to_be_read() {
    let world = World::new().await;
    assert_eq!(world.get("/").await.0, 404);
    assert_eq!(world.get("/healthz/../policy").await.0, 404);
    let (head, _) = world.say("POST /healthz HTTP/1.1\r\nHost: egress\r\nContent-Length: 0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("GET, HEAD"), "{head}");
    let (head, body) = world.say("HEAD /policy HTTP/1.1\r\nHost: egress\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
    let (head, _) = world.say("GET /healthz\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out_for_long() {
    let world = World::new().await;
    let mut silent = Vec::new();
    for _ in 0..=super::CONNECTIONS {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    assert_eq!(world.health().await.0, 200);
    drop(silent);
}

#[tokio::test]
async fn the_container_s_check_says_what_health_says() {
    let world = World::new().await;
    let address = world.address;
    let check = move || admin::check::ask(address, "/healthz").unwrap();
    let (status, body) = tokio::task::spawn_blocking(check).await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("\"generation\": 1"), "{body}");
}
