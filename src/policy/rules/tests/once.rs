//! Grants for one request among the others.

use super::*;
use crate::policy::grant::AllowedSecret;
use crate::policy::rules::Permit;

fn once(route: Route) -> Grant {
    Grant { once: true, until: Some(7), ..grant(vec![route]) }
}

/// Judges a GET that is about to be sent.
fn permit(rules: &Rules, host: &str, path: &str) -> Result<Permit, Denied> {
    let host = Host::normalise(host).unwrap();
    let target = Target { scheme: Scheme::Https, host: &host, port: 443 };
    let permit = rules.permit(&Request { target, method: "GET", path, websocket: false });
    assert!(permit.is_err() || rules.judge_target(&target).is_ok());
    permit
}

#[test]
fn a_grant_for_one_request_lets_one_begin_and_carries_none_that_runs() {
    let policy = policy(vec![route("b:1", "other.example.org")], Vec::new());
    let without = Rules::new(&policy, &[]).unwrap();
    let rules = Rules::new(&policy, &[once(route("g", "api.example.org"))]).unwrap();
    let permit_of = |rules: &Rules| permit(rules, "api.example.org", "/");
    let used = permit_of(&rules).unwrap().once.expect("it is for one request");
    assert_eq!(used.until(), Some(7));
    assert_eq!(code(&rules, "GET https://api.example.org/"), "route-missing");
    used.spend();
    // As if there had never been one: to the agent, and before its first request.
    assert_eq!(permit_of(&rules).unwrap_err(), permit_of(&without).unwrap_err());
    let host = Host::normalise("api.example.org").unwrap();
    let target = Target { scheme: Scheme::Https, host: &host, port: 443 };
    assert_eq!(rules.judge_target(&target), without.judge_target(&target));
}

#[test]
fn it_is_the_last_choice_however_specific_it_is() {
    let wide = Route { paths: strings("/v1/**"), ..route("b:1", "*.example.org") };
    let exact = Route { paths: strings("/v1/x /v2/x"), ..route("g", "api.example.org") };
    let rules = Rules::new(&policy(vec![wide], Vec::new()), &[once(exact)]).unwrap();
    let by = |path| permit(&rules, "api.example.org", path).map(|permit| permit.once.is_some());
    assert_eq!(by("/v1/x"), Ok(false));
    assert_eq!(by("/v2/x"), Ok(true));
    assert!(by("/v3/x").is_err());
}

#[test]
fn one_is_used_after_the_other_and_the_routes_of_one_together() {
    let two =
        Grant { once: true, ..grant(vec![route("g-2", "b.example.org"), route("g-2", "a.example.org")]) };
    let rules = Rules::new(&policy(vec![], vec![]), &[once(route("g-1", "a.example.org")), two]).unwrap();
    for source in ["g-1", "g-2"] {
        let permit = permit(&rules, "a.example.org", "/").unwrap();
        assert_eq!(permit.route.source, source);
        permit.once.unwrap().spend();
    }
    assert!(permit(&rules, "a.example.org", "/").is_err());
    assert!(permit(&rules, "b.example.org", "/").is_err());
}

#[test]
fn a_deny_rule_beats_it_before_and_after_it_was_used() {
    let denied = Deny { paths: strings("/x/**"), ..deny("b:9", "*.example.org") };
    let rules = Rules::new(&policy(vec![], vec![denied]), &[once(route("g", "a.example.org"))]).unwrap();
    assert_eq!(permit(&rules, "a.example.org", "/x/y").unwrap_err().reason, Reason::RouteDenied);
    let host = Host::normalise("a.example.org").unwrap();
    let target = Target { scheme: Scheme::Https, host: &host, port: 443 };
    let under_way = |path| rules.judge_claimed(&Request { target, method: "GET", path, websocket: false });
    assert_eq!(under_way("/x/y").unwrap_err().reason, Reason::RouteDenied);
    assert_eq!(under_way("/z"), Ok(()));
    // The same with a path that no origin reads alike.
    assert_eq!(under_way("/x/..%2fz").map_err(|denied| denied.reason), Err(Reason::RouteDenied));
}

#[test]
fn a_secret_passes_to_its_host_by_what_lasts_before_what_is_for_once() {
    let secret = |source: &str, host: &str| AllowedSecret {
        source: source.to_owned(),
        host: host.to_owned(),
        finding: "token:a:0123456789abcdef".parse().unwrap(),
    };
    let for_once =
        Grant { secrets: vec![secret("grant g-1", "a.example.org")], ..once(route("g", "x.example.org")) };
    let lasting = Grant { secrets: vec![secret("grant g-2", "a.example.org")], ..grant(Vec::new()) };
    let policy = policy(Vec::new(), Vec::new());
    let host = Host::normalise("a.example.org").unwrap();
    let id = "token:a:0123456789abcdef".parse().unwrap();
    let rules = Rules::new(&policy, std::slice::from_ref(&for_once)).unwrap();
    let exception = rules.exception(&host, &id).unwrap();
    exception.once.as_ref().unwrap().spend();
    assert!(rules.exception(&host, &id).is_none());
    let rules = Rules::new(&policy, &[for_once, lasting]).unwrap();
    assert_eq!(rules.exception(&host, &id).unwrap().secret.source, "grant g-2");
    for (host, id) in [
        ("b.example.org", "token:a:0123456789abcdef"),
        ("a.example.org", "token:b:0123456789abcdef"),
        ("a.example.org", "credential:a:0123456789abcdef"),
        ("a.example.org", "token:a:0123456789abcdee"),
    ] {
        assert!(
            rules.exception(&Host::normalise(host).unwrap(), &id.parse().unwrap()).is_none(),
            "{host} {id}"
        );
    }
    for host in ["*.example.org", "A.example.org", "a.example.org.", ""] {
        let wrong = Grant { secrets: vec![secret("grant g-3", host)], ..grant(Vec::new()) };
        assert!(Rules::new(&policy, &[wrong]).is_err(), "{host}");
    }
}
