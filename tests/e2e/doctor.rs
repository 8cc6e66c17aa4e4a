//! What `bottle doctor` says before `docker compose up` fails, and what `bottle cleanup` removes.

use std::net::TcpListener;

use libtest_mimic::Failed;

use crate::Test;
use crate::world::{Project, Said};

pub(crate) const TESTS: &[Test] = &[
    ("a_name_that_somebody_else_has_is_told_before_compose_fails_on_it", names),
    ("an_override_that_compose_refuses_is_told_in_its_own_words", refused),
    ("a_runtime_that_the_engine_does_not_know_is_told_before_compose_fails_on_it", runtime),
    ("an_image_that_can_not_be_had_is_told_before_compose_fails_on_it", image),
    ("a_port_that_is_taken_is_told_before_compose_fails_on_it", port),
    ("a_bottle_of_the_same_name_elsewhere_is_told", elsewhere),
    ("a_container_that_ended_is_told_with_its_last_words", ended),
    ("what_is_left_over_is_told_and_removed_and_nothing_else_is", left_over),
];

/// A bottle that is nothing but an agent of an image that is there.
fn small(name: &str, agent: &str) -> Result<Project, Failed> {
    let project = Project::new(name)?;
    write(&project, agent)?;
    Ok(project)
}

fn write(project: &Project, agent: &str) -> Result<(), Failed> {
    let slug = &project.slug;
    let text = format!(
        "bottles: {{ closed: {{}} }}\nagents:\n  {slug}: {{ bottle: closed, image: \"debian:trixie-slim\", {agent} }}\n"
    );
    project.write("bottle.yaml", &text);
    project.render()?;
    Ok(())
}

fn bottle(project: &Project, arguments: &[&str]) -> Said {
    project.run(env!("CARGO_BIN_EXE_bottle"), arguments)
}

/// What doctor says is found, by its code; its text is given.
fn told(project: &Project, code: &str) -> Result<String, Failed> {
    let said = bottle(project, &["doctor"]).text;
    if said.contains(&format!(": {code}: ")) { Ok(said) } else { Err(format!("no {code} in\n{said}").into()) }
}

fn not_told(project: &Project, code: &str) -> Result<(), Failed> {
    let said = bottle(project, &["doctor"]).text;
    if said.contains(&format!(": {code}: ")) { Err(format!("{code} in\n{said}").into()) } else { Ok(()) }
}

const SLEEP: &str = "command: [sleep, infinity]";

fn names() -> Result<(), Failed> {
    let project = small("clash", SLEEP)?;
    not_told(&project, "name-taken")?;
    let name = format!("bottle-{}-agent-1", project.slug);
    project.run("docker", &["create", "--name", &name, "debian:trixie-slim", "true"]).expect_ok()?;
    let said = told(&project, "name-taken");
    let up = project.up_again(&[]);
    project.run("docker", &["container", "rm", &name]).expect_ok()?;
    assert!(said?.contains(&format!("`docker container rm {name}`")));
    assert!(!up.ok && up.text.contains("already in use"), "{}", up.text);
    not_told(&project, "name-taken")?;

    let slug = &project.slug;
    project.write("bottle.yaml", &format!(
        "bottles: {{ b: {{ egress: {{ routes: [{{ host: api.example.org }}] }} }} }}\nagents:\n  {slug}: {{ bottle: b, image: \"debian:trixie-slim\", {SLEEP} }}\n"
    ));
    project.render()?;
    let network = format!("bottle-{slug}_inside");
    project.run("docker", &["network", "create", &network]).expect_ok()?;
    let said = told(&project, "name-taken");
    let up = project.up_again(&["--no-deps", "agent"]);
    project.run("docker", &["network", "rm", &network]).expect_ok()?;
    assert!(said?.contains(&format!("the network `{network}`")));
    // Compose uses it all the same, and the agent refuses to start on it.
    assert!(!up.ok && up.text.contains("was not created by compose"), "{}", up.text);
    project.down();
    Ok(())
}

fn refused() -> Result<(), Failed> {
    let project = small("refused", SLEEP)?;
    not_told(&project, "compose-refuses")?;
    project.write("compose.override.yaml", "services: { agent: { volumez: [] } }\n");
    let said = told(&project, "compose-refuses")?;
    assert!(said.contains("volumez"), "{said}");
    let up = project.up_again(&[]);
    assert!(!up.ok && up.text.contains("volumez"), "{}", up.text);
    project.write("compose.override.yaml", "services: {}\n");
    project.down();
    Ok(())
}

fn runtime() -> Result<(), Failed> {
    let project = small("runtime", &format!("{SLEEP}, runtime: no-such-runtime"))?;
    let said = told(&project, "runtime-missing")?;
    assert!(said.contains("only ") && said.contains("runc"), "{said}");
    let up = project.up_again(&[]);
    assert!(!up.ok && up.text.contains("no-such-runtime"), "{}", up.text);
    project.down();
    Ok(())
}

fn image() -> Result<(), Failed> {
    let project = small("image", SLEEP)?;
    not_told(&project, "image-missing")?;
    let image = "127.0.0.1:1/no/such:1";
    let slug = &project.slug;
    project.write("bottle.yaml", &format!(
        "bottles: {{ b: {{}} }}\nagents: {{ {slug}: {{ bottle: b, image: \"{image}\", {SLEEP}, resources: {{ memory: 900000g }} }} }}\n"
    ));
    project.render()?;
    let said = told(&project, "image-missing")?;
    assert!(said.contains(&format!("the image `{image}` is not on this machine")), "{said}");
    assert!(said.contains("warning: memory-short: the agent may use 900000g"), "{said}");
    assert!(said.contains("\nengine: ") && said.contains("\nbuilder: "), "{said}");
    let up = project.up_again(&[]);
    assert!(!up.ok && up.text.contains("127.0.0.1:1"), "{}", up.text);
    project.down();
    Ok(())
}

