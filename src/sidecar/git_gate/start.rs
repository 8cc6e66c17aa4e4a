//! The container's process: makes the keys usable, then runs the broker and the listener under their users.
//!
//! It runs as root with nothing but the right to become another user. A key file of the operator, mode 0600, is read by
//! a process that has become the file's owner and goes through a pipe into an SSH agent of the broker's user; it is never
//! in another file. If one of the children ends, everything ends: the container is started again, or stays down.

mod keys;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::{config, log, serve};
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::policy::gate::{GatePolicy, SecretSource, Upstream};

/// Run the whole gate: keys, broker and listener
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy
    #[arg(long)]
    policy: PathBuf,
    /// The directory for sockets
    #[arg(long)]
    run: PathBuf,
    /// The user id for everything that handles what the agent sends [default: one's own]
    #[arg(long, requires = "keys_user")]
    git_user: Option<u32>,
    /// The user id for everything that handles keys [default: one's own]
    #[arg(long, requires = "git_user")]
    keys_user: Option<u32>,
    #[command(flatten)]
    settings: serve::Settings,
}

/// How long a child may take until it is ready.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// How long the children may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Runs the gate until a signal or until a part of it ends.
pub(super) fn run(args: Args) -> Result<u8> {
    let policy = config::load(&args.policy)?;
    if args.git_user.is_some() && args.git_user == args.keys_user {
        bail!("the listener and the broker must not be the same user");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(start(args, policy))
}

/// The children.
#[derive(Default)]
struct Parts {
    /// Closing one tells its child to end; the order is that of the start.
    lifelines: Vec<ChildStdin>,
    /// Gives the name of each child that ends, and whether it has a lifeline.
    running: JoinSet<(String, bool)>,
}

impl Parts {
    /// Starts a child. One that `obeys` ends when its stdin is closed.
    fn spawn(
        &mut self,
        name: impl Into<String>,
        mut command: Command,
        obeys: bool,
    ) -> Result<Option<ChildStdout>> {
        let name = name.into();
        command.stdin(if obeys { Stdio::piped() } else { Stdio::null() }).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("could not start the {name}"))?;
        self.lifelines.extend(child.stdin.take());
        let stdout = child.stdout.take();
        self.running.spawn(async move {
            let status =
                child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            log::line("start", &format!("the {name} ended: {status}"));
            (name, obeys)
        });
        Ok(stdout)
    }

    /// Waits until one of the children has ended; gives how many of those with a lifeline are left.
    async fn first_to_end(&mut self) -> usize {
        match self.running.join_next().await {
            Some(Ok((_, true))) => self.lifelines.len() - 1,
            _ => self.lifelines.len(),
        }
    }

    /// Ends all by closing their stdin: without the right to signal other users there is no other way. What does not
    /// listen to it ends with the container, or is killed where we may.
    async fn end(mut self, mut left: usize) {
        // The last to be started first: the listener uses all the others.
        while self.lifelines.pop().is_some() {}
        let all = async {
            while left > 0 {
                match self.running.join_next().await {
                    Some(Ok((_, true))) => left -= 1,
                    Some(_) => {}
                    None => break,
                }
            }
        };
        if tokio::time::timeout(END_LIMIT, all).await.is_err() {
            log::line("start", "not everything has ended in time");
        }
        self.running.shutdown().await;
    }
}

/// Reads the line by which a child says that it is ready.
async fn ready(name: &str, stdout: Option<ChildStdout>) -> Result<serde_json::Value> {
    let mut line = String::new();
    let mut reader = BufReader::new(stdout.context("its stdout is not a pipe")?);
    let read = tokio::time::timeout(READY_LIMIT, reader.read_line(&mut line)).await;
    read.with_context(|| format!("the {name} did not get ready in time"))??;
    serde_json::from_str(&line).with_context(|| format!("the {name} ended before it was ready"))
}

