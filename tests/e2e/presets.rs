//! The real clients, from their packages, in their bottles: they talk to a model server of our own, and what that answers
//! makes them commit, push, and ask for a route.
//!
//! Their images take minutes to build, so these tests run only where `BOTTLE_TEST_AGENTS` is set; elsewhere each is reported
//! as ignored, by its name.

use std::path::Path;
use std::sync::LazyLock;

use libtest_mimic::Failed;

use crate::Test;
use crate::egress::world::{KEY, prepare};
use crate::world::{Project, free_port, upstream_override};

pub(crate) const TESTS: &[Test] = &[
    ("claude_code_commits_pushes_and_asks_and_never_has_the_key", claude),
    ("codex_commits_pushes_and_asks_and_never_has_the_key", codex),
    ("what_claude_code_remembers_survives_down", survives),
];

/// Why they are not run, where they are not: somebody has to ask for them.
pub(crate) fn missing() -> Option<String> {
    let wanted = std::env::var_os("BOTTLE_TEST_AGENTS").is_some();
    (!wanted).then(|| "BOTTLE_TEST_AGENTS=1 asks for them: they fetch the clients".to_owned())
}

/// A client in its bottle.
struct Client {
    project: Project,
    /// Its preset.
    preset: &'static str,
    /// The command that has it do the model's bidding.
    command: &'static str,
    /// The header that carries the key.
    carried: String,
    /// What it asks for without a route.
    refused: &'static [&'static str],
}

static CLAUDE: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    Client::new(
        "claude",
        "claude -p 'do the steps'",
        format!("\"x-api-key\": \"{KEY}\""),
        "host: api.anthropic.com, paths: [/v1/messages, /v1/messages/count_tokens]",
        "header: x-api-key",
        // What an organisation sets for its members.
        &[
            "GET api.anthropic.com /api/claude_code/policy_limits",
            "GET api.anthropic.com /api/claude_code/settings",
        ],
    )
});

static CODEX: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    Client::new(
        "codex",
        "codex exec 'do the steps'",
        format!("\"authorization\": \"Bearer {KEY}\""),
        "host: api.openai.com, paths: [/v1/responses]",
        "bearer: true",
        &[],
    )
});

