//! `bottle diff`: what a change opens and closes.

use std::process::Command;

use bottle::policy::egress::EgressPolicy;
use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Output, Place, project};

/// A manifest with these routes, deny rules and repositories, each in YAML's flow style.
fn manifest(routes: &str, rest: &str) -> String {
    let routes: Vec<String> = routes.lines().map(|line| format!("        - {{ {line} }}\n")).collect();
    let routes = routes.concat();
    format!(
        "bottles:\n  b:\n    egress:\n      routes:\n{routes}{rest}    credentials:\n      c: {{ source: {{ env: C }}, inject: {{ bearer: true }} }}\nagents:\n  a: {{ bottle: b, preset: shell }}\n"
    )
}

fn diff(old: &str, new: &str) -> Output {
    let place = Place::with(new).file("old.yaml", old);
    place.bottle(["diff", "old.yaml", "bottle.yaml", "--exit-code"]).run()
}

const NOTHING: &str = "nothing changes\n";

#[test]
fn what_another_rule_says_already_is_no_change() {
    let same = [
        // Another order, another notation, a repetition.
        ("host: a.example.org\nhost: b.example.org", "", "host: b.example.org\nhost: a.example.org", ""),
        (
            "host: a.example.org",
            "",
            "host: a.example.org, methods: [HEAD, GET], ports: [443], paths: [/**]",
            "",
        ),
        ("host: a.example.org", "", "host: a.example.org\nhost: a.example.org, methods: [GET]", ""),
        // Within another rule.
        ("host: \"*.example.org\"", "", "host: \"*.example.org\"\nhost: a.example.org", ""),
        ("host: a.example.org", "", "host: a.example.org\nhost: a.example.org, paths: [/x/*]", ""),
        (
            "host: a.example.org, methods: [ANY]",
            "",
            "host: a.example.org, methods: [ANY]\nhost: a.example.org, methods: [PUT]",
            "",
        ),
        ("host: a.example.org, paths: [/a/**]", "", "host: a.example.org, paths: [/a/**, /a/*/b]", ""),
        // A deny rule for what no route allows.
        ("host: a.example.org", "", "host: a.example.org", "      deny: [{ host: b.example.org }]\n"),
        (
            "host: a.example.org",
            "",
            "host: a.example.org",
            "      deny: [{ host: a.example.org, methods: [PUT] }]\n",
        ),
        (
            "host: a.example.org, paths: [/a]",
            "",
            "host: a.example.org, paths: [/a]",
            "      deny: [{ host: a.example.org, paths: [/b/c] }]\n",
        ),
        // A route for what a deny rule refuses.
        (
            "host: a.example.org",
            "      deny: [{ host: \"*.b.example.org\" }]\n",
            "host: a.example.org\nhost: x.b.example.org",
            "      deny: [{ host: \"*.b.example.org\" }]\n",
        ),
    ];
    for (old, old_rest, new, new_rest) in same {
        let output = diff(&manifest(old, old_rest), &manifest(new, new_rest));
        assert_eq!((output.code, output.stdout.as_str()), (0, NOTHING), "{old} and {new}: {output}");
    }
}

