//! What a hostile agent asks for, by the sentence of the policy that refuses it.

use super::*;

fn check(rules: &Rules, table: &[(&str, &str)]) {
    for (request, expected) in table {
        assert_eq!(code(rules, request), *expected, "{request}");
    }
}

#[test]
fn only_a_host_that_a_route_names_is_reached() {
    let rules = rules(vec![route("f:1", "api.example.org"), route("f:2", "*.example.com")], vec![]);
    check(
        &rules,
        &[
            ("GET https://api.example.org/", "allowed"),
            ("GET https://API.Example.ORG/", "allowed"),
            ("GET https://api.example.org./", "allowed"),
            ("GET https://example.org/", "route-missing"),
            ("GET https://x.api.example.org/", "route-missing"),
            ("GET https://api.example.org.evil.example/", "route-missing"),
            ("GET https://evilapi.example.org/", "route-missing"),
            ("GET https://api-example.org/", "route-missing"),
            // The wildcard is one or more labels, never the domain itself.
            ("GET https://a.example.com/", "allowed"),
            ("GET https://a.b.c.example.com/", "allowed"),
            ("GET https://example.com/", "route-missing"),
            ("GET https://example.com./", "route-missing"),
            ("GET https://evilexample.com/", "route-missing"),
            ("GET https://example.com.evil.example/", "route-missing"),
            ("GET https://com/", "route-missing"),
        ],
    );
}

#[test]
fn a_name_in_another_script_is_its_ascii_form() {
    let rules = rules(vec![route("f:1", "bücher.example"), route("f:2", "*.xn--bcher-kva.example")], vec![]);
    check(
        &rules,
        &[
            ("GET https://xn--bcher-kva.example/", "allowed"),
            ("GET https://a.XN--BCHER-KVA.example./", "allowed"),
            ("GET https://bucher.example/", "route-missing"),
        ],
    );
}

#[test]
fn an_address_is_reached_only_where_a_route_names_it() {
    let routes = vec![
        route("f:1", "203.0.113.7"),
        route("f:2", "2001:db8::7"),
        route("f:3", "[2001:db8::8]"),
        route("f:4", "*.example.org"),
    ];
    check(
        &rules(routes, vec![]),
        &[
            ("GET https://203.0.113.7/", "allowed"),
            ("GET https://[::ffff:203.0.113.7]/", "allowed"),
            ("GET https://[2001:DB8:0::7]/", "allowed"),
            ("GET https://[2001:db8::8]/", "allowed"),
            ("GET https://203.0.113.8/", "address-denied"),
            ("GET https://127.0.0.1/", "address-denied"),
            ("GET https://169.254.169.254/", "address-denied"),
            ("GET https://[::1]/", "address-denied"),
            ("GET https://[2001:db8::9]/", "address-denied"),
        ],
    );
    // A route to an IPv6 address that stands for an IPv4 one is a route to that.
    check(
        &rules(vec![route("f:1", "::ffff:203.0.113.7")], vec![]),
        &[("GET https://203.0.113.7/", "allowed")],
    );
}

#[test]
fn a_route_means_https_and_its_ports() {
    let web = Route { ports: vec![8443, 9443], ..route("f:1", "web.example.org") };
    let plain = Route { scheme: Scheme::Http, ports: vec![80], ..route("f:2", "plain.example.org") };
    check(
        &rules(vec![web, plain, route("f:3", "api.example.org")], vec![]),
        &[
            ("GET https://api.example.org/", "allowed"),
            ("GET http://api.example.org/", "port-denied"),
            ("GET http://api.example.org:443/", "port-denied"),
            ("GET https://api.example.org:8443/", "port-denied"),
            ("GET https://web.example.org:9443/", "allowed"),
            ("GET https://web.example.org/", "port-denied"),
            ("GET http://plain.example.org/", "allowed"),
            ("GET https://plain.example.org/", "port-denied"),
            ("GET https://plain.example.org:80/", "port-denied"),
        ],
    );
}

