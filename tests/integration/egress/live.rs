//! The policy while it runs: swapped as one, cut where it forbids, kept where the new file is bad.

use http_body_util::BodyExt as _;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bottle::policy::egress::{EgressPolicy, Inject, Route, VERSION};
use bottle::policy::grant::Grant;

use super::support::{
    Client, Egress, Http2, Node, Origin, Setup, deny, echo, elsewhere, eventually, paths, runtime,
    write_policy,
};

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    (origin, egress)
}

/// Writes a policy in place of the one in force, without waiting for its effect.
fn put(egress: &Egress, change: impl FnOnce(&mut EgressPolicy)) {
    let mut policy = egress.policy.clone();
    change(&mut policy);
    write_policy(egress.root.path(), &serde_yaml::to_string(&policy).unwrap());
}

fn of(until: Option<u64>, routes: Vec<Route>) -> Grant {
    Grant {
        version: VERSION,
        until,
        once: false,
        routes,
        push: Vec::new(),
        findings: Vec::new(),
        secrets: Vec::new(),
    }
}

fn grant(egress: &Egress, name: &str, grant: &Grant) {
    let path = egress.path("grants").join(format!("{name}.yaml"));
    bottle::fs::write_atomic(&path, serde_yaml::to_string(grant).unwrap().as_bytes(), 0o644).unwrap();
}

fn in_seconds(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

#[test]
fn a_new_route_allows_and_its_removal_refuses() {
    let (origin, mut egress) = world();
    let other = Origin::https(echo).named("other.test.example");
    egress.get(&other.url("/")).refused("route-missing");
    egress.swap(|policy| {
        policy.extra_hosts.insert("other.test.example".to_owned(), "127.0.0.1".parse().unwrap());
        policy.routes.push(other.route());
    });
    egress.get(&other.url("/")).ok();
    egress.swap(|policy| drop(policy.routes.pop()));
    egress.get(&other.url("/")).refused("route-missing");
    egress.get(&origin.url("/")).ok();
}

#[test]
fn a_change_reaches_a_connection_that_is_open() {
    let (origin, mut egress) = world();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/a").ok();
    egress.swap(|policy| policy.routes[0].paths = paths(&["/b/**"]));
    // Still allowed for some path: so it may go on, and is judged by the new policy.
    client.get(&origin.authority(), "/a").refused("path-denied");
    client.get(&origin.authority(), "/b/x").ok();
}

/// How long after the file is replaced the client is cut. Tried some times, since the machine may do something else.
fn cut(mut start: impl FnMut() -> (Egress, Client), change: impl Fn(&mut EgressPolicy)) {
    let mut fastest = Duration::MAX;
    for _ in 0..6 {
        let (egress, mut client) = start();
        let from = Instant::now();
        put(&egress, &change);
        client.end();
        fastest = fastest.min(from.elapsed());
        if fastest < Duration::from_millis(100) {
            return;
        }
    }
    panic!("it was cut after {fastest:?} at best");
}

/// An answer without an end, and egress in front of it.
fn endless() -> (Egress, Client) {
    let origin = Origin::raw(|mut conn| {
        drop(conn.request());
        drop(conn.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
        drop(conn.request());
    });
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!("GET /a HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    client.until("hello");
    // It lives on in its thread until egress lets go of it.
    (egress, client)
}

#[test]
fn a_stream_that_the_new_policy_forbids_is_cut_within_100_ms() {
    cut(endless, |policy| policy.routes.clear());
}

#[test]
fn a_stream_whose_host_is_denied_now_is_cut_within_100_ms() {
    cut(endless, |policy| policy.deny.push(deny("origin.test.example")));
}

#[test]
fn a_stream_whose_path_is_no_longer_allowed_is_cut_within_100_ms() {
    cut(endless, |policy| policy.routes[0].paths = paths(&["/b"]));
}

#[test]
fn a_stream_whose_address_is_no_longer_allowed_is_cut_within_100_ms() {
    cut(endless, |policy| policy.routes[0].private = false);
}

#[test]
fn a_websocket_that_the_new_policy_forbids_is_cut_within_100_ms() {
    let nodes = std::cell::RefCell::new(Vec::new());
    cut(
        || {
            let (egress, client, node) = websocket();
            nodes.borrow_mut().push(node);
            (egress, client)
        },
        |policy| policy.routes[0].websocket = false,
    );
}

/// A WebSocket that is open, through egress, to node.
fn websocket() -> (Egress, Client, Node) {
    let node = Node::start();
    let egress = Setup::new().route(Route { websocket: true, ..node.route() }).start();
    let mut client = egress.open(&node.authority());
    client.say(&format!(
        "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        node.authority()
    ));
    assert!(client.head().contains(" 101 "));
    (egress, client, node)
}

#[test]
fn an_upload_that_the_new_policy_forbids_is_cut() {
    let origin = Origin::https(echo);
    let route = Route { methods: super::support::any(), ..origin.route() };
    let mut egress = Setup::new().route(route).start();
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\nstart",
        origin.authority()
    ));
    eventually("the upload has begun", || origin.connections() == 1);
    egress.swap(|policy| policy.routes[0].methods = super::support::methods(&["GET"]));
    if let Some(response) = client.try_response("POST") {
        response.refused("policy-changed");
    }
    client.end();
    assert!(origin.seen().is_empty(), "the upload came through");
}

#[test]
fn streams_of_one_connection_are_cut_each_for_itself() {
    let node = Node::start();
    let open = Route { paths: paths(&["/echo"]), ..node.route() };
    let closing = Route { paths: paths(&["/events"]), ..node.route() };
    let mut egress = Setup::new().route(open).route(closing).start();
    runtime().block_on(async {
        let session = Http2::open(&egress, &node.authority()).await;
        let mut send = session.send.clone();
        send.ready().await.unwrap();
        let response = send.send_request(session.build("GET", "/events", b"")).await.unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().unwrap().data_ref().unwrap().starts_with(b"data: first"));
        let change = tokio::task::spawn_blocking(move || {
            egress.swap(|policy| drop(policy.routes.pop()));
            egress
        });
        let end = tokio::time::timeout(super::support::PATIENCE, body.frame()).await.expect("it is cut");
        assert!(end.is_none_or(|frame| frame.is_err()), "something came after the cut");
        let egress = change.await.unwrap();
        session.get("/echo").await.ok();
        drop(egress);
    });
}

