//! A comparison and the rules never disagree: what is newly allowed is in what is reported.

use proptest::prelude::*;

use super::{By, Change, Region, Websocket, What, egress, hosts, push};
use crate::analysis::explain::no_egress;
use crate::policy::egress::{Credential, Deny, EgressPolicy, Inject, OnSecret, Route, Scheme};
use crate::policy::gate::{HttpsUpstream, PushOperation, PushRule, Repository, SecretSource, Upstream};
use crate::policy::glob;
use crate::policy::host::Host;
use crate::policy::path::{Pattern, Readings};
use crate::policy::rules::{Request, Rules, Target};

const PATTERNS: &[&str] =
    &["/**", "/a/**", "/a/*", "/a", "/a/b", "/a/b*", "/*", "/", "/**/b", "/b/**", "/a%2fb", "/a;b"];
const HOSTS: &[&str] =
    &["*.example.org", "a.example.org", "*.a.example.org", "b.a.example.org", "example.org"];

fn some(from: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    prop::collection::vec(prop::sample::select(from), least..4).prop_map(owned)
}

fn ports(least: usize) -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop::sample::select(&[443_u16, 8443][..]), least..3)
}

fn route() -> impl Strategy<Value = Route> {
    let scheme = prop::sample::select(vec![Scheme::Https, Scheme::Https, Scheme::Http]);
    let methods = some(&["GET", "POST", "ANY"], 1);
    let credential = prop::sample::select(vec![None, Some("c"), Some("d")]);
    let host = prop::sample::select(HOSTS);
    (host, scheme, ports(1), methods, some(PATTERNS, 1), any::<bool>(), credential).prop_map(
        |(host, scheme, ports, methods, paths, websocket, credential)| Route {
            source: "f:1".to_owned(),
            host: host.to_owned(),
            scheme,
            ports,
            methods,
            paths,
            websocket,
            private: false,
            credential: credential.filter(|_| scheme == Scheme::Https).map(str::to_owned),
            on_secret: OnSecret::Block,
            max_upload_bytes: None,
            strip_tools: Vec::new(),
        },
    )
}

fn deny() -> impl Strategy<Value = Deny> {
    (prop::sample::select(HOSTS), ports(0), some(&["GET", "POST", "ANY"], 0), some(PATTERNS, 0)).prop_map(
        |(host, ports, methods, paths)| Deny {
            source: "d:1".to_owned(),
            host: host.to_owned(),
            ports,
            methods,
            paths,
        },
    )
}

fn policy() -> impl Strategy<Value = EgressPolicy> {
    (prop::collection::vec(route(), 0..5), prop::collection::vec(deny(), 0..3)).prop_map(|(routes, deny)| {
        let credential = |name: &str| Credential {
            source: "f:9".to_owned(),
            secret: SecretSource::Env("X".to_owned()),
            inject: Inject::Header(format!("x-{name}")),
            placeholder: None,
        };
        let credentials = ["c", "d"].map(|name| (name.to_owned(), credential(name)));
        EgressPolicy { routes, deny, credentials: credentials.into_iter().collect(), ..no_egress() }
    })
}

/// A policy and what somebody made of it: most of it is still there.
fn change() -> impl Strategy<Value = (EgressPolicy, EgressPolicy)> {
    (policy(), policy(), any::<u8>()).prop_map(|(old, other, kept)| {
        let mut new = old.clone();
        if kept & 1 == 0 {
            new.routes.extend(other.routes.iter().take(1).cloned());
        }
        if kept & 2 == 0 && !new.routes.is_empty() {
            new.routes.remove(usize::from(kept >> 4) % new.routes.len());
        }
        if kept & 4 == 0 {
            new.deny.pop();
        }
        if kept & 8 == 0 {
            new.deny.extend(other.deny.iter().take(1).cloned());
        }
        if kept & 9 == 9 {
            new.routes = other.routes;
        }
        (old, new)
    })
}

#[derive(Clone, Debug)]
struct Sent {
    host: &'static str,
    scheme: Scheme,
    port: u16,
    method: &'static str,
    path: String,
    websocket: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let host = prop::sample::select(vec![
        "example.org",
        "a.example.org",
        "b.a.example.org",
        "x.b.a.example.org",
        "z.example.org",
    ]);
    let scheme = prop::sample::select(vec![Scheme::Https, Scheme::Https, Scheme::Http]);
    let method = prop::sample::select(vec!["GET", "GET", "POST", "PUT", "post", "Get", "put"]);
    let port = prop::sample::select(vec![443_u16, 443, 8443]);
    let segment =
        prop::sample::select(vec!["a", "b", "a", "b", "c", "", "..", "a;b", "a%2fb", "%61", "b%2e"]);
    let path = prop::collection::vec(segment, 0..4).prop_map(|parts| format!("/{}", parts.join("/")));
    (host, scheme, port, method, path, any::<bool>()).prop_map(
        |(host, scheme, port, method, path, websocket)| Sent { host, scheme, port, method, path, websocket },
    )
}

