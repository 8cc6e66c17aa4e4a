//! The policy file: what is read of it, and that nothing is allowed which no route of it names.

use bottle::policy::egress::{EgressPolicy, Route, Scheme};
use bottle::policy::grant::Grant;
use bottle::policy::host::Host;
use bottle::policy::rules::{Request, Rules, Target};

/// Checks it for these bytes.
///
/// # Panics
///
/// Where it isn't so.
pub fn run(data: &[u8]) {
    if let Ok(grant) = serde_yaml::from_slice::<Grant>(data) {
        let text = serde_yaml::to_string(&grant).expect("a grant can be written");
        assert_eq!(serde_yaml::from_str::<Grant>(&text).expect("what was written"), grant);
    }
    let Ok(policy) = serde_yaml::from_slice::<EgressPolicy>(data) else { return };
    let text = serde_yaml::to_string(&policy).expect("a policy can be written");
    assert_eq!(serde_yaml::from_str::<EgressPolicy>(&text).expect("what was written"), policy);
    let Ok(rules) = Rules::new(&policy, &[]) else { return };

    let elsewhere = Host::parse("elsewhere.invalid").expect("a name");
    let hosts =
        policy.routes.iter().filter_map(|route| Host::parse(route.host.trim_start_matches("*.")).ok());
    let hosts: Vec<Host> = hosts.chain([elsewhere]).collect();
    for host in &hosts {
        for scheme in [Scheme::Https, Scheme::Http] {
            for port in policy.routes.iter().flat_map(|route| route.ports.iter().copied()).chain([1]) {
                let target = Target { scheme, host, port };
                for (method, path) in [("GET", "/"), ("POST", "/ok/a"), ("get", "/ok"), ("GET", "*")] {
                    let request = Request { target, method, path, websocket: false };
                    let Ok(route) = rules.judge(&request) else { continue };
                    assert!(rules.judge_target(&target).is_ok(), "the request is allowed, its target isn't");
                    assert!(policy.routes.contains(&route), "a route that isn't in the policy");
                    assert!(covers(&route, &request), "{route:?} doesn't allow {request:?}");
                    assert!(!is_denied(&policy, &request), "{request:?} is denied");
                }
            }
        }
    }
}

/// Whether a route names all of a request but its path.
fn covers(route: &Route, request: &Request<'_>) -> bool {
    names(&route.host, request.target.host)
        && route.scheme == request.target.scheme
        && route.ports.contains(&request.target.port)
        && route.methods.iter().any(|method| method == request.method || method == "ANY")
}

/// Whether a deny rule names all of a request, and any path.
fn is_denied(policy: &EgressPolicy, request: &Request<'_>) -> bool {
    policy.deny.iter().any(|deny| {
        names(&deny.host, request.target.host)
            && (deny.ports.is_empty() || deny.ports.contains(&request.target.port))
            && (deny.methods.is_empty() || deny.methods.iter().any(|method| method == request.method))
            && (deny.paths.is_empty() || deny.paths.iter().any(|path| path == "/**"))
            && request.path.starts_with('/')
    })
}

fn names(pattern: &str, host: &Host) -> bool {
    match (pattern.strip_prefix('*'), host) {
        (Some(below), Host::Name(name)) => name.strip_suffix(below).is_some_and(|label| !label.is_empty()),
        (Some(_), Host::Address(_)) => false,
        (None, host) => Host::parse(pattern).is_ok_and(|named| named == *host),
    }
}
