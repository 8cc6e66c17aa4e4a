//! All sidecars in one container: the agent sees no difference, and one process gets nothing of another's.
//!
//! This bottle is arranged so whatever `BOTTLE_E2E_SIDECARS` says; with `bundled` all other tests run on such bottles too.

use std::sync::LazyLock;

use libtest_mimic::Failed;

use crate::Test;
use crate::egress::doors::{address_on, addresses, knock, shut_for_the_agent};
use crate::egress::world::{KEY, TOKEN, arranged, curl, overrides, refused, seen};
use crate::supervise::{approve, ask, page_port};
use crate::world::{Project, Said, eventually, free_port, upstream_override};

pub(crate) const TESTS: &[Test] = &[
    ("the_agent_finds_everything_where_it_is_otherwise", works),
    ("what_serves_has_a_user_of_its_own_and_no_capability", users),
    ("no_process_reads_the_files_of_another", files),
    ("no_process_reads_the_secrets_in_the_containers_environment", environment),
    ("the_agent_has_no_way_out_but_through_egress", doors),
    ("egress_leads_to_no_sidecar_beside_it", beside),
    ("the_health_names_what_is_not_well", health),
    ("a_process_that_dies_is_started_again_and_the_others_go_on", killed),
    ("a_stop_is_passed_on_and_everything_ends_in_time", stopped),
];

/// The secret of the gate.
const GIT_TOKEN: &str = "e2e-git-5d41402abc4b2a76";
/// The users of the sidecars.
const EGRESS: &str = "9443";
const GIT: &str = "9418";
const KEYS: &str = "9419";
const SUPERVISE: &str = "9444";

