//! What can be asked for, and what counts as less than that.

use indexmap::IndexMap;

use super::super::config::Policies;
use super::super::refused::Refused;
use super::*;
use crate::policy::egress::VERSION;

/// A policy of these routes and deny rules, in the notation of the policy file.
pub(in super::super) fn policies(egress: &str, push: &str) -> Policies {
    let egress = format!(
        "version: {VERSION}\ncredentials:\n  one: {{ source: 'b:1', secret: !env A, inject: bearer }}\n  two: {{ source: 'b:2', \
         secret: !env B, inject: bearer }}\n{egress}"
    );
    let gate = format!(
        "version: 1\nrepositories:\n  app:\n    source: 'b:3'\n    upstream: !https {{ url: 'https://git.example.org/app' }}\n    \
         max_pack_bytes: 1000\n    push: [{push}]\n"
    );
    Policies {
        egress: Some(serde_yaml::from_str(&egress).unwrap()),
        gate: Some(serde_yaml::from_str(&gate).unwrap()),
        digest: "digest".to_owned(),
    }
}

fn route(host: &str, rest: &str) -> String {
    format!("{{ source: 'b:9', host: '{host}', scheme: https, ports: [443], {rest} }}")
}

fn ask(host: &str) -> RouteAsk {
    RouteAsk {
        host: host.to_owned(),
        scheme: Scheme::Https,
        port: None,
        methods: Vec::new(),
        paths: Vec::new(),
        websocket: false,
    }
}

fn plain_policies() -> Policies {
    let known = route("known.example.org", "methods: [GET], paths: ['/a/**'], credential: one");
    let private = route("10.0.0.7", "methods: [GET], paths: ['/x'], private: true");
    let two = [
        route("two.example.org", "methods: [GET], paths: ['/a/**'], credential: one"),
        route("two.example.org", "methods: [GET], paths: ['/b/**'], credential: two"),
    ];
    let deny = "deny:\n- { source: 'b:20', host: '*.evil.org' }\n- { source: 'b:21', host: half.example.org, methods: [POST], paths: \
                ['/admin/**'] }\n";
    policies(
        &format!("{deny}routes: [{known}, {private}, {}]\n", two.join(", ")),
        "{ source: 'b:30', refs: 'refs/heads/agent/**', allow: [create] }",
    )
}

fn asked(ask: RouteAsk) -> Result<Route, Refused> {
    match rule(&Ask::Route(ask), &plain_policies())? {
        Rule::Route(route) => Ok(route),
        other => unreachable!("{other:?}"),
    }
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
    result.unwrap_err().reason
}

#[test]
fn every_host_and_top_level_domains_can_not_be_asked_for() {
    for host in
        ["*", "*.", "*.org", "**", "*.*.org", "a.*.org", "", ".", "0.0.0.0", "[::]", "0x7f.1", "2130706433"]
    {
        assert_eq!(code(asked(ask(host))), Reason::AskInvalid, "{host}");
    }
}

#[test]
fn an_address_that_the_manifest_does_not_name_can_not_be_asked_for() {
    for host in ["10.0.0.8", "127.0.0.1", "169.254.169.254", "::1", "[::1]", "::ffff:10.0.0.8", "1.1.1.1"] {
        assert_eq!(code(asked(ask(host))), Reason::AskInvalid, "{host}");
    }
    let known = asked(ask("10.0.0.7")).unwrap();
    assert!(known.private);
    assert!(asked(ask("::ffff:10.0.0.7")).is_ok_and(|route| route.host == "10.0.0.7"));
}

#[test]
fn what_is_denied_as_a_whole_can_not_be_asked_for() {
    for host in ["a.evil.org", "*.evil.org", "*.a.evil.org", "A.EVIL.ORG."] {
        assert_eq!(code(asked(ask(host))), Reason::AskDenied, "{host}");
    }
    asked(ask("evil.org")).unwrap();
    let part = |methods: &[&str], paths: &[&str]| RouteAsk {
        methods: methods.iter().map(|text| (*text).to_owned()).collect(),
        paths: paths.iter().map(|text| (*text).to_owned()).collect(),
        ..ask("half.example.org")
    };
    assert_eq!(code(asked(part(&["POST"], &["/admin/users/*"]))), Reason::AskDenied);
    asked(part(&["POST", "GET"], &["/admin/users/*"])).unwrap();
    asked(part(&["POST"], &["/admin/users/*", "/other"])).unwrap();
}