fn judge(rules: &Rules, sent: &Sent) -> Option<std::sync::Arc<Route>> {
    let Sent { host, scheme, port, method, path, websocket } = sent;
    let host = Host::parse(host).unwrap();
    let target = Target { scheme: *scheme, host: &host, port: *port };
    rules.judge(&Request { target, method, path, websocket: *websocket }).ok()
}

/// Whether a list of methods has a method: one in small letters stands for every spelling but the one in capitals.
fn lists(list: &[String], method: &str) -> bool {
    list.iter().any(|listed| {
        let small = *listed == listed.to_ascii_lowercase();
        listed == method
            || (small && listed.eq_ignore_ascii_case(method) && method != listed.to_ascii_uppercase())
    })
}

/// Whether a request is in a region, its path aside.
fn aims_at(region: &Region, sent: &Sent) -> bool {
    let method = if region.methods == ["ANY"] {
        !lists(&region.except_methods, sent.method)
    } else {
        lists(&region.methods, sent.method)
    };
    let websocket = match region.websocket {
        Websocket::No => !sent.websocket,
        Websocket::Also => true,
        Websocket::Only => sent.websocket,
    };
    method
        && websocket
        && hosts::covers(&region.host, sent.host)
        && !region.except_hosts.iter().any(|except| hosts::covers(except, sent.host))
        && region.scheme == sent.scheme
        && region.ports.contains(&sent.port)
}

fn matches(patterns: &[String], reading: &str) -> bool {
    patterns.iter().any(|pattern| Pattern::parse(pattern).unwrap().matches(reading))
}

fn covers(patterns: &[String], reading: &str) -> bool {
    patterns.iter().any(|pattern| Pattern::parse(pattern).unwrap().covers(reading))
}

fn has_path(region: &Region, by: By, readings: &Readings<'_>) -> bool {
    let Region { paths, except_paths, .. } = region;
    match by {
        By::Route => {
            readings.each().any(|reading| matches(paths, reading) && !matches(except_paths, reading))
        }
        By::Deny => readings.each_and_opaque().any(|reading| covers(paths, reading)),
        By::Readings => readings.each().count() > 1 && readings.each().all(|reading| matches(paths, reading)),
    }
}

fn reported(changes: &[Change], sent: &Sent, widens: bool) -> bool {
    let readings = Readings::of(&sent.path).unwrap();
    changes.iter().filter(|change| change.widens == widens).any(|change| match &change.what {
        What::Reach { by, region } => aims_at(region, sent) && has_path(region, *by, &readings),
        _ => false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_is_newly_allowed_is_in_what_is_reported((old, new) in change(), all in prop::collection::vec(sent(), 30)) {
        let changes = egress(&old, &new);
        let (before, now) = (Rules::new(&old, &[]).unwrap(), Rules::new(&new, &[]).unwrap());
        for sent in &all {
            let (was, is) = (judge(&before, sent), judge(&now, sent));
            if was.is_none() && is.is_some() {
                prop_assert!(reported(&changes, sent, true), "{sent:?} in {changes:#?}");
            }
            if was.is_some() && is.is_none() {
                prop_assert!(reported(&changes, sent, false), "{sent:?} in {changes:#?}");
            }
        }
    }

    #[test]
    fn what_is_reported_of_a_path_with_one_reading_is_newly_allowed((old, new) in change(), all in prop::collection::vec(sent(), 30)) {
        let changes = egress(&old, &new);
        let (before, now) = (Rules::new(&old, &[]).unwrap(), Rules::new(&new, &[]).unwrap());
        for sent in &all {
            let Ok(readings) = Readings::of(&sent.path) else { continue };
            if readings.each_and_opaque().count() > 1 {
                continue;
            }
            for change in changes.iter().filter(|change| change.widens) {
                let What::Reach { by: By::Route, region } = &change.what else { continue };
                let excepted = readings.each().any(|reading| covers(&region.except_paths, reading));
                if aims_at(region, sent) && has_path(region, By::Route, &readings) && !excepted {
                    prop_assert!(judge(&before, sent).is_none() && judge(&now, sent).is_some(), "{sent:?} in {change:#?}");
                }
            }
        }
    }

    #[test]
    fn a_credential_that_travels_with_other_requests_is_reported((old, new) in change(), all in prop::collection::vec(sent(), 30)) {
        let changes = egress(&old, &new);
        let (before, now) = (Rules::new(&old, &[]).unwrap(), Rules::new(&new, &[]).unwrap());
        for sent in &all {
            let Ok(readings) = Readings::of(&sent.path) else { continue };
            if readings.each_and_opaque().count() > 1 {
                continue;
            }
            let carried = |rules: &Rules| judge(rules, sent).and_then(|route| route.credential.clone());
            let (was, is) = (carried(&before), carried(&now));
            let told = changes.iter().filter(|change| change.widens).any(|change| match &change.what {
                What::Credential { credential, region, .. } => {
                    Some(credential) == is.as_ref()
                        && aims_at(region, sent)
                        && has_path(region, By::Route, &readings)
                }
                _ => false,
            });
            prop_assert!(told || is.is_none() || was == is, "{sent:?} carries {is:?}, not {was:?}: {changes:#?}");
        }
    }

    #[test]
    fn an_order_and_a_repetition_change_nothing_that_is_reachable(old in policy(), seed in any::<u64>()) {
        let mut new = old.clone();
        new.routes.reverse();
        let count = new.routes.len().max(1);
        new.routes.rotate_left(usize::try_from(seed % 7).unwrap() % count);
        new.deny.reverse();
        let again = new.routes.first().cloned();
        new.routes.extend(again);
        for change in egress(&old, &new) {
            prop_assert!(!matches!(change.what, What::Reach { .. }), "{change:#?}");
        }
        prop_assert!(egress(&old, &old).is_empty());
    }

    #[test]
    fn a_push_that_is_newly_allowed_is_in_what_is_reported(
        old in rules(), new in rules(), name in "refs/heads/(a|b|/|c){1,4}", operation in operation(), default in any::<bool>(),
    ) {
        let changes = push::changes("app", Some(&repository(&old)), Some(&repository(&new)));
        let allows = |rules: &[PushRule]| rules.iter().any(|rule| {
            let matches = if default { rule.refs == name && !rule.refs.contains('*') } else { glob::matches(rule.refs.as_bytes(), name.as_bytes()) };
            matches && rule.allow.contains(&operation)
        });
        let told = changes.iter().any(|refs| {
            let matches = |patterns: &[String]| patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), name.as_bytes()));
            refs.operations.contains(&operation)
                && if default { refs.refs.contains(&name) } else { !refs.default_branch && matches(&refs.refs) && !matches(&refs.except) }
        });
        if allows(&new) && !allows(&old) {
            prop_assert!(told, "{changes:#?}");
        }
        if told && !default {
            prop_assert!(allows(&new) && !allows(&old), "{changes:#?}");
        }
    }
}

