//! A hint that names a route names one that allows the very request.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A route as the manifest has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: String,
    #[serde(default)]
    scheme: Scheme,
    ports: Option<Vec<u16>>,
    methods: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    #[serde(default)]
    websocket: bool,
}

/// The route that a hint suggests.
fn suggested(hint: &str) -> Option<Route> {
    let yaml = hint.split_once("`{ ")?.1.split_once(" }`")?.0;
    let written: Written = serde_yaml::from_str(&format!("{{ {yaml} }}")).expect(hint);
    let usual = if written.scheme == Scheme::Http { 80 } else { 443 };
    let plain = route("hint", &written.host);
    Some(Route {
        scheme: written.scheme,
        ports: written.ports.unwrap_or(vec![usual]),
        methods: written.methods.unwrap_or(plain.methods.clone()),
        paths: written.paths.unwrap_or(plain.paths.clone()),
        websocket: written.websocket,
        ..plain
    })
}

fn hint(rules: &Rules, request: &str) -> String {
    ask(rules, request).expect_err(request).hint
}

#[test]
fn a_hint_is_the_line_that_is_missing() {
    let none = rules(vec![], vec![]);
    let start = "add a route under `egress: routes:` in bottle.yaml: ";
    for (request, line) in [
        ("GET https://api.example.org/v1/x", r#"`{ host: api.example.org, paths: ["/v1/x"] }`"#),
        (
            "POST https://api.example.org/v1/x",
            r#"`{ host: api.example.org, methods: [POST], paths: ["/v1/x"] }`"#,
        ),
        ("GET http://api.example.org/", r#"`{ host: api.example.org, scheme: http, paths: ["/"] }`"#),
        ("GET https://api.example.org:8443/", r#"`{ host: api.example.org, ports: [8443], paths: ["/"] }`"#),
        (
            "WEBSOCKET https://api.example.org/",
            r#"`{ host: api.example.org, paths: ["/"], websocket: true }`"#,
        ),
        ("GET https://[::1]/", r#"`{ host: "::1", paths: ["/"] }`"#),
        ("GET https://null/", r#"`{ host: "null", paths: ["/"] }`"#),
        ("NO https://1.example/", r#"`{ host: "1.example", methods: ["NO"], paths: ["/"] }`"#),
        ("GET https://a.example//x", r#"`{ host: a.example, paths: ["//x", "/x", "/"] }`"#),
        ("GET https://a.example/@s%2fn", r#"`{ host: a.example, paths: ["/@s%2fn"] }`"#),
        ("GET https://a.example/a\"b'{}", r#"`{ host: a.example, paths: ["/a\"b'{}"] }`"#),
    ] {
        assert_eq!(hint(&none, request), format!("{start}{line}"), "{request}");
    }
    let some = rules(
        vec![Route { paths: strings("/v1"), ..route("bottle.yaml:7", "api.example.org") }],
        vec![deny("bottle.yaml:9", "evil.example")],
    );
    assert_eq!(
        hint(&some, "GET https://api.example.org/v2"),
        format!("{start}`{{ host: api.example.org, paths: [\"/v2\"] }}`, or widen the one at bottle.yaml:7")
    );
    assert_eq!(
        hint(&some, "WEBSOCKET https://api.example.org/v1"),
        "write `websocket: true` in the route at bottle.yaml:7"
    );
    assert_eq!(
        hint(&some, "GET https://evil.example/"),
        "change the deny rule at bottle.yaml:9: it wins over every route and grant"
    );
    assert_eq!(hint(&some, "GET https://api.example.org/\\"), "send another path: it has a backslash");
}

#[test]
fn what_the_agent_sends_does_not_become_a_pattern_or_a_page_of_text() {
    let rules = rules(vec![Route { paths: strings("/v1"), ..route("f:1", "api.example.org") }], vec![]);
    let long = format!("/{}", "a".repeat(500));
    for path in ["/**", "/*", "/a/**/b", "/%2a", "/`x`", "/a/../b", "/a;b//c/./d", &long] {
        let hint = hint(&rules, &format!("GET https://api.example.org{path}"));
        assert!(!hint.contains(path) && suggested(&hint).is_none() && hint.len() < 200, "{hint}");
    }
    for method in ["ANY", "get", "CONNECT", "*", &"A".repeat(100)] {
        let hint = hint(&rules, &format!("{method} https://api.example.org/v1"));
        assert!(suggested(&hint).is_none() && hint.len() < 200, "{hint}");
    }
    let name = format!("{}.example", "a.".repeat(100));
    let hint = hint(&rules, &format!("GET https://{}/", name.replace("..", ".")));
    assert!(hint.len() < 600 && suggested(&hint).is_some(), "{hint}");
}

#[test]
fn the_hint_of_a_refused_connection_names_a_route_to_it() {
    let rules = rules(vec![route("f:1", "api.example.org")], vec![]);
    let (host, port) = Authority::parse_with_port("api.example.org:8443").expect("an authority");
    let denied =
        rules.judge_target(&Target { scheme: Scheme::Https, host: &host, port }).expect_err("another port");
    assert_eq!(
        denied.hint,
        "add a route under `egress: routes:` in bottle.yaml: `{ host: api.example.org, ports: [8443] }`, or widen the one at f:1"
    );
}

proptest! {
    #[test]
    fn a_suggested_route_allows_the_request_and_little_else(
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS", "X-Y", "NULL", "WEBSOCKET", "patch"]),
        authority in prop::sample::select(vec!["a.example", "null", "true.x", "1e5", "_a.example", "10.0.0.7", "[fd00::7]", "0a.example"]),
        port in prop::sample::select(vec!["", ":80", ":443", ":8443"]),
        scheme in prop::sample::select(vec!["http", "https"]),
        path in "(/([a-c.;%&\"'{}\\[\\]:,~@! $`*-]|%2[05f]|%c3%a9|#|\\\\)*){1,4}",
    ) {
        let request = format!("{method} {scheme}://{authority}{port}{path}");
        let denied = ask(&rules(vec![], vec![]), &request).expect_err("there is no route");
        prop_assert!(denied.hint.is_ascii() && !denied.hint.contains(char::is_control));
        if let Some(route) = suggested(&denied.hint) {
            prop_assert!(route.paths.iter().all(|path| !path.contains('*')));
            let rules = Rules::new(&policy(vec![route], vec![]), &[]).expect(&denied.hint);
            prop_assert_eq!(code(&rules, &request), "allowed", "{} by {}", request, denied.hint);
        }
    }
}
