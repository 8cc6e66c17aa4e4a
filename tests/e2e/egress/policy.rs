//! What goes through egress, with what, and what doesn't.

use libtest_mimic::Failed;

use super::world::{KEY, TOKEN, bottle, curl, prepare, refused, seen};
use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("an_allowed_request_reaches_the_origin_with_a_credential_that_the_agent_never_sees", allowed),
    ("a_secret_in_a_file_that_only_its_owner_can_read_is_used", secret_file),
    ("the_secrets_are_nowhere_in_the_agents_container_the_bundle_and_the_logs", no_secret),
    ("what_no_route_allows_is_refused_with_its_reason", denied),
    ("a_refusal_names_the_rule_and_what_would_allow_it", explained),
    ("a_credential_does_not_follow_a_redirect", redirect),
    ("egress_is_nobody_in_particular", no_capability),
    ("the_authoritys_key_stays_in_egress_and_outlives_it", authority),
    ("without_egress_the_agent_does_not_start", not_started),
];

fn allowed() -> Result<(), Failed> {
    let project = bottle()?;
    for (arguments, line) in [
        ("https://api.example.org/v1/echo", "GET https://api.example.org/v1/echo"),
        // What the client sends for its placeholder is replaced, not added.
        (
            "-H \"x-api-key: $API_KEY\" -d x https://api.example.org/v1/echo?mine",
            "POST https://api.example.org/v1/echo?mine",
        ),
    ] {
        let text = curl(project, arguments).expect_ok()?;
        assert!(text.contains("200 \n") && !text.contains(KEY) && !text.contains("key-of-nobody"), "{text}");
        let seen = seen(project);
        assert!(seen.contains(&format!("{line} key={KEY} authorization=- ")), "{seen}");
    }
    let text = curl(project, "http://plain.example.org/x").expect_ok()?;
    assert!(text.contains("the origin saw GET plain.example.org/x"), "{text}");
    Ok(())
}

fn secret_file() -> Result<(), Failed> {
    let project = bottle()?;
    curl(project, "https://files.example.org/by-file").expect_ok()?;
    let seen = seen(project);
    assert!(seen.contains(&format!("/by-file key=- authorization=Bearer {TOKEN} ")), "{seen}");
    Ok(())
}

fn no_secret() -> Result<(), Failed> {
    let project = bottle()?;
    curl(project, "https://api.example.org/v1/echo").expect_ok()?;
    curl(project, "https://files.example.org/x").expect_ok()?;
    let environment =
        project.agent("env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'").expect_ok()?;
    assert!(environment.contains("API_KEY=key-of-nobody\n"), "{environment}");
    for secret in [KEY, TOKEN] {
        assert!(!environment.contains(secret), "{environment}");
        let look = format!(
            "grep -rlsF -- {secret} /etc /home /mnt /opt /root /run /srv /tmp /usr/local /var /workspace || echo none"
        );
        assert_eq!(project.agent(&look).expect_ok()?, "none\n");
        for place in ["compose.yaml", ".bottle"] {
            assert!(!project.run("grep", &["-rs", secret, place]).ok, "a secret is in {place}");
        }
        for service in ["egress", "agent"] {
            let logs = project.compose(&["logs", service]).text;
            assert!(!logs.contains(secret), "a secret is in the log of {service}");
        }
        let look = ["grep", "-rlsF", secret, "/var/lib/bottle"];
        let state = project.exec("egress", &["--user=9443"], &look);
        assert!(!state.ok, "a secret is in {}", state.text);
    }
    Ok(())
}

fn denied() -> Result<(), Failed> {
    let project = bottle()?;
    let before = seen(project).lines().count();
    for (arguments, status, reason) in [
        ("https://other.example.org/", 403, "route-missing"),
        ("https://nowhere.example.net/", 403, "route-missing"),
        ("http://api.example.org/v1/x", 403, "port-denied"),
        ("https://plain.example.org/", 403, "port-denied"),
        ("https://api.example.org/v2/x", 403, "path-denied"),
        ("--path-as-is https://api.example.org/v1/../v2/x", 403, "path-denied"),
        ("--path-as-is https://api.example.org/v1/%2e%2e/v2/x", 403, "path-denied"),
        ("-X DELETE https://api.example.org/v1/x", 403, "method-denied"),
        ("https://api.example.org/v1/admin/users", 403, "route-denied"),
        ("https://public.example.org/", 403, "address-private"),
    ] {
        refused(project, arguments, status, reason)?;
    }
    // An address has no name to make a certificate for: it is refused before TLS.
    for host in ["10.0.0.1", "[fd00::1]", "169.254.169.254", "0x0a000001"] {
        let said = curl(project, &format!("https://{host}/"));
        assert!(!said.ok && said.text.contains("403"), "{host}: {}", said.text);
    }
    let after = seen(project);
    assert_eq!(after.lines().count(), before, "something that was refused reached the origin:\n{after}");
    Ok(())
}