#[test]
fn what_the_new_policy_allows_as_well_goes_on() {
    let node = Node::start();
    let mut egress = Setup::new().route(node.route()).start();
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    egress.swap(|policy| policy.deny.push(deny("other.test.example")));
    egress.get(&node.url("/release")).ok();
    client.until("data: second\n\n");
}

#[test]
fn an_idle_connection_to_a_host_that_is_refused_now_serves_no_request() {
    let (origin, mut egress) = world();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/").ok();
    egress.swap(|policy| policy.routes.clear());
    client.say(&format!("GET /after HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    if let Some(response) = client.try_response("GET") {
        response.refused("route-missing");
    }
    assert_eq!(origin.targets(), ["/"]);
    eventually("the upstream's connection is gone as well", || origin.open() == 0);
}

#[test]
fn a_bad_file_keeps_the_last_good_policy_and_turns_the_health_red() {
    let (origin, mut egress) = world();
    assert_eq!(egress.admin("/healthz").status, 200);
    let good = serde_yaml::to_string(&egress.policy).unwrap();
    for (text, place) in [
        ("version: 1\nroutes: []\nunknown: 1\n".to_owned(), "unknown"),
        ("version: 1\nroutes:\n- source: [\n".to_owned(), "policy.yaml:3:"),
        (String::new(), ""),
        (good.replace("version: 1", "version: 99"), "version 99"),
        (good.replace("host: origin.test.example", "host: 'not a host'"), "bottle.yaml:7"),
        (good.replace("/**", "no-slash"), "bottle.yaml:7"),
    ] {
        write_policy(egress.root.path(), &text);
        eventually("the health is red", || egress.admin("/healthz").status == 503);
        let health = egress.admin("/healthz").text();
        assert!(health.contains("policy.yaml") && health.contains(place), "{text}: {health}");
        egress.get(&origin.url("/")).ok();
        egress.get("https://evil.example.net/").refused("route-missing");
        write_policy(egress.root.path(), &good);
        eventually("the health is green again", || egress.admin("/healthz").status == 200);
    }
    assert!(egress.running());
}

#[test]
fn a_policy_file_that_is_gone_closes_nothing_and_opens_nothing() {
    let (origin, egress) = world();
    fs::remove_file(egress.path("policy.yaml")).unwrap();
    eventually("the health is red", || egress.admin("/healthz").status == 503);
    egress.get(&origin.url("/")).ok();
    egress.get("https://evil.example.net/").refused("route-missing");
}

#[test]
fn a_start_without_a_good_policy_is_none() {
    let mut setup = Setup::new();
    setup.policy.version = 99;
    let log = setup.fails();
    assert!(log.contains("policy.yaml") && log.contains("version 99"), "{log}");
}

#[test]
fn a_grant_adds_a_route_and_its_removal_takes_it_away() {
    let (_origin, egress) = world();
    let other = Origin::https(echo);
    let route = other.route();
    egress.get(&other.url("/")).refused("port-denied");
    grant(&egress, "hello", &of(None, vec![route]));
    eventually("the grant is in force", || egress.get(&other.url("/")).status == 200);
    let policy = egress.admin("/policy").ok().text();
    assert!(policy.contains("grant hello"), "{policy}");
    fs::remove_file(egress.path("grants/hello.yaml")).unwrap();
    eventually("the grant is gone", || !egress.admin("/policy").ok().text().contains("grant hello"));
    egress.get(&other.url("/")).refused("port-denied");
}

#[test]
fn a_grant_ends_with_its_time_and_what_runs_on_it_is_cut() {
    let node = Node::start();
    let egress = Setup::new().route(elsewhere(node.route())).start();
    let until = in_seconds(3);
    let route = node.route();
    grant(&egress, "short", &of(Some(until), vec![route]));
    eventually("the grant is in force", || egress.get(&node.url("/echo")).status == 200);
    let mut client = egress.open(&node.authority());
    client.say(&format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", node.authority()));
    client.until("data: first\n\n");
    client.end();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now >= Duration::from_secs(until), "it was cut before its time");
    egress.get(&node.url("/echo")).refused("path-denied");
}

#[test]
fn a_grant_that_has_ended_before_the_start_is_none() {
    let origin = Origin::https(echo);
    let setup = Setup::new().route(elsewhere(origin.route()));
    let old = of(Some(in_seconds(0) - 10), vec![origin.route()]);
    fs::write(setup.root.path().join("grants/old.yaml"), serde_yaml::to_string(&old).unwrap()).unwrap();
    let egress = setup.start();
    egress.get(&origin.url("/")).refused("path-denied");
}

#[test]
fn a_deny_beats_a_grant() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(elsewhere(origin.route())).deny(deny("origin.test.example")).start();
    let before = egress.generation();
    grant(&egress, "all", &of(None, vec![origin.route()]));
    eventually("the grant is in force", || egress.generation() > before);
    egress.get(&origin.url("/")).refused("route-denied");
    origin.untouched();
}