/// Debian's npm, which trusts what this machine trusts and asks the registry that this machine's npm asks.
const NPM: &str = "FROM debian:trixie-slim
RUN export DEBIAN_FRONTEND=noninteractive \\
    && apt-get update \\
    && apt-get install --yes --no-install-recommends ca-certificates nodejs npm \\
    && rm -rf /var/lib/apt/lists/*
COPY roots.pem /etc/roots.pem
ARG REGISTRY
ENV NODE_EXTRA_CA_CERTS=/etc/roots.pem npm_config_registry=${REGISTRY}
";

const NPM_IMAGE: &str = "bottle-e2e-npm";

impl Client {
    fn new(
        preset: &'static str,
        command: &'static str,
        carried: String,
        route: &str,
        inject: &str,
        refused: &'static [&'static str],
    ) -> Result<Self, String> {
        let project = prepare(preset)?;
        let (slug, host_key, port) = (&project.slug, project.keys()?, free_port()?);
        project.write(
            "bottle.yaml",
            &format!(
                "bottles:
  dev:
    egress:
      routes: [{{ {route}, methods: [POST], private: true, credential: model }}]
      extra_ca: [ca.pem]
    credentials:
      model: {{ source: {{ env: E2E_KEY }}, inject: {{ {inject} }} }}
    git:
      app:
        upstream: ssh://git@git.example.org:2222/srv/git/app.git
        identity_file: id_ed25519
        known_host_key: {host_key}
        push: [{{ refs: \"agent/**\", allow: [create] }}]
    supervise: {{ port: {port} }}
agents:
  {slug}:
    bottle: dev
    preset: {preset}
    workspace: {{ clone: app }}
    prompt: rules.md
    skills: [skills/review]
"
            ),
        );
        project.write("rules.md", "The mark-of-rules is here.\n");
        let skill = project.directory.join("skills/review");
        std::fs::create_dir_all(&skill).map_err(|error| error.to_string())?;
        project.write(
            "skills/review/SKILL.md",
            "---\nname: review\ndescription: The mark-of-skills is here.\n---\nRead.\n",
        );
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/model");
        let tests = tests.display();
        let upstream = upstream_override("app");
        let upstream = upstream.strip_prefix("services:\n").ok_or("the override begins otherwise")?;
        project.write(
            "compose.override.yaml",
            &format!(
                "services:
  model:
    build: {{ context: \"{tests}\" }}
    init: true
    networks: {{ outside: {{ aliases: [api.anthropic.com, api.openai.com] }} }}
    volumes: [\"./origin:/etc/origin:ro\", \"{tests}/server.py:/etc/model/server.py:ro\"]
  egress:
    depends_on: [model]
  agent:
    build: {{ args: {{ NPM_IMAGE: {NPM_IMAGE} }} }}
{upstream}"
            ),
        );
        npm_image(&project)?;
        project.render()?;
        project.up()?;
        Ok(Self { project, preset, command, carried, refused })
    }

    fn works(&self) -> Result<(), Failed> {
        let Self { project, preset, command, carried, refused: _ } = self;
        let said = project.agent(&format!("cd /workspace && {command} </dev/null 2>&1")).expect_ok()?;
        assert!(said.contains("All three steps are done."), "{said}\n{}", self.model());
        let branch = format!("refs/heads/agent/{preset}");
        assert!(project.upstream_ref(&branch).is_some(), "nothing was pushed: {said}\n{}", self.model());
        let asked = project.run(env!("CARGO_BIN_EXE_bottle"), &["requests", "list"]).expect_ok()?;
        assert!(asked.contains("docs.example.org"), "it asked for nothing: {asked}\n{}", self.model());
        let model = self.model();
        assert!(model.contains(carried.as_str()), "the key did not arrive: {model}");
        assert!(!model.contains("bottle-placeholder"), "what stands for the key arrived: {model}");
        for mark in ["mark-of-rules", "mark-of-skills"] {
            assert!(model.contains(mark), "the client did not read {mark}: {model}");
        }
        self.asked_only_its_model()?;
        self.never_had_it()
    }

    /// Everything that the client sent was for its model's host: no telemetry, no update. What it asked there without a
    /// route is known, and it does its work without an answer.
    fn asked_only_its_model(&self) -> Result<(), Failed> {
        let log = self.project.compose(&["logs", "--no-log-prefix", "egress"]).expect_ok()?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let requests: Vec<_> = lines.filter(|line| line["event"] == "request").collect();
        assert!(requests.iter().any(|line| line["decision"] == "allow"), "{log}");
        // The agent's entrypoint asks for a name that nobody has.
        let others = requests.iter().filter(|line| line["host"] != "probe.bottle.invalid");
        let unknown: Vec<_> = others
            .filter(|line| line["decision"] != "allow")
            .map(|line| format!("{} {} {}", line["method"], line["host"], line["path"]).replace('"', ""))
            .filter(|asked| !self.refused.contains(&asked.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        Ok(())
    }

    /// What its shell and the client itself had in their environments, and every file.
    fn never_had_it(&self) -> Result<(), Failed> {
        let seen = self.project.agent("cat /tmp/seen").expect_ok()?;
        assert!(seen.contains("=bottle-placeholder-model"), "{seen}");
        assert!(!seen.contains(KEY), "{seen}");
        // A pattern that isn't the key itself, since grep's own arguments are looked at too.
        let (first, rest) = KEY.split_at(1);
        let look = format!(
            "grep -rlsa '[{first}]{rest}' /etc /home /opt /run /tmp /usr/local /var /workspace /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
        );
        let found = self.project.exec("agent", &["--user", "0"], &["sh", "-c", &look]);
        assert!(!found.ok && found.text.is_empty(), "the key is in {}", found.text);
        Ok(())
    }

    fn model(&self) -> String {
        self.project.compose(&["logs", "--no-log-prefix", "model"]).text
    }
}

fn npm_image(project: &Project) -> Result<(), String> {
    let roots = std::env::var("SSL_CERT_FILE").unwrap_or("/etc/ssl/certs/ca-certificates.crt".to_owned());
    std::fs::create_dir_all(project.directory.join("npm")).map_err(|error| error.to_string())?;
    std::fs::copy(roots, project.directory.join("npm/roots.pem")).map_err(|error| error.to_string())?;
    project.write("npm/Dockerfile", NPM);
    let build = format!(
        "docker build --quiet --tag {NPM_IMAGE} --build-arg REGISTRY=\"$(npm config get registry)\" npm"
    );
    let said = project.run("sh", &["-c", &build]);
    if said.ok { Ok(()) } else { Err(said.text) }
}

fn client(of: &'static LazyLock<Result<Client, String>>) -> Result<&'static Client, Failed> {
    of.as_ref().map_err(|error| Failed::from(error.clone()))
}

fn claude() -> Result<(), Failed> {
    client(&CLAUDE)?.works()
}

fn codex() -> Result<(), Failed> {
    client(&CODEX)?.works()
}

fn survives() -> Result<(), Failed> {
    let client = client(&CLAUDE)?;
    let remembered = || client.project.agent("ls ~/.claude/projects/-workspace").expect_ok();
    let before = remembered()?;
    client.project.compose(&["down"]).expect_ok()?;
    client.project.up_again(&[]).expect_ok()?;
    assert_eq!(remembered()?, before);
    Ok(())
}
