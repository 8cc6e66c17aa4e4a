//! Routes and denies, as they show on the wire.

use bottle::policy::egress::{Deny, Route};

use super::support::{Egress, Origin, Setup, any, deny, echo, methods, paths};

#[test]
fn a_host_that_no_route_names_is_refused_inside_the_session() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    let (response, client) = egress.connect("evil.example.net:443");
    // CONNECT itself is accepted: only inside can common clients show what the refusal says.
    assert_eq!(response.status, 200, "{response:?}");
    let mut client = client.handshake(&egress, "evil.example.net", &["http/1.1"]).unwrap();
    let response = client.get("evil.example.net", "/").refused("route-missing");
    assert_eq!(response.status, 403);
}

#[test]
fn a_wildcard_stands_for_one_or_more_labels_and_never_for_the_apex() {
    let origin = Origin::https(echo).named("*.test.example");
    let route = origin.route();
    let mut setup = Setup::new().route(route);
    for name in ["a.test.example", "b.a.test.example", "test.example", "xtest.example", "a.test.example.net"]
    {
        setup = setup.host(name, "127.0.0.1");
    }
    let egress = setup.start();
    let at = |name: &str| format!("https://{name}:{}/", origin.port);
    egress.get(&at("a.test.example")).ok();
    // Allowed by the route; the origin's certificate has one label only.
    egress.get(&at("b.a.test.example")).refused("upstream-tls");
    for name in ["test.example", "xtest.example", "a.test.example.net"] {
        egress.get(&at(name)).refused("route-missing");
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn another_port_is_refused_and_never_dialled() {
    let origin = Origin::https(echo);
    let other = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&other.url("/")).refused("port-denied");
    other.untouched();
}

#[test]
fn a_route_means_https_unless_it_says_http() {
    let origin = Origin::http(echo);
    let mut route = origin.route();
    route.scheme = bottle::policy::egress::Scheme::Https;
    let egress = Setup::new().route(route).start();
    egress.get(&origin.url("/")).refused("port-denied");
    origin.untouched();
}

#[test]
fn a_route_for_http_is_none_for_connect() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&format!("https://{}/", origin.authority())).refused("port-denied");
    origin.untouched();
}

#[test]
fn plain_http_works_where_a_route_says_so() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/a?b=c")).ok();
    assert_eq!(origin.last().line(), "GET /a?b=c HTTP/1.1");
    egress.request("POST", &origin.url("/"), &[], b"x").refused("method-denied");
}

#[test]
fn origin_form_outside_of_a_session_is_refused() {
    let origin = Origin::http(echo);
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.dial();
    client.say(&format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", origin.authority()));
    client.response("GET").refused("request-malformed");
    origin.untouched();
}

#[test]
fn an_https_url_in_plain_text_is_refused() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    let mut client = egress.dial();
    client.say(&format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url("/"), origin.authority()));
    let response = client.response("GET");
    assert!([400, 403].contains(&response.status), "{response:?}");
    origin.untouched();
}

#[test]
fn only_get_and_head_are_allowed_where_nothing_else_is_named() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).ok();
    assert_eq!(egress.request("HEAD", &origin.url("/"), &[], b"").status, 200);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "ANY", "GETX"] {
        egress.request(method, &origin.url("/"), &[], b"").refused("method-denied");
    }
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn any_allows_every_method() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(Route { methods: any(), ..origin.route() }).start();
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND", "x-own"] {
        egress.request(method, &origin.url("/"), &[], b"").ok();
    }
}

#[test]
fn a_method_override_header_is_judged_as_a_method_too() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let header = format!("{name}: delete");
        egress.request("GET", &origin.url("/"), &[&header], b"").refused("method-denied");
    }
    egress.request("GET", &origin.url("/"), &["X-HTTP-Method-Override: HEAD"], b"").ok();
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn no_request_is_judged_as_often_as_it_has_headers() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    let headers = ["X-HTTP-Method: HEAD"; 4];
    egress.request("GET", &origin.url("/"), &headers[..3], b"").ok();
    egress.request("GET", &origin.url("/"), &headers, b"").refused("request-malformed");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_header_that_is_a_path_to_some_origins_is_refused() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for name in ["X-Original-URL", "X-Rewrite-URL"] {
        let header = format!("{name}: /admin");
        egress.request("GET", &origin.url("/"), &[&header], b"").refused("path-denied");
    }
    assert_eq!(origin.seen().len(), 0);
}