static BOTTLE: LazyLock<Result<Project, String>> = LazyLock::new(|| {
    let project = arranged(Project::arranged("bundled", true)?)?;
    let host_key = project.keys()?;
    // As careless as can be: everybody on the host may read them.
    for file in ["token", "id_ed25519"] {
        let opened = project.run("chmod", &["0644", file]);
        if !opened.ok {
            return Err(opened.text);
        }
    }
    project.write(".env", &format!("E2E_KEY={KEY}\nE2E_GIT={GIT_TOKEN}\n"));
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

/// The gate has another address for one of egress's hosts, and the last routes lead to egress's own container.
fn manifest(slug: &str, host_key: &str, port: u16) -> String {
    format!(
        "bottles:
  dev:
    egress:
      routes:
        - {{ host: api.example.org, private: true, methods: [GET, POST], credential: key }}
        - {{ host: files.example.org, private: true, credential: token }}
        - {{ host: later.example.org, private: true, paths: [/known] }}
        - {{ host: self.example.org, scheme: http, ports: [3129, 7331, 9418, {port}], private: true }}
        - {{ host: operator.supervise, scheme: http, ports: [{port}], private: true }}
        - {{ host: inside.supervise, scheme: http, ports: [7331], private: true }}
        - {{ host: inside.git-gate, scheme: http, ports: [9418], private: true }}
      extra_hosts: {{ self.example.org: 127.0.0.1 }}
      extra_ca: [ca.pem]
    credentials:
      key: {{ source: {{ env: E2E_KEY }}, inject: {{ header: x-api-key }} }}
      token: {{ source: {{ file: token }}, inject: {{ bearer: true }} }}
      git: {{ source: {{ env: E2E_GIT }}, inject: {{ basic: {{ username: bot }} }} }}
    git:
      app:
        upstream: ssh://git@git.example.org:2222/srv/git/app.git
        identity_file: id_ed25519
        known_host_key: {host_key}
        push:
          - {{ refs: \"agent/**\", allow: [create] }}
      other:
        upstream: https://files.example.org/other.git
        credential: git
        extra_hosts: {{ files.example.org: 192.0.2.7 }}
    supervise: {{ port: {port} }}
agents:
  {slug}: {{ bottle: dev, preset: shell, workspace: {{ clone: app }} }}
"
    )
}

/// Runs a script in the sidecars' container, as a user.
fn shell(project: &Project, user: &str, script: &str) -> Said {
    project.exec("sidecars", &["--user", user], &["sh", "-c", script])
}

/// A script that prints the ids of the processes of a user whose command line has these words.
fn pids(user: &str, words: &str) -> String {
    format!(
        "for s in /proc/[0-9]*/status; do p=${{s%/status}}; p=${{p#/proc/}}; [ $p != $$ ] && \
         grep -qs '^Uid:[[:space:]]*{user}[[:space:]]' $s && tr '\\0' ' ' <${{s%status}}cmdline 2>/dev/null | grep -q -- '{words}' && echo $p; done; true"
    )
}

fn pid(project: &Project, user: &str, words: &str) -> Result<String, Failed> {
    let text = shell(project, "0", &pids(user, words)).expect_ok()?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(pid), None) => Ok(pid.to_owned()),
        _ => Err(format!("not one process of {user} is `{words}`: {text:?}").into()),
    }
}

fn works() -> Result<(), Failed> {
    let project = bottle()?;
    let services = project.compose(&["ps", "--services"]).expect_ok()?;
    let mut services: Vec<&str> = services.lines().collect();
    services.sort_unstable();
    assert_eq!(services, ["agent", "neighbour", "origin", "sidecars", "upstream"]);
    for (url, with) in [
        ("https://api.example.org/v1", format!("/v1 key={KEY} ")),
        // The gate's address for this host is none of egress's.
        ("https://files.example.org/f", format!("/f key=- authorization=Bearer {TOKEN} ")),
    ] {
        let text = curl(project, url).expect_ok()?;
        assert!(text.contains("200 \n") && !text.contains(KEY) && !text.contains(TOKEN), "{text}");
        assert!(seen(project).contains(&with), "{url}: {}", seen(project));
    }
    assert_eq!(project.agent("cat /workspace/README").expect_ok()?, "hello from app\n");
    project
        .agent_in_clone("date >f && git add f && git commit -q -m f && git push -q origin HEAD:agent/one")
        .expect_ok()?;
    assert!(project.upstream_ref("refs/heads/agent/one").is_some());
    project.agent_in_clone("git push origin HEAD:other/one").expect_refused("ref-denied")?;
    let url = "https://later.example.org/asked";
    refused(project, url, 403, "path-denied")?;
    let id = ask(project, r#"{"route": {"host": "later.example.org", "paths": ["/asked"]}}"#)?;
    approve(project, &id, "15m")?;
    let text = curl(project, url).expect_ok()?;
    assert!(text.contains("200 \n"), "{text}");
    // What the operator's commands ask is in the one container.
    for (command, word) in [
        (&["audit"][..], "path-denied"),
        (&["diff", "--running"], "  changes: container neighbour: runs -> none\nnote: "),
        (&["explain", "egress", "GET", url, "--live"], "allowed"),
    ] {
        let text = project.run(env!("CARGO_BIN_EXE_bottle"), command).expect_ok()?;
        assert!(text.contains(word), "{command:?}: {text}");
    }
    let logs = project.compose(&["logs", "--no-log-prefix", "sidecars"]).text;
    for name in ["egress", "git-gate", "supervise"] {
        assert!(logs.lines().any(|line| line.starts_with(&format!("{name} | "))), "{name}: {logs}");
    }
    for secret in [KEY, TOKEN, GIT_TOKEN] {
        assert!(!logs.contains(secret), "a secret is in the log");
    }
    Ok(())
}

fn users() -> Result<(), Failed> {
    let project = bottle()?;
    let script = "for s in /proc/[0-9]*/status; do p=${s%/status}; [ $p = /proc/$$ ] && continue; \
                  awk '/^(PPid|Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs):/ { n = $1; $1 = \"\"; printf \"%s%s;\", n, $0 }' $s 2>/dev/null; \
                  tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done";
    let all = shell(project, "0", script).expect_ok()?;
    let mut found = Vec::new();
    for line in all.lines().filter(|line| line.contains("Uid:")) {
        // What the engine started beside it for a look, as this is and the health check.
        if line.contains("PPid: 0;") && !line.contains("init") {
            continue;
        }
        let id = |name: &str| {
            line.split_once(name).and_then(|(_, rest)| rest.split([' ', ';']).find(|word| !word.is_empty()))
        };
        let user = id("Uid:").ok_or("no user")?.to_owned();
        if user == "0" {
            let known = ["init", "bottle sidecar all", "bottle sidecar git-gate start"];
            assert!(
                known.iter().any(|known| line.contains(known)) || line.contains("sidecar all check"),
                "root runs {line}"
            );
            continue;
        }
        assert!([EGRESS, GIT, KEYS, SUPERVISE].contains(&user.as_str()), "{line}");
        assert!(
            line.contains(&format!("Uid: {user} {user} {user} {user};Gid: {user} {user} {user} {user};")),
            "{line}"
        );
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(line.contains(&format!("{set}: 0000000000000000;")), "{line}");
        }
        assert!(line.contains("NoNewPrivs: 1;"), "{line}");
        found.push(user);
    }
    for user in [EGRESS, GIT, KEYS, SUPERVISE] {
        assert!(found.iter().any(|found| found == user), "nothing runs as {user}: {all}");
    }
    let form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}}";
    let form = project.inspect("sidecars", form).replace("CAP_", "");
    assert_eq!(form, "true [ALL] [KILL SETGID SETUID] [no-new-privileges:true]");
    Ok(())
}

