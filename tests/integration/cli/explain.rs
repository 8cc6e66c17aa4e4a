//! `bottle explain`: what is allowed, by which rule, and what would allow it.

use bottle::policy::egress::EgressPolicy;
use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Bottle, Output, Place};

const MANIFEST: &str = r#"bottles:
  dev:
    egress:
      routes:
        - host: api.example.org
          methods: [GET, POST]
          paths: ["/v1/**"]
          credential: api
          max_upload: 1m
        - { host: "*.docs.example.org", websocket: true }
      deny:
        - host: drafts.docs.example.org
    credentials:
      api: { source: { env: API_KEY }, inject: { header: X-Api-Key } }
      forge: { source: { file: ./token }, inject: { basic: { username: bot } } }
      spare: { source: { env: SPARE }, inject: { bearer: true } }
    git:
      app:
        upstream: https://git.example.org/team/app.git
        credential: forge
        push:
          - { refs: "agent/**", allow: [create, fast-forward] }
          - { refs: "refs/tags/agent-*", allow: [create] }
    supervise: { port: 7333 }
agents:
  dev: { bottle: dev, preset: shell }
"#;

fn explain(place: &Place, words: &[&str]) -> Output {
    words.iter().fold(place.bottle(["explain"]), |run, word| Bottle::arg(run, *word)).run()
}

