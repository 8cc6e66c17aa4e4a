//! An upstream behind HTTPS with a credential, in the place of one behind SSH.

use std::path::Path;

use libtest_mimic::Failed;

use crate::Test;
use crate::world::Project;

pub(crate) const TESTS: &[Test] = &[
    ("fetch_and_push_work_with_a_credential_that_the_agent_never_sees", works),
    ("a_wrong_credential_is_refused", wrong_credential),
    ("a_missing_credential_is_named", missing_credential),
    ("a_certificate_that_nobody_vouches_for_is_refused", untrusted),
];

const URL: &str = "https://git.example.org/app.git";
const PUSH: &str = "d=$(mktemp -d) && git clone -q https://git.example.org/app.git $d/w && cd $d/w && date >f && git add f && \
                    git commit -q -m f && git push origin HEAD:agent/x";

/// A bottle with an upstream behind HTTPS; `trust` says whether it knows the upstream's authority.
fn start(name: &str, password: Option<&str>, trust: bool) -> Result<Project, String> {
    let project = Project::new(name)?;
    std::fs::create_dir_all(project.directory.join("upstream")).map_err(|error| error.to_string())?;
    let made = project.run("sh", &["-c",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=git.example.org \
         -addext subjectAltName=DNS:git.example.org -keyout upstream/key.pem -out upstream/cert.pem && chmod 0644 upstream/key.pem && \
         printf 'bot:%s\\n' \"$(openssl passwd -apr1 correct-horse)\" >upstream/htpasswd && cp upstream/cert.pem ca.pem"]);
    if !made.ok {
        return Err(made.text);
    }
    let authority = if trust { "    egress: { extra_ca: [ca.pem] }\n" } else { "" };
    project.write("bottle.yaml", &format!(
        "bottles:\n  dev:\n{authority}    credentials:\n      token:\n        source: {{ env: E2E_TOKEN }}\n        \
         inject: {{ basic: {{ username: bot }} }}\n    git:\n      app:\n        upstream: {URL}\n        credential: token\n        \
         push: [{{ refs: \"agent/**\", allow: [create] }}]\nagents:\n  {}: {{ bottle: dev, preset: shell }}\n", project.slug
    ));
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/upstream-https");
    project.write("compose.override.yaml", &format!(
        "services:\n  upstream:\n    build: {{ context: \"{}\" }}\n    init: true\n    \
         networks: {{ outside: {{ aliases: [git.example.org] }} }}\n    volumes: [\"./upstream:/etc/upstream:ro\"]\n  \
         git-gate:\n    depends_on: [upstream]\n",
        context.display()
    ));
    // Compose reads the operator's variables from here as it would from his shell.
    if let Some(password) = password {
        project.write(".env", &format!("E2E_TOKEN={password}\n"));
    }
    project.render()?;
    project.up()?;
    Ok(project)
}

fn works() -> Result<(), Failed> {
    let project = start("https", Some("correct-horse"), true)?;
    project.agent(PUSH).expect_ok()?;
    let rev_parse = ["git", "-C", "/srv/git/app.git", "rev-parse", "refs/heads/agent/x"];
    let upstream = project.exec("upstream", &[], &rev_parse);
    upstream.expect_ok()?;
    let found = project
        .agent("env; cat /proc/self/environ; grep -rs correct-horse /etc /home /run /workspace || echo none")
        .expect_ok()?;
    assert!(!found.contains("correct-horse") && found.ends_with("none\n"), "{found}");
    for file in ["compose.yaml", ".bottle"] {
        assert!(!project.run("grep", &["-rs", "correct-horse", file]).ok, "the password is in {file}");
    }
    let logs = project.compose(&["logs", "git-gate"]).text;
    assert!(!logs.contains("correct-horse"), "{logs}");
    project.down();
    Ok(())
}

fn wrong_credential() -> Result<(), Failed> {
    let project = start("httpswrong", Some("wrong"), true)?;
    project.agent(PUSH).expect_refused("upstream-auth")?;
    project.down();
    Ok(())
}

fn missing_credential() -> Result<(), Failed> {
    let project = start("httpsmissing", None, true)?;
    project.agent(PUSH).expect_refused("credential-missing")?;
    project.down();
    Ok(())
}

fn untrusted() -> Result<(), Failed> {
    let project = start("httpsca", Some("correct-horse"), false)?;
    project.agent(PUSH).expect_refused("upstream-tls")?;
    project.down();
    Ok(())
}