#[test]
fn a_bad_grant_is_told_and_the_others_stay_in_force() {
    let (origin, egress) = world();
    let other = Origin::https(echo);
    grant(&egress, "good", &of(None, vec![other.route()]));
    eventually("the grant is in force", || egress.get(&other.url("/")).status == 200);
    fs::write(egress.path("grants/bad.yaml"), "version: 1\nroutes: nonsense\n").unwrap();
    eventually("the health is red", || egress.admin("/healthz").status == 503);
    assert!(egress.admin("/healthz").text().contains("bad.yaml"));
    egress.get(&origin.url("/")).ok();
    egress.get(&other.url("/")).ok();
}

#[test]
fn a_grant_can_not_bring_a_credential_that_the_policy_has_not() {
    let (_origin, egress) = world();
    let other = Origin::https(echo);
    let route = Route { credential: Some("ghost".to_owned()), ..other.route() };
    grant(&egress, "ghost", &of(None, vec![route]));
    eventually("the health is red", || egress.admin("/healthz").status == 503);
    assert_ne!(egress.get(&other.url("/")).status, 200);
}

#[test]
fn a_grant_opens_no_private_address_and_takes_no_credential_where_the_manifest_does_not() {
    let (known, other) = (Origin::https(echo), Origin::https(echo));
    let setup = Setup::new()
        .route(Route { credential: Some("key".to_owned()), ..known.route() })
        .secret("key", Inject::Bearer, "secret-of-the-known-host")
        .host("other.test.example", "127.0.0.1");
    let egress = setup.start();
    let route = |route: Route| Route { host: "other.test.example".to_owned(), ..route };
    let private = route(other.route());
    let credential = Route { private: false, credential: Some("key".to_owned()), ..private.clone() };
    let address = Route { host: "127.0.0.1".to_owned(), private: false, ..other.route() };
    for (number, route) in [private, credential, address].into_iter().enumerate() {
        let name = format!("bad-{number}");
        grant(&egress, &name, &of(None, vec![route]));
        eventually("the health is red", || egress.admin("/healthz").text().contains(&name));
    }
    let port = other.authority().rsplit(':').next().unwrap().to_owned();
    egress.get(&format!("https://other.test.example:{port}/")).refused("route-missing");
    other.untouched();
}

#[test]
fn what_is_no_grant_file_is_left_alone() {
    let (origin, egress) = world();
    let other = Origin::https(echo);
    let text = serde_yaml::to_string(&of(None, vec![other.route()]));
    for name in [".hidden.yaml", "half.yaml.tmp", "note.txt"] {
        fs::write(egress.path("grants").join(name), text.as_ref().unwrap()).unwrap();
    }
    let before = egress.generation();
    grant(&egress, "real", &of(None, Vec::new()));
    // Looked at after the others were there; so they had their chance.
    eventually("the grant is in force", || egress.generation() > before);
    egress.get(&other.url("/")).refused("port-denied");
    egress.get(&origin.url("/")).ok();
}

#[test]
fn requests_never_fail_while_policies_are_swapped() {
    let (origin, mut egress) = world();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut client = egress.open(&origin.authority());
    let (host, stopped) = (origin.authority(), std::sync::Arc::clone(&stop));
    let worker = std::thread::spawn(move || {
        let mut count = 0;
        while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
            client.get(&host, "/").ok();
            count += 1;
        }
        count
    });
    for number in 0..20 {
        egress.swap(|policy| policy.deny = vec![deny(&format!("n{number}.example.net"))]);
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(worker.join().unwrap() > 0);
}
