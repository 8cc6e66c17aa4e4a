//! Credentials: they go in on the matching route only, and are seen nowhere else.

use std::fs;

use bottle::policy::egress::{Inject, Route};
use bottle::policy::gate::SecretSource;

use super::support::{Egress, Http2, Origin, Setup, any, echo, eventually, paths, runtime};
use crate::support;

const SECRET: &str = "s3cr3t-0123456789-abcdefghij";

fn header() -> Inject {
    Inject::Header("x-api-key".to_owned())
}

/// A route below `/v1` with the credential `api`, and one below `/open` without.
fn world(inject: Inject) -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let egress = routes(Setup::new().secret("api", inject, SECRET), &origin).start();
    (origin, egress)
}

fn routes(setup: Setup, origin: &Origin) -> Setup {
    let route = Route { paths: paths(&["/v1/**"]), methods: any(), ..origin.route() };
    setup
        .route(Route { credential: Some("api".to_owned()), ..route.clone() })
        .route(Route { paths: paths(&["/open/**"]), ..route })
}

#[test]
fn each_way_of_injecting_reaches_the_origin() {
    for (inject, name, value) in [
        (header(), "x-api-key", SECRET.to_owned()),
        (Inject::Bearer, "authorization", format!("Bearer {SECRET}")),
        (
            Inject::Basic("x-access-token".to_owned()),
            "authorization",
            "Basic eC1hY2Nlc3MtdG9rZW46czNjcjN0LTAxMjM0NTY3ODktYWJjZGVmZ2hpag==".to_owned(),
        ),
    ] {
        let (origin, egress) = world(inject);
        egress.get(&origin.url("/v1/x")).ok();
        assert_eq!(origin.last().header(name), Some(value.as_str()));
        egress.get(&origin.url("/open/x")).ok();
        assert_eq!(origin.last().header(name), None, "it went to a route without it");
    }
}

#[test]
fn a_credential_goes_into_http2_requests_as_well() {
    let (origin, egress) = world(header());
    runtime().block_on(async {
        let session = Http2::open(&egress, &origin.authority()).await;
        session.get("/v1/x").await.ok();
    });
    assert_eq!(origin.last().header("x-api-key"), Some(SECRET));
}

#[test]
fn the_agents_own_value_is_dropped_and_recorded() {
    let (origin, egress) = world(header());
    let lines = ["X-Api-Key: placeholder", "x-api-key: second", "X-Other: kept"];
    egress.request("GET", &origin.url("/v1/own"), &lines, b"").ok();
    let seen = origin.last();
    assert_eq!(seen.head.to_lowercase().matches("x-api-key").count(), 1, "{}", seen.head);
    assert_eq!(seen.header("x-api-key"), Some(SECRET));
    assert_eq!(seen.header("x-other"), Some("kept"));
    let line = egress.audited(|line| line["path"] == "/v1/own");
    assert_eq!(line["credential"], "api", "{line}");
    assert_eq!(line["replaced"], true, "{line}");
    egress.request("GET", &origin.url("/v1/none"), &[], b"").ok();
    let line = egress.audited(|line| line["path"] == "/v1/none");
    assert_ne!(line["replaced"], true, "{line}");
}

#[test]
fn the_agents_own_value_can_not_be_kept_by_naming_it_in_connection() {
    let (origin, egress) = world(header());
    let lines = ["Connection: X-Api-Key", "X-Api-Key: mine"];
    egress.request("GET", &origin.url("/v1/x"), &lines, b"").ok();
    assert_eq!(origin.last().header("x-api-key"), Some(SECRET));
}

#[test]
fn a_credential_in_a_trailer_of_the_agents_is_not_taken_for_the_header() {
    let (origin, egress) = world(header());
    let mut client = egress.open(&origin.authority());
    client.say(&format!(
        "POST /v1/x HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Api-Key: mine\r\n\r\n",
        origin.authority()
    ));
    if client.response("POST").status == 200 {
        assert_eq!(origin.last().header("x-api-key"), Some(SECRET));
        assert!(!origin.last().trailers.contains("mine"), "{}", origin.last().trailers);
    }
}

#[test]
fn a_missing_credential_is_told_while_other_routes_work() {
    let origin = Origin::https(echo);
    let setup = Setup::new().credential("api", header(), SecretSource::Env("BOTTLE_TEST_UNSET".to_owned()));
    let egress = routes(setup, &origin).start();
    let response = egress.get(&origin.url("/v1/x")).refused("credential-missing");
    assert_eq!(response.status, 502);
    assert!(response.text().contains("api"), "{response:?}");
    egress.get(&origin.url("/open/x")).ok();
    assert_eq!(origin.targets(), ["/open/x"]);
    let health = egress.admin("/healthz");
    assert!(health.text().contains("`api`") || health.text().contains("\"api\""), "{health:?}");
    assert!(health.text().contains("BOTTLE_TEST_UNSET"), "{health:?}");
}