fn ok_only() -> (Origin, Egress) {
    let origin = Origin::https(echo);
    let route = Route { paths: paths(&["/ok/**", "/one/*", "/exact"]), methods: any(), ..origin.route() };
    let egress = Setup::new().route(route).start();
    (origin, egress)
}

#[test]
fn a_star_is_one_segment_and_two_are_any_number() {
    let (origin, egress) = ok_only();
    for path in ["/ok/", "/ok/a", "/ok/a/b/c", "/one/a", "/exact", "/ok/a?x=/denied", "/exact?q"] {
        egress.get(&origin.url(path)).ok();
    }
    let count = origin.seen().len();
    for path in ["/", "/okay", "/one/a/b", "/exact/", "/exactly", "/Exact", "/OK/a", "/denied?x=/ok/a"] {
        egress.get(&origin.url(path)).refused("path-denied");
    }
    assert_eq!(origin.seen().len(), count);
}

#[test]
fn no_reading_of_a_path_gets_past_a_rule() {
    let (origin, egress) = ok_only();
    for path in [
        "/ok/../denied",
        "/ok/..%2fdenied",
        "/ok/..%2Fdenied",
        "/ok/%2e%2e/denied",
        "/ok/%2E./denied",
        "/ok/.%2e/denied",
        "/ok/%2e%2e%2fdenied",
        "/ok/a/../../denied",
        "/ok%2f..%2fdenied",
        "/ok/..;/denied",
        "/ok/..;x=y/denied",
        "/ok/..\\denied",
        "/ok/..%5cdenied",
        "/ok\\..\\denied",
        "/ok/%252e%252e/denied",
        "/ok/%252e%252e%252fdenied",
        "/ok/..%252fdenied",
        "/ok/%00",
        "/ok/a%00b",
        "/ok/%",
        "/ok/%2",
        "/ok/%zz",
        "/ok/..%c0%afdenied",
        "/ok/%c0%ae%c0%ae/denied",
        "/ok/%uff0e%uff0e/denied",
        "/ok/%0d%0aX:%20y",
        "/ok/%0a",
        "//denied",
        "//ok/../denied",
        "/ok/..//denied",
        "/ok//../../denied",
        "/./ok/../denied",
        "/exact/..%2f../denied",
        "/denied/..%2fok/a/../../denied",
        "/one/..%2fdenied",
        "/one/a%2f..%2f..%2fdenied",
    ] {
        let mut client = egress.open(&origin.authority());
        let response = client.get(&origin.authority(), path);
        let code = response.header("x-bottle-reason").unwrap_or_default().to_owned();
        assert!(
            ["path-denied", "path-ambiguous", "request-malformed"].contains(&code.as_str()),
            "{path}: {response:?}"
        );
    }
    origin.untouched();
}

#[test]
fn an_encoded_slash_works_where_every_reading_is_allowed() {
    let origin = Origin::https(echo);
    let egress = Setup::new().route(origin.route()).start();
    for path in
        ["/@scope%2fname", "/@scope%2Fname/-/name-1.0.0.tgz", "/a%20b", "/caf%c3%a9", "/a+b~c!$&'()*,;=:@"]
    {
        egress.get(&origin.url(path)).ok();
        // As it was sent: an origin may tell the encoded slash from a plain one.
        assert_eq!(origin.last().target(), path);
    }
}

