//! A policy file that nobody rendered.

use super::super::super::egress::{Credential, Inject};
use super::super::super::gate::SecretSource;
use super::super::InvalidPolicy;
use super::*;

fn problem(policy: &EgressPolicy) -> InvalidPolicy {
    Rules::new(policy, &[]).expect_err("the policy is wrong")
}

fn credential(inject: Inject) -> Credential {
    Credential { source: "f:5".into(), secret: SecretSource::Env("TOKEN".into()), inject, placeholder: None }
}

#[test]
fn a_route_is_what_the_manifest_allows() {
    let good = || route("f:7", "api.example.org");
    let bad = vec![
        Route { host: "*".into(), ..good() },
        Route { host: "**".into(), ..good() },
        Route { host: "*.".into(), ..good() },
        Route { host: "*.org".into(), ..good() },
        Route { host: "*.*.example.org".into(), ..good() },
        Route { host: "a*.example.org".into(), ..good() },
        Route { host: "a.*.example.org".into(), ..good() },
        Route { host: "*.10.0.0.7".into(), ..good() },
        Route { host: String::new(), ..good() },
        Route { host: "a b".into(), ..good() },
        Route { host: "api.example.org:443".into(), ..good() },
        Route { host: "https://api.example.org".into(), ..good() },
        Route { host: "2130706433".into(), ..good() },
        Route { host: "*.0x7f.1".into(), ..good() },
        Route { ports: vec![], ..good() },
        Route { ports: vec![443, 0], ..good() },
        Route { methods: vec![], ..good() },
        Route { methods: strings("GET get"), ..good() },
        Route { methods: strings("*"), ..good() },
        Route { methods: vec![String::new()], ..good() },
        Route { methods: vec!["GET POST".into()], ..good() },
        Route { methods: strings("CONNECT"), ..good() },
        Route { paths: vec![], ..good() },
        Route { paths: vec![String::new()], ..good() },
        Route { paths: strings("**"), ..good() },
        Route { paths: strings("/ok v1"), ..good() },
        Route { paths: strings("/ok/../x"), ..good() },
        Route { paths: strings("/ok?x=1"), ..good() },
        Route { paths: strings("/ok%zz"), ..good() },
        Route { credential: Some("other".into()), ..good() },
        Route { scheme: Scheme::Http, credential: Some("token".into()), ..good() },
    ];
    for route in bad {
        let shown = format!("{route:?}");
        let mut policy = policy(vec![good(), route], vec![]);
        policy.credentials.insert("token".into(), credential(Inject::Bearer));
        assert_eq!(problem(&policy).place, "f:7", "{shown}");
        let granted = policy.routes.split_off(1);
        assert!(Rules::new(&policy, &[]).is_ok());
        assert!(Rules::new(&policy, &[grant(granted)]).is_err(), "{shown}");
    }
}

#[test]
fn a_deny_rule_is_checked_like_a_route() {
    let good = || deny("f:8", "api.example.org");
    assert!(Rules::new(&policy(vec![], vec![good()]), &[]).is_ok());
    for bad in [
        Deny { host: "*".into(), ..good() },
        Deny { host: "a*".into(), ..good() },
        Deny { ports: vec![0], ..good() },
        Deny { methods: strings("delete"), ..good() },
        Deny { paths: strings("x"), ..good() },
        Deny { paths: strings("/** x"), ..good() },
        Deny { paths: strings("/%2e%2e"), ..good() },
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(problem(&policy(vec![], vec![bad])).place, "f:8", "{shown}");
    }
}

#[test]
fn another_version_is_not_guessed_at() {
    let mut policy = policy(vec![], vec![]);
    policy.version = VERSION + 1;
    assert!(problem(&policy).problem.contains("version 2"));
    policy.version = VERSION;
    let newer = Grant { version: VERSION + 1, ..grant(vec![route("g:1", "api.example.org")]) };
    assert!(Rules::new(&policy, &[newer]).is_err());
}

#[test]
fn what_goes_into_logs_is_one_line() {
    for source in ["", "f:1\nf:2", "f\u{1b}[31m"] {
        let invalid = problem(&policy(vec![route(source, "api.example.org")], vec![]));
        assert!(!invalid.to_string().contains(char::is_control));
        assert!(Rules::new(&policy(vec![], vec![deny(source, "api.example.org")]), &[]).is_err());
    }
    let invalid = problem(&policy(vec![route("f:1", "a\u{1b}[31m.example")], vec![]));
    assert!(!invalid.to_string().contains(char::is_control), "{invalid}");
}

