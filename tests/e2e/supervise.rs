//! The agent asks, the operator decides, and the policy changes while everything runs.

use std::sync::LazyLock;

use libtest_mimic::Failed;

use crate::Test;
use crate::egress::doors::{address_on, addresses, knock};
use crate::egress::world::{curl, overrides, prepare, refused, seen};
use crate::world::{Project, Said, eventually, free_port, key_shape, upstream_override};

/// How soon something must be so that is on its way; a machine may be slow.
pub(crate) const TESTS: &[Test] = &[
    ("what_is_approved_passes_and_what_is_revoked_does_not", approved),
    ("what_the_operator_rejects_stays_shut_and_his_words_arrive", rejected),
    ("what_is_approved_once_passes_once", once),
    ("a_missing_credential_that_the_operator_enters_is_used_and_kept", entered),
    ("a_time_that_is_over_ends_the_grant", over),
    ("an_approved_push_reaches_the_upstream", push),
    ("a_finding_that_the_operator_lets_pass_passes", finding),
    ("a_deny_rule_wins_over_every_approval", denied),
    ("explain_live_and_diff_running_speak_of_what_runs", speak),
    ("grants_are_in_force_again_after_a_restart_of_any_sidecar", restarts),
    ("the_agent_does_not_reach_the_operators_page", page),
    ("nobody_but_the_agent_reaches_its_side_of_supervise", outside),
];

static BOTTLE: LazyLock<Result<Project, String>> = LazyLock::new(|| {
    let project = prepare("supervise")?;
    let host_key = project.keys()?;
    project.write("bottle.yaml", &manifest(&project.slug, &host_key, free_port()?));
    let upstream = upstream_override("app");
    let upstream = upstream.strip_prefix("services:\n").ok_or("the override begins otherwise")?;
    project.write("compose.override.yaml", &format!("{}{upstream}", overrides(&project.slug)));
    project.render()?;
    project.up()?;
    Ok(project)
});

fn bottle() -> Result<&'static Project, Failed> {
    BOTTLE.as_ref().map_err(|error| Failed::from(error.clone()))
}