#[test]
fn a_credential_is_the_one_that_the_manifest_has_for_the_host() {
    assert_eq!(asked(ask("known.example.org")).unwrap().credential.as_deref(), Some("one"));
    assert_eq!(asked(ask("two.example.org")).unwrap().credential, None);
    assert_eq!(asked(ask("other.example.org")).unwrap().credential, None);
    assert_eq!(asked(ask("*.example.org")).unwrap().credential, None);
}

#[test]
fn what_is_allowed_already_need_not_be_asked_for() {
    let inside = RouteAsk {
        methods: vec!["GET".to_owned()],
        paths: vec!["/a/b".to_owned()],
        ..ask("known.example.org")
    };
    assert_eq!(code(asked(inside)), Reason::AskNeedless);
}

#[test]
fn equal_requests_make_equal_rules_however_they_are_written() {
    let listed = |methods: &[&str], paths: &[&str], host: &str| RouteAsk {
        methods: methods.iter().map(|text| (*text).to_owned()).collect(),
        paths: paths.iter().map(|text| (*text).to_owned()).collect(),
        ..ask(host)
    };
    assert_eq!(
        asked(listed(&["PUT", "GET", "PUT"], &["/b", "/a"], "API.example.com.")).unwrap(),
        asked(listed(&["GET", "PUT"], &["/a", "/b", "/a"], "api.example.com")).unwrap(),
    );
}

#[test]
fn text_that_may_look_like_another_is_refused() {
    for path in ["/a\u{202e}b", "/a b", "/\u{430}", "/a\u{1b}[2J", "/a\n", "/x\u{200b}"] {
        let ask = RouteAsk { paths: vec![path.to_owned()], ..ask("api.example.com") };
        assert_eq!(code(asked(ask)), Reason::AskInvalid, "{path:?}");
    }
    let push = PushAsk {
        repository: "app".to_owned(),
        refs: "agent/\u{202e}x".to_owned(),
        operations: vec![PushOperation::Create],
    };
    assert_eq!(code(rule(&Ask::Push(push), &plain_policies())), Reason::AskInvalid);
}

#[test]
fn a_megabyte_in_any_field_is_refused_and_not_repeated() {
    let long = "a".repeat(1 << 20);
    let asks = [
        Ask::Route(ask(&long)),
        Ask::Route(RouteAsk { methods: vec![long.clone()], ..ask("api.example.com") }),
        Ask::Route(RouteAsk { paths: vec![format!("/{long}")], ..ask("api.example.com") }),
        Ask::Route(RouteAsk { paths: vec!["/a".to_owned(); 100_000], ..ask("api.example.com") }),
        Ask::Push(PushAsk {
            repository: long.clone(),
            refs: "a".to_owned(),
            operations: vec![PushOperation::Create],
        }),
        Ask::Push(PushAsk {
            repository: "app".to_owned(),
            refs: long.clone(),
            operations: vec![PushOperation::Create],
        }),
        Ask::Push(PushAsk {
            repository: "app".to_owned(),
            refs: "a".to_owned(),
            operations: vec![PushOperation::Create; 100_000],
        }),
        Ask::Exception(ExceptionAsk { repository: Some("app".to_owned()), host: None, finding: long }),
    ];
    for ask in asks {
        let refused = rule(&ask, &plain_policies()).unwrap_err();
        assert_eq!(refused.reason, Reason::AskInvalid);
        assert!(refused.to_string().len() < 1_000, "{refused}");
    }
}

fn within(new: &Route, old: &Route) -> Reason {
    match narrowed(Rule::Route(new.clone()), &Rule::Route(old.clone()), &plain_policies()) {
        Ok(_) => Reason::RequestClosed,
        Err(refused) => refused.reason,
    }
}

const YES: Reason = Reason::RequestClosed;