#[test]
fn a_credential_can_be_carried() {
    let mut policy = policy(vec![], vec![]);
    let good = [
        Inject::Bearer,
        Inject::Header("x-api-key".into()),
        Inject::Basic("user".into()),
        Inject::Basic(String::new()),
    ];
    for inject in good {
        policy.credentials.insert("token".into(), credential(inject));
        assert_eq!(Rules::new(&policy, &[]).err(), None);
    }
    for inject in [
        Inject::Header(String::new()),
        Inject::Header("X-Api-Key".into()),
        Inject::Header("x key".into()),
        Inject::Header("x:y".into()),
        Inject::Header("x\r\ny".into()),
        Inject::Header(":authority".into()),
        Inject::Header("host".into()),
        Inject::Header("content-length".into()),
        Inject::Header("transfer-encoding".into()),
        Inject::Header("connection".into()),
        Inject::Basic("a:b".into()),
        Inject::Basic("a\nb".into()),
    ] {
        policy.credentials.insert("token".into(), credential(inject));
        assert_eq!(problem(&policy).place, "f:5");
    }
    let nowhere = Credential { secret: SecretSource::File(String::new()), ..credential(Inject::Bearer) };
    policy.credentials.insert("token".into(), nowhere);
    assert_eq!(problem(&policy).place, "f:5");
}

#[test]
fn the_rest_of_the_policy_is_checked_too() {
    let edits: [fn(&mut EgressPolicy); 10] = [
        |policy| policy.extra_hosts = [("a b".into(), [10, 0, 0, 7].into())].into(),
        |policy| policy.extra_hosts = [("10.0.0.7".into(), [10, 0, 0, 7].into())].into(),
        |policy| policy.upstream_proxy = Some("proxy.example.org:3128".into()),
        |policy| policy.upstream_proxy = Some("https://proxy.example.org:3128".into()),
        |policy| policy.upstream_proxy = Some("http://user:pass@proxy.example.org:3128".into()),
        |policy| policy.upstream_proxy = Some("http://proxy.example.org".into()),
        |policy| policy.extra_ca = vec!["certs/root.pem".into()],
        |policy| policy.extra_ca = vec![String::new()],
        |policy| policy.scanner = Some("inspect.pipelock:9090".into()),
        |policy| policy.scanner = Some("https://inspect.pipelock:9090".into()),
    ];
    for edit in edits {
        let mut policy = policy(vec![], vec![]);
        policy.extra_hosts.insert("api.example.org".into(), [10, 0, 0, 7].into());
        policy.upstream_proxy = Some("http://proxy.example.org:3128".into());
        policy.extra_ca = vec!["/etc/bottle/root.pem".into()];
        policy.scanner = Some("http://inspect.pipelock:9090".into());
        assert!(Rules::new(&policy, &[]).is_ok());
        edit(&mut policy);
        assert!(Rules::new(&policy, &[]).is_err(), "{policy:?}");
    }
}

#[test]
fn a_grant_takes_a_credential_only_to_the_host_and_port_that_the_manifest_gives_it_to() {
    let credential = Some("key".to_owned());
    let known = Route { credential: credential.clone(), ..route("f:1", "api.example.org") };
    let mut policy = policy(vec![known.clone()], vec![]);
    let text = "{ source: \"f:9\", secret: !env KEY, inject: bearer }";
    policy.credentials.insert("key".to_owned(), serde_yaml::from_str(text).expect("a credential"));
    let judged =
        |route: Route| Rules::new(&policy, &[grant(vec![Route { source: "g:1".to_owned(), ..route }])]);
    assert!(judged(Route { paths: strings("/more"), ..known.clone() }).is_ok());
    for other in [
        Route { ports: vec![8443], ..known.clone() },
        Route { ports: vec![443, 8443], ..known.clone() },
        Route { host: "*.example.org".to_owned(), ..known.clone() },
        Route { host: "www.api.example.org".to_owned(), ..known.clone() },
    ] {
        let error = judged(other).expect_err("it is another host or port");
        assert!(error.problem.contains("this credential"), "{error}");
    }
}
