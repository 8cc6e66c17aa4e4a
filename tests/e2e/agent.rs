//! What the agent finds in its container, and what it does not.

use libtest_mimic::Failed;

use crate::Test;
use crate::world::{Project, main};

pub(crate) const TESTS: &[Test] = &[
    ("its_workspace_is_a_clone_whose_remote_is_the_upstreams_own_url", workspace_is_a_clone),
    ("every_spelling_of_the_upstream_leads_to_the_gate", every_spelling),
    ("it_is_not_root_and_has_no_capability", no_capability),
    ("it_has_no_way_past_the_gate", no_way_past_the_gate),
    ("outside_names_do_not_resolve", no_outside_names),
    ("no_key_is_readable_in_it", no_key),
    ("its_environment_arrives_as_written", environment),
    ("the_files_that_bind_it_are_read_only", read_only),
    ("it_keeps_its_work_over_a_restart", restart),
    ("its_shell_ends_when_it_is_stopped_and_is_not_killed", stopped),
    ("it_does_not_start_where_there_is_a_way_out", refuses_a_way_out),
];

fn workspace_is_a_clone() -> Result<(), Failed> {
    let url = main()?
        .agent("git remote get-url origin 2>/dev/null || git -C /workspace remote get-url origin")
        .expect_ok()?;
    // git shows the rewritten URL; the configuration holds the upstream's own.
    let own = main()?.agent("git -C /workspace config remote.origin.url").expect_ok()?;
    assert_eq!(own.trim(), "ssh://git@git.example.org:2222/srv/git/app.git");
    assert_eq!(url.trim(), "git://git-gate/app.git");
    assert_eq!(main()?.agent("cat /workspace/README").expect_ok()?, "hello from app\n");
    Ok(())
}

fn every_spelling() -> Result<(), Failed> {
    for url in [
        "ssh://git@git.example.org:2222/srv/git/app.git",
        "ssh://git@git.example.org:2222/srv/git/app",
        "ssh://git@git.example.org:2222/srv/git/app/",
        "ssh://git.example.org:2222/srv/git/app.git",
        "https://git.example.org/srv/git/app.git",
        "https://git@git.example.org/srv/git/app",
        "git://git-gate/app.git",
        "git://git-gate/app",
    ] {
        main()?.agent(&format!("git ls-remote --exit-code {url} refs/heads/main")).expect_ok()?;
    }
    main()?
        .agent("git ls-remote ssh://git@git.example.org:2222/srv/git/app-other")
        .expect_refused("repository-unknown")?;
    Ok(())
}

fn no_capability() -> Result<(), Failed> {
    let project = main()?;
    let status = project.agent("id -u; grep -E '^(Cap|NoNewPrivs)' /proc/self/status").expect_ok()?;
    assert!(status.starts_with("1000\n"), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let gate = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.SecurityOpt}}";
    // Newer engines write the prefix of a capability.
    let gate = project.inspect("git-gate", gate).replace("CAP_", "");
    let more = if project.bundled { "KILL " } else { "" };
    assert_eq!(
        gate,
        format!("true [ALL] [{more}SETGID SETUID] [no-new-privileges:true]"),
        "the gate's container"
    );
    Ok(())
}

/// The upstream's own address answers the gate and not the agent: the same listener, asked from both sides.
fn no_way_past_the_gate() -> Result<(), Failed> {
    let project = main()?;
    let addresses =
        project.inspect("upstream", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}");
    let (address, gateway) = addresses.split_once(' ').ok_or("no address")?;
    let knock = |address: &str, port: u16| format!("timeout 4 bash -c 'exec 3<>/dev/tcp/{address}/{port}'");
    project.gate("git", &knock(address, 2222)).expect_ok()?;
    assert!(!project.agent(&knock(address, 2222)).ok, "the agent reached the upstream");
    let inside = project.inspect("agent", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}");
    let listener = std::net::TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    for address in [gateway, inside.as_str(), "172.17.0.1"].into_iter().filter(|address| !address.is_empty())
    {
        assert!(!project.agent(&knock(address, port)).ok, "the agent reached the host at {address}");
    }
    Ok(())
}

fn no_outside_names() -> Result<(), Failed> {
    let said = main()?
        .agent("timeout 10 getent hosts git.example.org || echo none; getent hosts git-gate")
        .expect_ok()?;
    assert!(said.starts_with("none\n") && said.contains("git-gate"), "{said}");
    Ok(())
}

fn no_key() -> Result<(), Failed> {
    let project = main()?;
    let key = std::fs::read_to_string(project.directory.join("id_ed25519"))?;
    let line = key.lines().nth(1).ok_or("a key has lines")?;
    // The key's own line, looked for in everything that the agent can read.
    let look = format!(
        "grep -rlsF -- '{line}' /etc /home /run /tmp /workspace /var /proc/self/environ || echo none"
    );
    assert_eq!(project.agent(&look).expect_ok()?.trim(), "none");
    // The gate has it, and what handles the agent's data there can't read it.
    let cat = "cat /etc/bottle/identity/app";
    assert!(!project.gate("git", cat).ok, "the hooks' user can read the key");
    assert!(
        project.gate("root", "test -s /etc/bottle/identity/app").ok,
        "the key is not mounted, so this proves nothing"
    );
    Ok(())
}

fn environment() -> Result<(), Failed> {
    assert_eq!(main()?.agent("printenv GREETING").expect_ok()?, "it's $HOME and ${HOME} and $$\n");
    Ok(())
}

fn read_only() -> Result<(), Failed> {
    for path in ["/etc/bottle/entrypoint.sh", "/etc/bottle/gitconfig", "/etc/bottle/bottle"] {
        let said = main()?.agent(&format!("echo x >>{path}"));
        assert!(!said.ok, "{path} is writable");
    }
    assert!(!main()?.agent("test -e /var/run/docker.sock").ok);
    Ok(())
}

fn restart() -> Result<(), Failed> {
    let project = main()?;
    project.agent("cd /workspace && echo kept >kept.txt").expect_ok()?;
    project.compose(&["restart", "--timeout", "2", "agent"]).expect_ok()?;
    project.up_again(&[]).expect_ok()?;
    assert_eq!(project.agent("cat /workspace/kept.txt && rm /workspace/kept.txt").expect_ok()?, "kept\n");
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let project = main()?;
    project.compose(&["stop", "--timeout", "60", "agent"]).expect_ok()?;
    let code = project.inspect("agent", "{{.State.ExitCode}}");
    project.up_again(&[]).expect_ok()?;
    // 128 and the signal's number (bash(1), EXIT STATUS): SIGHUP, and not SIGKILL.
    assert_eq!(code, "129");
    Ok(())
}

/// An override file that gives the agent a network of its own is the user's to write; the agent must not run then.
fn refuses_a_way_out() -> Result<(), Failed> {
    let project = Project::new("leak")?;
    project.write(
        "bottle.yaml",
        &format!("bottles: {{ b: {{}} }}\nagents:\n  {}: {{ bottle: b, preset: shell }}\n", project.slug),
    );
    project.write(
        "compose.override.yaml",
        "services:\n  agent:\n    network_mode: !reset null\n    networks: [leak]\nnetworks: { leak: {} }\n",
    );
    project.render()?;
    assert!(project.up().is_err(), "the agent was started");
    let logs = project.compose(&["logs", "agent"]).text;
    assert!(logs.contains("this container has a route to the outside"), "{logs}");
    Ok(())
}
