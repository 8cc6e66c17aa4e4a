//! One living SSH connection per upstream, over which sessions are multiplexed.
//!
//! A new connection costs some 220 ms, a session over a living one 8 ms. The connection is a child of the broker, so
//! that its complaint can be read, its death is noticed and it can be killed when it hangs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, oneshot};

use super::super::log;
use crate::policy::gate::{SshKey, SshUpstream};
use crate::sidecar::text;

/// How long the upstream may take to let us in; `ConnectTimeout` ends most attempts earlier.
const LOGIN_LIMIT: Duration = Duration::from_secs(15);
/// How often a new connection's control socket is looked for.
const LOOK: Duration = Duration::from_millis(2);
/// After this time without a session a connection is closed.
const IDLE: Duration = Duration::from_mins(10);
/// After this time a connection gets no new sessions, so that a revoked key is noticed.
const LIFE: Duration = Duration::from_hours(1);
/// The most that is kept of what a connection attempt complains about.
const MAX_COMPLAINT: usize = 16 << 10;

/// The connections to one upstream: one in use, older ones until their last session ends.
pub(super) struct Masters {
    upstream: SshUpstream,
    agent: PathBuf,
    mux: PathBuf,
    index: usize,
    part: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    current: Option<Arc<Master>>,
}

/// One connection; it is killed when the last holder lets go of it.
pub(super) struct Master {
    /// Its control socket.
    pub(super) control: PathBuf,
    started: Instant,
    dead: AtomicBool,
    /// Dropped together with the last holder, which is what the task that owns the process waits for.
    _held: oneshot::Sender<()>,
}

/// The upstream did not let us in; what `ssh` said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LoginError(pub(super) String);

impl Masters {
    /// The connections to the upstream of the repository `name`; none is made yet.
    pub(super) fn new(name: &str, upstream: SshUpstream, run: &Path, index: usize) -> Self {
        Self {
            agent: agent_socket(run, index, &upstream.key),
            upstream,
            mux: run.join("keys").join("mux"),
            index,
            part: format!("ssh {name}"),
            state: Mutex::default(),
        }
    }

