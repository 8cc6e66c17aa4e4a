//! Which route decides where several allow a request.

use super::*;

#[test]
fn a_named_host_comes_before_a_wildcard_and_a_longer_domain_before_a_shorter_one() {
    let rules = rules(
        vec![
            Route { paths: strings("/v1/x"), ..route("short", "*.example.org") },
            Route { paths: strings("/v1/x"), ..route("long", "*.a.example.org") },
            route("exact", "b.a.example.org"),
        ],
        vec![],
    );
    assert_eq!(ask(&rules, "GET https://b.a.example.org/v1/x"), Ok("exact".into()));
    assert_eq!(ask(&rules, "GET https://c.a.example.org/v1/x"), Ok("long".into()));
    assert_eq!(ask(&rules, "GET https://c.b.a.example.org/v1/x"), Ok("long".into()));
    assert_eq!(ask(&rules, "GET https://a.example.org/v1/x"), Ok("short".into()));
}

#[test]
fn a_less_specific_route_still_allows_what_the_more_specific_one_does_not() {
    let rules = rules(
        vec![
            Route { methods: strings("ANY"), ..route("wide", "*.example.org") },
            Route { paths: strings("/v1/**"), ..route("exact", "api.example.org") },
            Route { websocket: true, ..route("socket", "*.example.org") },
        ],
        vec![],
    );
    assert_eq!(ask(&rules, "GET https://api.example.org/v1/x"), Ok("exact".into()));
    assert_eq!(ask(&rules, "POST https://api.example.org/v1/x"), Ok("wide".into()));
    assert_eq!(ask(&rules, "WEBSOCKET https://api.example.org/v1/x"), Ok("socket".into()));
}

#[test]
fn a_longer_literal_path_comes_first_and_one_without_a_wildcard_before_one_with() {
    let with = |source, paths| Route { paths: strings(paths), ..route(source, "api.example.org") };
    let rules = rules(
        vec![with("all", "/**"), with("v1", "/v1/**"), with("x*", "/v1/x*"), with("x", "/v1/x /**")],
        vec![],
    );
    assert_eq!(ask(&rules, "GET https://api.example.org/v2"), Ok("all".into()));
    assert_eq!(ask(&rules, "GET https://api.example.org/v1/y"), Ok("v1".into()));
    assert_eq!(ask(&rules, "GET https://api.example.org/v1/xy"), Ok("x*".into()));
    assert_eq!(ask(&rules, "GET https://api.example.org/v1/x"), Ok("x".into()));
}

#[test]
fn a_credential_is_not_won_by_a_reading() {
    let secret = Route { paths: strings("/api/**"), ..route("secret", "api.example.org") };
    let rules = rules(vec![secret, route("plain", "api.example.org")], vec![]);
    assert_eq!(ask(&rules, "GET https://api.example.org/api/x"), Ok("secret".into()));
    for path in ["/x/../api/x", "/api/../x", "/api/..%2fx", "/%61pi/x", "/api/..;/x"] {
        assert_eq!(ask(&rules, &format!("GET https://api.example.org{path}")), Ok("plain".into()), "{path}");
    }
}

#[test]
fn the_least_specific_match_of_a_reading_counts() {
    let patchwork = Route { paths: strings("/api/x/** /**"), ..route("patchwork", "api.example.org") };
    let plain = Route { paths: strings("/api/**"), ..route("plain", "api.example.org") };
    let rules = rules(vec![patchwork, plain], vec![]);
    assert_eq!(ask(&rules, "GET https://api.example.org/api/x/y"), Ok("patchwork".into()));
    assert_eq!(ask(&rules, "GET https://api.example.org/api/x/../y"), Ok("plain".into()));
}

#[test]
fn a_named_method_comes_before_any() {
    let any = Route { methods: strings("ANY"), ..route("any", "api.example.org") };
    let rules = rules(vec![any, route("get", "api.example.org")], vec![]);
    assert_eq!(ask(&rules, "GET https://api.example.org/"), Ok("get".into()));
    assert_eq!(ask(&rules, "PUT https://api.example.org/"), Ok("any".into()));
}

#[test]
fn the_first_of_equals_decides_and_the_manifest_comes_before_grants() {
    let policy = policy(vec![route("first", "api.example.org"), route("second", "api.example.org")], vec![]);
    let more = Route { paths: strings("/v1/**"), ..route("narrow", "api.example.org") };
    let rules = Rules::new(&policy, &[grant(vec![route("granted", "api.example.org"), more])])
        .expect("a valid policy");
    assert_eq!(ask(&rules, "GET https://api.example.org/"), Ok("first".into()));
    assert_eq!(ask(&rules, "GET https://api.example.org/v1/x"), Ok("narrow".into()));
}

#[test]
fn the_nearest_route_is_the_one_that_allows_the_most() {
    let rules = rules(
        vec![
            Route { ports: vec![8443], ..route("port", "api.example.org") },
            Route { methods: strings("POST"), ..route("method", "api.example.org") },
            Route { paths: strings("/v1"), ..route("path", "*.example.org") },
        ],
        vec![],
    );
    let nearest = |request| {
        let denied = ask(&rules, request).expect_err(request);
        (denied.reason.code(), denied.rule.unwrap_or_default())
    };
    assert_eq!(nearest("GET https://api.example.org/v2"), ("path-denied", "path".into()));
    assert_eq!(nearest("PUT https://api.example.org/v2"), ("method-denied", "method".into()));
    assert_eq!(nearest("PUT https://api.example.org:9443/v2"), ("port-denied", "port".into()));
    assert_eq!(nearest("WEBSOCKET https://api.example.org/v1"), ("upgrade-denied", "path".into()));
}