#[test]
fn a_request_that_is_allowed_names_its_rule_and_its_credential() {
    let place = Place::with(MANIFEST);
    assert_snapshot!(explain(&place, &["egress", "POST", "https://API.example.org/v1/x?q=1"]), @r###"
    allowed: POST https://API.example.org/v1/x?q=1
      rule: bottle.yaml:5
      credential: `api` (bottle.yaml:14) as the header `x-api-key`, from the environment variable `API_KEY`
    note: its body may have at most 1048576 bytes (upload-too-large)
    note: the host may resolve to public addresses only, which shows when it is sent
    ----- stderr -----
    ----- exit code 0 -----
    "###);
    assert_snapshot!(explain(&place, &["egress", "GET", "https://a.docs.example.org/", "--websocket"]), @r###"
    allowed: GET https://a.docs.example.org/ as a WebSocket
      rule: bottle.yaml:10
    note: the host may resolve to public addresses only, which shows when it is sent
    ----- stderr -----
    ----- exit code 0 -----
    "###);
}

#[test]
fn a_request_that_is_refused_names_what_would_allow_it() {
    let place = Place::with(MANIFEST);
    assert_snapshot!(explain(&place, &["egress", "PUT", "https://api.example.org/v1/x"]), @r###"
    refused: PUT https://api.example.org/v1/x (method-denied)
      rule: bottle.yaml:5
      hint: add a route under `egress: routes:` in bottle.yaml: `{ host: api.example.org, methods: [PUT], paths: ["/v1/x"] }`, or widen the one at bottle.yaml:5
      in bottle.yaml:
        # egress: routes:
        - { host: "api.example.org", methods: [PUT], paths: ["/v1/x"], credential: "api" }
      ask: POST http://supervise:7331/requests (MCP tool request_route)
        {"route":{"host":"api.example.org","methods":["PUT"],"paths":["/v1/x"]}}
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    assert_snapshot!(explain(&place, &["egress", "GET", "https://drafts.docs.example.org/"]), @r###"
    refused: GET https://drafts.docs.example.org/ (route-denied)
      rule: bottle.yaml:12
      hint: change the deny rule at bottle.yaml:12: it wins over every route and grant
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    assert_snapshot!(explain(&place, &["egress", "GET", "https://api.example.org/v1/%2e%2e/%252e"]), @r###"
    refused: GET https://api.example.org/v1/%2e%2e/%252e (path-ambiguous)
      rule: bottle.yaml:5
      hint: send another path: it has dots, slashes or other delimiters that are encoded twice
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    assert_snapshot!(explain(&place, &["egress", "GET", "http://user@api.example.org/\u{1b}[2J"]), @r###"
    refused: GET http://user@api.example.org/\u{1b}[2J (request-malformed)
      detail: a method and a URL have no white space and no control characters
      hint: send the request as RFC 9112 or RFC 9113 writes it
    ----- stderr -----
    ----- exit code 1 -----
    "###);
}

/// What is suggested is tried: with the lines in the manifest the same question has another answer.
#[test]
fn the_lines_that_would_allow_it_do() {
    let place = Place::with(MANIFEST);
    for question in [
        &["egress", "PUT", "https://api.example.org/v2/x"][..],
        &["egress", "GET", "https://new.example.org:8443/a%20b"],
        &["egress", "GET", "http://new.example.org/"],
        &["push", "app", "main", "--force"],
        &["push", "app", "refs/tags/v1"],
    ] {
        let answer: Value =
            serde_json::from_str(&explain(&place, &[question, &["--json"][..]].concat()).stdout).unwrap();
        let lines = answer["verdicts"][0]["manifest"].as_str().unwrap();
        let line = lines.lines().last().unwrap();
        let after = if question[0] == "push" { "        push:\n" } else { "      routes:\n" };
        let indent = if question[0] == "push" { "          " } else { "        " };
        let manifest = MANIFEST.replacen(after, &format!("{after}{indent}{line}\n"), 1);
        let output = explain(&Place::with(&manifest), question);
        assert_eq!(output.code, 0, "{line}: {output}");
        // And the agent would ask for just that.
        assert!(answer["verdicts"][0]["ask"]["body"].is_object(), "{answer}");
    }
}

#[test]
fn a_push_is_judged_by_the_gates_rules() {
    let place = Place::with(MANIFEST);
    assert_snapshot!(explain(&place, &["push", "app", "agent/x"]), @r###"
    allowed: push app refs/heads/agent/x (create, fast-forward)
    allowed: create refs/heads/agent/x
      rule: bottle.yaml:22
    allowed: fast-forward refs/heads/agent/x
      rule: bottle.yaml:22
    note: if it is the upstream's default branch it is refused (default-branch-protected): no rule spells it out
    note: the gate also scans what is new for secrets, which shows only when it is pushed
    ----- stderr -----
    ----- exit code 0 -----
    "###);
    assert_snapshot!(explain(&place, &["push", "app", "agent/x", "--force", "--path", "src/a", "--path", "BOTTLE.yaml"]), @r###"
    refused: push app refs/heads/agent/x (force)
    refused: force refs/heads/agent/x (operation-denied)
      detail: the push would be `force`, and the push rule allows create, fast-forward
      rule: bottle.yaml:22
      hint: name the operation in the `allow` of the push rule
      in bottle.yaml:
        # git: app: push:
        - { refs: "refs/heads/agent/x", allow: [force] }
      ask: POST http://supervise:7331/requests (MCP tool request_push)
        {"push":{"repository":"app","refs":"refs/heads/agent/x","operations":["force"]}}
    allowed: change src/a
    refused: change BOTTLE.yaml (path-protected)
      rule: bottle.yaml:18
      hint: leave the path as the upstream has it, or change `protect:` in bottle.yaml
    note: the gate also scans what is new for secrets, which shows only when it is pushed
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    assert_snapshot!(explain(&place, &["push", "app", "agent/x", "--create", "--default-branch", "agent/x"]), @r###"
    refused: push app refs/heads/agent/x (create) (default-branch-protected)
      what: create refs/heads/agent/x
      detail: it is the upstream's default branch, and no push rule names it
      rule: bottle.yaml:18
      hint: write a push rule whose `refs` is the default branch itself, without a wildcard
      in bottle.yaml:
        # git: app: push:
        - { refs: "refs/heads/agent/x", allow: [create] }
      ask: POST http://supervise:7331/requests (MCP tool request_push)
        {"push":{"repository":"app","refs":"refs/heads/agent/x","operations":["create"]}}
    note: the gate also scans what is new for secrets, which shows only when it is pushed
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    assert_snapshot!(explain(&place, &["push", "ghost", "refs/notes/x"]), @r###"
    refused: push ghost refs/notes/x (create, fast-forward) (repository-unknown)
      hint: add the repository under `git:` in bottle.yaml
    ----- stderr -----
    ----- exit code 1 -----
    "###);
}

#[test]
fn a_credential_says_where_it_travels_and_who_holds_it() {
    let place = Place::with(MANIFEST);
    assert_snapshot!(explain(&place, &["credential", "api"]), @r###"
    allowed: credential api
      what: GET,POST https://api.example.org:443 /v1/**
      rule: bottle.yaml:5
      credential: `api` (bottle.yaml:14) as the header `x-api-key`, from the environment variable `API_KEY`
    note: egress holds it; the agent never sees it
    ----- stderr -----
    ----- exit code 0 -----
    "###);
    assert_snapshot!(explain(&place, &["credential", "forge"]), @r###"
    allowed: credential forge
      what: https://git.example.org/team/app.git (repository `app`)
      rule: bottle.yaml:18
      credential: `forge` (bottle.yaml:18) as the password of `Authorization: Basic` for `bot`, from the file `token`
    note: git-gate holds it; the agent never sees it
    ----- stderr -----
    ----- exit code 0 -----
    "###);
    assert_snapshot!(explain(&place, &["credential", "spare"]), @r###"
    refused: credential spare
      detail: it travels nowhere: no route and no repository uses it
      hint: name it as the `credential` of a route or of a repository in bottle.yaml
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    assert_snapshot!(explain(&place, &["credential", "apy"]), @r###"
    ----- stderr -----
    error: no bottle has a credential `apy`; did you mean `api`?
    ----- exit code 1 -----
    "###);
}

#[test]
fn a_bottle_without_sidecars_refuses_everything() {
    let place = Place::with("bottles: { b: {} }\nagents: { a: { bottle: b, preset: shell } }\n");
    assert_snapshot!(explain(&place, &["egress", "GET", "https://a.example.org/"]), @r###"
    refused: GET https://a.example.org/ (route-missing)
      hint: add a route under `egress: routes:` in bottle.yaml: `{ host: a.example.org, paths: ["/"] }`
      in bottle.yaml:
        # egress: routes:
        - { host: "a.example.org", paths: ["/"] }
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    let output = explain(&place, &["push", "app", "x"]);
    assert!(output.code == 1 && output.stdout.contains("repository-unknown"), "{output}");
}

#[test]
fn a_mistake_of_usage_is_no_answer() {
    let place = Place::with(MANIFEST);
    for words in [
        &["egress", "GET"][..],
        &["egress", "GET", "api.example.org"],
        &["egress", "GET", "ftp://api.example.org/"],
        &["push", "app", "x", "--force", "--delete"],
        &["egress", "GET", "https://a.example/", "--live", "--agent", "dev"],
    ] {
        assert_eq!(explain(&place, words).code, 2, "{words:?}");
    }
}

/// An engine that answers `docker compose exec` as the sidecars would.
#[test]
fn with_live_the_grants_count_that_are_in_force() {
    let place = Place::with(MANIFEST);
    let grant = r#"{"version":1,"routes":[{"source":"grant g-1","host":"new.example.org","scheme":"https","ports":[443],"methods":["GET"],"paths":["/**"]}],"push":[{"repository":"app","rule":{"source":"grant g-1","refs":"refs/heads/fix","allow":["create"]}}]}"#;
    place.bottle(["render"]).run().ok();
    let policy: EgressPolicy = serde_yaml::from_str(&place.read(".bottle/dev/egress/policy.yaml")).unwrap();
    let policy = serde_json::to_string(&policy).unwrap();
    let gate = place.read(".bottle/dev/git-gate/gate.yaml");
    place.put(
        "running.json",
        format!("{{\"generation\":7,\"policy\":{policy},\"grants\":{{\"g-1\":{grant}}}}}"),
    );
    place.put("gate.yaml", gate);
    let root = place.root().display();
    let path = place.program(
        "docker",
        &format!("case \"$*\" in *git-gate*) cat {root}/gate.yaml;; *--policy*) cat {root}/running.json;; *) exit 1;; esac"),
    );
    let live = |words: &[&str]| {
        let run = place.bottle(["explain"]).env("PATH", path.as_str());
        words.iter().fold(run, |run, word| run.arg(*word)).run()
    };
    assert_eq!(live(&["egress", "GET", "https://new.example.org/"]).code, 1);
    assert_snapshot!(live(&["egress", "GET", "https://new.example.org/", "--live"]), @r###"
    allowed: GET https://new.example.org/
      rule: grant g-1
    note: the host may resolve to public addresses only, which shows when it is sent
    ----- stderr -----
    ----- exit code 0 -----
    "###);
    assert_snapshot!(live(&["push", "app", "fix", "--create", "--live"]), @r###"
    allowed: push app refs/heads/fix (create)
      what: create refs/heads/fix
      rule: grant g-1
    note: the gate also scans what is new for secrets, which shows only when it is pushed
    ----- stderr -----
    ----- exit code 0 -----
    "###);
}