fn files() -> Result<(), Failed> {
    let project = bottle()?;
    let all = [EGRESS, GIT, KEYS, SUPERVISE];
    for (look, of) in [
        ("ls /var/lib/bottle/egress", &[EGRESS][..]),
        ("cat /var/lib/bottle/egress/ca.key", &[EGRESS]),
        ("ls /var/lib/bottle/mirrors", &[GIT]),
        ("ls /var/lib/bottle/supervise", &[SUPERVISE]),
        ("cat /var/lib/bottle/supervise/token", &[SUPERVISE]),
        ("ls /var/lib/bottle/credentials", &[EGRESS, SUPERVISE]),
        // Open to everybody on the host, and here to nobody: they are read before the users are taken.
        ("cat /etc/bottle/credentials/token", &[]),
        ("cat /etc/bottle/identity/app", &[]),
        ("ls /run/bottle/gate", &[GIT]),
        ("ls /run/bottle/keys/agents", &[KEYS]),
        ("ls /tmp", &[GIT]),
        ("touch /tmp/x", &[GIT]),
        ("touch /run/bottle/x", &[]),
        ("touch /run/bottle/keys/x", &[KEYS]),
        ("touch /var/lib/bottle/grants/.x", &[SUPERVISE]),
        ("touch /var/lib/bottle/trust/.x", &[EGRESS]),
        ("touch /var/lib/bottle/egress-report/.x", &[EGRESS]),
        ("touch /var/lib/bottle/gate-report/.x", &[GIT]),
        ("touch /etc/bottle/egress/x", &[]),
        ("touch /usr/local/bin/x", &[]),
    ] {
        for user in all {
            let said = shell(project, user, look);
            assert_eq!(said.ok, of.contains(&user), "`{look}` as {user}: {}", said.text);
        }
    }
    // They are there: a directory that nobody can look into proves nothing otherwise.
    shell(project, "0", "test -s /etc/bottle/credentials/token && test -s /etc/bottle/identity/app")
        .expect_ok()?;
    // Nor is a process of another user's to be stopped.
    for (user, of, words) in [
        (GIT, EGRESS, "sidecar egress"),
        (EGRESS, SUPERVISE, "sidecar supervise"),
        (SUPERVISE, KEYS, "broker"),
    ] {
        let pid = pid(project, of, words)?;
        let said = shell(project, user, &format!("kill -9 {pid}"));
        assert!(!said.ok, "{user} killed `{words}`");
        // Memory is no other than a file.
        assert!(
            !shell(project, user, &format!("head -c 1 /proc/{pid}/mem || cat /proc/{pid}/maps | grep .")).ok,
            "{user} {words}"
        );
    }
    Ok(())
}

