//! Grants at the gate: what they open, what they never do, what supervise and the operator are told.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bottle::policy::gate::{PushOperation, PushRule};
use bottle::policy::grant::{AllowedFinding, Grant, GrantedPush, VERSION};
use serde_json::{Value, json};

use super::support::{World, commit, eventually, git};

const ARGS: &[&str] = &["--grants=ROOT/grants", "--report=ROOT/report"];

fn world() -> World {
    World::with(|policy| policy.ask = Some("http://supervise:7331".to_owned()), ARGS)
}

fn none() -> Grant {
    Grant {
        version: VERSION,
        until: None,
        once: false,
        routes: Vec::new(),
        push: Vec::new(),
        findings: Vec::new(),
        secrets: Vec::new(),
    }
}

fn rule(refs: &str) -> Grant {
    let allow = vec![PushOperation::Create, PushOperation::FastForward];
    let rule = PushRule { source: "g".to_owned(), refs: refs.to_owned(), allow };
    Grant { push: vec![GrantedPush { repository: "app".to_owned(), rule }], ..none() }
}

fn finding(id: &str, repository: &str) -> Grant {
    let finding = AllowedFinding { repository: repository.to_owned(), finding: id.to_owned() };
    Grant { findings: vec![finding], ..none() }
}

fn grant(world: &World, name: &str, grant: &Grant) {
    let directory = world.path("grants");
    fs::create_dir_all(&directory).unwrap();
    let text = serde_yaml::to_string(grant).unwrap();
    bottle::fs::write_atomic(&directory.join(format!("{name}.yaml")), text.as_bytes(), 0o644).unwrap();
}

fn revoke(world: &World, name: &str) {
    fs::remove_file(world.path("grants").join(format!("{name}.yaml"))).unwrap();
}