async fn start(args: Args, policy: GatePolicy) -> Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    directories(&args).await?;
    let passwords = passwords(&policy).await?;
    let mut parts = Parts::default();
    keys::load(&args, &policy, &mut parts).await?;
    broker(&args, &passwords, &mut parts).await?;
    drop(passwords);
    let ready = listener(&args, &mut parts).await?;
    writeln!(std::io::stdout(), "{ready}")?;
    std::io::stdout().flush()?;
    let all = parts.lifelines.len();
    let (code, left) = tokio::select! {
        left = parts.first_to_end() => (EXIT_FAILURE, left),
        _ = terminate.recv() => (EXIT_OK, all),
        _ = interrupt.recv() => (EXIT_OK, all),
    };
    parts.end(left).await;
    Ok(code)
}

/// A command of this program, or another, as a user, with nothing of our environment but `PATH`.
fn command(program: impl AsRef<std::ffi::OsStr>, user: Option<u32>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir("/");
    if let Some(user) = user {
        // Supplementary groups are dropped together with root.
        command.gid(user).uid(user);
    }
    command
}

fn ourselves(user: Option<u32>) -> Result<Command> {
    let mut command = command(std::env::current_exe().context("could not find this program")?, user);
    command.args(["sidecar", "git-gate"]);
    Ok(command)
}

async fn directories(args: &Args) -> Result<()> {
    let keys = args.run.join("keys");
    for (path, mode, user) in [
        (keys.clone(), "0711", args.keys_user),
        (keys.join("agents"), "0700", args.keys_user),
        (keys.join("mux"), "0700", args.keys_user),
        (args.run.join("gate"), "0700", args.git_user),
    ] {
        let mut mkdir = command("mkdir", user);
        mkdir.args(["-p", "-m", mode, "--"]).arg(&path);
        succeed(mkdir, &format!("make `{}`", path.display())).await?;
    }
    Ok(())
}

/// Runs a small command to its end; a failure carries all that it said.
async fn succeed(mut command: Command, what: &str) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("could not {what}"))?;
    if !output.status.success() {
        let said = super::message::essence(&output.stderr);
        bail!("could not {what}: {said}");
    }
    Ok(output.stdout)
}

/// The passwords by repository. One that isn't there is no reason to keep the other repositories from working.
async fn passwords(policy: &GatePolicy) -> Result<BTreeMap<String, String>> {
    let mut passwords = BTreeMap::new();
    for (name, repository) in &policy.repositories {
        let Upstream::Https(https) = &repository.upstream else {
            continue;
        };
        let Some(credential) = &https.credential else {
            continue;
        };
        let value = match &credential.source {
            SecretSource::Env(variable) => std::env::var(variable).ok().filter(|value| !value.is_empty()),
            SecretSource::File(path) => match keys::read_as_owner(path.as_ref()).await {
                Ok(bytes) => Some(String::from_utf8(bytes).ok().context("a credential is not UTF-8")?),
                Err(error) => {
                    log::line("start", &format!("{error:#}"));
                    None
                }
            },
        };
        if let Some(value) = value {
            passwords.insert(name.clone(), value.trim_end_matches(['\r', '\n']).to_owned());
        } else {
            log::line("start", &format!("{name}: the credential `{}` has no value", credential.name));
        }
    }
    Ok(passwords)
}

async fn broker(args: &Args, passwords: &BTreeMap<String, String>, parts: &mut Parts) -> Result<()> {
    let mut command = ourselves(args.keys_user)?;
    command.arg("broker").arg("--policy").arg(&args.policy).arg("--run").arg(&args.run);
    if let Some(user) = args.git_user {
        command.arg(format!("--peer={user}"));
    }
    command.stdout(Stdio::piped());
    let stdout = parts.spawn("broker", command, true)?;
    let mut line = serde_json::to_vec(passwords)?;
    line.push(b'\n');
    let lifeline = parts.lifelines.last_mut().context("the broker has no stdin")?;
    lifeline.write_all(&line).await.context("the broker does not read its stdin")?;
    ready("broker", stdout).await.map(drop)
}

async fn listener(args: &Args, parts: &mut Parts) -> Result<serde_json::Value> {
    let mut command = ourselves(args.git_user)?;
    command.arg("serve").arg("--policy").arg(&args.policy).arg("--run").arg(&args.run);
    command.args(args.settings.to_args()).stdout(Stdio::piped());
    let stdout = parts.spawn("listener", command, true)?;
    ready("listener", stdout).await
}