#[test]
fn a_route_is_narrowed_and_never_widened() {
    let old = Route {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        paths: vec!["/v1/*".to_owned(), "/docs/**".to_owned()],
        ..asked(ask("known.example.org")).unwrap()
    };
    let paths =
        |list: &[&str]| Route { paths: list.iter().map(|text| (*text).to_owned()).collect(), ..old.clone() };
    let methods = |list: &[&str]| Route {
        methods: list.iter().map(|text| (*text).to_owned()).collect(),
        ..old.clone()
    };
    assert_eq!(within(&old, &old), YES);
    for list in [&["/v1/x"][..], &["/v1/x*", "/docs/a/**"], &["/docs/*/b"], &["/docs"]] {
        assert_eq!(within(&paths(list), &old), YES, "{list:?}");
    }
    for list in
        [&["/**"][..], &["/v1/**"], &["/v1/x", "/v2/x"], &["/v1/a%2Fb"], &["/v1/a%2fb"], &["/*"], &["/v1"]]
    {
        assert_eq!(within(&paths(list), &old), Reason::TooWide, "{list:?}");
    }
    assert_eq!(within(&methods(&["GET"]), &old), YES);
    assert_eq!(within(&methods(&["ANY"]), &old), Reason::TooWide);
    assert_eq!(within(&methods(&["GET", "DELETE"]), &old), Reason::TooWide);
    assert_eq!(within(&methods(&["GET"]), &methods(&["ANY"])), YES);
    for wider in [
        Route { host: "*.example.org".to_owned(), ..old.clone() },
        Route { host: "other.example.org".to_owned(), ..old.clone() },
        Route { ports: vec![443, 8443], ..old.clone() },
        Route { scheme: Scheme::Http, ..old.clone() },
        Route { websocket: true, ..old.clone() },
        Route { private: true, ..old.clone() },
        Route { credential: Some("two".to_owned()), ..old.clone() },
        Route { on_secret: OnSecret::Redact, ..old.clone() },
    ] {
        assert_eq!(within(&wider, &old), Reason::TooWide, "{wider:?}");
    }
    assert_eq!(within(&Route { credential: None, ..old.clone() }, &old), YES);
    let limited = Route { max_upload_bytes: Some(10), ..old.clone() };
    assert_eq!(within(&limited, &old), YES);
    assert_eq!(within(&old, &limited), Reason::TooWide);
    let stripped = Route { strip_tools: vec!["web_search".to_owned()], ..old.clone() };
    assert_eq!(within(&stripped, &old), YES);
    assert_eq!(within(&old, &stripped), Reason::TooWide);
    // Nothing at all is no rule.
    assert_eq!(within(&methods(&[]), &old), Reason::AskInvalid);
    assert_eq!(within(&paths(&[]), &old), Reason::AskInvalid);
    assert_eq!(within(&Route { ports: Vec::new(), ..old.clone() }, &old), Reason::AskInvalid);
}

#[test]
fn a_push_is_narrowed_and_never_widened() {
    use PushOperation::{Create, FastForward, Force};
    let push = |refs: &str, allow: &[PushOperation]| {
        let rule = PushRule { source: "x".to_owned(), refs: refs.to_owned(), allow: allow.to_vec() };
        Rule::Push(GrantedPush { repository: "app".to_owned(), rule })
    };
    let judge = |new: &Rule, old: &Rule| match narrowed(new.clone(), old, &plain_policies()) {
        Ok(_) => YES,
        Err(refused) => refused.reason,
    };
    let old = push("refs/heads/work/**", &[Create, FastForward]);
    assert_eq!(judge(&old, &old), YES);
    assert_eq!(judge(&push("work/fix-*", &[Create]), &old), YES);
    assert_eq!(judge(&push("refs/heads/**", &[Create]), &old), Reason::TooWide);
    assert_eq!(judge(&push("work/**", &[Create, Force]), &old), Reason::TooWide);
    assert_eq!(judge(&push("work/**", &[]), &old), Reason::AskInvalid);
    // A pattern doesn't open the default branch; its name does.
    assert_eq!(judge(&push("refs/heads/work/main", &[Create]), &old), Reason::TooWide);
    let tags = push("refs/tags/**", &[Create]);
    assert_eq!(judge(&push("refs/tags/v1", &[Create]), &tags), YES);
    let other = Rule::Push(GrantedPush {
        repository: "other".to_owned(),
        rule: PushRule { source: "x".to_owned(), refs: "refs/heads/work/**".to_owned(), allow: vec![Create] },
    });
    assert_eq!(judge(&other, &old), Reason::TooWide);
}

#[test]
fn a_rule_of_the_manifest_with_another_credential_or_limit_does_not_make_a_grant_needless() {
    let granted = Rule::Route(Route {
        paths: vec!["/a".to_owned()],
        methods: vec!["GET".to_owned()],
        ..asked(ask("known.example.org")).unwrap()
    });
    let manifest = |rest: &str| {
        let route = route("known.example.org", &format!("methods: [GET, PUT], paths: ['/**'], {rest}"));
        is_in_manifest(&granted, &policies(&format!("routes: [{route}]\n"), ""))
    };
    assert!(manifest("credential: one"));
    for other in [
        "credential: two",
        "websocket: true",
        "credential: one, on_secret: redact",
        "credential: one, max_upload_bytes: 10",
        "credential: one, strip_tools: [web_search]",
    ] {
        assert!(!manifest(other), "{other}");
    }
}

