//! One SSH agent per upstream, so that no key is offered to another host.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::super::{broker, message};
use super::{Args, Parts, command, ourselves, succeed};
use crate::fs;
use crate::policy::gate::{GatePolicy, SshKey, Upstream};

/// How long an agent may take until its socket is there.
const SOCKET_LIMIT: Duration = Duration::from_secs(10);

/// Starts the agents and bridges for all upstreams behind SSH.
pub(super) async fn load(args: &Args, policy: &GatePolicy, parts: &mut Parts) -> Result<()> {
    for (index, (name, repository)) in policy.repositories.iter().enumerate() {
        let Upstream::Ssh(upstream) = &repository.upstream else {
            continue;
        };
        let socket = broker::agent_socket(args.run.as_path(), index, &upstream.key);
        match &upstream.key {
            SshKey::IdentityFile(file) => {
                remove_stale(&socket, args.keys_user).await?;
                let mut agent = command("ssh-agent", args.keys_user);
                // It prints how to reach it on stdout, which nobody needs to know; the log may.
                agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::from(std::io::stderr()));
                parts.spawn(format!("SSH agent of {name}"), agent, false)?;
                add(args, name, file.as_ref(), &socket).await?;
            }
            SshKey::Agent(from) => {
                let from: &Path = from.as_ref();
                let owner =
                    owner(from).with_context(|| format!("{name}: the operator's SSH agent is not there"))?;
                let mut bridge = ourselves(args.keys_user.map(|_| owner))?;
                bridge.arg("agent-bridge").arg("--from").arg(from).arg("--to").arg(&socket);
                if let Some(user) = args.keys_user {
                    bridge.arg(format!("--peer={user}"));
                }
                parts.spawn(format!("bridge to the operator's SSH agent for {name}"), bridge, true)?;
            }
        }
    }
    Ok(())
}

async fn remove_stale(socket: &Path, user: Option<u32>) -> Result<()> {
    let mut remove = command("rm", user);
    remove.args(["-f", "--"]).arg(socket);
    succeed(remove, "remove a stale socket").await.map(drop)
}

/// Reads a file as its owner: root without the right to override permissions could not.
pub(super) async fn read_as_owner(path: &Path) -> Result<Vec<u8>> {
    let cat = cat(path)?;
    succeed(cat, &format!("read `{}`", path.display())).await
}

/// The command that prints a file as its owner. The group stays root's: where other sidecars are in the same container, it
/// alone may look into the directories with the operator's files.
fn cat(path: &Path) -> Result<Command> {
    let mut cat = command("cat", None);
    if let Some(owner) = change_to(path)? {
        cat.uid(owner);
    }
    cat.arg("--").arg(path);
    Ok(cat)
}

fn owner(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.uid())
}

/// The user to become for reading a file: its owner, where we are root and may.
fn change_to(path: &Path) -> Result<Option<u32>> {
    let owner = owner(path)?;
    Ok(rustix::process::geteuid().is_root().then_some(owner))
}

/// Pipes the key from a process that is the file's owner into the agent, by way of a process of the broker's user.
async fn add(args: &Args, name: &str, file: &Path, socket: &Path) -> Result<()> {
    wait_for(name, socket).await?;
    let (reader, writer) = std::io::pipe()?;
    let cat = {
        // Dropped at the end of the block: it holds the end of the pipe whose closing ssh-add waits for.
        let mut cat = cat(file)?;
        cat.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        cat.spawn().with_context(|| format!("{name}: could not read the identity file"))?
    };
    let mut add = command("ssh-add", args.keys_user);
    add.arg("-q").arg("-").env("SSH_AUTH_SOCK", socket);
    // Nobody is there to be asked for a passphrase; this makes ssh-add fail at once instead.
    add.env("SSH_ASKPASS_REQUIRE", "force").env("SSH_ASKPASS", "false").env("DISPLAY", "none");
    add.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped());
    let add = add.spawn().with_context(|| format!("{name}: could not run ssh-add"))?;
    let both = async { tokio::try_join!(cat.wait_with_output(), add.wait_with_output()) };
    let both = tokio::time::timeout(SOCKET_LIMIT, both).await;
    let (cat, add) = both.with_context(|| format!("{name}: the SSH agent does not take the key"))??;
    if !cat.status.success() {
        bail!("{name}: could not read the identity file: {}", message::essence(&cat.stderr));
    }
    if add.status.success() {
        return Ok(());
    }
    let said = message::essence(&add.stderr);
    // Without an answer to its question for a passphrase it ends in silence.
    if said.is_empty() || said.contains("passphrase") || said.contains("askpass") {
        bail!("{name}: the identity file is encrypted; use `ssh_agent: true`");
    }
    bail!("{name}: the identity file can't be used: {said}");
}

/// What `ssh-add -l` exits with where no agent answers (ssh-add(1)).
const NO_AGENT: i32 = 2;

async fn wait_for(name: &str, socket: &Path) -> Result<()> {
    let deadline = Instant::now() + SOCKET_LIMIT;
    // Asked, not looked at: only the agent's user can look into the directory, and a socket is there before anyone
    // listens on it.
    loop {
        let mut list = command("ssh-add", owner_of_directory(socket)?);
        list.arg("-l").env("SSH_AUTH_SOCK", socket).stdin(Stdio::null());
        let answer = list.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await?;
        if answer.status.code().is_some_and(|code| code != NO_AGENT) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{name}: the SSH agent does not answer: {}", message::essence(&answer.stderr));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn owner_of_directory(socket: &Path) -> Result<Option<u32>> {
    change_to(socket.parent().unwrap_or(socket))
}
