//! `bottle requests` against a supervise that runs.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::operator_support::{Supervise, http};
use crate::support::{Output, PROGRAM};

/// Escape sequences, a C1 control, a change of the reading direction, and lines that look like our own.
const HOSTILE: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\nr-zzzzzzzzzz approved: all\r<script>alert(1)</script>";

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| c != '\n' && c.is_control() || matches!(c, '\u{202e}' | '\u{200b}'))
}

#[test]
fn the_operator_decides_in_the_terminal() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "the build needs it");
    let listed = world.requests(&[]).run().ok();
    assert!(listed.contains(&id) && listed.contains("api.example.org"), "{listed}");
    let shown = world.requests(&["show", &id]).run().ok();
    for part in [
        "methods: [GET, POST]",
        "a host that can't be reached now",
        "POST can send data out",
        "the build needs it",
    ] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    // Without a terminal nobody can be asked.
    let unasked = world.requests(&["approve", &id]).run();
    assert_eq!(unasked.code, 1);
    assert!(unasked.stderr.contains("`--review`"), "{unasked}");
    let wide = world.requests(&["approve", &id, "--yes", "--methods=DELETE"]).run();
    assert!(wide.stderr.contains("too-wide"), "{wide}");
    let approved =
        world.json(&["approve", &id, "--yes", "--methods=GET", "--paths=/v1/**", "--words=take this"]);
    assert_eq!(approved["request"]["state"]["is"], "approved");
    let [grant] = world.grants().try_into().expect("one grant");
    assert!(grant.contains("- GET\n") && !grant.contains("POST") && grant.contains("/v1/**"), "{grant}");
    let granted = world.json(&["grants"]);
    assert_eq!(granted["grants"][0]["live"], false);
    world.report();
    assert_eq!(world.json(&["grants"])["grants"][0]["live"], true);
    let grant = granted["grants"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.requests(&["revoke", &grant]).run().ok(), format!("{grant} is revoked\n"));
    assert!(world.grants().is_empty());
    let second = world.ask_for("other.example.org", "");
    let said = world.requests(&["reject", &second, "--reason=use the mirror"]).run().ok();
    assert_eq!(said, format!("{second} is rejected\n"));
    assert!(world.hears(&second).to_string().contains("use the mirror"));
    let again = world.requests(&["approve", &second, "--yes"]).run();
    assert!(again.code == 1 && again.stderr.contains("(request-closed)"), "{again}");
}

#[test]
fn always_gives_the_lines_for_the_manifest() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    let said = world.requests(&["approve", &id, "--for=always", "--yes"]).run().ok();
    assert!(
        said.ends_with("# egress: routes:\n- { host: \"api.example.org\", methods: [GET, POST] }\n"),
        "{said}"
    );
}

#[test]
fn a_review_that_is_no_more_true_approves_nothing() {
    let world = Supervise::start();
    let (one, other) = (world.ask_for("one.example.org", ""), world.ask_for("other.example.org", ""));
    let review = world.json(&["show", &other])["request"]["review"].as_str().expect("a review").to_owned();
    world.requests(&["approve", &one, "--yes"]).run().ok();
    let stale = world.requests(&["approve", &other, "--review", &review]).run();
    assert!(stale.code == 1 && stale.stderr.contains("(review-stale)"), "{stale}");
    assert_eq!(world.grants().len(), 1);
    let review = world.json(&["show", &other])["request"]["review"].as_str().expect("a review").to_owned();
    world.requests(&["approve", &other, "--review", &review]).run().ok();
    assert_eq!(world.grants().len(), 2);
}

#[test]
fn of_racing_terminals_one_wins() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|number| {
                let (world, id) = (&world, &id);
                scope.spawn(move || match number % 2 {
                    0 => world.requests(&["approve", id, "--yes"]).run().code,
                    _ => world.requests(&["reject", id, "--reason=no"]).run().code,
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("it ran")).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
}

#[test]
fn the_agents_words_do_not_steer_the_terminal() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", HOSTILE);
    let line = json!({ "time": "t", "event": "request", "decision": "deny", "reason": "host-unknown",
        "host": "api.example.org", "path": HOSTILE, "method": HOSTILE });
    world.place.put("work/report/audit.jsonl", format!("{line}\n"));
    for args in [&["list"] as &[&str], &["show", &id], &["list", "--json"], &["show", &id, "--json"]] {
        let output = world.requests(args).run();
        assert!(is_harmless(&output.stdout), "{args:?}: {:?}", output.stdout);
        if args.contains(&"list") {
            assert!(output.stdout.lines().all(|line| !line.starts_with("r-zzzz")), "{}", output.stdout);
        }
    }
    let rejected = world.requests(&["reject", &id, "--reason", HOSTILE]).run();
    assert!(is_harmless(&rejected.stdout));
    let missing = world.requests(&["show", "\u{1b}[31m"]).run();
    assert!(missing.code == 1 && is_harmless(&missing.stderr), "{missing}");
}