#[test]
fn a_push_rule_of_the_manifest_makes_a_grant_needless_when_all_operations_are_there() {
    let granted = Rule::Push(GrantedPush {
        repository: "app".to_owned(),
        rule: PushRule {
            source: "x".to_owned(),
            refs: "refs/heads/a".to_owned(),
            allow: vec![PushOperation::Create, PushOperation::Delete],
        },
    });
    let manifest = |push: &str| is_in_manifest(&granted, &policies("routes: []\n", push));
    let one = "{ source: x, refs: refs/heads/a, allow: [create] }";
    assert!(!manifest(one));
    assert!(manifest(&format!("{one}, {{ source: x, refs: refs/heads/a, allow: [delete] }}")));
    assert!(!manifest("{ source: x, refs: 'refs/heads/**', allow: [create, delete] }"));
}

#[test]
fn a_grant_that_egress_would_not_take_is_found_before_it_is_approved() {
    let route = asked(ask("known.example.org")).unwrap();
    let with =
        |credential: &str| Rule::Route(Route { credential: Some(credential.to_owned()), ..route.clone() });
    check(&with("one"), &plain_policies()).unwrap();
    for credential in ["two", "three"] {
        assert_eq!(code(check(&with(credential), &plain_policies())), Reason::AskInvalid);
    }
    let private = Rule::Route(Route { private: true, ..route.clone() });
    assert_eq!(code(check(&private, &plain_policies())), Reason::AskInvalid);
    let mut without = plain_policies();
    without.egress.as_mut().unwrap().credentials = IndexMap::new();
    assert_eq!(code(check(&with("one"), &without)), Reason::AskInvalid);
}

#[test]
fn a_granted_route_takes_out_the_tools_that_the_manifest_takes_out_there() {
    let known = route("known.example.org", "methods: [POST], paths: ['/a'], strip_tools: [web_search]");
    let other = route("known.example.org", "methods: [POST], paths: ['/b'], strip_tools: [mcp, web_search]");
    let policies = policies(&format!("routes: [{known}, {other}]\n"), "");
    let asked = Ask::Route(RouteAsk { paths: vec!["/c".to_owned()], ..ask("known.example.org") });
    let Ok(Rule::Route(route)) = rule(&asked, &policies) else { unreachable!("a route") };
    assert_eq!(route.strip_tools, ["mcp", "web_search"]);
    assert!(Rule::Route(route).manifest().contains("strip_tools: [mcp, web_search]"));
}

#[test]
fn an_exception_for_a_secret_is_for_a_host_whose_route_asks() {
    let asks = route("known.example.org", "methods: [POST], paths: ['/**'], on_secret: ask");
    let below = route("*.below.example.org", "methods: [POST], paths: ['/**'], on_secret: ask");
    let blocks = route("strict.example.org", "methods: [POST], paths: ['/**']");
    let policies = policies(&format!("routes: [{asks}, {below}, {blocks}]\n"), "");
    let id = "credential:one:0123456789abcdef";
    let exception = |repository: Option<&str>, host: Option<&str>, finding: &str| {
        let (repository, host) = (repository.map(str::to_owned), host.map(str::to_owned));
        rule(&Ask::Exception(ExceptionAsk { repository, host, finding: finding.to_owned() }), &policies)
    };
    for host in ["known.example.org", "KNOWN.example.org.", "a.below.example.org"] {
        let rule = exception(None, Some(host), id).unwrap();
        let Rule::Secret(secret) = &rule else { unreachable!("{rule:?}") };
        assert_eq!(secret.finding.to_string(), id);
        let text = rule.manifest();
        assert!(text.contains("your credential `one`") && text.contains(&secret.host), "{text}");
        check(&rule, &policies).unwrap();
        let other = Rule::Secret(AllowedSecret { host: "strict.example.org".to_owned(), ..secret.clone() });
        assert_eq!(narrowed(other, &rule, &policies).unwrap_err().reason, Reason::TooWide);
    }
    for (repository, host, finding) in [
        (None, Some("strict.example.org"), id),
        (None, Some("below.example.org"), id),
        (None, Some("nobody.example.org"), id),
        (None, Some("*.below.example.org"), id),
        (None, Some("known.example.org"), "f-0123456789abcdef"),
        (None, Some("known.example.org"), "credential:*:0123456789abcdef"),
        (Some("app"), Some("known.example.org"), id),
        (Some("app"), None, id),
        (None, None, id),
    ] {
        let refused = exception(repository, host, finding).unwrap_err();
        assert_eq!(refused.reason, Reason::AskInvalid, "{host:?} {finding}");
    }
}