fn environment() -> Result<(), Failed> {
    let project = bottle()?;
    let form = project.inspect("sidecars", "{{.Config.Env}}");
    assert!(
        form.contains(KEY) && form.contains(GIT_TOKEN),
        "the secrets are not there, so this proves nothing: {form}"
    );
    // `docker exec` itself gives the container's environment to what it starts, whoever that is: left out.
    let look = "me=$$; for e in /proc/[0-9]*/environ; do case $e in /proc/$me/*|/proc/self/*) ;; *) tr '\\0' '\\n' <$e 2>/dev/null | sed \"s|^|$e |\"; esac; done; true";
    for user in [EGRESS, GIT, KEYS, SUPERVISE] {
        let text = project
            .exec(
                "sidecars",
                &[
                    "--user",
                    user,
                    "--env",
                    "EGRESS_BOTTLE_CREDENTIAL_key=-",
                    "--env",
                    "GIT_GATE_BOTTLE_CREDENTIAL_git=-",
                ],
                &["sh", "-c", look],
            )
            .expect_ok()?;
        assert!(!text.contains(KEY) && !text.contains(GIT_TOKEN), "{user} reads {text}");
        assert!(!shell(project, user, "cat /proc/1/environ").ok, "{user} reads init's");
    }
    // What the gate was started with is its own alone.
    let start = pid(project, "0", "git-gate start")?;
    let text = shell(project, "0", &format!("cat /proc/{start}/environ | tr '\\0' '\\n'")).expect_ok()?;
    assert!(text.contains(&format!("BOTTLE_CREDENTIAL_git={GIT_TOKEN}\n")), "{text}");
    assert!(!text.contains(KEY), "{text}");
    Ok(())
}

fn doors() -> Result<(), Failed> {
    let project = bottle()?;
    let origins = addresses(project, "origin");
    let upstreams = addresses(project, "upstream");
    let doors: Vec<String> = origins
        .iter()
        .flat_map(|address| [format!("tcp:{address}:443"), format!("icmp:{address}:0")])
        .chain(upstreams.iter().map(|address| format!("tcp:{address}:2222")))
        .collect();
    shut_for_the_agent(project, "neighbour", &doors)?;
    let names = ["dns:127.0.0.11:api.example.org", "dns:127.0.0.11:origin"].map(str::to_owned);
    shut_for_the_agent(project, "neighbour", &names)?;
    // Of the one container the agent reaches three ports at one address, and who stands outside none.
    let page = page_port(project)?;
    let [inside, outside, operator] =
        ["inside", "outside", "operator"].map(|network| address_on(project, "sidecars", network));
    let ports = ["3128", "3129", "7331", "9418", &page];
    let at = |address: &str| ports.iter().map(|port| format!("tcp:{address}:{port}")).collect::<Vec<_>>();
    let agent =
        knock(project, "agent", &[at(&inside), at(&outside), at(&operator), at("127.0.0.1")].concat())?;
    let mut open: Vec<_> = agent.into_iter().filter(|(_, open)| *open).map(|(door, _)| door).collect();
    open.sort_unstable();
    assert_eq!(open, ["3128", "7331", "9418"].map(|port| format!("tcp:{inside}:{port}")));
    let ping = format!("icmp:{outside}:0");
    let answers = knock(project, "neighbour", &[at(&outside), vec![ping.clone()]].concat())?;
    let open: Vec<_> = answers.into_iter().filter(|(_, open)| *open).map(|(door, _)| door).collect();
    assert_eq!(open, [ping], "whoever stands outside reaches a sidecar");
    // The host stands on the operator's network: there it finds the page, and nothing else.
    let connect = |port: &str| {
        project
            .run(
                "curl",
                &["-s", "-o", "/dev/null", "--max-time", "5", &format!("http://{operator}:{port}/healthz")],
            )
            .ok
    };
    let open: Vec<_> = ports.into_iter().filter(|port| connect(port)).collect();
    assert_eq!(open, [page.as_str()]);
    let published =
        project.run("curl", &["-s", "-o", "/dev/null", &format!("http://127.0.0.1:{page}/healthz")]);
    assert!(published.ok, "the page is not published");
    Ok(())
}

/// Routes of the manifest, and so of whoever has a say about a name in it.
fn beside() -> Result<(), Failed> {
    let project = bottle()?;
    let page = page_port(project)?;
    for place in [
        format!("self.example.org:{page}"),
        "self.example.org:3129".to_owned(),
        "self.example.org:7331".to_owned(),
        format!("operator.supervise:{page}"),
        "inside.supervise:7331".to_owned(),
        "inside.git-gate:9418".to_owned(),
    ] {
        let url = format!("--noproxy '' --proxy http://egress:3128 http://{place}/healthz");
        refused(project, &url, 403, "address-private")?;
    }
    Ok(())
}