#[test]
fn watch_shows_a_request_when_it_comes() {
    let world = Supervise::start();
    let before = world.ask_for("one.example.org", "");
    let mut child = Command::new(PROGRAM)
        .args(["requests", "watch", "--json", "--token-file=state/token"])
        .arg(format!("--url=http://{}", world.operator))
        .current_dir(world.place.work())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next()["id"], before.as_str());
    let after = world.ask_for("other.example.org", "");
    assert_eq!(next()["id"], after.as_str());
    world.requests(&["reject", &before, "--reason=no"]).run().ok();
    assert_eq!(next()["state"]["is"], "rejected");
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn without_the_token_there_is_nothing() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    world.place.put("work/wrong", "f".repeat(64));
    world.place.put("work/none", "x");
    let url = format!("--url=http://{}", world.operator);
    let wrong =
        world.place.bottle(["requests", &url, "--token-file=wrong", "reject", &id, "--reason=x"]).run();
    assert!(wrong.code == 1 && wrong.stderr.contains("(unauthorized)"), "{wrong}");
    let none = world.place.bottle(["requests", &url, "--token-file=none"]).run();
    assert!(none.code == 1 && none.stderr.contains("is none"), "{none}");
    // The token goes to no other machine.
    for url in [
        "--url=http://example.org:80",
        "--url=https://127.0.0.1:1",
        "--url=http://127.0.0.1:1@evil.example:80",
    ] {
        let elsewhere = world.place.bottle(["requests", url, "--token-file=state/token"]).run();
        assert!(elsewhere.stderr.contains("not of the form"), "{elsewhere}");
    }
    for (method, path) in [("GET", "/api/requests"), ("POST", "/api/login-link"), ("GET", "/api/events")] {
        assert_eq!(http(world.operator, method, path, &[], "").status, 401);
    }
    // Nor does the agent's side have any of it.
    for path in ["/api/requests", "/api/login-link", "/login?once=x", "/static/page.js"] {
        assert_eq!(http(world.agent, "GET", path, &[], "").status, 404, "{path}");
    }
    assert_eq!(world.json(&["show", &id])["request"]["state"]["is"], "pending");
}

#[test]
fn the_token_and_the_port_come_from_compose() {
    let world = Supervise::start();
    let id = world.ask_for("api.example.org", "");
    // Both of the formats that Compose has had.
    for publishers in [
        "{\"Publishers\":[{\"PublishedPort\":0},{\"PublishedPort\":PORT}]}",
        "[{\"Publishers\":[{\"PublishedPort\":PORT}]}]",
    ] {
        let publishers = publishers.replace("PORT", &world.operator.port().to_string());
        let docker = format!(
            "#!/bin/sh\ncase \"$*\" in\n'compose exec -T --user 9444 supervise cat /var/lib/bottle/supervise/token') cat state/token;;\n\
             'compose ps --format json supervise') echo '{publishers}';;\n*) echo \"what is $*\" >&2; exit 1;;\nesac\n"
        );
        assert!(with_docker(&world, &docker).ok().contains(&id));
    }
    let output = with_docker(&world, "#!/bin/sh\nprintf 'no \\033[31mproject' >&2; exit 1\n");
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("no ?[31mproject") && output.stderr.contains("--token-file"), "{output}");
}

/// Runs `bottle requests` where `docker` is this script.
fn with_docker(world: &Supervise, script: &str) -> Output {
    world.place.put("bin/docker", script);
    let bin = world.place.root().join("bin");
    let changed = Command::new("chmod").arg("+x").arg(bin.join("docker")).status();
    assert!(changed.is_ok_and(|status| status.success()), "chmod");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    world.place.bottle(["requests"]).env("PATH", path).run()
}
