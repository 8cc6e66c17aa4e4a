//! Grants for one request: one passes, whatever comes together or breaks off.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bottle::policy::egress::{Deny, Route, VERSION};
use bottle::policy::grant::Grant;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::support::{
    Client, Egress, Http2, Node, Origin, Setup, deny, echo, elsewhere, eventually, paths, runtime,
};

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600
}

fn put(egress: &Egress, name: &str, once: bool, route: Route) {
    let (until, routes) = (Some(in_an_hour()), vec![route]);
    let grant = Grant {
        version: VERSION,
        until,
        once,
        routes,
        push: Vec::new(),
        findings: Vec::new(),
        secrets: Vec::new(),
    };
    let path = egress.path("grants").join(format!("{name}.yaml"));
    bottle::fs::write_atomic(&path, serde_yaml::to_string(&grant).unwrap().as_bytes(), 0o644).unwrap();
}

fn in_force(egress: &Egress) -> Value {
    let text = fs::read(egress.path("report/status.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&text).unwrap_or_default()["grants"].clone()
}

/// Has a grant for one request in force.
fn once(egress: &Egress, name: &str, route: Route) {
    put(egress, name, true, route);
    eventually("it is in force", || in_force(egress).to_string().contains(&format!("\"{name}\"")));
}

fn is_used(egress: &Egress, name: &str) -> bool {
    egress.path("report/used").join(name).exists()
}

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(elsewhere(origin.route())).report().start();
    (origin, egress)
}

#[test]
fn one_request_passes_and_the_next_is_refused_as_if_there_were_no_grant() {
    let (origin, egress) = world();
    let before = egress.get(&origin.url("/")).refused("path-denied").json()["hint"].clone();
    once(&egress, "g-1", origin.route());
    // Neither what was refused nor a connection without a request uses it up.
    egress.get(&origin.url("/%00")).refused("path-ambiguous");
    drop(egress.open(&origin.authority()));
    assert!(!is_used(&egress, "g-1"));
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/one").ok();
    assert!(is_used(&egress, "g-1"));
    client.get(&origin.authority(), "/two").refused("path-denied");
    let after = egress.get(&origin.url("/")).refused("path-denied").json()["hint"].clone();
    assert_eq!(after, before);
    assert_eq!(origin.targets(), ["/one"]);
    let line = egress.audited(|line| line["path"] == "/one");
    assert_eq!(line["rule"], "grant g-1");
    eventually("the end is told", || in_force(&egress) == json!([]));
}

#[test]
fn of_many_connections_at_a_time_one_gets_through() {
    let (origin, egress) = world();
    for round in 0..5 {
        once(&egress, &format!("g-{round}"), origin.route());
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let one = |number: u8| {
                let (egress, origin) = (&egress, &origin);
                scope.spawn(move || egress.get(&origin.url(&format!("/{number}"))).status)
            };
            let threads: Vec<_> = (0..8).map(one).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert_eq!(origin.targets().len(), round + 1);
    }
}

#[test]
fn of_many_streams_of_a_connection_one_gets_through_and_the_others_leave_it_alone() {
    let (origin, egress) = world();
    once(&egress, "g-1", origin.route());
    let answers = runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let one = |number: u8| {
            let session = session.clone();
            tokio::spawn(async move { session.get(&format!("/{number}")).await.status })
        };
        let mut answers = Vec::new();
        for task in (0..8).map(one).collect::<Vec<_>>() {
            answers.push(task.await.unwrap());
        }
        answers
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert_eq!(origin.targets().len(), 1);
}

/// Opens a stream, which uses the one grant that is in force.
fn stream(egress: &Egress, node: &Node) -> Client {
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    client
}

#[test]
fn what_has_begun_goes_on_when_its_grant_is_over() {
    let node = Node::start();
    let egress = Setup::new().route(elsewhere(node.route())).report().start();
    once(&egress, "g-1", node.route());
    let mut client = stream(&egress, &node);
    once(&egress, "g-2", node.route());
    runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        let mut send = session.send.clone();
        send.ready().await.unwrap();
        let response = send.send_request(session.build("GET", "/events", b"")).await.unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().unwrap().data_ref().unwrap().starts_with(b"data: first"));
        for name in ["g-1", "g-2"] {
            assert!(is_used(&egress, name));
            fs::remove_file(egress.path("grants").join(format!("{name}.yaml"))).unwrap();
        }
        eventually("they are over", || in_force(&egress) == json!([]));
        put(&egress, "g-3", false, Route { paths: paths(&["/release"]), ..node.route() });
        eventually("another policy is in force", || in_force(&egress) == json!(["g-3"]));
        assert!(client.silent_for(Duration::from_millis(300)), "it was cut");
        egress.get(&node.url("/release")).ok();
        client.until("data: second\n\n");
        assert!(body.frame().await.unwrap().unwrap().data_ref().unwrap().starts_with(b"data: second"));
    });
}

#[test]
fn a_deny_rule_ends_what_has_begun_once() {
    let node = Node::start();
    let mut egress = Setup::new().route(elsewhere(node.route())).report().start();
    once(&egress, "g-1", node.route());
    let mut client = stream(&egress, &node);
    egress.swap(|policy| {
        policy.deny.push(Deny { source: "bottle.yaml:77".to_owned(), ..deny("node.test.example") });
    });
    client.end();
    let line = egress.audited(|line| line["path"] == "/events");
    assert_eq!((&line["reason"], &line["rule"]), (&json!("policy-changed"), &json!("bottle.yaml:77")));
}

