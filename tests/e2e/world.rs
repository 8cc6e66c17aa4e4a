//! The bottles that the tests share, and how they are talked to.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

/// The bottles that were started, so that none is left behind.
static STARTED: Mutex<Vec<Project>> = Mutex::new(Vec::new());

/// The program that the containers run: ours without its symbols, which are most of it and go into every image.
static BINARY: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (binary, beside) = (directory.join("bottle"), directory.join(std::process::id().to_string()));
    let output = Command::new("strip").arg("-o").arg(&beside).arg(env!("CARGO_BIN_EXE_bottle")).output();
    let said = output.map(Said::from).map_err(|error| format!("strip: {error}"))?;
    if !said.ok {
        return Err(said.text);
    }
    fs::rename(beside, &binary).map_err(|error| error.to_string())?;
    Ok(binary)
});

/// Says whether each bottle has all its sidecars in one container.
const MODE: &str = "BOTTLE_E2E_SIDECARS";
static BUNDLED: LazyLock<bool> = LazyLock::new(|| std::env::var(MODE).is_ok_and(|mode| mode == "bundled"));

/// The program that the containers run.
pub(crate) fn binary() -> Result<&'static str, String> {
    BINARY.as_ref().map_err(Clone::clone)?.to_str().ok_or_else(|| "the path is no text".to_owned())
}

/// Who builds images.
static BUILDS: Mutex<()> = Mutex::new(());

/// The bottle that most tests use.
static MAIN: LazyLock<Result<Project, String>> = LazyLock::new(|| {
    let project = Project::new("e2e")?;
    let host_key = project.keys()?;
    project.write("bottle.yaml", &main_manifest(&project.slug, &host_key));
    project.write("compose.override.yaml", &upstream_override("app second"));
    project.render()?;
    project.up()?;
    Ok(project)
});

fn main_manifest(slug: &str, host_key: &str) -> String {
    format!(
        "bottles:\n  dev:\n    git:\n      app:\n        upstream: ssh://git@git.example.org:2222/srv/git/app.git\n        \
         identity_file: id_ed25519\n        known_host_key: {host_key}\n        push:\n          \
         - {{ refs: \"agent/**\", allow: [create, fast-forward] }}\n          \
         - {{ refs: \"loose/**\", allow: [create, fast-forward, force, delete] }}\n          \
         - {{ refs: \"refs/tags/agent-*\", allow: [create] }}\n      second:\n        \
         upstream: git@second.example.org:second.git\n        identity_file: id_ed25519\n        \
         known_host_key: {host_key}\n        extra_hosts: {{ second.example.org: 192.0.2.7 }}\nagents:\n  {slug}:\n    bottle: dev\n    \
         preset: shell\n    workspace: {{ clone: app }}\n    env: {{ GREETING: \"it's $HOME and ${{HOME}} and $$\" }}\n"
    )
}

/// The user's own file, which adds a throwaway upstream to the gate's side.
pub(crate) fn upstream_override(repositories: &str) -> String {
    let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/upstream");
    let names = repositories.split(' ').collect::<Vec<_>>().join(", ");
    format!(
        "services:\n  upstream:\n    build: {{ context: \"{}\" }}\n    command: [{names}]\n    init: true\n    \
         networks: {{ outside: {{ aliases: [git.example.org] }} }}\n    \
         volumes: [\"./upstream:/etc/upstream:ro\"]\n  git-gate:\n    depends_on: [upstream]\n",
        context.display()
    )
}

/// A mistake in what says how the bottles are arranged.
pub(crate) fn mistake() -> Option<String> {
    let mode = std::env::var(MODE).ok().filter(|mode| !["bundled", "separate"].contains(&mode.as_str()))?;
    Some(format!("`{MODE}` is `separate` or `bundled`, and not `{mode}`"))
}

/// What is missing for the tests to run, if anything.
pub(crate) fn missing() -> Option<String> {
    for arguments in [["info", "--format", "{{.ServerVersion}}"], ["compose", "version", "--short"]] {
        match Command::new("docker").args(arguments).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Some(format!("`docker {}` says: {text}", arguments[0]));
            }
            Err(error) => return Some(format!("`docker` can't be run: {error}")),
        }
    }
    None
}

/// Ends all bottles that were started.
pub(crate) fn end() {
    for project in STARTED.lock().expect("no test panics while it holds this").drain(..) {
        project.down();
    }
}

/// The bottle that most tests use.
pub(crate) fn main() -> Result<&'static Project, Failed> {
    MAIN.as_ref().map_err(|error| Failed::from(error.clone()))
}

/// One bottle: a directory with a rendered bundle.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// The agent's name.
    pub(crate) slug: String,
    /// The directory of compose.yaml.
    pub(crate) directory: PathBuf,
    /// Whether all its sidecars are in one container.
    pub(crate) bundled: bool,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Whether it went well.
    pub(crate) ok: bool,
    /// Its stdout and stderr.
    pub(crate) text: String,
}

impl Said {
    /// Fails the test unless the command went well.
    pub(crate) fn expect_ok(self) -> Result<String, Failed> {
        if self.ok { Ok(self.text) } else { Err(format!("it failed:\n{}", self.text).into()) }
    }