/// What the container's own health check says.
fn check(project: &Project) -> Result<Said, Failed> {
    let test = project.inspect("sidecars", "{{json .Config.Healthcheck.Test}}");
    let test: Vec<String> = serde_json::from_str(&test).map_err(|error| format!("{error}: {test}"))?;
    let words: Vec<&str> = test.iter().skip(1).map(String::as_str).collect();
    Ok(project.exec("sidecars", &[], &words))
}

fn health() -> Result<(), Failed> {
    let project = bottle()?;
    assert_eq!(check(project)?.expect_ok()?, "egress: ok\ngit-gate: ok\nsupervise: ok\n");
    let path = project.directory.join(".bottle").join(&project.slug).join("egress/policy.yaml");
    let good = std::fs::read_to_string(&path)?;
    std::fs::write(&path, good.replacen("routes:", "routs:", 1))?;
    let red = eventually("egress says that its policy is bad", || check(project).is_ok_and(|said| !said.ok));
    let said = check(project)?.text;
    std::fs::write(&path, &good)?;
    red?;
    assert!(said.contains("egress: not healthy: ") && said.contains("policy.yaml"), "{said}");
    assert!(said.contains("git-gate: ok\nsupervise: ok\n"), "{said}");
    eventually("all is well again", || check(project).is_ok_and(|said| said.ok))
}

fn killed() -> Result<(), Failed> {
    let project = bottle()?;
    let started = || project.inspect("sidecars", "{{.State.StartedAt}} {{.RestartCount}}");
    let (before, gate) = (started(), pid(project, "0", "git-gate start")?);
    let egress = pid(project, EGRESS, "sidecar egress")?;
    // By root: what runs as the user of a process that died is ended with it.
    shell(project, "0", &format!("kill -9 {egress}")).expect_ok()?;
    let url = "https://api.example.org/v1/again";
    eventually("egress answers again", || curl(project, url).text.contains("200 \n"))?;
    assert_ne!(pid(project, EGRESS, "sidecar egress")?, egress);
    assert_eq!(pid(project, "0", "git-gate start")?, gate, "the gate was started anew too");
    // The gate's own process is killed: its keys, its lock and its agents must not stay behind.
    let agent = pid(project, KEYS, "ssh-agent")?;
    shell(project, "0", &format!("kill -9 {gate}")).expect_ok()?;
    let script = "git ls-remote --exit-code git://git-gate/app.git refs/heads/main";
    eventually("the gate is another one", || {
        pid(project, "0", "git-gate start").is_ok_and(|now| now != gate)
    })?;
    eventually("the gate answers again", || project.agent(script).ok)?;
    assert_ne!(pid(project, KEYS, "ssh-agent")?, agent, "the old agent is still there");
    let supervise = pid(project, SUPERVISE, "sidecar supervise")?;
    shell(project, "0", &format!("kill -9 {supervise}")).expect_ok()?;
    eventually("all is well again", || check(project).is_ok_and(|said| said.ok))?;
    assert_eq!(started(), before, "the container was started anew");
    eventually("whoever died was reaped", || {
        shell(project, "0", "grep -ls '^State:.*Z' /proc/[0-9]*/status || echo none").text == "none\n"
    })?;
    let logs = project.compose(&["logs", "--no-log-prefix", "sidecars"]).text;
    assert!(logs.contains("egress ended: signal: 9"), "{logs}");
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let project = bottle()?;
    project.compose(&["stop", "sidecars"]).expect_ok()?;
    assert_eq!(project.inspect("sidecars", "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
    let logs = project.compose(&["logs", "--no-log-prefix", "--tail", "40", "sidecars"]).text;
    for name in ["egress", "git-gate", "supervise"] {
        assert!(logs.contains(&format!("{name} ended: exit status: 0")), "{name}: {logs}");
    }
    let said = curl(project, "--max-time 4 https://api.example.org/v1/x");
    assert!(!said.ok, "something answered: {}", said.text);
    project.up_again(&[]).expect_ok()?;
    curl(project, "https://api.example.org/v1/x").expect_ok()?;
    Ok(())
}