#[test]
fn a_websocket_is_one_request() {
    let node = Node::start();
    let egress = Setup::new().route(elsewhere(node.route())).report().start();
    once(&egress, "g-1", Route { websocket: true, ..node.route() });
    let authority = node.authority();
    let ask = format!(
        "GET /chat HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (mut first, mut second) = (egress.open(&authority), egress.open(&authority));
    first.say(&ask);
    assert!(first.head().starts_with("HTTP/1.1 101"));
    fs::remove_file(egress.path("grants/g-1.yaml")).unwrap();
    second.say(&ask);
    second.response("GET").refused("path-denied");
    // An empty message, masked.
    first.send(&[0x81, 0x80, 1, 2, 3, 4]);
    assert_eq!(first.take(2), [0x81, 0]);
}

#[test]
fn a_stream_of_another_grant_does_not_go_on_with_one_for_one_request() {
    let node = Node::start();
    let egress = Setup::new().route(elsewhere(node.route())).report().start();
    put(&egress, "g-1", false, node.route());
    eventually("it is in force", || in_force(&egress) == json!(["g-1"]));
    let mut client = stream(&egress, &node);
    once(&egress, "g-2", node.route());
    fs::remove_file(egress.path("grants/g-1.yaml")).unwrap();
    client.end();
    assert!(!is_used(&egress, "g-2"));
    egress.get(&node.url("/echo")).ok();
}

#[test]
fn what_is_allowed_without_it_does_not_use_it_up() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { paths: paths(&["/**"]), ..origin.route() }).report().start();
    // Even where it is the more specific route.
    once(&egress, "g-1", Route { paths: paths(&["/exact"]), ..origin.route() });
    egress.get(&origin.url("/exact")).ok();
    assert!(!is_used(&egress, "g-1"));
    assert_eq!(in_force(&egress), json!(["g-1"]));
}

#[test]
fn an_override_of_the_method_does_not_get_a_second_one_through() {
    let (origin, egress) = world();
    once(&egress, "g-1", Route { methods: vec!["GET".to_owned()], ..origin.route() });
    let lines = ["X-HTTP-Method-Override: GET", "X-Method-Override: GET"];
    egress.request("GET", &origin.url("/"), &lines, b"").ok();
    egress.request("GET", &origin.url("/"), &lines, b"").refused("path-denied");
}

#[test]
fn a_crash_before_the_answer_leaves_it_used() {
    let (seen, asked) = mpsc::channel();
    let seen = std::sync::Mutex::new(seen);
    let origin = Origin::raw(move |mut conn| {
        while let Ok(Some(_)) = conn.request() {
            seen.lock().unwrap().send(()).unwrap();
        }
    });
    let mut egress = Setup::new().route(elsewhere(origin.route())).report().start();
    once(&egress, "g-1", origin.route());
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    asked.recv().unwrap();
    egress.crash_and_restart();
    egress.get(&origin.url("/")).refused("path-denied");
    egress.restart();
    egress.get(&origin.url("/")).refused("path-denied");
    assert!(asked.try_recv().is_err(), "nothing more has left");
}

#[test]
fn what_can_not_be_written_down_is_refused() {
    let (origin, egress) = world();
    // As root no mode keeps anyone from writing; there nobody can make a file.
    symlink("/proc/self/fdinfo", egress.path("report/used")).unwrap();
    once(&egress, "g-1", origin.route());
    for _ in 0..2 {
        let told = egress.get(&origin.url("/")).refused("grant-unclaimed").json();
        assert_eq!((&told["rule"], &told["retry"]), (&json!("grant g-1"), &json!(true)));
    }
    origin.untouched();
    fs::remove_file(egress.path("report/used")).unwrap();
    egress.get(&origin.url("/")).ok();
    egress.get(&origin.url("/")).refused("path-denied");
    // Without a place to write nothing is for once.
    let setup = Setup::new().route(elsewhere(origin.route()));
    let egress = setup.start();
    put(&egress, "g-1", true, origin.route());
    eventually("it is in force", || egress.get(&origin.url("/")).json()["code"] == "grant-unclaimed");
}

#[test]
fn a_mark_from_before_the_start_counts_and_goes_with_its_time() {
    let origin = Origin::https(echo);
    let setup = Setup::new().route(elsewhere(origin.route())).report();
    let used = setup.root.path().join("report/used");
    fs::create_dir_all(&used).unwrap();
    fs::write(used.join("g-1"), in_an_hour().to_string()).unwrap();
    fs::write(used.join("g-0"), "1000").unwrap();
    let egress = setup.start();
    put(&egress, "g-1", true, origin.route());
    once(&egress, "g-2", Route { paths: paths(&["/two"]), ..origin.route() });
    assert_eq!(in_force(&egress), json!(["g-2"]));
    egress.get(&origin.url("/")).refused("path-denied");
    assert!(!is_used(&egress, "g-0"));
    fs::remove_file(egress.path("grants/g-1.yaml")).unwrap();
    let before = egress.generation();
    fs::remove_file(egress.path("grants/g-2.yaml")).unwrap();
    eventually("it is seen", || egress.generation() > before);
    assert!(is_used(&egress, "g-1"), "it could come back");
}