#[test]
fn a_method_is_the_one_that_is_written() {
    let any = Route { methods: strings("ANY"), ..route("f:2", "any.example.org") };
    let post = Route { methods: strings("POST M-SEARCH"), ..route("f:3", "post.example.org") };
    check(
        &rules(vec![route("f:1", "api.example.org"), any, post], vec![]),
        &[
            ("GET https://api.example.org/", "allowed"),
            ("HEAD https://api.example.org/", "allowed"),
            ("POST https://api.example.org/", "method-denied"),
            ("OPTIONS https://api.example.org/", "method-denied"),
            ("TRACE https://api.example.org/", "method-denied"),
            ("get https://api.example.org/", "method-denied"),
            ("Get https://api.example.org/", "method-denied"),
            ("GETX https://api.example.org/", "method-denied"),
            ("GE https://api.example.org/", "method-denied"),
            ("ANY https://api.example.org/", "method-denied"),
            ("M-SEARCH https://post.example.org/", "allowed"),
            ("GET https://post.example.org/", "method-denied"),
            ("post https://post.example.org/", "method-denied"),
            ("PROPFIND https://any.example.org/", "allowed"),
            ("post https://any.example.org/", "allowed"),
            // A tunnel is none of them, nor is what is no method.
            ("CONNECT https://any.example.org/", "method-denied"),
            ("connect https://any.example.org/", "method-denied"),
            (" https://any.example.org/", "method-denied"),
            ("G\tET https://any.example.org/", "method-denied"),
            ("GET\r\nX: https://any.example.org/", "method-denied"),
        ],
    );
}

#[test]
fn a_path_is_judged_under_every_reading() {
    let ok = Route { paths: strings("/ok/**"), ..route("f:1", "api.example.org") };
    let one = Route { paths: strings("/@scope/*"), ..route("f:2", "one.example.org") };
    let all = route("f:3", "all.example.org");
    check(
        &rules(vec![ok, one, all], vec![]),
        &[
            ("GET https://api.example.org/ok", "allowed"),
            ("GET https://api.example.org/ok/x", "allowed"),
            ("GET https://api.example.org/ok/./x", "allowed"),
            ("GET https://api.example.org/", "path-denied"),
            ("GET https://api.example.org/OK/x", "path-denied"),
            ("GET https://api.example.org/okay", "path-denied"),
            ("GET https://api.example.org/ok/../denied", "path-denied"),
            ("GET https://api.example.org/ok/..%2fdenied", "path-denied"),
            ("GET https://api.example.org/ok/%2e%2e/denied", "path-denied"),
            ("GET https://api.example.org/ok/.%2e/denied", "path-denied"),
            ("GET https://api.example.org/ok//../denied", "path-denied"),
            ("GET https://api.example.org/ok/..;/denied", "path-denied"),
            ("GET https://api.example.org/ok/..;x=1/denied", "path-denied"),
            ("GET https://api.example.org/ok/%2e%2e%2f%2e%2e/denied", "path-ambiguous"),
            ("GET https://api.example.org/ok/%252e%252e/denied", "path-ambiguous"),
            ("GET https://api.example.org/ok/..\\denied", "path-ambiguous"),
            ("GET https://api.example.org/ok/%00", "path-ambiguous"),
            ("GET https://one.example.org/@scope%2fname", "allowed"),
            ("GET https://one.example.org/@scope/name", "allowed"),
            ("GET https://one.example.org/@other%2fname", "path-denied"),
            ("GET https://one.example.org/@scope%2f..%2f@other", "path-denied"),
            ("GET https://one.example.org/@scope%2fname%2fx", "path-denied"),
            ("GET https://all.example.org/@scope%2fname", "allowed"),
            ("GET https://all.example.org/a/../b", "allowed"),
            // `/**` is every path that can be judged, not every path.
            ("GET https://all.example.org/..", "path-ambiguous"),
            ("GET https://all.example.org/%c0%af", "path-ambiguous"),
            // No path at all, with ports and methods that fit.
            ("GET https://all.example.org", "path-ambiguous"),
        ],
    );
}