fn explained() -> Result<(), Failed> {
    let project = bottle()?;
    let text =
        curl(project, "-H 'accept: application/json' https://api.example.org/v1/admin/x").expect_ok()?;
    let (body, _) = text.rsplit_once("403 ").ok_or("no status")?;
    let body: serde_json::Value = serde_json::from_str(body).map_err(|error| format!("{error}: {text}"))?;
    let field = |name: &str| body.get(name).cloned().unwrap_or_default();
    assert_eq!(field("code"), "route-denied", "{body}");
    assert_eq!(field("rule"), "bottle.yaml:10", "{body}");
    assert_eq!(field("retry"), false, "{body}");
    assert!(field("hint").as_str().is_some_and(|hint| hint.contains("deny")), "{body}");
    let plain = curl(project, "https://other.example.org/").expect_ok()?;
    assert!(plain.contains("other.example.org"), "{plain}");
    // The same decision is in the log, with the rule.
    let logs = project.compose(&["logs", "--no-log-prefix", "egress"]).text;
    let line = logs.lines().rfind(|line| line.contains("route-denied")).ok_or("the log has no refusal")?;
    assert!(line.contains("bottle.yaml:10"), "{line}");
    Ok(())
}

fn redirect() -> Result<(), Failed> {
    let project = bottle()?;
    let text = curl(project, "--location https://api.example.org/v1/elsewhere").expect_ok()?;
    assert!(text.contains("403 port-denied"), "{text}");
    let text = curl(project, "--location --proto-redir =http,https https://api.example.org/v1/elsewhere")
        .expect_ok()?;
    assert!(!text.contains(KEY), "{text}");
    assert!(!seen(project).lines().any(|line| line.contains("plain.example.org") && line.contains(KEY)));
    Ok(())
}

fn no_capability() -> Result<(), Failed> {
    let project = bottle()?;
    let look = "for status in /proc/[0-9]*/status; do grep -l '^Name:.*bottle' $status; done | xargs grep -hE '^(Uid|Cap|NoNewPrivs)'";
    let status = project.exec("egress", &[], &["sh", "-c", look]).expect_ok()?;
    for line in [
        "Uid:\t9443\t9443\t9443\t9443",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.PortBindings}}";
    assert_eq!(project.inspect("egress", form), "true [ALL] [no-new-privileges:true] map[]");
    Ok(())
}

fn authority() -> Result<(), Failed> {
    let project = bottle()?;
    let look = "ls /etc/bottle/trust; ls -A /var/lib/bottle; ls -d /var/lib/bottle/egress /etc/bottle/egress; grep -rls --exclude=bottle 'PRIVATE KEY' /etc /var /run /home /workspace; \
                sha256sum /etc/bottle/trust/ca.pem; echo x >/etc/bottle/trust/ca.pem";
    let said = project.agent(look);
    assert!(!said.ok && said.text.contains("Read-only file system"), "{}", said.text);
    assert!(said.text.starts_with("bundle.pem\nca.pem\ntruststore.jks\n"), "{}", said.text);
    // The place of a repository of the agent's own, which only a mounted workspace has.
    assert!(said.text.contains("\ngit\n"), "{}", said.text);
    assert_eq!(said.text.matches("No such file or directory").count(), 2, "{}", said.text);
    let lines: Vec<&str> = said.text.lines().filter(|line| line.starts_with('/')).collect();
    assert!(lines.is_empty(), "{lines:?}");
    let key = "find /var/lib/bottle/egress -type f -perm /077 | grep . && exit 1; grep -rls 'PRIVATE KEY' /var/lib/bottle/egress";
    let key = project.exec("egress", &["--user=9443"], &["sh", "-c", key]).expect_ok()?;
    assert_eq!(key.lines().count(), 1, "{key}");
    let sum = || project.exec("egress", &["--user=9443"], &["sha256sum", "/var/lib/bottle/egress/ca.key"]);
    let before = sum().expect_ok()?;
    project.up_again(&["--force-recreate", "--no-deps", "egress"]).expect_ok()?;
    // The certificate is made anew of the same key, so that what trusted the old one trusts this one.
    assert_eq!(sum().expect_ok()?, before);
    curl(project, "https://api.example.org/v1/x").expect_ok()?;
    Ok(())
}

/// A certificate file that holds none keeps egress from starting.
fn not_started() -> Result<(), Failed> {
    let project = prepare("noegress")?;
    project.write("ca.pem", "no certificate\n");
    project.write("bottle.yaml", &super::world::manifest(&project.slug, ""));
    project.render()?;
    let Err(error) = project.up() else { return Err("the bottle started".into()) };
    assert!(error.contains("/etc/bottle/ca/0.pem"), "{error}");
    assert_eq!(project.inspect("agent", "{{.State.Status}}"), "created");
    project.down();
    Ok(())
}