fn port() -> Result<(), Failed> {
    let project = Project::new("port")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let slug = &project.slug;
    project.write("bottle.yaml", &format!(
        "bottles: {{ b: {{ supervise: {{ port: {port} }} }} }}\nagents: {{ {slug}: {{ bottle: b, image: \"debian:trixie-slim\", {SLEEP} }} }}\n"
    ));
    project.render()?;
    let said = told(&project, "port-taken")?;
    assert!(said.contains(&format!("127.0.0.1:{port} is taken by `")), "{said}");
    assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
    project.build(&["supervise"])?;
    let up = project.up_again(&["--no-deps", "supervise"]);
    assert!(!up.ok && up.text.contains("address already in use"), "{}", up.text);
    drop(taken);
    not_told(&project, "port-taken")?;
    project.down();
    Ok(())
}

fn elsewhere() -> Result<(), Failed> {
    let one = small("twice", SLEEP)?;
    one.up_again(&[]).expect_ok()?;
    let directory = one.directory.join("clone");
    std::fs::create_dir(&directory)?;
    let other = Project { slug: one.slug.clone(), directory, bundled: one.bundled };
    write(&other, SLEEP)?;
    let said = told(&other, "project-elsewhere")?;
    assert!(said.contains(&format!("was started from `{}`", one.directory.display())), "{said}");
    not_told(&one, "project-elsewhere")?;
    // What runs is not left over, wherever it is looked for.
    for project in [&one, &other] {
        let said = bottle(project, &["cleanup", "--dry-run", "--volumes"]).expect_ok()?;
        assert_eq!(said, "nothing is left over\n");
    }
    one.down();
    Ok(())
}

fn ended() -> Result<(), Failed> {
    let project = small("ended", "command: [sh, -c, \"echo out of luck >&2; exit 3\"]")?;
    assert!(!project.up_again(&[]).ok, "it runs");
    let said = told(&project, "sidecar-unhealthy")?;
    assert!(said.contains("`agent` ended with exit code 3: out of luck\n"), "{said}");
    project.down();
    Ok(())
}

fn left_over() -> Result<(), Failed> {
    let project = small("left", SLEEP)?;
    project.up_again(&[]).expect_ok()?;
    not_told(&project, "left-over")?;
    project.compose(&["stop", "--timeout", "1"]).expect_ok()?;
    // It was stopped, and that is all.
    assert_eq!(bottle(&project, &["cleanup", "--dry-run"]).expect_ok()?, "nothing is left over\n");
    write(&project, &format!("{SLEEP}, env: {{ MORE: \"1\" }}"))?;
    let said = told(&project, "left-over")?;
    assert!(said.contains("bottle cleanup"), "{said}");

    // Decoys: the same names and Compose's labels, and not ours.
    let slug = &project.slug;
    let (decoy, label) =
        (format!("bottle-{slug}-decoy"), format!("com.docker.compose.project=bottle-{slug}"));
    project
        .run("docker", &["create", "--name", &decoy, "--label", &label, "debian:trixie-slim", "true"])
        .expect_ok()?;
    project.run("docker", &["volume", "create", "--label", &label, &decoy]).expect_ok()?;
    project.run("docker", &["network", "create", "--label", &label, &decoy]).expect_ok()?;

    let run = || -> Result<(), Failed> {
        let name = format!("bottle-{slug}-agent-1");
        let listed = bottle(&project, &["cleanup", "--dry-run", "--volumes"]).expect_ok()?;
        assert_eq!(listed, format!("container {name} (bottle-{slug}): its bundle has changed\n"));
        let json = bottle(&project, &["cleanup", "--dry-run", "--json"]).expect_ok()?;
        let json: serde_json::Value = serde_json::from_str(&json)?;
        let of =
            |name: &str| json.pointer(&format!("/left_over/0/{name}")).and_then(serde_json::Value::as_str);
        assert_eq!((of("kind"), of("done")), (Some("container"), Some("listed")), "{json}");
        assert!(!bottle(&project, &["cleanup", "--json"]).ok, "it removed without being told to");
        // Nobody is there to be asked.
        let asked = bottle(&project, &["cleanup"]);
        assert!(!asked.ok && asked.text.contains("`--yes`"), "{}", asked.text);
        assert_eq!(project.inspect("agent", "{{.State.Status}}"), "exited");
        let removed = bottle(&project, &["cleanup", "--yes"]).expect_ok()?;
        assert!(removed.ends_with(&format!("removed the container {name}\n")), "{removed}");
        assert_eq!(bottle(&project, &["cleanup", "--yes"]).expect_ok()?, "nothing is left over\n");
        // The workspace and the home are the bottle's, whatever its bundle says now.
        for volume in ["home", "workspace"] {
            project.run("docker", &["volume", "inspect", &format!("bottle-{slug}_{volume}")]).expect_ok()?;
        }
        for kind in ["container", "volume", "network"] {
            project.run("docker", &[kind, "inspect", &decoy]).expect_ok()?;
        }
        Ok(())
    };
    let done = run();
    for kind in ["container", "volume", "network"] {
        project.run("docker", &[kind, "rm", &decoy]).expect_ok()?;
    }
    project.down();
    done
}