#[test]
fn an_empty_secret_is_a_missing_one() {
    let origin = Origin::https(echo);
    let egress = routes(Setup::new().secret("api", header(), ""), &origin).start();
    egress.get(&origin.url("/v1/x")).refused("credential-missing");
    origin.untouched();
}

#[test]
fn a_secret_with_a_line_break_or_nul_is_refused() {
    let origin = Origin::https(echo);
    for value in
        ["a-secret\r\nX-Smuggled: 1", "a-secret\nb", "a-secret\rb", "a-sec\0ret", "\r\n", "a-secret\n\n"]
    {
        let egress = routes(Setup::new().secret_file("api", header(), value), &origin).start();
        let response = egress.get(&origin.url("/v1/x")).refused("credential-missing");
        assert!(!response.text().contains("a-sec"), "{response:?}");
    }
    origin.untouched();
}

#[test]
fn a_file_is_read_without_its_last_line_break_and_again_when_it_changes() {
    let origin = Origin::https(echo);
    let egress = routes(Setup::new().secret_file("api", header(), "first-secret-value\n"), &origin).start();
    let path = egress.path("secrets/api");
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/v1/x").ok();
    assert_eq!(origin.last().header("x-api-key"), Some("first-secret-value"));
    // By rename, as secret stores do, and in place.
    fs::write(egress.path("secrets/new"), "second-secret-value\n").unwrap();
    fs::rename(egress.path("secrets/new"), &path).unwrap();
    eventually("the second value is used", || {
        client.get(&origin.authority(), "/v1/x").ok();
        origin.last().header("x-api-key") == Some("second-secret-value")
    });
    fs::write(&path, "third-secret-value-of-another-length\r\n").unwrap();
    eventually("the third value is used", || {
        client.get(&origin.authority(), "/v1/x").ok();
        origin.last().header("x-api-key") == Some("third-secret-value-of-another-length")
    });
    fs::remove_file(&path).unwrap();
    eventually("the file is missed", || {
        client.get(&origin.authority(), "/v1/x").header("x-bottle-reason") == Some("credential-missing")
    });
    fs::write(&path, "fourth-secret-value").unwrap();
    eventually("the file is there again", || client.get(&origin.authority(), "/v1/x").status == 200);
}

#[test]
fn a_link_that_leaves_its_directory_is_refused() {
    let origin = Origin::https(echo);
    let setup = Setup::new().secret_file("api", header(), "unused");
    let path = setup.secret_path("api");
    let outside = setup.root.path().join("outside");
    fs::write(&outside, "outside-secret").unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    let egress = routes(setup, &origin).start();
    egress.get(&origin.url("/v1/x")).refused("credential-missing");
    fs::remove_file(egress.path("secrets/api")).unwrap();
    std::os::unix::fs::symlink("../outside", egress.path("secrets/api")).unwrap();
    egress.get(&origin.url("/v1/x")).refused("credential-missing");
    origin.untouched();
}

#[test]
fn a_link_within_its_directory_works_as_secret_stores_make_it() {
    let origin = Origin::https(echo);
    let setup = Setup::new().secret_file("api", header(), "unused");
    let path = setup.secret_path("api");
    fs::remove_file(&path).unwrap();
    let secrets = path.parent().unwrap();
    fs::create_dir(secrets.join("..data")).unwrap();
    fs::write(secrets.join("..data/api"), "linked-secret-value").unwrap();
    std::os::unix::fs::symlink("..data/api", &path).unwrap();
    let egress = routes(setup, &origin).start();
    egress.get(&origin.url("/v1/x")).ok();
    assert_eq!(origin.last().header("x-api-key"), Some("linked-secret-value"));
}

#[test]
fn a_directory_or_a_device_is_no_secret() {
    let origin = Origin::https(echo);
    for target in ["/dev/zero", "/proc/self/environ"] {
        let source = SecretSource::File(target.to_owned());
        let egress = routes(Setup::new().credential("api", header(), source), &origin).start();
        let response = egress.get(&origin.url("/v1/x"));
        assert_ne!(response.status, 200, "{target}");
    }
    let setup = Setup::new();
    let source = SecretSource::File(setup.root.path().join("secrets").display().to_string());
    let egress = routes(setup.credential("api", header(), source), &origin).start();
    egress.get(&origin.url("/v1/x")).refused("credential-missing");
}