#[test]
fn what_opens_and_closes_is_told_by_its_meaning() {
    let pairs = [
        (
            "a route",
            "host: a.example.org",
            "",
            "host: a.example.org\nhost: b.example.org, methods: [ANY], ports: [443, 8443]",
            "",
        ),
        ("a wider host", "host: a.example.org, paths: [/x]", "", "host: \"*.example.org\", paths: [/x]", ""),
        ("a narrower path", "host: a.example.org", "", "host: a.example.org, paths: [/v1/**]", ""),
        ("a wider path", "host: a.example.org, paths: [/v1/**]", "", "host: a.example.org", ""),
        ("every method", "host: a.example.org", "", "host: a.example.org, methods: [ANY]", ""),
        (
            "a deny rule goes",
            "host: \"*.example.org\"",
            "      deny: [{ host: a.example.org, paths: [/admin/**] }]\n",
            "host: \"*.example.org\"",
            "",
        ),
        (
            "a deny rule comes",
            "host: \"*.example.org\"",
            "",
            "host: \"*.example.org\"",
            "      deny: [{ host: a.example.org }]\n",
        ),
        (
            "a credential",
            "host: a.example.org\nhost: b.example.org",
            "",
            "host: a.example.org, credential: c\nhost: b.example.org",
            "",
        ),
        (
            "a credential on a part",
            "host: a.example.org, credential: c\nhost: a.example.org, paths: [/x]",
            "",
            "host: a.example.org, credential: c",
            "",
        ),
        (
            "private addresses",
            "host: a.example.org",
            "",
            "host: a.example.org, private: true, max_upload: 1m",
            "",
        ),
        (
            "routes that become one",
            "host: a.example.org, paths: [/a/**]\nhost: a.example.org, paths: [/b/**]",
            "",
            "host: a.example.org, paths: [/a/**, /b/**]",
            "",
        ),
        ("a WebSocket", "host: a.example.org", "", "host: a.example.org, websocket: true", ""),
    ];
    let told: Vec<String> = pairs
        .into_iter()
        .map(|(name, old, old_rest, new, new_rest)| {
            let output = diff(&manifest(old, old_rest), &manifest(new, new_rest));
            format!("{name} (exit code {}):\n{}{}", output.code, output.stdout, output.stderr)
        })
        .collect();
    assert_snapshot!(told.join("\n"), @r###"
    a route (exit code 1):
    agent a:
      WIDENS: ANY https://b.example.org:443,8443 /** become allowed (bottle.yaml:6)

    a wider host (exit code 1):
    agent a:
      WIDENS: GET, HEAD https://*.example.org (not a.example.org) /x become allowed (bottle.yaml:5)

    a narrower path (exit code 0):
    agent a:
      narrows: GET, HEAD https://a.example.org /** (not /v1/**) are no longer allowed, such as / (old.yaml:5)

    a wider path (exit code 1):
    agent a:
      WIDENS: GET, HEAD https://a.example.org /** (not /v1/**) become allowed, such as / (bottle.yaml:5)

    every method (exit code 1):
    agent a:
      WIDENS: ANY (not GET, HEAD) https://a.example.org /** become allowed (bottle.yaml:5)

    a deny rule goes (exit code 1):
    agent a:
      WIDENS: GET, HEAD https://a.example.org /admin/** are no longer denied (old.yaml:6)

    a deny rule comes (exit code 0):
    agent a:
      narrows: GET, HEAD https://a.example.org /** are denied now (bottle.yaml:6)

    a credential (exit code 1):
    agent a:
      WIDENS: the credential c travels now with GET, HEAD https://a.example.org /** (bottle.yaml:5)
      changes: form of the credential c: none -> bearer
      WIDENS: variable C in egress: none -> BOTTLE_CREDENTIAL_c

    a credential on a part (exit code 1):
    agent a:
      WIDENS: the credential c travels now with GET, HEAD https://a.example.org /x (bottle.yaml:5)

    private addresses (exit code 1):
    agent a:
      WIDENS: GET, HEAD https://a.example.org /** may reach hosts with private addresses (bottle.yaml:5)
      narrows: GET, HEAD https://a.example.org /** may carry 1048576 bytes, before any number of (old.yaml:5)

    routes that become one (exit code 1):
    agent a:
      WIDENS: GET, HEAD https://a.example.org /a/**, /b/** become allowed together as the readings of one path (bottle.yaml:5)

    a WebSocket (exit code 1):
    agent a:
      WIDENS: GET, HEAD as WebSockets https://a.example.org /** become allowed (bottle.yaml:5)
    "###);
}

const GATE: &str = "bottles: { b: { git: { app: { upstream: \"https://git.example.org/app\", push: [PUSH] } } } }\nagents: { a: { bottle: b, preset: shell, resources: { memory: 2g, cpus: 1 }, runtime: runsc } }\n";

#[test]
fn refs_protected_paths_and_the_containers_are_compared_too() {
    let old = GATE.replace("PUSH", "{ refs: \"agent/**\", allow: [create, fast-forward] }");
    let new = GATE
        .replace("PUSH", "{ refs: \"**\", allow: [create] }, { refs: \"agent/x\", allow: [create, delete] }");
    assert_snapshot!(diff(&old, &new), @r###"
    agent a:
      WIDENS: push to app: create of refs/heads/** (not refs/heads/agent/**) becomes allowed (bottle.yaml:1)
      WIDENS: push to app: create of refs/heads/agent/x, should it be the default branch, becomes allowed (bottle.yaml:1)
      WIDENS: push to app: delete of refs/heads/agent/x becomes allowed (bottle.yaml:1)
      narrows: push to app: fast-forward of refs/heads/agent/** is no longer allowed (old.yaml:1)
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    let new = old
        .replace("push:", "protect: [bottle.yaml], max_pack: 1g, push:")
        .replace("memory: 2g, cpus: 1", "memory: 3g")
        .replace(", runtime: runsc", "");
    assert_snapshot!(diff(&old, &new), @r###"
    agent a:
      WIDENS: .bottle/**, compose.yaml of app is no longer protected
      WIDENS: memory of the agent: 2g -> 3g
      WIDENS: most bytes of a push to app: 268435456 -> 1073741824
      WIDENS: processors of the agent: 1 -> none
      WIDENS: runtime of the agent: runsc -> none
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    // The other way round it is no widening.
    let output = diff(&new, &old);
    assert_eq!(output.code, 0, "{output}");
    assert!(!output.stdout.contains("WIDENS"), "{output}");
}

#[test]
fn an_agent_that_is_new_opens_all_that_it_may_do() {
    let old = manifest("host: a.example.org", "");
    let new = format!("{old}  z: {{ bottle: b, preset: shell }}\n  y: {{ bottle: b, preset: shell }}\n");
    assert_snapshot!(diff(&old, &new), @r###"
    agents z, y:
      WIDENS: the agent is new
      WIDENS: GET, HEAD https://a.example.org /** become allowed (bottle.yaml:5)
      WIDENS: network of the agent: none -> inside
      WIDENS: sidecar egress: none -> runs
    ----- stderr -----
    ----- exit code 1 -----
    "###);
    let output = diff(&new, &old);
    assert!(output.code == 0 && output.stdout.contains("the agent is gone"), "{output}");
}

#[test]
fn the_other_formats_say_the_same() {
    let (old, new) = (
        manifest("host: a.example.org", ""),
        manifest("host: a.example.org, paths: [\"/`x`\"]\nhost: b.example.org", ""),
    );
    let place = Place::with(&new).file("old.yaml", &old);
    assert_snapshot!(place.bottle(["diff", "old.yaml", "--format", "markdown"]).run().ok(), @r###"
    ### bottle.yaml

    **This widens what an agent can do.**

    `a`

    - **WIDENS**: GET, HEAD `https://b.example.org` `/**` become allowed (`bottle.yaml:6`)
    - narrows: GET, HEAD `https://a.example.org` `/**` (not `` /`x` ``) are no longer allowed, such as `/` (`old.yaml:5`)
    "###);
    let json = place.bottle(["diff", "old.yaml", "--format", "json"]).run().ok();
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["widens"], true);
    assert_snapshot!(serde_json::to_string_pretty(&value["agents"][0]["changes"][0]).unwrap(), @r###"
    {
      "widens": true,
      "change": "reach",
      "by": "route",
      "host": "b.example.org",
      "except_hosts": [],
      "scheme": "https",
      "ports": [
        443
      ],
      "methods": [
        "GET",
        "HEAD"
      ],
      "except_methods": [],
      "websocket": "no",
      "paths": [
        "/**"
      ],
      "except_paths": [],
      "example": "/",
      "rules": [
        "bottle.yaml:6"
      ]
    }
    "###);
}

fn git(place: &Place, args: &[&str]) {
    let output = Command::new("git")
        .current_dir(place.work())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("git is there"))
        .envs([
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
        ])
        .args(args)
        .output()
        .expect("git is there");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_revision_is_compared_with_the_working_tree() {
    let place = Place::new();
    git(&place, &["init", "--quiet", "-b", "main"]);
    git(&place, &["commit", "--quiet", "--allow-empty", "-m", "empty"]);
    let place = place.file("sub/bottle.yaml", manifest("host: a.example.org", ""));
    let run = |args: &[&str]| {
        args.iter().fold(place.bottle(["diff"]).below("work/sub"), |run, arg| run.arg(*arg)).run()
    };
    // Before there was one, nothing was allowed.
    let first = run(&["--exit-code"]);
    assert!(first.code == 1 && first.stdout.contains("the agent is new"), "{first}");
    git(&place, &["add", "."]);
    git(&place, &["commit", "--quiet", "-m", "first"]);
    assert_eq!(run(&["--exit-code"]).ok(), NOTHING);
    place.put("work/sub/bottle.yaml", manifest("host: b.example.org", ""));
    let told = run(&[]).ok();
    assert_snapshot!(told, @r###"
    agent a:
      WIDENS: GET, HEAD https://b.example.org /** become allowed (bottle.yaml:5)
      narrows: GET, HEAD https://a.example.org /** are no longer allowed (HEAD:bottle.yaml:5)
    "###);
    assert_eq!(run(&["HEAD"]).ok(), told);
    assert_eq!(run(&["main"]).ok().replace("main:", "HEAD:"), told);
    git(&place, &["commit", "--quiet", "-a", "-m", "second"]);
    assert!(run(&["HEAD~1", "HEAD"]).ok().contains("https://b.example.org"));
    assert_eq!(run(&["HEAD"]).ok(), NOTHING);
    assert_snapshot!(run(&["no-such-revision"]), @r###"
    ----- stderr -----
    error: `no-such-revision` is no file, and `git show --no-textconv --end-of-options no-such-revision:./bottle.yaml` failed: fatal: invalid object name 'no-such-revision'.
    ----- exit code 1 -----
    "###);
    assert_eq!(run(&["--output=x"]).code, 2);
}

#[test]
fn without_git_or_a_manifest_it_says_so() {
    let place = Place::with(&manifest("host: a.example.org", ""));
    let output = place.bottle(["diff"]).env("GIT_CEILING_DIRECTORIES", place.root().as_os_str()).run();
    assert!(output.code == 1 && output.stderr.contains("not a git repository"), "{output}");
    let output = place.bottle(["diff", "bottle.yaml", "--agent", "ghost"]).run();
    assert!(output.code == 1 && output.stderr.contains("`ghost`"), "{output}");
}

/// The examples are read as they are, and none differs from itself.
#[test]
fn no_example_differs_from_itself() {
    for name in ["egress", "several-agents", "two-repositories", "supervise", "ssh-agent"] {
        let path = project(&format!("examples/{name}/bottle.yaml"));
        let place = Place::new();
        let output = place.bottle(["diff"]).arg(&path).arg(&path).run();
        assert_eq!(output.ok(), NOTHING, "{name}");
    }
}

/// A bottle that runs: an engine that answers as Compose and the sidecars of the rendered bundle would.
fn running(place: &Place, containers: &str, grants: &str) -> String {
    place.bottle(["render"]).run().ok();
    let policy: EgressPolicy =
        serde_yaml::from_str(&place.read(".bottle/a/egress/policy.yaml")).expect("the policy is one");
    let policy = serde_json::to_string(&policy).expect("the policy is one");
    place.put("running.json", format!("{{\"generation\":1,\"policy\":{policy},\"grants\":{{{grants}}}}}"));
    place.put("gate.yaml", place.read(".bottle/a/git-gate/gate.yaml"));
    place.put("containers.json", containers);
    let root = place.root().display();
    place.program(
        "docker",
        &format!(
            "case \"$*\" in\n'container ls '*|'network ls '*) ;;\n'compose ps --format json --all') cat {root}/containers.json;;\n\
             'compose exec -T --user 9418 git-gate cat /etc/bottle/gate.yaml') cat {root}/gate.yaml;;\n\
             'compose exec -T --user 9443 egress '*' --policy') cat {root}/running.json;;\n*) echo \"docker $*\" >&2; exit 1;;\nesac"
        ),
    )
}

const RUNNING: &str = r#"{"Project":"bottle-a","Service":"agent","State":"running"}
{"Project":"bottle-a","Service":"egress","State":"running"}
{"Project":"bottle-a","Service":"git-gate","State":"running"}
"#;
const GIT: &str = "    git: { app: { upstream: \"https://git.example.org/app.git\", push: [{ refs: \"agent/**\", allow: [create] }] } }\n";

#[test]
fn what_runs_is_compared_with_the_manifest_and_grants_are_left_out() {
    let place = Place::with(&manifest("host: a.example.org", GIT));
    let grant = r#""g-1":{"version":1,"routes":[{"source":"grant g-1","host":"new.example.org","scheme":"https","ports":[443],"methods":["GET"],"paths":["/**"]}]}"#;
    let path = running(&place, RUNNING, grant);
    let run = |words: &[&str]| {
        let run = place.bottle(["diff", "--running"]).env("PATH", path.as_str());
        words.iter().fold(run, |run, word| run.arg(*word)).run()
    };
    assert_snapshot!(run(&["--exit-code"]), @r"
    nothing changes
    note: grants in force are left out: g-1
    ----- stderr -----
    ----- exit code 0 -----
    ");
    // The bundle is as it was: what counts is what runs.
    let git = GIT.replace("create", "create, force");
    place.put("work/bottle.yaml", manifest("host: b.example.org", &git));
    let output = run(&["--exit-code"]);
    assert_eq!(output.code, 1, "{output}");
    for line in [
        "  WIDENS: GET, HEAD https://b.example.org /** become allowed (bottle.yaml:5)\n",
        "  narrows: GET, HEAD https://a.example.org /** are no longer allowed (bottle.yaml:5)\n",
        "  WIDENS: push to app: force of refs/heads/agent/** becomes allowed (bottle.yaml:6)\n",
    ] {
        assert!(output.stdout.contains(line), "no `{line}` in {output}");
    }
    let json: Value = serde_json::from_str(&run(&["--format", "json"]).ok()).unwrap();
    assert_eq!(json.pointer("/agents/0/names/0").and_then(Value::as_str), Some("a"));
    assert_eq!(json.pointer("/notes").and_then(Value::as_array).map(Vec::len), Some(1));
    assert!(run(&["--format", "markdown"]).ok().contains("\nNote: grants in force are left out: g-1\n"));
    for words in [&["--agent", "a"][..], &["HEAD"], &["old.yaml", "new.yaml"]] {
        assert_eq!(run(words).code, 2, "{words:?}");
    }
}

#[test]
fn a_sidecar_that_does_not_run_counts_as_not_there_and_is_told() {
    let place = Place::with(&manifest("host: a.example.org", GIT));
    let path = running(
        &place,
        &RUNNING.replace("git-gate\",\"State\":\"running", "git-gate\",\"State\":\"exited"),
        "",
    );
    assert_snapshot!(place.bottle(["diff", "--running"]).env("PATH", path.as_str()).run(), @r"
    agent a:
      WIDENS: push to app: create of refs/heads/agent/** becomes allowed (bottle.yaml:6)
      WIDENS: sidecar git-gate: none -> runs
      WIDENS: repository app: none -> https://git.example.org/app.git
      changes: most bytes of a push to app: none -> 268435456
    note: git-gate does not run (exited) and counts as not there
    ----- stderr -----
    ----- exit code 0 -----
    ");
}

#[test]
fn what_is_no_bottle_that_runs_is_an_error_with_its_reason() {
    let place = Place::with(&manifest("host: a.example.org", GIT));
    for (containers, wanted) in [
        ("", "nothing of the Compose project of this directory runs; `docker compose up --detach` starts it"),
        (&RUNNING.replace("running", "exited"), "nothing of the Compose project of this directory runs"),
        (
            &RUNNING.replace("bottle-a", "shop"),
            "the Compose project `shop` of this directory is none of bottle's",
        ),
        (&RUNNING.replace("bottle-a", "bottle-b"), "the agent `b` runs, and the manifest has no such agent"),
    ] {
        let path = running(&place, containers, "");
        let said = place.bottle(["diff", "--running"]).env("PATH", path.as_str()).run().fails(1);
        assert!(said.contains(wanted), "{said}");
    }
}
