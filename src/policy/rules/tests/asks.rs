//! What a refusal says to ask for would allow the very request that was refused, and nothing wider than it must.

use super::*;
use crate::policy::ask::{Ask, RouteAsk};

fn policy_with_desk(routes: Vec<Route>, deny: Vec<Deny>) -> EgressPolicy {
    EgressPolicy { ask: Some("http://supervise:7331".to_owned()), ..policy(routes, deny) }
}

fn asked(rules: &Rules, request: &str) -> Option<RouteAsk> {
    let asking = ask(rules, request).expect_err(request).ask?;
    assert_eq!(asking.url, "http://supervise:7331");
    match asking.ask {
        Ask::Route(ask) => Some(ask),
        other => panic!("{other:?}"),
    }
}

/// The route that an approval would make of it.
fn granted(ask: RouteAsk) -> Route {
    let RouteAsk { host, scheme, port, methods, paths, websocket } = ask;
    let plain = route("grant", &host);
    let usual = if scheme == Scheme::Http { 80 } else { 443 };
    let methods = if methods.is_empty() { strings("GET HEAD") } else { methods };
    let paths = if paths.is_empty() { strings("/**") } else { paths };
    Route { scheme, ports: vec![port.unwrap_or(usual)], methods, paths, websocket, ..plain }
}

fn some_routes() -> Vec<Route> {
    vec![Route {
        methods: strings("GET"),
        paths: strings("/a/**"),
        ..route("bottle.yaml:7", "a.example.org")
    }]
}

#[test]
fn what_is_asked_for_allows_what_was_refused() {
    let rules = Rules::new(&policy_with_desk(some_routes(), Vec::new()), &[]).unwrap();
    for (request, reason) in [
        ("GET https://b.example.org/x", "route-missing"),
        ("POST https://b.example.org/x/y.json", "route-missing"),
        ("GET https://a.example.org:8443/a/x", "port-denied"),
        ("GET http://a.example.org/a/x", "port-denied"),
        ("POST https://a.example.org/a/x", "method-denied"),
        ("PROPFIND https://a.example.org/a/x", "method-denied"),
        ("GET https://a.example.org/b/x", "path-denied"),
        ("GET https://a.example.org/b%2fx", "path-denied"),
        ("GET https://a.example.org/%2f/%c3%a9", "path-denied"),
        ("WEBSOCKET https://a.example.org/a/x", "upgrade-denied"),
        ("GET https://b.example.org/a*b", "route-missing"),
    ] {
        assert_eq!(code(&rules, request), reason, "{request}");
        let ask = asked(&rules, request).expect(request);
        let granted = grant(vec![granted(ask)]);
        let after = Rules::new(&policy_with_desk(some_routes(), Vec::new()), &[granted]).unwrap();
        assert_eq!(code(&after, request), "allowed", "{request}");
    }
}

#[test]
fn no_more_than_the_request_is_asked_for_where_a_pattern_can_say_it() {
    let rules = Rules::new(&policy_with_desk(some_routes(), Vec::new()), &[]).unwrap();
    let ask = asked(&rules, "POST https://b.example.org:8443/v1/jobs").unwrap();
    let expected = RouteAsk {
        host: "b.example.org".to_owned(),
        scheme: Scheme::Https,
        port: Some(8443),
        methods: strings("POST"),
        paths: strings("/v1/jobs"),
        websocket: false,
    };
    assert_eq!(ask, expected);
}

#[test]
fn what_no_approval_could_change_names_no_request() {
    let deny = vec![deny("bottle.yaml:19", "evil.example.org")];
    let rules = Rules::new(&policy_with_desk(some_routes(), deny), &[]).unwrap();
    for (request, reason) in [
        ("GET https://evil.example.org/", "route-denied"),
        ("GET https://192.0.2.1/", "address-denied"),
        ("GET https://a.example.org/a/..%2f..%2fx", "path-ambiguous"),
        ("get https://a.example.org/a/x", "method-denied"),
        ("ANY https://a.example.org/a/x", "method-denied"),
    ] {
        let denied = ask(&rules, request).expect_err(request);
        assert_eq!((denied.reason.code(), denied.ask), (reason, None), "{request}");
    }
}

#[test]
fn without_anybody_to_be_asked_no_request_is_named() {
    let rules = Rules::new(&policy(some_routes(), Vec::new()), &[]).unwrap();
    assert_eq!(ask(&rules, "GET https://b.example.org/x").unwrap_err().ask, None);
}

#[test]
fn an_address_that_is_none_is_no_place_to_ask() {
    for url in
        ["", "supervise:7331", "https://supervise:7331", "http://supervise", "http://a b:1", "http://a:1\n"]
    {
        let policy = EgressPolicy { ask: Some(url.to_owned()), ..policy(Vec::new(), Vec::new()) };
        assert!(Rules::new(&policy, &[]).is_err(), "{url:?}");
    }
}