#[test]
fn options_for_the_server_itself_is_about_no_path() {
    let rules = rules(vec![Route { methods: strings("ANY"), ..route("f:1", "api.example.org") }], vec![]);
    let host = Host::parse("api.example.org").expect("a name");
    let target = Target { scheme: Scheme::Https, host: &host, port: 443 };
    let denied = rules.judge(&Request { target, method: "OPTIONS", path: "*", websocket: false });
    assert_eq!(denied.map_err(|denied| denied.reason), Err(Reason::PathDenied));
}

#[test]
fn the_same_route_allows_all_of_a_request() {
    let read = Route { paths: strings("/read/**"), ..route("f:1", "api.example.org") };
    let write =
        Route { methods: strings("POST"), paths: strings("/write/**"), ..route("f:2", "api.example.org") };
    let socket = Route { websocket: true, paths: strings("/socket"), ..route("f:3", "api.example.org") };
    let other = Route { ports: vec![8443], methods: strings("ANY"), ..route("f:4", "api.example.org") };
    check(
        &rules(vec![read, write, socket, other], vec![]),
        &[
            ("GET https://api.example.org/read/x", "allowed"),
            ("POST https://api.example.org/write/x", "allowed"),
            ("POST https://api.example.org/read/x", "path-denied"),
            ("GET https://api.example.org/write/x", "path-denied"),
            ("GET https://api.example.org/read/../write/x", "path-denied"),
            ("PUT https://api.example.org/read/x", "method-denied"),
            ("WEBSOCKET https://api.example.org/read/x", "upgrade-denied"),
            // Two routes may not share the readings of a path.
            ("GET https://api.example.org/read/x/../../socket", "path-denied"),
        ],
    );
}

#[test]
fn a_websocket_needs_a_route_that_says_so() {
    let socket = Route { websocket: true, ..route("f:1", "ws.example.org") };
    check(
        &rules(vec![socket, route("f:2", "api.example.org")], vec![]),
        &[
            ("WEBSOCKET https://ws.example.org/chat", "allowed"),
            ("GET https://ws.example.org/chat", "allowed"),
            ("WEBSOCKET https://api.example.org/chat", "upgrade-denied"),
        ],
    );
}

#[test]
fn a_deny_rule_beats_routes_and_grants() {
    let host = deny("d:1", "*.tunnel.example");
    let path = Deny { paths: strings("/admin/** /secret"), ..deny("d:2", "api.example.org") };
    let method = Deny { methods: strings("DELETE"), ..deny("d:3", "*.example.org") };
    let port = Deny { ports: vec![8443], ..deny("d:4", "api.example.org") };
    let address = deny("d:5", "203.0.113.7");
    let wide = Route { methods: strings("ANY"), ports: vec![443, 8443], ..route("f:1", "*.example.org") };
    let exact = Route { methods: strings("ANY"), ..route("f:2", "api.example.org") };
    let policy =
        policy(vec![wide, exact, route("f:3", "203.0.113.7")], vec![host, path, method, port, address]);
    let granted = grant(vec![
        route("g:1", "a.tunnel.example"),
        route("g:2", "203.0.113.7"),
        route("g:3", "tunnel.example"),
    ]);
    let rules = Rules::new(&policy, &[granted]).expect("a valid policy");
    check(
        &rules,
        &[
            ("GET https://a.tunnel.example/", "route-denied"),
            ("GET https://tunnel.example/", "allowed"),
            ("GET https://203.0.113.7/", "route-denied"),
            ("GET https://[::ffff:203.0.113.7]/", "route-denied"),
            ("GET https://api.example.org/", "allowed"),
            ("GET https://api.example.org/admin", "route-denied"),
            ("GET https://api.example.org/admin/", "route-denied"),
            ("GET https://api.example.org/admin/x", "route-denied"),
            ("GET https://api.example.org/secret", "route-denied"),
            ("GET https://api.example.org/secret/", "route-denied"),
            ("GET https://api.example.org/secret/x", "allowed"),
            ("GET https://api.example.org/ok/..%2fsecret", "route-denied"),
            ("GET https://api.example.org/ok/..;/secret", "route-denied"),
            ("GET https://api.example.org/admin%2fx", "route-denied"),
            ("GET https://api.example.org//admin", "route-denied"),
            ("GET https://api.example.org/%61dmin", "route-denied"),
            ("GET https://api.example.org/admin/%00", "path-ambiguous"),
            ("GET https://b.example.org/admin", "allowed"),
            ("DELETE https://api.example.org/", "route-denied"),
            ("DELETE https://b.example.org/", "route-denied"),
            // An origin may take the method for the same.
            ("delete https://b.example.org/", "route-denied"),
            ("POST https://b.example.org/", "allowed"),
            ("GET https://api.example.org:8443/", "route-denied"),
            ("GET https://b.example.org:8443/", "allowed"),
            // What no route allows anyway is denied too: a new route would change nothing.
            ("GET https://b.tunnel.example/", "route-denied"),
        ],
    );
}

