//! A throwaway world: an upstream behind a real sshd, the gate in front of it, and an agent's working directory.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bottle::policy::gate::{
    GatePolicy, PushOperation, PushRule, Repository, SshKey, SshUpstream, Upstream, VERSION,
};
use bottle::policy::whole::END;
use tempfile::TempDir;

use super::sshd::Sshd;

/// How long a condition may take to come true.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Where a needed program is; a missing one fails the test and says what to do.
pub(super) fn tool(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_default()
        .join("bottle/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([cache, "/usr/sbin".into(), "/usr/local/bin".into(), "/usr/lib/git-core".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not on this machine: run scripts/setup.sh"))
}

/// Waits for a condition, looking often, and fails the test when it does not come true.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A rendered template; those of the gate have no variables.
pub(super) fn template(name: &str) -> String {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/git-gate").join(name));
    let text = text.unwrap();
    assert!(!text.contains("{{") && !text.contains("{%") && !text.contains("{#"), "{name} has variables");
    text
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) ok: bool,
    pub(super) text: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = [output.stdout, output.stderr].concat();
        Self { ok: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
    }
}

impl Ran {
    #[track_caller]
    pub(super) fn success(self) -> String {
        assert!(self.ok, "it failed: {}", self.text);
        self.text
    }

    #[track_caller]
    pub(super) fn failure(self, reason: &str) -> String {
        assert!(!self.ok, "it succeeded: {}", self.text);
        assert!(self.text.contains(reason), "no `{reason}` in: {}", self.text);
        self.text
    }
}

/// A git command in an environment that nothing of the machine steers.
pub(super) fn git_command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent").env("LC_ALL", "C");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Agent").env(format!("GIT_{who}_EMAIL"), "agent@example.org");
    }
    command
}

pub(super) fn git(directory: &Path, args: &[&str]) -> Ran {
    git_command(directory).args(args).stdin(Stdio::null()).output().unwrap().into()
}

/// Commits a file and gives the commit's name.
pub(super) fn commit(directory: &Path, file: &str, text: &str) -> String {
    write(&directory.join(file), text, 0o644);
    git(directory, &["add", "--", file]).success();
    git(directory, &["commit", "--quiet", "-m", &format!("change {file}")]).success();
    git(directory, &["rev-parse", "HEAD"]).success().trim().to_owned()
}

/// The processes below a process, the process itself last.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let list = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
    for child in String::from_utf8_lossy(&list.stdout).split_whitespace().filter_map(|pid| pid.parse().ok()) {
        found.extend(descendants(child));
    }
    found.push(pid);
    found
}

/// Kills a process that a test started and everything below it.
pub(super) fn kill_tree(child: &mut Child) {
    let pids: Vec<String> = descendants(child.id()).iter().map(ToString::to_string).collect();
    drop(Command::new("kill").arg("-KILL").args(&pids).output());
    drop(child.wait());
}

/// The gate, as its container's entrypoint runs it.
pub(super) struct Gate {
    child: Child,
    /// Kept open: the gate may write to it.
    _stdout: BufReader<ChildStdout>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    pub(super) port: u16,
}

impl Gate {
    /// Starts the gate and waits until it listens; without a port it has ended, and the log says why. `ROOT` in an
    /// argument is the world's directory.
    pub(super) fn start(root: &Path, args: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_bottle")).parent().unwrap().to_owned();
        let scanner = tool("gitleaks").parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap();
        let path =
            std::env::join_paths([program, scanner].into_iter().chain(std::env::split_paths(&path))).unwrap();
        let etc = root.join("etc");
        for name in ["pre-receive", "access-hook"] {
            write(&etc.join("hooks").join(name), &template(&format!("{name}.sh.j2")), 0o755);
        }
        write(&etc.join("entrypoint.sh"), &template("entrypoint.sh.j2"), 0o755);
        write(&etc.join("gitleaks.toml"), &template("gitleaks.toml.j2"), 0o644);
        for name in ["state", "run"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let mut command = Command::new("sh");
        command.arg(etc.join("entrypoint.sh")).arg("--listen=127.0.0.1:0");
        // A machine that does much else must not look like an upstream that is silent.
        for default in ["--check-limit=30", "--stall-limit=30"] {
            let name = default.split('=').next().unwrap();
            if !args.iter().any(|arg| arg.starts_with(name)) {
                command.arg(default);
            }
        }
        let args = args.iter().map(|arg| arg.replace("ROOT", &root.display().to_string()));
        command.args(args).env_clear().env("PATH", path).env("BOTTLE_TEST_PASSWORD", "correct horse");
        command.env("BOTTLE_GATE_ETC", &etc).env("BOTTLE_GATE_STATE", root.join("state"));
        command.env("BOTTLE_GATE_RUN", root.join("run"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let address = ready.get("listening").and_then(|address| address.as_str()).unwrap_or("x:0");
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, _stdout: stdout, log, reader: Some(reader), port }
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}.git", self.port)
    }

    /// What the gate has logged.
    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for the gate's own end and gives its exit code.
    pub(super) fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        code
    }