/// The origin's address is a private one, and no grant can open those: the manifest does, for another path.
fn manifest(slug: &str, host_key: &str, port: u16) -> String {
    format!(
        "bottles:
  dev:
    egress:
      routes:
        - {{ host: later.example.org, private: true, paths: [/known] }}
        - {{ host: other.example.org, private: true, paths: [/known] }}
        - {{ host: api.example.org, private: true, credential: late }}
      deny:
        - {{ host: later.example.org, paths: [\"/admin/**\"] }}
        - {{ host: \"*.evil.example\" }}
      extra_ca: [ca.pem]
    credentials:
      late: {{ source: {{ env: E2E_LATE }}, inject: {{ header: x-api-key }} }}
    git:
      app:
        upstream: ssh://git@git.example.org:2222/srv/git/app.git
        identity_file: id_ed25519
        known_host_key: {host_key}
        push:
          - {{ refs: \"agent/**\", allow: [create] }}
    supervise: {{ port: {port} }}
agents:
  {slug}: {{ bottle: dev, preset: shell }}
"
    )
}

/// Asks as the agent, and gives the id of the request.
pub(crate) fn ask(project: &Project, ask: &str) -> Result<String, Failed> {
    let body = format!("{{\"ask\": {ask}, \"reason\": \"a test wants it\"}}");
    let said = post(project, &body).expect_ok()?;
    let answer: serde_json::Value =
        serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
    let id = answer.get("id").and_then(serde_json::Value::as_str);
    id.map(str::to_owned).ok_or_else(|| format!("no id in {said}").into())
}

fn post(project: &Project, body: &str) -> Said {
    project.agent(&format!(
        "curl --silent --show-error --max-time 60 --json '{body}' \"$BOTTLE_SUPERVISE/requests\""
    ))
}

/// Waits as the agent until there is an answer that is live.
fn hears(project: &Project, id: &str) -> Result<String, Failed> {
    project
        .agent(&format!(
            "curl --silent --show-error --max-time 90 \"$BOTTLE_SUPERVISE/requests/{id}?wait=30\""
        ))
        .expect_ok()
}

/// Runs `bottle requests` as the operator.
fn operator(project: &Project, arguments: &[&str]) -> Said {
    project.run(env!("CARGO_BIN_EXE_bottle"), &[&["requests"], arguments].concat())
}

fn route(path: &str) -> String {
    format!("{{\"route\": {{\"host\": \"later.example.org\", \"paths\": [\"{path}\"]}}}}")
}

/// Approves a request, and waits until the agent hears that it is live.
pub(crate) fn approve(project: &Project, id: &str, time: &str) -> Result<(), Failed> {
    operator(project, &["approve", id, "--for", time, "--yes"]).expect_ok()?;
    let heard = hears(project, id)?;
    assert!(heard.contains("approved") && heard.contains("\"live\":true"), "{heard}");
    Ok(())
}

/// The grants in force, as the operator's terminal lists them.
fn grant_of(project: &Project, id: &str) -> Result<String, Failed> {
    let said = operator(project, &["show", id, "--json"]).expect_ok()?;
    let at = said.find("\"g-").ok_or_else(|| format!("no grant in {said}"))?;
    Ok(said.get(at + 1..).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned())
}

fn approved() -> Result<(), Failed> {
    let project = bottle()?;
    let url = "https://later.example.org/first";
    let text = refused(project, url, 403, "path-denied")?;
    assert!(text.contains("/requests"), "the refusal names no request to make: {text}");
    let id = ask(project, &route("/first"))?;
    let listed = operator(project, &["list"]).expect_ok()?;
    assert!(listed.contains(&id), "{listed}");
    refused(project, url, 403, "path-denied")?;
    approve(project, &id, "15m")?;
    // What the agent has heard is true at once.
    let passed = curl(project, url).expect_ok()?;
    assert!(passed.contains("200 \n"), "{passed}");
    refused(project, "https://later.example.org/second", 403, "path-denied")?;
    let grant = grant_of(project, &id)?;
    operator(project, &["revoke", &grant]).expect_ok()?;
    eventually("the grant is gone", || curl(project, url).text.contains("403 path-denied\n"))
}

fn once() -> Result<(), Failed> {
    let project = bottle()?;
    let url = "https://later.example.org/once";
    let id = ask(project, &route("/once"))?;
    approve(project, &id, "once")?;
    let passed = curl(project, url).expect_ok()?;
    assert!(passed.contains("200 \n"), "{passed}");
    refused(project, url, 403, "path-denied")?;
    eventually("the desk has heard of it", || {
        operator(project, &["grants"]).ok && !operator(project, &["grants"]).text.contains(&id)
    })?;
    refused(project, url, 403, "path-denied")?;
    let push = |branch: &str| {
        let script = "date >f && git add -A && git commit -q -m change && git push -q origin HEAD:single/";
        project.agent_in_clone(&format!("{script}{branch}"))
    };
    push("one").expect_refused("ref-denied")?;
    let id =
        ask(project, r#"{"push": {"repository": "app", "refs": "single/*", "operations": ["create"]}}"#)?;
    approve(project, &id, "once")?;
    push("one").expect_ok()?;
    push("two").expect_refused("ref-denied")?;
    Ok(())
}

/// A secret that nothing looks for. The variable that the manifest names was not set at `up`.
fn entered() -> Result<(), Failed> {
    const SECRET: &str = "late-9f3c0d6a1b";
    let project = bottle()?;
    let url = "https://api.example.org/late";
    refused(project, url, 502, "credential-missing")?;
    let enter =
        format!("printf '%s\\n' {SECRET} | {} requests credential late", env!("CARGO_BIN_EXE_bottle"));
    project.run("sh", &["-c", &enter]).expect_ok()?;
    let uses = || curl(project, url).text.contains("200 \n");
    eventually("egress uses it", uses)?;
    assert!(seen(project).contains(SECRET), "the origin has not seen it");
    // Only egress has it, in a file for itself alone.
    for (service, user) in [("supervise", "0"), ("supervise", "9444"), ("agent", "0")] {
        let look = ["grep", "-rlsF", SECRET, "/var/lib/bottle", "/etc/bottle", "/run"];
        let look = project.exec(service, &["--user", user], &look);
        assert!(!look.ok, "{service} has it: {}", look.text);
    }
    let logs = project.compose(&["logs", "egress", "supervise"]).text;
    assert!(!logs.contains(SECRET), "it is in a log");
    assert!(!operator(project, &["credential"]).text.contains(SECRET));
    project.compose(&["kill", "--signal", "KILL", "egress"]).expect_ok()?;
    project.up_again(&["egress"]).expect_ok()?;
    assert!(uses(), "it is gone after a restart");
    Ok(())
}

fn rejected() -> Result<(), Failed> {
    let project = bottle()?;
    let id = ask(project, &route("/rejected"))?;
    operator(project, &["reject", &id, "--reason", "use the mirror instead"]).expect_ok()?;
    let heard = hears(project, &id)?;
    assert!(heard.contains("rejected") && heard.contains("use the mirror instead"), "{heard}");
    refused(project, "https://later.example.org/rejected", 403, "path-denied")?;
    let again =
        post(project, &format!("{{\"ask\": {}, \"reason\": \"again\"}}", route("/rejected"))).expect_ok()?;
    assert!(again.contains("ask-repeated"), "{again}");
    Ok(())
}

fn over() -> Result<(), Failed> {
    let project = bottle()?;
    let id = ask(project, &route("/short"))?;
    approve(project, &id, "3s")?;
    eventually("the grant has ended", || {
        curl(project, "https://later.example.org/short").text.contains("403 path-denied\n")
    })
}

fn push() -> Result<(), Failed> {
    let project = bottle()?;
    let script = "date >f && git add -A && git commit -q -m change && git push -q origin HEAD:extra/one";
    let text = project.agent_in_clone(script).expect_refused("ref-denied")?;
    assert!(text.contains("request_push"), "the refusal names no request to make: {text}");
    let id = ask(project, r#"{"push": {"repository": "app", "refs": "extra/*", "operations": ["create"]}}"#)?;
    approve(project, &id, "15m")?;
    project.agent_in_clone(script).expect_ok()?;
    assert!(project.upstream_ref("refs/heads/extra/one").is_some());
    operator(project, &["revoke", &grant_of(project, &id)?]).expect_ok()?;
    let again = script.replace("extra/one", "extra/two");
    project.agent_in_clone(&again).expect_refused("ref-denied")?;
    Ok(())
}

fn finding() -> Result<(), Failed> {
    let project = bottle()?;
    let script = format!(
        "printf '%s\\n' {} >key && git add -A && git commit -q -m change && git push -q origin HEAD:agent/finding",
        key_shape(4711)
    );
    let text = project.agent_in_clone(&script).expect_refused("secret-found")?;
    let at = text.find("f-").ok_or_else(|| format!("the refusal names no finding: {text}"))?;
    let finding = text.get(at..at + 18).unwrap_or_default();
    let id =
        ask(project, &format!("{{\"exception\": {{\"repository\": \"app\", \"finding\": \"{finding}\"}}}}"))?;
    approve(project, &id, "15m")?;
    project.agent_in_clone(&script).expect_ok()?;
    assert!(project.upstream_ref("refs/heads/agent/finding").is_some());
    Ok(())
}

fn denied() -> Result<(), Failed> {
    let project = bottle()?;
    let id = ask(project, &route("/**"))?;
    approve(project, &id, "15m")?;
    refused(project, "https://later.example.org/admin/x", 403, "route-denied")?;
    operator(project, &["revoke", &grant_of(project, &id)?]).expect_ok()?;
    let body = "{\"ask\": {\"route\": {\"host\": \"a.evil.example\"}}, \"reason\": \"x\"}";
    let text = post(project, body).expect_ok()?;
    assert!(text.contains("ask-denied"), "{text}");
    Ok(())
}

/// The manifest that is compared is another one beside the bottle's own, which stays as it is for the other tests.
fn speak() -> Result<(), Failed> {
    let project = bottle()?;
    let bottle = |arguments: &[&str]| project.run(env!("CARGO_BIN_EXE_bottle"), arguments);
    let url = "https://later.example.org/spoken";
    let asked = ["explain", "egress", "GET", url, "--live"];
    bottle(&asked).expect_refused("path-denied")?;
    let id = ask(project, &route("/spoken"))?;
    approve(project, &id, "15m")?;
    let grant = grant_of(project, &id)?;
    let text = bottle(&asked).expect_ok()?;
    assert!(text.contains(&grant), "the grant is not named: {text}");
    let same = bottle(&["diff", "--running", "--exit-code"]).expect_ok()?;
    // All that differs is what the override file adds.
    let changes: Vec<&str> = same.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(changes, ["  changes: container neighbour: runs -> none"], "{same}");
    assert!(same.contains("left out: ") && same.contains(&grant), "{same}");
    let own =
        std::fs::read_to_string(project.directory.join("bottle.yaml")).map_err(|error| error.to_string())?;
    let wider =
        own.replace("paths: [/known]", "paths: [/known, /more]").replace("[create]", "[create, force]");
    project.write("wider.yaml", &wider);
    let text = bottle(&["diff", "--running", "--exit-code", "-f", "wider.yaml"]).expect_refused("WIDENS")?;
    assert!(text.contains("/more become allowed"), "{text}");
    assert!(text.contains("push to app: force"), "{text}");
    // The containers are compared too.
    let smaller = own.replace("preset: shell }", "preset: shell, resources: { memory: 128m } }");
    project.write("smaller.yaml", &smaller);
    let text = bottle(&["diff", "--running", "-f", "smaller.yaml"]).expect_ok()?;
    assert!(text.contains("changes: memory of the container agent") && !text.contains("WIDENS"), "{text}");
    operator(project, &["revoke", &grant]).expect_ok()?;
    eventually("the grant is gone", || !bottle(&asked).ok)
}

fn restarts() -> Result<(), Failed> {
    let project = bottle()?;
    let url = "https://other.example.org/kept";
    let id = ask(project, "{\"route\": {\"host\": \"other.example.org\", \"paths\": [\"/kept\"]}}")?;
    approve(project, &id, "bottle")?;
    for service in ["egress", "supervise"] {
        project.compose(&["kill", "--signal", "KILL", service]).expect_ok()?;
        project.up_again(&[service]).expect_ok()?;
        let passed = curl(project, url).expect_ok()?;
        assert!(passed.contains("200 \n"), "after {service} was killed: {passed}");
    }
    let listed = operator(project, &["show", &id]).expect_ok()?;
    assert!(listed.contains("approved"), "{listed}");
    Ok(())
}

fn page() -> Result<(), Failed> {
    let project = bottle()?;
    let port = project.compose(&["port", "supervise", &page_port(project)?]).expect_ok()?;
    let port = port.trim().rsplit(':').next().unwrap_or_default().to_owned();
    let answered = project
        .run("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://127.0.0.1:{port}/")]);
    assert!(answered.ok && answered.text != "000", "nobody answers there: {}", answered.text);
    let listed = project.run("hostname", &["-I"]).expect_ok()?;
    let host = listed.split_whitespace().filter(|text| !text.contains(':')).map(str::to_owned);
    let doors: Vec<String> = addresses(project, "supervise")
        .into_iter()
        .chain(host)
        .chain(["127.0.0.1".to_owned()])
        .map(|address| format!("tcp:{address}:{port}"))
        .collect();
    let open: Vec<_> = knock(project, "agent", &doors)?.into_iter().filter(|(_, open)| *open).collect();
    assert!(open.is_empty(), "the agent reaches the operator's page: {open:?}");
    // Nor does it through egress.
    let text = curl(project, &format!("http://supervise:{port}/ --noproxy ''")).text;
    assert!(text.contains("403 "), "{text}");
    Ok(())
}

pub(crate) fn page_port(project: &Project) -> Result<String, Failed> {
    let form = "{{range $port, $of := .NetworkSettings.Ports}}{{if $of}}{{$port}}{{end}}{{end}}";
    let port = project.inspect("supervise", form);
    port.split('/').next().map(str::to_owned).ok_or_else(|| format!("no port in `{port}`").into())
}

/// The host stands on the operator's network, as anybody on this machine does.
fn outside() -> Result<(), Failed> {
    let project = bottle()?;
    let [inside, operators] = ["inside", "operator"].map(|network| address_on(project, "supervise", network));
    let door = format!("tcp:{inside}:7331");
    assert_eq!(knock(project, "agent", std::slice::from_ref(&door))?.get(&door), Some(&true), "{door}");
    let connect = |port: &str| {
        project.run("curl", &["-s", "-o", "/dev/null", &format!("http://{operators}:{port}/healthz")])
    };
    let page = page_port(project)?;
    assert!(connect(&page).ok, "the page is not there, so this proves nothing");
    assert!(!connect("7331").ok, "whoever stands outside could ask in the agent's name");
    Ok(())
}