    /// A living connection, made if there is none.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<Master>, LoginError> {
        let mut state = self.state.lock().await;
        if let Some(master) = &state.current {
            let fit = !master.dead.load(Ordering::Relaxed) && master.started.elapsed() < LIFE;
            if fit {
                return Ok(Arc::clone(master));
            }
        }
        state.current = None;
        state.generation += 1;
        let control = self.mux.join(format!("{}.{}", self.index, state.generation));
        let master = self.login(control).await?;
        state.current = Some(Arc::clone(&master));
        drop(state);
        tokio::spawn(Arc::clone(self).close_when_idle(Arc::downgrade(&master)));
        Ok(master)
    }

    /// Gives no more sessions to this connection: it seems to hang.
    pub(super) async fn retire(&self, master: &Arc<Master>) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, master)) {
            log::line(&self.part, "the connection is given up");
            state.current = None;
        }
    }

    /// Lets go of the connection.
    pub(super) async fn end(&self) {
        self.state.lock().await.current = None;
    }

    async fn close_when_idle(self: Arc<Self>, master: Weak<Master>) {
        let mut idle = Duration::ZERO;
        let step = IDLE / 10;
        loop {
            tokio::time::sleep(step).await;
            let mut state = self.state.lock().await;
            let Some(master) = master.upgrade() else {
                return;
            };
            if !state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &master)) {
                return;
            }
            // Two holders: the state and this function; any more are sessions.
            idle = if Arc::strong_count(&master) > 2 { Duration::ZERO } else { idle + step };
            if idle >= IDLE {
                state.current = None;
                return;
            }
        }
    }

    /// The `ssh` command with everything that decides where it goes and what it trusts, up to the host.
    pub(super) fn command(&self, control: &Path, master: &str, extra: &[&str]) -> Command {
        let SshUpstream { user, host, port, known_hosts, .. } = &self.upstream;
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-T"]);
        let options = [
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("UserKnownHostsFile=\"{known_hosts}\""),
            "GlobalKnownHostsFile=none".to_owned(),
            "KnownHostsCommand=none".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            "VerifyHostKeyDNS=no".to_owned(),
            "CheckHostIP=no".to_owned(),
            "CanonicalizeHostname=no".to_owned(),
            format!("IdentityAgent=\"{}\"", self.agent.display()),
            "IdentityFile=none".to_owned(),
            "PreferredAuthentications=publickey".to_owned(),
            "PubkeyAuthentication=yes".to_owned(),
            "ConnectTimeout=10".to_owned(),
            "ConnectionAttempts=1".to_owned(),
            "ServerAliveInterval=10".to_owned(),
            "ServerAliveCountMax=2".to_owned(),
            "TCPKeepAlive=yes".to_owned(),
            format!("ControlMaster={master}"),
            format!("ControlPath=\"{}\"", control.display()),
            "ControlPersist=no".to_owned(),
            "ForwardAgent=no".to_owned(),
            "ForwardX11=no".to_owned(),
            "ClearAllForwardings=yes".to_owned(),
            "PermitLocalCommand=no".to_owned(),
            "ProxyCommand=none".to_owned(),
            "RequestTTY=no".to_owned(),
            "EscapeChar=none".to_owned(),
            "SendEnv=GIT_PROTOCOL".to_owned(),
        ];
        for option in options {
            command.args(["-o", &option]);
        }
        command.args(extra).args(["-p", &port.to_string(), "-l", user, "--", host]);
        command.env_clear().env("LC_ALL", "C").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// The upstream's path.
    pub(super) fn path(&self) -> &str {
        &self.upstream.path
    }

    async fn login(&self, control: PathBuf) -> Result<Arc<Master>, LoginError> {
        let fail = |error: io::Error| LoginError(format!("could not run ssh: {error}"));
        if let Err(error) = super::remove_stale(&control) {
            return Err(LoginError(error.to_string()));
        }
        let mut command = self.command(&control, "yes", &["-N"]);
        let (reader, writer) = io::pipe().map_err(fail)?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(fail)?)
            .stderr(writer)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(fail)?;
        drop(command);
        let reader = Receiver::from_owned_fd(reader.into()).map_err(fail)?;
        let complaint = Arc::new(std::sync::Mutex::new(Vec::new()));
        let listening = tokio::spawn(listen(self.part.clone(), reader, Arc::clone(&complaint)));
        let deadline = Instant::now() + LOGIN_LIMIT;
        let ended = loop {
            // The socket is linked to its place when it already listens.
            if control.exists() {
                break false;
            }
            if Instant::now() > deadline {
                break true;
            }
            if tokio::time::timeout(LOOK, child.wait()).await.is_ok() {
                break true;
            }
        };
        if ended {
            let late = Instant::now() > deadline;
            drop(child.kill().await);
            // The pipe is at its end as soon as ssh is gone.
            drop(tokio::time::timeout(Duration::from_secs(1), listening).await);
            let said = std::mem::take(&mut *complaint.lock().unwrap_or_else(PoisonError::into_inner));
            let mut said = String::from_utf8_lossy(&said).into_owned();
            if late {
                said.push_str("the upstream did not answer in time\n");
            }
            return Err(LoginError(said));
        }
        let (held, let_go) = oneshot::channel();
        let dead = AtomicBool::new(false);
        let master = Arc::new(Master { control, started: Instant::now(), dead, _held: held });
        log::line(&self.part, "connected");
        tokio::spawn(own(self.part.clone(), child, Arc::downgrade(&master), let_go));
        Ok(master)
    }
}

/// Owns the process of a connection: notices its death, and ends it when nobody holds the connection any more.
async fn own(part: String, mut child: Child, master: Weak<Master>, let_go: oneshot::Receiver<()>) {
    tokio::select! {
        status = child.wait() => {
            if let Some(master) = master.upgrade() {
                master.dead.store(true, Ordering::Relaxed);
            }
            match status {
                Ok(status) => log::line(&part, &format!("the connection ended: {status}")),
                Err(error) => log::line(&part, &format!("the connection can't be watched: {error}")),
            }
        }
        _ = let_go => match child.kill().await {
            Ok(()) => log::line(&part, "the connection is closed"),
            Err(error) => log::line(&part, &format!("the connection can't be closed: {error}")),
        },
    }
}

/// Logs what `ssh` says about a connection, and keeps it for whoever waits for the connection.
async fn listen(part: String, from: Receiver, complaint: Arc<std::sync::Mutex<Vec<u8>>>) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
        log::line(&part, &text::neutral(&line));
        let mut kept = complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() + line.len() <= MAX_COMPLAINT {
            kept.extend_from_slice(&line);
        }
        drop(kept);
        line.clear();
    }
}

/// The socket of the SSH agent for the policy's `index`th repository: ours, or the bridge's, which its user must be able
/// to make.
pub(in super::super) fn agent_socket(run: &Path, index: usize, key: &SshKey) -> PathBuf {
    match key {
        SshKey::IdentityFile(_) => run.join("keys").join("agents").join(index.to_string()),
        SshKey::Agent(_) => run.join(format!("agent-{index}.sock")),
    }
}