    /// Kills everything at once, as the end of a container does.
    pub(super) fn kill(&mut self) {
        kill_tree(&mut self.child);
    }

    /// The pid of a process of the gate, by a part of its command line.
    pub(super) fn pid(&self, part: &str) -> u32 {
        let has = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|word| word == part)
        };
        descendants(self.child.id()).into_iter().find(has).unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // Captured with the failing test's own output.
            println!("--- the gate's log\n{}", self.log());
        }
    }
}

/// All of it.
pub(super) struct World {
    pub(super) gate: Gate,
    pub(super) sshd: Sshd,
    pub(super) root: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {}, &[])
    }

    /// A world whose policy is changed before the gate starts.
    pub(super) fn with(change: impl FnOnce(&mut GatePolicy), args: &[&str]) -> Self {
        let root = TempDir::new().unwrap();
        let sshd = Sshd::new(root.path());
        let seed = root.path().join("seed");
        fs::create_dir_all(&seed).unwrap();
        git(&seed, &["init", "--quiet", "--initial-branch=main"]).success();
        commit(&seed, "README.md", "hello\n");
        let upstream = root.path().join("upstream.git");
        git(root.path(), &["clone", "--quiet", "--bare", "seed", "upstream.git"]).success();
        git(&upstream, &["config", "uploadpack.allowFilter", "true"]).success();
        let host = fs::read_to_string(root.path().join("sshd/host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{} {host}", sshd.port);
        write(&root.path().join("etc/known_hosts"), &known, 0o644);
        let mut policy = policy(root.path(), sshd.port);
        change(&mut policy);
        write(&root.path().join("etc/gate.yaml"), &(serde_yaml::to_string(&policy).unwrap() + END), 0o644);
        let gate = Gate::start(root.path(), args);
        Self { gate, sshd, root }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Starts the gate again with the same state.
    pub(super) fn restart(&mut self) {
        self.gate = Gate::start(self.root.path(), &[]);
    }

    /// The same with other arguments.
    pub(super) fn restart_with(&mut self, args: &[&str]) {
        self.gate.kill();
        self.gate = Gate::start(self.root.path(), args);
    }

    /// Clones through the gate.
    pub(super) fn clone_to(&self, name: &str) -> PathBuf {
        git(self.root.path(), &["clone", "--quiet", &self.gate.url("app"), name]).success();
        self.path(name)
    }

    /// What a ref of the upstream names; empty if there is none.
    pub(super) fn upstream(&self, name: &str) -> String {
        let ran = git(&self.path("upstream.git"), &["for-each-ref", "--format=%(objectname)", name]);
        ran.success().trim().to_owned()
    }

    /// Everything that the upstream has.
    pub(super) fn upstream_refs(&self) -> String {
        git(&self.path("upstream.git"), &["for-each-ref"]).success()
    }
}

/// A policy for one repository, `app`, whose `agent/` branches may be made and moved, and whose `free/` anything.
fn policy(root: &Path, port: u16) -> GatePolicy {
    let user = Ran::from(Command::new("id").arg("-un").output().unwrap()).success();
    let upstream = SshUpstream {
        user: user.trim().to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        path: root.join("upstream.git").display().to_string(),
        known_hosts: root.join("etc/known_hosts").display().to_string(),
        key: SshKey::IdentityFile(root.join("etc/identity/app").display().to_string()),
    };
    let rule = |refs: &str, allow: &[PushOperation]| PushRule {
        source: "bottle.yaml:9".to_owned(),
        refs: refs.to_owned(),
        allow: allow.to_vec(),
    };
    let repository = Repository {
        source: "bottle.yaml:5".to_owned(),
        upstream: Upstream::Ssh(upstream),
        push: vec![
            rule("refs/heads/agent/**", &[PushOperation::Create, PushOperation::FastForward]),
            rule(
                "refs/heads/free/**",
                &[
                    PushOperation::Create,
                    PushOperation::FastForward,
                    PushOperation::Force,
                    PushOperation::Delete,
                ],
            ),
        ],
        protect: vec!["bottle.yaml".to_owned()],
        max_pack_bytes: 50 << 20,
    };
    GatePolicy {
        version: VERSION,
        ask: None,
        repositories: [("app".to_owned(), repository)].into_iter().collect(),
    }
}
