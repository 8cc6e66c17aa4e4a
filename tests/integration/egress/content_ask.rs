//! Secrets that the operator may let pass: exactly the one that was approved, to exactly its host.

use std::fs;

use bottle::policy::egress::{Inject, OnSecret, Route, VERSION};
use bottle::policy::grant::{AllowedSecret, Grant};

use super::support::{Egress, Http2, Origin, Setup, any, deny, echo, eventually, paths, runtime};

const SECRET: &str = "s3cr3t-0123456789-abcdefghij";
const OTHER: &str = "0th3r-9876543210-zyxwvutsrq";

fn world() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let route = Route { methods: any(), on_secret: OnSecret::Ask, ..origin.route() };
    let mut setup = Setup::new()
        .secret("api", Inject::Bearer, SECRET)
        .secret("other", Inject::Bearer, OTHER)
        .report()
        .route(Route { paths: paths(&["/v1"]), credential: Some("api".to_owned()), ..route.clone() })
        .route(Route { paths: paths(&["/v2"]), credential: Some("other".to_owned()), ..route.clone() })
        .route(Route { paths: paths(&["/strict"]), on_secret: OnSecret::Block, ..route.clone() })
        .route(Route { paths: paths(&["/open/**"]), ..route })
        .deny(deny("denied.test.example"));
    setup.policy.ask = Some("http://supervise:7331".to_owned());
    (origin, setup.start())
}

fn post(egress: &Egress, origin: &Origin, path: &str, body: &str) -> super::support::Response {
    egress.request("POST", &origin.url(path), &[], body.as_bytes())
}

/// Grants the secret with this id, and waits until egress runs with it.
fn grant(egress: &Egress, name: &str, host: &str, finding: &str, once: bool) {
    let before = egress.generation();
    let secrets = vec![AllowedSecret {
        source: String::from("somebody"),
        host: host.to_owned(),
        finding: finding.parse().unwrap(),
    }];
    let (routes, push, findings) = (Vec::new(), Vec::new(), Vec::new());
    let grant = Grant { version: VERSION, until: None, once, routes, push, findings, secrets };
    let text = serde_yaml::to_string(&grant).unwrap();
    bottle::fs::write_atomic(&egress.path(&format!("grants/{name}.yaml")), text.as_bytes(), 0o644).unwrap();
    eventually("the grant is in force", || egress.generation() > before);
}

fn audit(egress: &Egress) -> String {
    fs::read_to_string(egress.path("report/audit.jsonl")).unwrap_or_default()
}

/// The id that a refusal says.
fn id(response: &super::support::Response) -> String {
    let body = response.json();
    assert_eq!(body["ask"]["exception"]["host"], "origin.test.example", "{body}");
    body["ask"]["exception"]["finding"].as_str().unwrap().to_owned()
}

#[test]
fn the_operator_is_asked_and_an_approval_lets_exactly_this_secret_pass() {
    let (origin, egress) = world();
    let response = post(&egress, &origin, "/open/x", SECRET).refused("secret-pending");
    let finding = id(&response);
    assert!(finding.starts_with("credential:api:"), "{finding}");
    assert!(response.text().contains("request_exception"), "{}", response.text());
    eventually("supervise is told", || {
        audit(&egress).lines().any(|line| line.contains("\"event\":\"held\"") && line.contains(&finding))
    });
    // Another secret, another host and another name are none of it.
    grant(&egress, "g-1", "other.test.example", &finding, false);
    grant(&egress, "g-2", "origin.test.example", &finding.replace("credential:api", "token:api"), false);
    assert_eq!(id(&post(&egress, &origin, "/open/x", SECRET).refused("secret-pending")), finding);
    assert!(origin.seen().is_empty());
    grant(&egress, "g-3", "origin.test.example", &finding, false);
    post(&egress, &origin, "/open/x", SECRET).ok();
    assert_eq!(String::from_utf8_lossy(&origin.last().body), SECRET);
    egress.request("GET", &origin.url(&format!("/open/{SECRET}")), &[&format!("X-A: {SECRET}")], b"").ok();
    let both = format!("{SECRET} {OTHER}");
    assert!(id(&post(&egress, &origin, "/open/x", &both).refused("secret-pending")).contains("other"));
    post(&egress, &origin, "/strict", SECRET).refused("secret-sent");
    let line = egress.audited(|line| line["passed"].is_array());
    assert_eq!(line["passed"][0], finding.as_str(), "{line}");
    // It ends with the grant.
    let before = egress.generation();
    bottle::fs::remove_file(&egress.path("grants/g-3.yaml")).unwrap();
    eventually("the grant has ended", || egress.generation() > before);
    post(&egress, &origin, "/open/x", SECRET).refused("secret-pending");
    assert_eq!(origin.seen().len(), 2);
    assert!(!audit(&egress).contains(SECRET) && !audit(&egress).contains(OTHER));
}

#[test]
fn an_approval_for_once_is_for_one_request_with_all_that_it_holds() {
    let (origin, egress) = world();
    let finding = id(&post(&egress, &origin, "/open/x", SECRET).refused("secret-pending"));
    grant(&egress, "g-1", "origin.test.example", &finding, true);
    // In several places of one request.
    let body = format!("{SECRET}{}{SECRET}", "x".repeat(100_000));
    egress
        .request(
            "POST",
            &origin.url(&format!("/open/x?k={SECRET}")),
            &[&format!("X-A: {SECRET}")],
            body.as_bytes(),
        )
        .ok();
    post(&egress, &origin, "/open/x", SECRET).refused("secret-pending");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn of_two_requests_at_a_time_one_uses_up_the_approval_for_once() {
    let (origin, egress) = world();
    let finding = id(&post(&egress, &origin, "/open/x", SECRET).refused("secret-pending"));
    grant(&egress, "g-1", "origin.test.example", &finding, true);
    let passed = runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        let send = || session.send(session.build("POST", "/open/x", SECRET.as_bytes()));
        let (a, b, c) = tokio::join!(send(), send(), send());
        [a, b, c]
            .into_iter()
            .filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200))
            .count()
    });
    assert_eq!(passed, 1);
}

#[test]
fn without_anybody_to_ask_it_is_refused() {
    let origin = Origin::https(echo);
    let route = Route { methods: any(), on_secret: OnSecret::Ask, ..origin.route() };
    let egress = Setup::new()
        .secret("api", Inject::Bearer, SECRET)
        .route(Route { paths: paths(&["/v1"]), credential: Some("api".to_owned()), ..route.clone() })
        .route(route)
        .start();
    let body = post(&egress, &origin, "/x", SECRET).refused("secret-sent").json();
    assert!(body.get("ask").is_none(), "{body}");
    assert!(!fs::read_to_string(egress.path("state/audit.jsonl")).unwrap().contains("\"held\""));
}
