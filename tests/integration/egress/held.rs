//! Requests to unknown hosts that are held while the operator is asked.

use std::fs;
use std::time::{Duration, Instant};

use bottle::policy::egress::{OnRefusal, Route, VERSION};
use bottle::policy::grant::Grant;

use super::support::{Egress, Origin, Setup, deny, echo, eventually};

fn world(seconds: u64) -> (Origin, Origin, Egress) {
    let origin = Origin::https(echo);
    let other = Origin::https(echo).named("other.test.example");
    let mut setup = Setup::new()
        .route(origin.route())
        .host("other.test.example", "127.0.0.1")
        .deny(deny("denied.test.example"));
    setup.policy.on_refusal = Some(OnRefusal::Ask(seconds));
    setup.policy.ask = Some("http://supervise:7331".to_owned());
    (origin, other, setup.start())
}

fn grant(egress: &Egress, routes: Vec<Route>) {
    let grant = Grant {
        version: VERSION,
        until: None,
        once: false,
        routes,
        push: Vec::new(),
        findings: Vec::new(),
        secrets: Vec::new(),
    };
    let text = serde_yaml::to_string(&grant).unwrap();
    bottle::fs::write_atomic(&egress.path("grants/g-1.yaml"), text.as_bytes(), 0o644).unwrap();
}

fn held(egress: &Egress) -> usize {
    let text = fs::read_to_string(egress.path("state/audit.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"event\":\"held\"")).count()
}

/// A grant can't open the private address of a host that the manifest doesn't name: here the approved request gets as far
/// as that.
#[test]
fn a_request_that_is_approved_while_it_is_held_goes_on() {
    let (origin, other, egress) = world(20);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| egress.request("POST", &other.url("/late"), &[], b"body"));
        eventually("it is held", || held(&egress) == 1);
        // Nobody else waits for it.
        egress.get(&origin.url("/")).ok();
        let any = super::support::any();
        grant(&egress, vec![Route { methods: any, private: false, ..other.route() }]);
        waiting.join().unwrap().refused("address-private");
    });
    other.untouched();
}

#[test]
fn one_that_nobody_approves_is_refused_in_time_and_says_so() {
    let (_origin, other, egress) = world(1);
    let start = Instant::now();
    let body = egress.get(&other.url("/")).refused("pending-approval").json();
    assert!((Duration::from_millis(900)..Duration::from_secs(15)).contains(&start.elapsed()));
    assert_eq!((&body["retry"], &body["ask"]["route"]["host"]), (&true.into(), &"other.test.example".into()));
    assert!(other.seen().is_empty());
}

#[test]
fn what_a_deny_rule_refuses_or_another_route_is_refused_at_once() {
    let (_origin, _other, egress) = world(20);
    let start = Instant::now();
    egress.get("https://denied.test.example/").refused("route-denied");
    egress.get("https://192.0.2.1/").refused("address-denied");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(held(&egress), 0);
}

/// The agent's container asks for such a name before it starts, and begins only with the refusal.
#[test]
fn a_name_that_can_not_exist_is_refused_at_once_and_nobody_is_asked_for_it() {
    let (_origin, _other, egress) = world(20);
    let start = Instant::now();
    for url in ["https://probe.bottle.invalid/", "https://INVALID/", "http://a.invalid./x"] {
        egress.get(url).refused("route-missing");
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(held(&egress), 0);
}

#[test]
fn few_are_held_and_the_others_are_refused_at_once() {
    let (origin, other, egress) = world(20);
    let mut clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = egress.open(&other.authority());
            client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", other.authority()));
            client
        })
        .collect();
    eventually("they are held", || held(&egress) == 16);
    let start = Instant::now();
    egress.get(&other.url("/")).refused("route-missing");
    egress.get(&origin.url("/")).ok();
    assert!(start.elapsed() < Duration::from_secs(10));
    // One that leaves gives its place back, and is no request that was allowed.
    drop(clients.pop());
    egress.audited(|line| line["event"] == "request" && line["reason"] == "pending-approval");
    let mut client = egress.open(&other.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", other.authority()));
    eventually("the place is taken again", || held(&egress) == 17);
}

#[test]
fn the_end_of_egress_waits_for_nothing_that_is_held() {
    let (_origin, other, mut egress) = world(20);
    let mut client = egress.open(&other.authority());
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", other.authority()));
    eventually("it is held", || held(&egress) == 1);
    let start = Instant::now();
    egress.terminate();
    client.response("GET").refused("pending-approval");
    egress.wait();
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn longer_than_20_seconds_is_no_policy() {
    for seconds in [0, 21, 3600] {
        let mut setup = Setup::new();
        setup.policy.on_refusal = Some(OnRefusal::Ask(seconds));
        let log = setup.fails();
        assert!(log.contains("held for 1 to 20 seconds"), "{log}");
    }
}