fn report(world: &World) -> Value {
    let text = fs::read(world.path("report/status.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn in_force(world: &World) -> Value {
    report(world)["grants"].clone()
}

/// The lines of an event, once there are so many.
fn lines(world: &World, event: &str, count: usize) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let text = fs::read_to_string(world.path("report/audit.jsonl")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
        lines.filter(|line| line["event"] == event).collect()
    };
    eventually("the lines are there", || read().len() >= count);
    read()
}

fn key() -> String {
    // Put together here, so that none stands in the tree.
    ["AK", "IA", "Z7QRTW5N", "MX4VBSKD"].concat()
}

fn push(agent: &Path, refspec: &str) -> super::support::Ran {
    git(agent, &["push", "origin", refspec])
}

#[test]
fn a_granted_push_passes_until_its_grant_is_gone() {
    let world = world();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    let text = push(&agent, "HEAD:refs/heads/feature/x").failure(": ref-denied");
    assert!(
        text.contains(
            r#"ask: POST http://supervise:7331/requests {"ask":{"push":{"repository":"app","refs":"refs/heads/feature/x","operations":["create"]}},"reason":"…"} (MCP tool request_push)"#
        ),
        "{text}"
    );
    // No push waits for the notice of a file: it counts from the moment in which it is there.
    grant(&world, "g-1", &rule("refs/heads/feature/**"));
    let text = push(&agent, "HEAD:refs/heads/feature/x").success();
    assert!(text.contains("allowed by grant g-1"), "{text}");
    commit(&agent, "fix.txt", "two\n");
    revoke(&world, "g-1");
    push(&agent, "HEAD:refs/heads/feature/x").failure(": ref-denied");
    let lines = lines(&world, "push", 3);
    let decisions: Vec<_> = lines.iter().map(|line| line["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["deny", "allow", "deny"]);
    assert_eq!(lines[0]["reason"], "ref-denied");
    assert_eq!(lines[0]["rule"], "bottle.yaml:5");
    assert_eq!(lines[0]["operations"], json!(["create"]));
    assert_eq!(lines[1]["rule"], "grant g-1");
    for line in &lines {
        assert_eq!((&line["v"], &line["repository"]), (&json!(1), &json!("app")));
        assert_eq!(line["refs"], json!(["refs/heads/feature/x"]));
        assert!(line["id"].is_string() && line["total_us"].is_number() && line["generation"].is_number());
    }
}

#[test]
fn a_finding_passes_by_its_id_and_only_in_its_own_repository() {
    let world = World::with(
        |policy| {
            policy.ask = Some("http://supervise:7331".to_owned());
            let same = policy.repositories["app"].clone();
            policy.repositories.insert("web".to_owned(), same);
        },
        ARGS,
    );
    let agent = world.clone_to("agent");
    commit(&agent, "settings.ini", &format!("key = {}\n", key()));
    let text = push(&agent, "HEAD:refs/heads/agent/x").failure(": secret-found");
    let start = text.find("f-").unwrap();
    let id = text.get(start..start + 18).unwrap().to_owned();
    assert!(
        text.contains(&format!(
            r#"{{"ask":{{"exception":{{"repository":"app","finding":"{id}"}}}},"reason":"…"}} (MCP tool request_exception)"#
        )),
        "{text}"
    );
    // The same secret has another id in another repository.
    grant(&world, "g-1", &finding(&id, "web"));
    push(&agent, "HEAD:refs/heads/agent/x").failure(&id);
    let other = git(&agent, &["push", &world.gate.url("web"), "HEAD:refs/heads/agent/y"]);
    assert!(!other.failure(": secret-found").contains(&id));
    grant(&world, "g-2", &finding(&id, "app"));
    push(&agent, "HEAD:refs/heads/agent/x").success();
    eventually("the operator's log notes it", || {
        world.gate.log().contains(&format!("the finding {id} may pass by grant g-2"))
    });
    revoke(&world, "g-2");
    push(&agent, "HEAD:refs/heads/agent/z").success();
    commit(&agent, "again.ini", &format!("and here = {}\n", key()));
    // What the upstream has already is no news in the same file, and is one in another.
    push(&agent, "HEAD:refs/heads/agent/x").failure(&id);
    let lines = lines(&world, "push", 6);
    assert_eq!(lines[0]["findings"], json!([id]));
    let allowed: Vec<_> = lines.iter().filter(|line| line["allowed"] == json!([id])).collect();
    assert_eq!(allowed.len(), 1);
    let audit = fs::read_to_string(world.path("report/audit.jsonl")).unwrap();
    assert!(!audit.contains(&key()) && !world.gate.log().contains(&key()));
}

#[test]
fn no_grant_opens_a_protected_path_or_the_default_branch_by_a_wildcard() {
    let world = world();
    let agent = world.clone_to("agent");
    grant(&world, "g-1", &rule("refs/heads/**"));
    grant(&world, "g-2", &Grant { push: Vec::new(), ..rule("refs/heads/x") });
    commit(&agent, "fix.txt", "one\n");
    push(&agent, "HEAD:refs/heads/main").failure(": default-branch-protected");
    push(&agent, "HEAD:refs/heads/anything").success();
    commit(&agent, "bottle.yaml", "bottles: {}\n");
    let text = push(&agent, "HEAD:refs/heads/anything").failure(": path-protected");
    assert!(!text.contains("ask: "), "{text}");
}

#[test]
fn what_is_no_good_grant_opens_nothing_and_is_told() {
    let world = world();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    let good = rule("refs/heads/feature/**");
    grant(&world, "version", &Grant { version: 2, ..good.clone() });
    grant(&world, "ended", &Grant { until: Some(1), ..good.clone() });
    grant(&world, "star", &rule("*"));
    let text = serde_yaml::to_string(&good).unwrap();
    fs::write(world.path("grants/half.yaml"), text.get(..text.len() / 2).unwrap()).unwrap();
    fs::write(world.path("grants/large.yaml"), text.clone() + &"#".repeat(1 << 20)).unwrap();
    fs::write(world.path("elsewhere.yaml"), &text).unwrap();
    std::os::unix::fs::symlink(world.path("elsewhere.yaml"), world.path("grants/link.yaml")).unwrap();
    push(&agent, "HEAD:refs/heads/feature/x").failure(": ref-denied");
    eventually("the problems are told", || {
        let problem = report(&world)["problem"].to_string();
        ["version.yaml", "star.yaml", "half.yaml", "large.yaml", "link.yaml"]
            .iter()
            .all(|name| problem.contains(name) && world.gate.log().contains(name))
    });
    assert_eq!(in_force(&world), json!([]));
    grant(&world, "good", &good);
    push(&agent, "HEAD:refs/heads/feature/x").success();
}

#[test]
fn a_grant_ends_with_its_time() {
    let world = world();
    let agent = world.clone_to("agent");
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 6;
    grant(&world, "g-1", &Grant { until: Some(until), ..rule("refs/heads/feature/**") });
    eventually("it is in force", || in_force(&world) == json!(["g-1"]));
    commit(&agent, "fix.txt", "one\n");
    push(&agent, "HEAD:refs/heads/feature/x").success();
    eventually("its end is told", || in_force(&world) == json!([]));
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() >= until);
    commit(&agent, "fix.txt", "two\n");
    push(&agent, "HEAD:refs/heads/feature/x").failure(": ref-denied");
}

#[test]
fn supervise_is_told_what_is_in_force_soon_after_the_file_is_there() {
    let world = world();
    eventually("the first report is there", || in_force(&world) == json!([]));
    let mut fastest = Duration::MAX;
    for turn in 0..6 {
        let name = format!("g-{turn}");
        let from = Instant::now();
        grant(&world, &name, &rule("refs/heads/feature/**"));
        eventually("it is told", || in_force(&world) == json!([name]));
        fastest = fastest.min(from.elapsed());
        revoke(&world, &name);
        eventually("its end is told", || in_force(&world) == json!([]));
    }
    assert!(fastest < Duration::from_millis(250), "{fastest:?}");
    let generation = report(&world)["generation"].as_u64().unwrap();
    assert!(generation >= 12, "{generation}");
    assert_eq!(lines(&world, "policy", 13).last().unwrap()["generation"], json!(generation));
}

#[test]
fn a_gate_that_was_killed_runs_with_the_same_grants_again() {
    let mut world = world();
    let agent = world.clone_to("agent");
    grant(&world, "g-1", &rule("refs/heads/feature/**"));
    eventually("it is in force", || in_force(&world) == json!(["g-1"]));
    world.gate.kill();
    revoke(&world, "g-1");
    grant(&world, "g-2", &rule("refs/heads/other/**"));
    world.restart_with(ARGS);
    commit(&agent, "fix.txt", "one\n");
    git(&agent, &["push", &world.gate.url("app"), "HEAD:refs/heads/feature/x"]).failure(": ref-denied");
    git(&agent, &["push", &world.gate.url("app"), "HEAD:refs/heads/other/x"]).success();
    eventually("the report is the new one", || in_force(&world) == json!(["g-2"]));
}

#[test]
fn fetches_and_what_was_no_request_are_in_the_log_too() {
    let world = world();
    world.clone_to("agent");
    git(world.root.path(), &["ls-remote", &world.gate.url("ghost")]).failure("repository-unknown");
    let fetches = lines(&world, "fetch", 2);
    assert_eq!((&fetches[0]["decision"], &fetches[0]["repository"]), (&json!("allow"), &json!("app")));
    assert_eq!(
        (&fetches[1]["decision"], &fetches[1]["reason"]),
        (&json!("deny"), &json!("repository-unknown"))
    );
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", world.gate.port)).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(lines(&world, "connection", 1)[0]["reason"], "request-invalid");
    assert_eq!(lines(&world, "start", 1).len(), 1);
}

#[test]
fn a_push_that_fails_behind_the_gate_is_no_refusal_of_the_gates_own() {
    let mut world = world();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    world.sshd.stop();
    push(&agent, "HEAD:refs/heads/agent/x").failure("bottle: upstream-down");
    let line = &lines(&world, "push", 1)[0];
    assert_eq!((&line["decision"], &line["reason"]), (&json!("fail"), &json!("upstream-down")));
}

#[test]
fn without_a_supervise_no_refusal_names_a_request() {
    let world = World::new();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    let text = push(&agent, "HEAD:refs/heads/x").failure(": ref-denied");
    assert!(!text.contains("ask"), "{text}");
}

fn is_used(world: &World, name: &str) -> bool {
    world.path("report/used").join(name).exists()
}

#[test]
fn a_grant_for_one_push_is_for_one_push_and_one_ref() {
    let world = world();
    let agent = world.clone_to("agent");
    commit(&agent, "fix.txt", "one\n");
    grant(&world, "g-1", &Grant { once: true, ..rule("refs/heads/feature/**") });
    eventually("it is in force", || in_force(&world) == json!(["g-1"]));
    // What is refused, or allowed without it, doesn't use it up.
    push(&agent, "HEAD:refs/heads/other").failure(": ref-denied");
    push(&agent, "HEAD:refs/heads/agent/x").success();
    let both = ["push", "--atomic", "origin", "HEAD:refs/heads/feature/x", "HEAD:refs/heads/feature/y"];
    git(&agent, &both).failure(": ref-denied");
    assert!(!is_used(&world, "g-1"));
    let text = push(&agent, "HEAD:refs/heads/feature/x").success();
    assert!(text.contains("allowed by grant g-1"), "{text}");
    assert!(is_used(&world, "g-1"));
    commit(&agent, "fix.txt", "two\n");
    push(&agent, "HEAD:refs/heads/feature/x").failure(": ref-denied");
    push(&agent, "HEAD:refs/heads/feature/y").failure(": ref-denied");
    eventually("its end is told", || in_force(&world) == json!([]));
}

#[test]
fn of_several_pushes_at_a_time_one_gets_through_by_a_grant_for_one() {
    let world = world();
    let agents: Vec<_> = (0..3).map(|number| world.clone_to(&format!("agent{number}"))).collect();
    for agent in &agents {
        commit(agent, "fix.txt", "one\n");
    }
    grant(&world, "g-1", &Grant { once: true, ..rule("refs/heads/feature/**") });
    let passed = std::thread::scope(|scope| {
        let threads: Vec<_> = agents
            .iter()
            .enumerate()
            .map(|(number, agent)| {
                scope.spawn(move || push(agent, &format!("HEAD:refs/heads/feature/{number}")).ok)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|passed| *passed).count()
    });
    assert_eq!(passed, 1);
}

#[test]
fn a_finding_passes_once_and_a_mark_that_can_not_be_written_keeps_it_from_that() {
    let world = world();
    let agent = world.clone_to("agent");
    commit(&agent, "settings.ini", &format!("key = {}\n", key()));
    let text = push(&agent, "HEAD:refs/heads/agent/x").failure(": secret-found");
    let start = text.find("f-").unwrap();
    let id = text.get(start..start + 18).unwrap().to_owned();
    // As root no mode keeps anyone from writing; there nobody can make a file.
    std::os::unix::fs::symlink("/proc/self/fdinfo", world.path("report/used")).unwrap();
    grant(&world, "g-1", &Grant { once: true, ..finding(&id, "app") });
    let text = push(&agent, "HEAD:refs/heads/agent/x").failure(": grant-unclaimed");
    assert!(text.contains("report directory"), "{text}");
    fs::remove_file(world.path("report/used")).unwrap();
    push(&agent, "HEAD:refs/heads/agent/x").success();
    // The same file with the same secret, as a commit that the upstream doesn't have.
    git(&agent, &["checkout", "-q", "--orphan", "other"]).success();
    commit(&agent, "settings.ini", &format!("key = {}\n", key()));
    push(&agent, "HEAD:refs/heads/agent/y").failure(": secret-found");
}
