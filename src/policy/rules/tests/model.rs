//! The rules once more, as plainly as they can be written, to agree with.

use proptest::prelude::*;

use super::super::super::path::Readings;
use super::*;

/// Patterns by trying every split, on segments and then on characters.
fn glob(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|taken| glob(rest, &path[taken..])),
        ([first, rest @ ..], [segment, more @ ..]) => {
            star(first.as_bytes(), segment.as_bytes()) && glob(rest, more)
        }
        _ => false,
    }
}

fn star(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| star(rest, &text[taken..])),
        ([first, rest @ ..], [byte, more @ ..]) => first == byte && star(rest, more),
        _ => false,
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    glob(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
}

/// How well a rule's host fits, or not at all.
fn host_rank(pattern: &str, host: &str) -> Option<usize> {
    match pattern.strip_prefix('*') {
        Some(domain) => host.ends_with(domain).then_some(domain.len()),
        None => (pattern == host).then_some(1_000),
    }
}

/// The rank of the first difference between routes, without the order of the manifest.
type Rank = (usize, (usize, bool), bool);

fn allows(route: &Route, host: &str, request: &Request<'_>, readings: &[&str]) -> Option<Rank> {
    let at = host_rank(&route.host, host)?;
    if route.scheme != request.target.scheme || !route.ports.contains(&request.target.port) {
        return None;
    }
    let named = route.methods.iter().any(|method| method == request.method);
    if !named && !route.methods.iter().any(|method| method == "ANY") {
        return None;
    }
    if request.websocket && !route.websocket {
        return None;
    }
    let mut ranks = Vec::new();
    for reading in readings {
        let matching = route.paths.iter().filter(|pattern| path_matches(pattern, reading));
        ranks.push(
            matching
                .map(|pattern| (pattern.find('*').unwrap_or(pattern.len()), !pattern.contains('*')))
                .max()?,
        );
    }
    Some((at, ranks.into_iter().min()?, named))
}

fn denies(deny: &Deny, host: &str, request: &Request<'_>, readings: Option<&[&str]>) -> bool {
    let bare = |path: &str| format!("/{}", path.trim_matches('/'));
    let path = |pattern: &String| {
        readings.is_some_and(|readings| {
            readings
                .iter()
                .any(|reading| path_matches(pattern, reading) || path_matches(&bare(pattern), &bare(reading)))
        })
    };
    host_rank(&deny.host, host).is_some()
        && (deny.ports.is_empty() || deny.ports.contains(&request.target.port))
        && (deny.methods.is_empty()
            || deny.methods.iter().any(|method| method == request.method || method == "ANY"))
        && (deny.paths.is_empty() || deny.paths.iter().any(|pattern| path(pattern) || pattern == "/**"))
}

/// The source of the route that decides, or `None`.
fn model(policy: &EgressPolicy, grants: &[Grant], host: &str, request: &Request<'_>) -> Option<String> {
    let readings = Readings::of(request.path).ok();
    let opaque: Option<Vec<&str>> = readings.as_ref().map(|readings| readings.each_and_opaque().collect());
    if policy.deny.iter().any(|deny| denies(deny, host, request, opaque.as_deref())) {
        return None;
    }
    let readings: Vec<&str> = readings.as_ref()?.each().collect();
    let mut best: Option<(Rank, &Route)> = None;
    for route in policy.routes.iter().chain(grants.iter().flat_map(|grant| &grant.routes)) {
        if let Some(rank) = allows(route, host, request, &readings)
            && best.is_none_or(|(best, _)| rank > best)
        {
            best = Some((rank, route));
        }
    }
    best.map(|(_, route)| route.source.clone())
}

const PATTERNS: &[&str] = &["/**", "/a/**", "/a/*", "/a", "/a/b", "/a/b*", "/*", "/", "/**/b"];

fn hosts() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "*.example.org",
        "a.example.org",
        "*.a.example.org",
        "b.a.example.org",
        "example.org",
    ])
    .prop_map(str::to_owned)
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    from: &'static [T],
    least: usize,
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(prop::sample::select(from), least..3)
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

fn any_route() -> impl Strategy<Value = Route> {
    let scheme = prop::sample::select(vec![Scheme::Https, Scheme::Https, Scheme::Http]);
    (hosts(), scheme, some(&[443, 80], 1), some(&["GET", "POST", "ANY"], 1), some(PATTERNS, 1), any::<bool>())
        .prop_map(|(host, scheme, ports, methods, paths, websocket)| Route {
            scheme,
            ports,
            methods: owned(methods),
            paths: owned(paths),
            websocket,
            ..route("f:0", &host)
        })
}

fn any_deny() -> impl Strategy<Value = Deny> {
    (hosts(), some(&[443, 80], 0), some(&["GET", "POST", "ANY"], 0), some(PATTERNS, 0)).prop_map(
        |(host, ports, methods, paths)| Deny {
            ports,
            methods: owned(methods),
            paths: owned(paths),
            ..deny("d:0", &host)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_rules_agree_with_the_model(
        mut routes in prop::collection::vec(any_route(), 0..6),
        granted in prop::collection::vec(any_route(), 0..2),
        denies in prop::collection::vec(any_deny(), 0..2),
        host in prop::sample::select(vec!["example.org", "a.example.org", "b.a.example.org", "x.b.a.example.org", "evilexample.org"]),
        scheme in prop::sample::select(vec![Scheme::Https, Scheme::Https, Scheme::Http]),
        port in prop::sample::select(vec![443_u16, 443, 80]),
        method in prop::sample::select(vec!["GET", "POST", "PUT"]),
        path in prop::sample::select(vec![
            "/", "/a", "/a/", "/a/b", "/a/b/c", "/a//b", "/a/../b", "/a%2fb", "/%61/b", "/a;b/b", "/c", "/a/%00", "/..", "*", "",
        ]),
        websocket in any::<bool>(),
    ) {
        for (number, route) in routes.iter_mut().enumerate() {
            route.source = format!("f:{number}");
        }
        let policy = policy(routes, denies);
        let grants = [grant(granted)];
        let name = Host::parse(host).expect(host);
        let request = Request { target: Target { scheme, host: &name, port }, method, path, websocket };
        let rules = Rules::new(&policy, &grants).expect("a valid policy");
        let judged = rules.judge(&request);
        prop_assert_eq!(judged.as_ref().ok().map(|route| route.source.clone()), model(&policy, &grants, host, &request));
        prop_assert_eq!(&judged, &rules.judge(&request));
        if judged.is_ok() {
            prop_assert_eq!(rules.judge_target(&request.target), Ok(()));
        }
    }

    #[test]
    fn anything_is_judged(host in "[a-z.:\\[\\]0-9]{0,12}", method in ".{0,6}", path in "\\PC{0,20}", port in any::<u16>(), websocket in any::<bool>()) {
        let any = Route { methods: strings("ANY"), websocket: true, ..route("f:1", "*.a.b") };
        let rules = rules(vec![any], vec![deny("d:1", "c.a.b")]);
        if let Ok(host) = Host::parse(&host) {
            let request = Request { target: Target { scheme: Scheme::Https, host: &host, port }, method: &method, path: &path, websocket };
            let denied = rules.judge(&request);
            prop_assert!(denied.is_ok() || denied.is_err_and(|denied| !denied.hint.is_empty() && !denied.hint.contains(char::is_control)));
        }
    }
}