    /// Fails the test unless the command failed and named the reason.
    pub(crate) fn expect_refused(self, reason: &str) -> Result<String, Failed> {
        match (self.ok, self.text.contains(reason)) {
            (true, _) => {
                Err(format!("it was accepted, and should be refused with `{reason}`:\n{}", self.text).into())
            }
            (false, false) => Err(format!("it was refused, but not with `{reason}`:\n{}", self.text).into()),
            (false, true) => Ok(self.text),
        }
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Self { ok: output.status.success(), text }
    }
}

impl Project {
    /// A directory for a bottle whose agent is called `name` and this process's id, so that two runs do not meet.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        Self::arranged(name, *BUNDLED)
    }

    /// The same, with all sidecars in one container or not, whatever the other bottles have.
    pub(crate) fn arranged(name: &str, bundled: bool) -> Result<Self, String> {
        let slug = format!("{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(format!("bottle-{slug}"));
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let project = Self { slug, directory, bundled };
        STARTED.lock().expect("no test panics while it holds this").push(project.clone());
        Ok(project)
    }

    /// The same bottle, with its bundle in a directory below: what stays here is out of the reach of a mount there.
    pub(crate) fn below(&self, name: &str) -> Result<Self, String> {
        let project = Self { directory: self.directory.join(name), ..self.clone() };
        fs::create_dir_all(&project.directory).map_err(|error| error.to_string())?;
        // It ends before the directory above it is removed.
        STARTED.lock().expect("no test panics while it holds this").insert(0, project.clone());
        Ok(project)
    }

    /// Makes a key pair for the agent's bottle and one for the upstream; gives the upstream's public key.
    pub(crate) fn keys(&self) -> Result<String, String> {
        fs::create_dir_all(self.directory.join("upstream")).map_err(|error| error.to_string())?;
        for path in ["id_ed25519", "upstream/host_key"] {
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", path];
            let said = self.run("ssh-keygen", &arguments);
            if !said.ok {
                return Err(said.text);
            }
        }
        let read =
            |path: &str| fs::read_to_string(self.directory.join(path)).map_err(|error| error.to_string());
        self.write("upstream/authorized_keys", &read("id_ed25519.pub")?);
        let host_key = read("upstream/host_key.pub")?;
        Ok(host_key.split(' ').take(2).collect::<Vec<_>>().join(" "))
    }

    /// Writes a file of the project. The manifest and the user's own file are those of a bottle whose sidecars have
    /// containers of their own; they are made into those of one that has one container for all.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let text = match path {
            "bottle.yaml" if self.bundled => bundled_manifest(text),
            "compose.override.yaml" if self.bundled => bundled_override(text),
            _ => text.to_owned(),
        };
        fs::write(self.directory.join(path), text).expect("the directory is ours");
    }

    /// The service in whose container a sidecar runs; any other service is its own.
    pub(crate) fn service<'a>(&self, name: &'a str) -> &'a str {
        if self.bundled && SIDECARS.contains(&name) { "sidecars" } else { name }
    }

    /// Runs a command in the project's directory.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Said {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.directory)
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
            .stdin(Stdio::null())
            .output();
        output.map_or_else(|error| Said { ok: false, text: format!("{program}: {error}") }, Said::from)
    }

    /// Renders the bundle.
    pub(crate) fn render(&self) -> Result<(), String> {
        let binary = binary()?;
        let said = self.run(env!("CARGO_BIN_EXE_bottle"), &["render", "-o", ".", "--linux-binary", binary]);
        if said.ok { Ok(()) } else { Err(said.text) }
    }

    /// `docker compose`, with the override file where there is one.
    pub(crate) fn compose(&self, arguments: &[&str]) -> Said {
        let mut all = vec!["compose"];
        for argument in arguments {
            let argument = self.service(argument);
            // Two sidecars may be one service.
            if argument != "sidecars" || !all.contains(&argument) {
                all.push(argument);
            }
        }
        self.run("docker", &all)
    }

    /// Starts the bottle and waits until all of it is healthy.
    pub(crate) fn up(&self) -> Result<(), String> {
        self.build(&[])?;
        let said = self.up_again(&[]);
        if said.ok {
            return Ok(());
        }
        let mut text = said.text;
        let _ = write!(text, "\n--- logs\n{}", self.compose(&["logs", "--tail", "60"]).text);
        Err(text)
    }

    /// Builds the images. One bottle at a time: two would both make those that they share.
    pub(crate) fn build(&self, services: &[&str]) -> Result<(), String> {
        let _turn = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
        let said = self.compose(&[&["build"], services].concat());
        if said.ok { Ok(()) } else { Err(said.text) }
    }

    /// Starts what is not running and waits until it is healthy. The images are there: to send their context again, as
    /// Compose does unless it is told otherwise, would take longer than the start.
    pub(crate) fn up_again(&self, arguments: &[&str]) -> Said {
        self.compose(&[&["up", "--detach", "--wait", "--no-build"], arguments].concat())
    }

    /// Removes all that the bottle made. A second time does nothing.
    pub(crate) fn down(&self) {
        if !self.directory.exists() {
            return;
        }
        if self.directory.join("compose.yaml").exists() {
            // Compose asks for the operator's variables even to remove what was made with them.
            let down = "docker compose down --volumes --rmi local --remove-orphans --timeout 2";
            let said = self.run("env", &["SSH_AUTH_SOCK=unused", "sh", "-c", down]);
            if !said.ok {
                eprintln!("{}: {}", self.slug, said.text);
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{}: {error}", self.directory.display());
        }
    }

    /// Runs a script in a fresh clone of the workspace's repository, in the agent's container.
    pub(crate) fn agent_in_clone(&self, script: &str) -> Said {
        let script = format!(
            "set -e; clone=$(mktemp -d); cd \"$clone\"; \
             git clone -q ssh://git@git.example.org:2222/srv/git/app.git work; cd work; {script}"
        );
        self.agent(&script)
    }

    /// Runs a command in a service's container. Compose would do the same, with ten times the processor time for each.
    pub(crate) fn exec(&self, service: &str, options: &[&str], command: &[&str]) -> Said {
        let container = self.container_name(service);
        self.run("docker", &[&["exec"], options, &[&container], command].concat())
    }

    /// The name that Compose gives to a service's container.
    fn container_name(&self, service: &str) -> String {
        format!("bottle-{}-{}-1", self.slug, self.service(service))
    }

    /// Runs a script in the agent's container.
    pub(crate) fn agent(&self, script: &str) -> Said {
        self.exec("agent", &[], &["sh", "-c", script])
    }

    /// Runs a script in the gate's container, as a user.
    pub(crate) fn gate(&self, user: &str, script: &str) -> Said {
        self.exec("git-gate", &["--user", user], &["sh", "-c", script])
    }

    /// Runs git in the upstream's repository `app`.
    pub(crate) fn upstream(&self, arguments: &str) -> Said {
        self.upstream_shell(&format!("git {arguments}"))
    }

    /// Runs a script in the upstream's repository `app`.
    pub(crate) fn upstream_shell(&self, script: &str) -> Said {
        self.exec("upstream", &["--user", "git"], &["sh", "-c", &format!("cd /srv/git/app.git && {script}")])
    }

    /// The id of the upstream's ref, or nothing where it has none.
    pub(crate) fn upstream_ref(&self, name: &str) -> Option<String> {
        let said = self.upstream(&format!("rev-parse --verify --quiet {name}"));
        said.ok.then(|| said.text.trim().to_owned())
    }

    /// All refs of the upstream with their ids.
    pub(crate) fn upstream_refs(&self) -> String {
        self.upstream("for-each-ref").text
    }

    /// The id of a service's container.
    pub(crate) fn container(&self, service: &str) -> String {
        self.inspect(service, "{{.Id}}")
    }

    /// Asks the engine about a service's container.
    pub(crate) fn inspect(&self, service: &str, format: &str) -> String {
        self.run("docker", &["inspect", "--format", format, &self.container_name(service)])
            .text
            .trim()
            .to_owned()
    }
}

