//! Bottles beside each other, and the most closed one.

use std::sync::PoisonError;

use libtest_mimic::Failed;

use crate::world::{Project, main, upstream_override};
use crate::{FIRST, Test};

pub(crate) const TESTS: &[Test] = &[
    ("an_empty_bottle_has_no_network_at_all", empty),
    ("two_bottles_on_one_engine_do_not_meet", two_bottles),
    ("an_operators_ssh_agent_is_used_without_its_key", ssh_agent),
    ("a_missing_key_file_is_an_error_and_no_directory", missing_key),
];

fn empty() -> Result<(), Failed> {
    let project = Project::new("empty")?;
    project.write(
        "bottle.yaml",
        &format!(
            "bottles: {{ closed: {{}} }}\nagents: {{ {}: {{ bottle: closed, preset: shell }} }}\n",
            project.slug
        ),
    );
    project.render()?;
    project.up()?;
    let interfaces = project.agent("ls /sys/class/net").expect_ok()?;
    assert_eq!(
        interfaces
            .split_whitespace()
            .filter(|name| !["lo", "tunl0", "sit0", "ip6tnl0"].contains(name))
            .count(),
        0,
        "{interfaces}"
    );
    project.down();
    Ok(())
}

fn two_bottles() -> Result<(), Failed> {
    // The other one is another lane's, which stops its gate at times.
    let _turn = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let one = main()?;
    let two = Project::new("two")?;
    let host_key = two.keys()?;
    two.write("bottle.yaml", &format!(
        "bottles:\n  dev:\n    git:\n      app:\n        upstream: ssh://git@git.example.org:2222/srv/git/app.git\n        \
         identity_file: id_ed25519\n        known_host_key: {host_key}\n\
         agents:\n  {}: {{ bottle: dev, preset: shell, workspace: {{ clone: app }} }}\n", two.slug
    ));
    two.write("compose.override.yaml", &upstream_override("app"));
    two.render()?;
    two.up()?;
    assert_eq!(two.agent("cat /workspace/README").expect_ok()?, "hello from app\n");
    // Each gate answers its own agent; the other agent gets nothing from it, by name or by address.
    for (from, to) in [(one, &two), (&two, one)] {
        let addresses = to.inspect("git-gate", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}");
        for address in addresses.split_whitespace() {
            from.agent("git ls-remote git://git-gate/app.git").expect_ok()?;
            let said = from.agent(&format!("timeout 4 git ls-remote git://{address}/app.git"));
            assert!(!said.ok, "an agent reached another bottle's gate at {address}");
        }
    }
    // `down` of one leaves the other.
    two.down();
    one.agent("git ls-remote git://git-gate/app.git").expect_ok()?;
    Ok(())
}

fn ssh_agent() -> Result<(), Failed> {
    let project = Project::new("sshagent")?;
    let host_key = project.keys()?;
    project.write("bottle.yaml", &format!(
        "bottles:\n  dev:\n    git:\n      app:\n        upstream: ssh://git@git.example.org:2222/srv/git/app.git\n        \
         ssh_agent: true\n        known_host_key: {host_key}\n\
         agents:\n  {}: {{ bottle: dev, preset: shell, workspace: {{ clone: app }} }}\n", project.slug
    ));
    project.write("compose.override.yaml", &upstream_override("app"));
    project.render()?;
    let socket = project.directory.join("agent.sock");
    let mut agent = std::process::Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let run = || -> Result<(), Failed> {
        let with_agent = |command: &str| {
            project.run("env", &[&format!("SSH_AUTH_SOCK={}", socket.display()), "sh", "-c", command])
        };
        crate::world::eventually("the agent listens", || socket.exists())?;
        with_agent("ssh-add -q id_ed25519").expect_ok()?;
        with_agent("docker compose up --detach --wait --build").expect_ok()?;
        assert_eq!(
            with_agent("docker compose exec -T agent cat /workspace/README").expect_ok()?,
            "hello from app\n"
        );
        assert!(
            !with_agent(&format!(
                "docker compose exec -T --user git {} ssh-add -l",
                project.service("git-gate")
            ))
            .ok,
            "the hooks' user can use the agent"
        );
        Ok(())
    };
    let result = run();
    project.down();
    agent.kill()?;
    agent.wait()?;
    result
}

fn missing_key() -> Result<(), Failed> {
    let project = Project::new("nokey")?;
    let host_key = project.keys()?;
    project.write("bottle.yaml", &format!(
        "bottles:\n  dev:\n    git:\n      app:\n        upstream: ssh://git@git.example.org:2222/srv/git/app.git\n        \
         identity_file: missing/id\n        known_host_key: {host_key}\n\
         agents:\n  {}: {{ bottle: dev, preset: shell }}\n", project.slug
    ));
    project.render()?;
    let said = project.run(env!("CARGO_BIN_EXE_bottle"), &["doctor"]).text;
    assert!(
        said.contains("problem: file-missing: there is no `") && said.contains("missing/id`\n"),
        "{said}"
    );
    assert!(project.up().is_err(), "the bottle started without its key");
    assert!(!project.directory.join("missing").exists(), "Compose made a directory in the place of the key");
    project.down();
    Ok(())
}
