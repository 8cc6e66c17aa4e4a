//! A bottle with egress, and an origin on its other side.

use std::path::Path;
use std::sync::LazyLock;

use libtest_mimic::Failed;

use crate::world::{Project, Said};

/// The bottle that most of these tests use.
static BOTTLE: LazyLock<Result<Project, String>> = LazyLock::new(|| {
    let project = prepare("egress")?;
    project.write("bottle.yaml", &manifest(&project.slug, ""));
    project.write("compose.override.yaml", &overrides(&project.slug));
    project.render()?;
    project.up()?;
    Ok(project)
});

/// The secret that comes from a variable, and the one that comes from a file. Nothing about them is in a shape that
/// anything looks for.
pub(crate) const KEY: &str = "e2e-key-d41d8cd98f00b204";
pub(crate) const TOKEN: &str = "e2e-token-7215ee9c7d9dc229";

/// Asks egress how it is, in its own container.
pub(crate) const CHECK: [&str; 5] = ["bottle", "sidecar", "egress", "check", "--admin=127.0.0.1:3129"];

pub(crate) fn bottle() -> Result<&'static Project, Failed> {
    BOTTLE.as_ref().map_err(|error| Failed::from(error.clone()))
}

/// A project with the origin's certificate and the secrets, and no manifest yet.
pub(crate) fn prepare(name: &str) -> Result<Project, String> {
    arranged(Project::new(name)?)
}

/// The same, for a project that is there.
pub(crate) fn arranged(project: Project) -> Result<Project, String> {
    let made = project.run("sh", &["-c", "set -e; mkdir -p origin; umask 077; \
        new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'; \
        openssl req -x509 $new -days 2 -subj /CN=e2e -addext keyUsage=critical,keyCertSign -keyout ca-key.pem -out ca.pem; \
        openssl req $new -subj /CN=origin -keyout origin/key.pem -out origin.csr; \
        echo 'subjectAltName=DNS:*.example.org,DNS:api.anthropic.com,DNS:api.openai.com' >extensions; \
        openssl x509 -req -in origin.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile extensions -out origin/cert.pem; \
        chmod 0755 origin; chmod 0644 ca.pem origin/*.pem"]);
    if !made.ok {
        return Err(made.text);
    }
    // As people keep such a file: only its owner can read it.
    project.write("token", &format!("{TOKEN}\n"));
    let closed = project.run("chmod", &["0600", "token"]);
    if !closed.ok {
        return Err(closed.text);
    }
    // Compose reads the operator's variables from here as it would from his shell.
    project.write(".env", &format!("E2E_KEY={KEY}\n"));
    Ok(project)
}

/// The manifest, with more routes where a test wants them.
pub(crate) fn manifest(slug: &str, routes: &str) -> String {
    format!(
        "bottles:
  dev:
    egress:
      routes:
        - {{ host: api.example.org, private: true, methods: [GET, POST], paths: [\"/v1/**\"], credential: key }}
        - {{ host: files.example.org, private: true, credential: token }}
        - {{ host: plain.example.org, scheme: http, private: true }}
        - {{ host: public.example.org }}
{routes}      deny:
        - {{ host: api.example.org, paths: [\"/v1/admin/**\"] }}
      extra_ca: [ca.pem]
    credentials:
      key: {{ source: {{ env: E2E_KEY }}, inject: {{ header: x-api-key }}, placeholder: {{ env: API_KEY, value: key-of-nobody }} }}
      token: {{ source: {{ file: token }}, inject: {{ bearer: true }} }}
agents:
  {slug}: {{ bottle: dev, preset: shell }}
"
    )
}

/// The user's own file: an origin under many names, and a neighbour on its network with the agent's own image, so that the
/// same program can ask from there what the agent asks in vain.
pub(crate) fn overrides(slug: &str) -> String {
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/origin");
    let names = ["api", "files", "plain", "public", "other", "later", "packages", "models"];
    let aliases = names.map(|name| format!("{name}.example.org")).join(", ");
    format!(
        "services:
  origin:
    build: {{ context: \"{}\" }}
    init: true
    networks: {{ outside: {{ aliases: [{aliases}], link_local_ips: [{METADATA}] }} }}
    volumes: [\"./origin:/etc/origin:ro\"]
  neighbour:
    image: bottle-{slug}-agent
    pull_policy: never
    entrypoint: [sleep, infinity]
    init: true
    networks: {{ outside: {{ link_local_ips: [169.254.8.8] }} }}
    depends_on: [agent]
  egress:
    depends_on: [origin]
",
        context.display()
    )
}

/// The address at which clouds tell a machine who it is, and what it may.
pub(crate) const METADATA: &str = "169.254.169.254";

/// What curl in the agent's container got: the status, the reason and the body, or its own error.
pub(crate) fn curl(project: &Project, arguments: &str) -> Said {
    project.agent(&format!(
        "curl --silent --show-error --max-time 60 --write-out '%{{stderr}}%{{http_code}} %header{{x-bottle-reason}}\\n' {arguments}"
    ))
}

/// Fails the test unless egress refused with this status and reason.
pub(crate) fn refused(
    project: &Project,
    arguments: &str,
    status: u16,
    reason: &str,
) -> Result<String, Failed> {
    let text = curl(project, arguments).expect_ok()?;
    if text.contains(&format!("{status} {reason}\n")) {
        return Ok(text);
    }
    Err(format!("`{arguments}` should be refused with {status} {reason}:\n{text}").into())
}

/// What the origin has logged.
pub(crate) fn seen(project: &Project) -> String {
    project.compose(&["logs", "--no-log-prefix", "origin"]).text
}
