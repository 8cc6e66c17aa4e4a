//! The rules and the proxy never disagree: what `Rules::judge` says of a request is what the request gets, and what
//! `bottle explain` says of a URL is what whoever sends it gets.

use bottle::analysis::explain::{self, Asked};
use bottle::manifest::{self, Input, Options, Trust};
use bottle::plan::{self, Plan};
use bottle::policy::egress::{Deny, EgressPolicy, Inject, Route, Scheme};
use bottle::policy::host::Host;
use bottle::policy::rules::{Request, Rules, Target};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::support::{Client, Egress, Origin, Response, Setup, echo};

const HOSTS: [&str; 4] = ["a.test.example", "b.test.example", "x.a.test.example", "other.example.net"];
const PATTERNS: [&str; 7] =
    ["*.test.example", "*.a.test.example", "*.example.net", HOSTS[0], HOSTS[1], HOSTS[2], HOSTS[3]];
const POLICIES: usize = 12;
const REQUESTS: usize = 50;
const ROUTES: usize = 6;

fn subset(values: &[&'static str]) -> impl Strategy<Value = Vec<String>> + use<> {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    let most = values.len().min(3);
    proptest::sample::subsequence(values, 1..=most)
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    subset(&["/**", "/a/**", "/a/*", "/a/b", "/*", "/", "/a/*/c", "/%61/**", "/@s/n"])
}

fn route(ports: [u16; 4]) -> impl Strategy<Value = Route> {
    let host = proptest::sample::select(&PATTERNS[..]);
    let methods = subset(&["GET", "HEAD", "POST", "ANY"]);
    (host, methods, patterns(), any::<bool>(), proptest::sample::subsequence(vec![0, 1], 1..=2)).prop_map(
        move |(host, methods, paths, https, which)| Route {
            source: String::new(),
            host: host.to_owned(),
            scheme: if https { Scheme::Https } else { Scheme::Http },
            ports: which.into_iter().map(|which: usize| ports[usize::from(https) * 2 + which]).collect(),
            methods,
            paths,
            websocket: false,
            private: true,
            credential: None,
            on_secret: bottle::policy::egress::OnSecret::Block,
            max_upload_bytes: None,
            strip_tools: Vec::new(),
        },
    )
}

fn deny(ports: [u16; 4]) -> impl Strategy<Value = Deny> {
    let host = proptest::sample::select(&PATTERNS[..]);
    let ports = proptest::sample::subsequence(ports.to_vec(), 0..=2);
    let methods = prop_oneof![Just(Vec::new()), subset(&["POST", "HEAD"])];
    let paths = prop_oneof![Just(Vec::new()), patterns()];
    (host, ports, methods, paths).prop_map(|(host, ports, methods, paths)| Deny {
        source: "bottle.yaml:99".to_owned(),
        host: host.to_owned(),
        ports,
        methods,
        paths,
    })
}

fn path() -> impl Strategy<Value = String> {
    let plain = proptest::sample::select(&["a", "b", "c", "@s", "n"][..]);
    let strange = proptest::sample::select(
        &[
            "..", ".", "%2e%2e", "%2f", "%61", "", "..%2f", "a%2fb", "%252e", "..;", "A", "%00", "%", "%zz",
            "a.b",
        ][..],
    );
    let part = prop_oneof![4 => plain, 1 => strange];
    proptest::collection::vec(part, 0..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

/// One of the hosts, one of the ports, a method and a path.
fn request() -> impl Strategy<Value = (usize, usize, &'static str, String)> {
    let method = proptest::sample::select(&["GET", "GET", "GET", "HEAD", "POST", "get"][..]);
    (0..HOSTS.len(), 0..4_usize, method, path())
}

struct World {
    egress: Egress,
    ports: [u16; 4],
    origins: Vec<Origin>,
    /// The sessions that are open, by host and port.
    sessions: Vec<((usize, usize), Client)>,
}

impl World {
    fn new() -> Self {
        let origins = vec![Origin::http(echo), Origin::http(echo), Origin::https(echo), Origin::https(echo)];
        let mut setup = Setup::new();
        for host in HOSTS {
            setup = setup.host(host, "127.0.0.1");
        }
        for number in 0..ROUTES {
            let name = format!("r{number}");
            setup = setup.secret(
                &name,
                Inject::Header("x-route".to_owned()),
                &format!("secret-of-route-{number}"),
            );
        }
        let ports = [0, 1, 2, 3].map(|which| origins[which].port);
        Self { egress: setup.start(), ports, origins, sessions: Vec::new() }
    }

    fn send(&mut self, host: usize, which: usize, method: &str, path: &str) -> Response {
        let authority = format!("{}:{}", HOSTS[host], self.ports[which]);
        let place = self.sessions.iter().position(|(key, _)| *key == (host, which));
        let client = match place {
            Some(place) => self.sessions.swap_remove(place).1,
            None if which < 2 => self.egress.dial(),
            None => self.egress.open(&authority),
        };
        let target = if which < 2 { format!("http://{authority}{path}") } else { path.to_owned() };
        self.say((host, which), client, method, &target, &authority)
    }

    /// Sends a URL as it is spelled, on a session of its host.
    fn send_url(&mut self, host: usize, which: usize, method: &str, url: &str, authority: &str) -> Response {
        let place = self.sessions.iter().position(|(key, _)| *key == (host, which));
        let client = match place {
            Some(place) => self.sessions.swap_remove(place).1,
            None if which < 2 => self.egress.dial(),
            None => self.egress.open(&format!("{}:{}", HOSTS[host], self.ports[which])),
        };
        self.say((host, which), client, method, url, authority)
    }

    fn say(
        &mut self,
        key: (usize, usize),
        mut client: Client,
        method: &str,
        target: &str,
        authority: &str,
    ) -> Response {
        client.say(&format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n"));
        let response = client.response(method);
        if response.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            self.sessions.push((key, client));
        }
        response
    }
}

/// Puts in a route what tells it from the others: its place, and for https a credential of its own.
fn mark(policy: &mut EgressPolicy) {
    for (number, route) in policy.routes.iter_mut().enumerate() {
        route.source = format!("bottle.yaml:{}", number + 1);
        route.credential = (route.scheme == Scheme::Https).then(|| format!("r{number}"));
    }
}

#[test]
fn the_rules_and_the_proxy_never_disagree() {
    let mut world = World::new();
    let mut runner = TestRunner::deterministic();
    let routes = proptest::collection::vec(route(world.ports), 1..=ROUTES);
    let denies = proptest::collection::vec(deny(world.ports), 0..2);
    let (mut allowed, mut refused) = (0, 0);
    for _ in 0..POLICIES {
        let (routes, denies) = (
            routes.new_tree(&mut runner).unwrap().current(),
            denies.new_tree(&mut runner).unwrap().current(),
        );
        world.sessions.clear();
        world.egress.swap(|policy| {
            (policy.routes, policy.deny) = (routes, denies);
            mark(policy);
        });
        let rules = Rules::new(&world.egress.policy, &[]).unwrap();
        for _ in 0..REQUESTS {
            let (host, which, method, path) = request().new_tree(&mut runner).unwrap().current();
            let scheme = if which < 2 { Scheme::Http } else { Scheme::Https };
            let named = Host::parse(HOSTS[host]).unwrap();
            let target = Target { scheme, host: &named, port: world.ports[which] };
            let said = rules.judge(&Request { target, method, path: &path, websocket: false });
            let response = world.send(host, which, method, &path);
            let case =
                format!("{method} {path} at {}:{which}, rules: {said:?}, proxy: {response:?}", HOSTS[host]);
            match said {
                Ok(route) => {
                    // The certificate of the origin covers one label; beyond that the request was allowed, and failed.
                    if response.header("x-bottle-reason") == Some("upstream-tls") {
                        assert!(host >= 2, "{case}");
                        continue;
                    }
                    assert_eq!(response.status, 200, "{case}");
                    let seen = world.origins[which].last();
                    assert_eq!(seen.target(), path, "{case}");
                    let number = route.credential.as_ref().and_then(|name| name.strip_prefix('r'));
                    let secret = number.map(|number| format!("secret-of-route-{number}"));
                    assert_eq!(seen.header("x-route"), secret.as_deref(), "{case}");
                    allowed += 1;
                }
                Err(refusal) => {
                    assert_eq!(response.header("x-bottle-reason"), Some(refusal.reason.code()), "{case}");
                    if method != "HEAD" {
                        let rule = refusal.rule.map_or(serde_json::Value::Null, Into::into);
                        assert_eq!(response.json()["rule"], rule, "{case}");
                    }
                    refused += 1;
                }
            }
        }
    }
    assert!(allowed > 30 && refused > 100, "the cases are one-sided: {allowed} allowed, {refused} refused");
}

/// A manifest, as JSON, which is YAML.
fn manifest(routes: &[Route], denies: &[Deny]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .enumerate()
        .map(|(number, route)| {
            let Route { host, ports, methods, paths, .. } = route;
            // The manifest has no other method beside `ANY`.
            let all = vec!["ANY".to_owned()];
            let methods = if methods.contains(&all[0]) { &all } else { methods };
            let mut value =
                json!({ "host": host, "ports": ports, "methods": methods, "paths": paths, "private": true });
            match route.scheme {
                Scheme::Https => value["credential"] = json!(format!("r{number}")),
                Scheme::Http => value["scheme"] = json!("http"),
            }
            value
        })
        .collect();
    let mut egress = json!({ "routes": routes });
    let denies: Vec<_> = denies
        .iter()
        .map(|Deny { source: _, host, ports, methods, paths }| {
            let mut value = json!({ "host": host });
            for (key, list) in [("ports", json!(ports)), ("methods", json!(methods)), ("paths", json!(paths))]
            {
                if list.as_array().is_some_and(|list| !list.is_empty()) {
                    value[key] = list;
                }
            }
            value
        })
        .collect();
    if !denies.is_empty() {
        egress["deny"] = json!(denies);
    }
    let credential = json!({ "source": { "env": "SECRET" }, "inject": { "header": "x-route" } });
    let credentials: serde_json::Map<_, _> =
        (0..ROUTES).map(|number| (format!("r{number}"), credential.clone())).collect();
    json!({
        "bottles": { "b": { "egress": egress, "credentials": credentials } },
        "agents": { "a": { "bottle": "b", "preset": "shell" } },
    })
    .to_string()
}

fn plan_of(text: &str, directory: &std::path::Path) -> Plan {
    bottle::fs::write_atomic(&directory.join("bottle.yaml"), text.as_bytes(), 0o644).unwrap();
    let options = Options {
        input: Input::Discover,
        trust: Trust::Manifest,
        working_directory: directory.to_owned(),
        home_bottles: None,
        home_presets: None,
        home: None,
    };
    let loaded = manifest::load(&options).unwrap_or_else(|error| panic!("{error}{text}"));
    plan::resolve(loaded, None).unwrap_or_else(|error| panic!("{error}{text}"))
}

/// The host in another spelling; those that are no host are sent in the clear only, where no session has been opened.
fn spelled(host: &str, spelling: usize, https: bool) -> String {
    match spelling {
        1 => host.to_ascii_uppercase(),
        2 => format!("{host}."),
        3 if !https => format!("user@{host}"),
        4 if !https => format!("%61{host}"),
        5 if !https => "0x7f.1".to_owned(),
        6 if !https => "127.0.0.1".to_owned(),
        7 if !https => format!("{host}.."),
        8 if !https => format!("-{host}"),
        _ => host.to_owned(),
    }
}

#[test]
fn explain_and_the_proxy_never_disagree_on_a_thousand_urls() {
    let mut world = World::new();
    let mut runner = TestRunner::deterministic();
    let routes = proptest::collection::vec(route(world.ports), 1..ROUTES);
    let denies = proptest::collection::vec(deny(world.ports), 0..2);
    let tails = proptest::sample::select(
        &["", "", "", "", "", "", "", "?q=/../x", "?", "#a", "?a#b", "\\x", "\u{e9}"][..],
    );
    let spellings = prop_oneof![4 => Just(0_usize), 1 => 0..9_usize];
    let methods = proptest::sample::select(
        &["GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "get", "CONNECT", "X:Y", "OPTIONS"][..],
    );
    let (mut allowed, mut refused, mut cases) = (0, 0, 0);
    for number in 0..20 {
        let (mut routes, denies) = (
            routes.new_tree(&mut runner).unwrap().current(),
            denies.new_tree(&mut runner).unwrap().current(),
        );
        // One that allows much, so that there is much to agree on.
        let https = number % 2 == 0;
        routes.push(Route {
            host: PATTERNS[0].to_owned(),
            scheme: if https { Scheme::Https } else { Scheme::Http },
            ports: world.ports[usize::from(https) * 2..][..2].to_vec(),
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            paths: vec!["/**".to_owned()],
            ..routes[0].clone()
        });
        let plan = plan_of(&manifest(&routes, &denies), world.egress.root.path());
        let policy = plan.egress.unwrap().policy;
        world.sessions.clear();
        world.egress.swap(|live| (live.routes, live.deny) = (policy.routes.clone(), policy.deny.clone()));
        for _ in 0..50 {
            cases += 1;
            let (host, which, _, path) = request().new_tree(&mut runner).unwrap().current();
            let method = methods.new_tree(&mut runner).unwrap().current();
            let tail = tails.new_tree(&mut runner).unwrap().current();
            let spelling = spellings.new_tree(&mut runner).unwrap().current();
            let https = which >= 2;
            // CONNECT within a session, and an empty path, have forms of their own on the wire.
            if method == "CONNECT" && (https || path == "/") {
                continue;
            }
            let scheme = if https { "https" } else { "http" };
            let authority = format!("{}:{}", spelled(HOSTS[host], spelling, https), world.ports[which]);
            let url = format!("{scheme}://{authority}{path}{tail}");
            let said =
                explain::egress(&policy, &[], &[], Asked { method, url: &url, websocket: false }).unwrap();
            let verdict = &said.verdicts[0];
            let response = world.send_url(host, which, method, &url, &authority);
            let case = format!("{method} {url}, explain: {verdict:?}, proxy: {response:?}");
            if said.allowed {
                // The certificate of the origin covers one label; an address needs a route of its own. The rest was allowed.
                if response.header("x-bottle-reason") == Some("upstream-tls") {
                    assert!(host >= 2, "{case}");
                    continue;
                }
                assert_eq!(response.status, 200, "{case}");
                let secret = verdict.credential.as_ref().and_then(|used| used.name.strip_prefix('r'));
                let secret = secret.map(|number| format!("secret-of-route-{number}"));
                assert_eq!(world.origins[which].last().header("x-route"), secret.as_deref(), "{case}");
                allowed += 1;
            } else {
                assert_eq!(response.header("x-bottle-reason"), verdict.code, "{case}");
                if method != "HEAD" {
                    assert_eq!(response.json()["rule"], json!(verdict.rule), "{case}");
                }
                refused += 1;
            }
        }
    }
    // What `--live` asks for is what is in force.
    let admin = format!("127.0.0.1:{}", world.egress.admin_port);
    let check = ["sidecar", "egress", "check", "--policy", "--admin", &admin];
    let output = std::process::Command::new(crate::support::PROGRAM).args(check).output().unwrap();
    let running: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(running["policy"]["routes"], json!(world.egress.policy.routes));
    assert_eq!(running["grants"], json!({}));
    assert!(
        allowed > 50 && refused > 300 && cases == 1_000,
        "{allowed} allowed, {refused} refused of {cases}"
    );
}