#[test]
fn a_deny_rule_for_all_paths_needs_no_reading() {
    for paths in ["", "/**"] {
        let paths: Vec<String> = paths.split_ascii_whitespace().map(str::to_owned).collect();
        let rules = rules(
            vec![route("f:1", "api.example.org")],
            vec![Deny { paths, ..deny("d:1", "api.example.org") }],
        );
        check(&rules, &[("GET https://api.example.org/%00", "route-denied")]);
    }
}

#[test]
fn every_refusal_by_a_rule_names_it() {
    let routes = vec![Route { paths: strings("/v1"), ..route("bottle.yaml:4", "api.example.org") }];
    let rules = rules(routes, vec![deny("bottle.yaml:9", "evil.example")]);
    let rule = |request| ask(&rules, request).expect_err(request).rule;
    let four = Some("bottle.yaml:4".to_owned());
    assert_eq!(rule("GET https://evil.example/"), Some("bottle.yaml:9".to_owned()));
    for request in [
        "GET https://api.example.org:8443/v1",
        "PUT https://api.example.org/v1",
        "GET https://api.example.org/v2",
        "GET https://api.example.org/%00",
        "WEBSOCKET https://api.example.org/v1",
    ] {
        assert_eq!(rule(request), four, "{request}");
    }
    assert_eq!(rule("GET https://other.example/"), None);
    assert_eq!(rule("GET https://192.0.2.1/"), None);
}

#[test]
fn a_connection_is_refused_where_every_request_would_be() {
    let socket = Route { ports: vec![8443], ..route("f:2", "ws.example.org") };
    let path = Deny { paths: strings("/x"), ..deny("d:2", "api.example.org") };
    let all = Deny { paths: strings("/** /x"), methods: strings("ANY"), ..deny("d:3", "ws.example.org") };
    let port = Deny { ports: vec![444], ..deny("d:4", "api.example.org") };
    let two = Route { ports: vec![443, 444], ..route("f:1", "api.example.org") };
    let rules = rules(
        vec![two, socket, route("f:3", "*.tunnel.example")],
        vec![deny("d:1", "*.tunnel.example"), path, all, port],
    );
    let judge = |scheme, authority: &str| {
        let (host, port) = Authority::parse_with_port(authority).expect(authority);
        rules.judge_target(&Target { scheme, host: &host, port }).map_err(|denied| denied.reason)
    };
    assert_eq!(judge(Scheme::Https, "api.example.org:443"), Ok(()));
    assert_eq!(judge(Scheme::Http, "api.example.org:443"), Err(Reason::PortDenied));
    assert_eq!(judge(Scheme::Https, "api.example.org:80"), Err(Reason::PortDenied));
    assert_eq!(judge(Scheme::Https, "api.example.org:444"), Err(Reason::RouteDenied));
    assert_eq!(judge(Scheme::Https, "ws.example.org:8443"), Err(Reason::RouteDenied));
    assert_eq!(judge(Scheme::Https, "a.tunnel.example:443"), Err(Reason::RouteDenied));
    assert_eq!(judge(Scheme::Https, "tunnel.example:443"), Err(Reason::RouteMissing));
    assert_eq!(judge(Scheme::Https, "203.0.113.7:443"), Err(Reason::AddressDenied));
}

#[test]
fn nothing_is_allowed_without_routes() {
    check(
        &rules(vec![], vec![]),
        &[
            ("GET https://api.example.org/", "route-missing"),
            ("GET http://localhost/", "route-missing"),
            ("GET https://[::]/", "address-denied"),
        ],
    );
}