#[test]
fn a_redirect_to_another_host_carries_nothing() {
    let other = Origin::https(echo).named("other.test.example");
    let target = other.url("/landing");
    let origin = Origin::https(move |_, conn| {
        conn.say(&format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"))
    });
    let route = Route { credential: Some("api".to_owned()), ..origin.route() };
    let egress = Setup::new().secret("api", Inject::Bearer, SECRET).route(route).route(other.route()).start();
    let response = egress.get(&origin.url("/v1/x"));
    // The redirect is the agent's to follow: egress makes no request by itself.
    assert_eq!(response.status, 302, "{response:?}");
    other.untouched();
    egress.get(response.header("location").unwrap()).ok();
    assert!(!other.last().head.contains(SECRET));
    assert_eq!(other.last().header("authorization"), None);
}

#[test]
fn a_credential_never_travels_in_the_clear() {
    let origin = Origin::http(echo);
    let setup = Setup::new()
        .secret("api", header(), SECRET)
        .route(Route { credential: Some("api".to_owned()), ..origin.route() });
    // Either such a policy is none, or its requests are refused; the secret leaves in no case.
    let text = serde_yaml::to_string(&setup.policy).unwrap();
    let policy: bottle::policy::egress::EgressPolicy = serde_yaml::from_str(&text).unwrap();
    if bottle::policy::rules::Rules::new(&policy, &[]).is_err() {
        setup.fails();
    } else {
        let egress = setup.start();
        let response = egress.get(&origin.url("/v1/x"));
        assert!(response.status >= 400, "{response:?}");
    }
    assert!(origin.seen().iter().all(|seen| !seen.head.contains(SECRET)));
}

#[test]
fn a_route_whose_credential_is_nowhere_is_no_policy() {
    let origin = Origin::https(echo);
    let log = Setup::new().route(Route { credential: Some("ghost".to_owned()), ..origin.route() }).fails();
    assert!(log.contains("ghost"), "{log}");
}

#[test]
fn a_refused_request_touches_no_credential() {
    let (origin, egress) = world(header());
    egress.get(&origin.url("/denied")).refused("path-denied");
    let line = egress.audited_reason("path-denied");
    assert!(line.get("credential").is_none_or(serde_json::Value::is_null), "{line}");
    origin.untouched();
}

#[test]
fn a_credential_goes_into_a_websocket_request() {
    let node = super::support::Node::start();
    let route = Route { websocket: true, credential: Some("api".to_owned()), ..node.route() };
    let egress = Setup::new().secret("api", Inject::Bearer, SECRET).route(route).start();
    let mut client = egress.open(&node.authority());
    client.say(&format!(
        "GET /chat HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer mine\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        node.authority()
    ));
    let head = client.head();
    // Node's origin says which authorization it got.
    assert!(head.contains(" 101 "), "{head}");
    assert!(head.to_lowercase().contains("x-authorized: true"), "{head}");
}

#[test]
fn a_secret_is_seen_nowhere_but_upstream() {
    let origin = Origin::https(echo);
    let other = "file-secret-zyxwvu-987654";
    let setup = Setup::new().secret("api", Inject::Bearer, SECRET).secret_file("second", header(), other);
    let egress = routes(setup, &origin).start();
    egress.get(&origin.url("/v1/x")).ok();
    egress.request("GET", &origin.url("/v1/y"), &["Authorization: Bearer mine"], b"").ok();
    egress.get(&origin.url("/denied")).refused("path-denied");
    egress.audited(|line| line["path"] == "/v1/y");
    egress.audited_reason("path-denied");
    let mut places = vec![
        ("stdout", egress.stdout()),
        ("stderr", egress.log()),
        ("/policy", egress.admin("/policy").ok().text()),
        ("/metrics", egress.admin("/metrics").ok().text()),
        ("/healthz", egress.admin("/healthz").text()),
        ("cmdline", fs::read_to_string(format!("/proc/{}/cmdline", egress.pid())).unwrap()),
    ];
    for directory in ["state", "trust"] {
        for file in support::files(&egress.path(directory)) {
            places.push((directory, String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()));
        }
    }
    let basic = "czNjcjN0LTAxMjM0NTY3ODk";
    for (place, text) in places {
        for secret in [SECRET, other, basic] {
            assert!(!text.contains(secret), "the secret is in {place}: {text}");
        }
    }
}