#[test]
fn a_deny_beats_every_route() {
    let origin = Origin::https(echo);
    let other = Origin::https(echo).named("other.test.example");
    let egress = Setup::new()
        .route(origin.route())
        .route(other.route())
        .deny(deny("other.test.example"))
        .deny(Deny { methods: methods(&["HEAD"]), paths: paths(&["/secret/**"]), ..deny("*.test.example") })
        .start();
    egress.get(&other.url("/")).refused("route-denied");
    other.untouched();
    egress.get(&origin.url("/secret/a")).ok();
    let response = egress.request("HEAD", &origin.url("/secret/a"), &[], b"");
    assert_eq!(response.header("x-bottle-reason"), Some("route-denied"), "{response:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_deny_counts_as_soon_as_one_reading_matches_it() {
    let origin = Origin::https(echo);
    let egress = Setup::new()
        .route(Route { methods: any(), ..origin.route() })
        .deny(Deny { paths: paths(&["/admin/**", "/admin"]), ..deny("origin.test.example") })
        .start();
    for path in
        ["/admin", "/admin/x", "/x/../admin", "/x%2f..%2fadmin", "/%61dmin/x", "/x/%2e%2e/admin", "//admin"]
    {
        let response = egress.get(&origin.url(path));
        assert!(response.status >= 400, "{path}: {response:?}");
        let code = response.header("x-bottle-reason");
        assert!(matches!(code, Some("route-denied" | "path-ambiguous")), "{path}: {response:?}");
    }
    origin.untouched();
}

#[test]
fn the_most_specific_route_decides_which_credential_goes_in() {
    use bottle::policy::egress::Inject;
    let origin = Origin::https(echo).named("a.test.example");
    let named = |host: &str, path: &str, credential: &str| Route {
        host: host.to_owned(),
        paths: paths(&[path]),
        credential: Some(credential.to_owned()),
        ..origin.route()
    };
    let header = || Inject::Header("x-token".to_owned());
    let egress = Setup::new()
        .secret("wide", header(), "wide-secret-value")
        .secret("host", header(), "host-secret-value")
        .secret("path", header(), "path-secret-value")
        .host("b.test.example", "127.0.0.1")
        .route(named("*.test.example", "/**", "wide"))
        .route(named("a.test.example", "/**", "host"))
        .route(named("a.test.example", "/v1/**", "path"))
        .start();
    for (url, secret) in [
        (format!("https://b.test.example:{}/v1/x", origin.port), "wide-secret-value"),
        (origin.url("/v2/x"), "host-secret-value"),
        (origin.url("/v1/x"), "path-secret-value"),
    ] {
        egress.get(&url).ok();
        assert_eq!(origin.last().header("x-token"), Some(secret), "{url}");
    }
}

#[test]
fn an_international_name_is_compared_in_ascii() {
    let origin = Origin::https(echo).named("xn--bcher-kva.test.example");
    let egress = Setup::new().route(origin.route()).start();
    egress.get(&origin.url("/")).ok();
    // Not the name, though it looks like it (a Cyrillic letter).
    let response = egress.get(&format!("https://xn--bher-uqf6c.test.example:{}/", origin.port));
    assert!(response.status >= 400, "{response:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_later_request_on_the_connection_is_judged_again() {
    let (origin, egress) = ok_only();
    let mut client = egress.open(&origin.authority());
    client.get(&origin.authority(), "/ok/a").ok();
    client.get(&origin.authority(), "/denied").refused("path-denied");
    // A refusal is an answer: the connection goes on.
    client.get(&origin.authority(), "/ok/b").ok();
    assert_eq!(origin.targets(), ["/ok/a", "/ok/b"]);
}

#[test]
fn a_refusal_names_the_rule_and_what_would_allow_it() {
    let (origin, egress) = ok_only();
    let body = egress.get(&origin.url("/denied")).refused("path-denied").json();
    assert_eq!(body["rule"], "bottle.yaml:7", "{body}");
    assert!(body["hint"].as_str().is_some_and(|hint| hint.contains("paths")), "{body}");
    let egress = Setup::new().route(origin.route()).deny(deny("origin.test.example")).start();
    let body = egress.get(&origin.url("/")).refused("route-denied").json();
    assert_eq!(body["rule"], "bottle.yaml:19", "{body}");
}