fn operation() -> impl Strategy<Value = PushOperation> {
    prop::sample::select(vec![
        PushOperation::Create,
        PushOperation::FastForward,
        PushOperation::Force,
        PushOperation::Delete,
    ])
}

fn rules() -> impl Strategy<Value = Vec<PushRule>> {
    let refs = prop::sample::select(vec![
        "refs/heads/**",
        "refs/heads/a/**",
        "refs/heads/a",
        "refs/heads/a/b",
        "refs/heads/*",
        "refs/heads/a/*",
    ]);
    let rule = (refs, prop::collection::vec(operation(), 1..3)).prop_map(|(refs, allow)| PushRule {
        source: "f:1".to_owned(),
        refs: refs.to_owned(),
        allow,
    });
    prop::collection::vec(rule, 0..4)
}

fn repository(rules: &[PushRule]) -> Repository {
    Repository {
        source: "f:3".to_owned(),
        upstream: Upstream::Https(HttpsUpstream {
            url: "https://git.example.org/app".to_owned(),
            credential: None,
            ca_file: None,
        }),
        push: rules.to_vec(),
        protect: Vec::new(),
        max_pack_bytes: 1,
    }
}

#[test]
fn an_answer_to_a_secret_and_a_tool_that_stays_are_wider_only_in_one_direction() {
    let route = |on_secret, tools: &[&str]| Route {
        source: "f:1".to_owned(),
        host: "a.example.org".to_owned(),
        scheme: Scheme::Https,
        ports: vec![443],
        methods: vec!["POST".to_owned()],
        paths: vec!["/**".to_owned()],
        websocket: false,
        private: false,
        credential: None,
        on_secret,
        max_upload_bytes: None,
        strip_tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
    };
    let policy = |route: Route| EgressPolicy { routes: vec![route], ..no_egress() };
    let told = |old: &EgressPolicy, new: &EgressPolicy| -> Vec<(bool, String)> {
        let changes = egress(old, new);
        changes
            .iter()
            .map(|change| (change.widens, super::text::sentence(change, &|text| text.to_owned())))
            .collect()
    };
    let strict = policy(route(OnSecret::Block, &["mcp", "web_search"]));
    let loose = policy(route(OnSecret::Redact, &["mcp"]));
    let wider = told(&strict, &loose);
    assert_eq!(wider.len(), 2, "{wider:?}");
    assert!(wider.iter().all(|(widens, _)| *widens), "{wider:?}");
    assert!(wider.iter().any(|(_, text)| text.contains("answered with redact, before block")), "{wider:?}");
    assert!(wider.iter().any(|(_, text)| text.contains("may use the server's tool web_search")), "{wider:?}");
    let narrower = told(&loose, &strict);
    assert!(narrower.len() == 2 && narrower.iter().all(|(widens, _)| !widens), "{narrower:?}");
    assert!(
        narrower.iter().any(|(_, text)| text.contains("answered with block, before redact")),
        "{narrower:?}"
    );
}