const SIDECARS: [&str; 3] = ["egress", "git-gate", "supervise"];

/// A manifest with all sidecars in one container. What is added stands behind everything that a policy names by its line.
fn bundled_manifest(text: &str) -> String {
    if let Some((bottles, agents)) = text.split_once("\nagents:")
        && !bottles.contains("bottles: {")
    {
        return format!("{bottles}\n    sidecars: bundled\nagents:{agents}");
    }
    let at = text.find("bottles: { ").and_then(|at| Some(at + text.get(at + 11..)?.find('{')? + 12));
    let (before, after) = text.split_at(at.expect("a manifest has a bottle"));
    format!("{before} sidecars: bundled,{after}")
}

/// An override file in which what the sidecars wait for is waited for by their one container.
fn bundled_override(text: &str) -> String {
    let mut waits = Vec::new();
    let mut text = text.to_owned();
    for (service, on) in [("git-gate", "upstream"), ("egress", "origin")] {
        let own = format!("  {service}:\n    depends_on: [{on}]\n");
        if text.contains(&own) {
            text = text.replace(&own, "");
            waits.push(on);
        }
    }
    if waits.is_empty() {
        return text;
    }
    let own = format!("services:\n  sidecars:\n    depends_on: [{}]\n", waits.join(", "));
    text.replacen("services:\n", &own, 1)
}

/// How long a test waits for what must come. No claim of a time: `make bench` measures those, and here the machine runs
/// other tests meanwhile.
const PATIENCE: Duration = Duration::from_mins(3);

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        // Every condition asks the engine, which has other things to do as well.
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A port of this machine that nobody listens on.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// A text in the shape of an AWS access key, made here so that none is in the repository.
pub(crate) fn key_shape(seed: u64) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
    let body = (0..16).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(*alphabet.get(usize::try_from(state >> 59).expect("five bits")).expect("as many letters"))
    });
    format!("AKIA{}", body.collect::<String>())
}
