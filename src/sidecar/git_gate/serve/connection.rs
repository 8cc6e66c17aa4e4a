//! One connection of the agent, from the first byte to the end of git's daemon.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::super::audit::{Decision, Record};
use super::super::message::Failure;
use super::super::upstream::{CONNECTION, GRANTED};
use super::super::wire::{self, Answer, Question, Service};
use super::super::{config, log};
use super::Gate;
use super::freshness::Served;
use super::request::{self, Request};
use crate::policy::reason::Reason;
use crate::process::{self, Group};
use crate::sidecar::ids;

/// How long the agent may take to say what it wants.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How many connections more than the limit are told so; beyond, they are closed without a word.
const MAX_TURNED_AWAY: usize = 64;

/// When an acknowledgement is asked for again after something arrived; together they bound how often that happens.
const RENEWALS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(3)];

/// A connection that git's daemon works on.
pub(super) struct Connection {
    request: Request,
    id: String,
    came: Instant,
    /// Whether the audit log has its line.
    recorded: AtomicBool,
    guard: Mutex<Option<OwnedMutexGuard<()>>>,
}

impl Connection {
    /// Checks that a hook asks for the repository to which the connection pushes.
    pub(super) fn pushes_to(&self, repository: &str) -> Result<(), Failure> {
        let Request { service, repository: named } = &self.request;
        if named == repository && *service == Service::ReceivePack {
            return Ok(());
        }
        Err(Failure::inside(format!("the connection does not push to `{repository}`")))
    }

    /// Records what a hook decided about the push.
    pub(super) fn decided(&self, gate: &Gate, decision: &Decision) {
        if self.recorded.swap(true, Ordering::Relaxed) {
            return;
        }
        let Request { service, repository } = &self.request;
        gate.record(&Record {
            id: &self.id,
            service: Some(*service),
            repository,
            decision,
            took: self.came.elapsed(),
        });
    }

    /// Keeps the lock until the connection has ended.
    pub(super) fn keep(&self, guard: OwnedMutexGuard<()>) {
        *self.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    }
}

/// Accepts connections until that is no longer possible.
pub(super) async fn accept(gate: Arc<Gate>, listener: TcpListener) -> Error {
    let places = Arc::new(Semaphore::new(gate.settings.max_connections));
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut number = 0_u64;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The process may be out of descriptors for a moment.
                log::line("serve", &format!("could not accept a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        number += 1;
        let gate = Arc::clone(&gate);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(async move {
                work(&gate, stream, peer, number).await;
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
            tokio::spawn(async move {
                let most = gate.settings.max_connections;
                let text = format!("the gate serves {most} connections at a time");
                let busy = async {
                    let line = request::peek(&stream).await?;
                    refuse(stream, line.len(), &Failure::new(Reason::GateBusy, text)).await
                };
                drop(tokio::time::timeout(REQUEST_LIMIT, busy).await);
                drop(place);
            });
        }
    }
}

async fn work(gate: &Arc<Gate>, stream: TcpStream, peer: SocketAddr, number: u64) {
    let result = async {
        // Without it every small exchange waits 40 ms for a delayed acknowledgement.
        stream.set_nodelay(true)?;
        let Ok(line) = tokio::time::timeout(REQUEST_LIMIT, request::peek(&stream)).await else {
            log::line("serve", &format!("connection {number} from {peer} asked for nothing"));
            return Ok(());
        };
        let line = line?;
        let came = Instant::now();
        let asked = request::parse(&line, &gate.settings.hosts);
        let known = asked.as_ref().ok().cloned();
        let admitted = async {
            let request = asked?;
            let served = admit(gate, &request).await?;
            Ok((request, served))
        };
        match admitted.await {
            Ok((request, served)) => hand_over(gate, stream, request, &served, number, came).await,
            Err(failure) => {
                log::line("serve", &format!("connection {number} from {peer}: {failure}"));
                record_refusal(gate, known.as_ref(), &failure, came);
                refuse(stream, line.len(), &failure).await
            }
        }
    };
    if let Err(error) = result.await {
        log::line("serve", &format!("connection {number} from {peer}: {error}"));
    }
}

/// Judges the request, and returns when the mirror is fresh enough for it. Git's daemon is started only then: it would
/// otherwise be in a directory that a repair replaces.
async fn admit(gate: &Gate, request: &Request) -> Result<Arc<Served>, Failure> {
    let served = Arc::clone(gate.repository(&request.repository)?);
    if served.mirror.name == config::HEALTH {
        if request.service == Service::ReceivePack {
            return Err(Failure::new(
                Reason::RepositoryUnknown,
                "the health check's repository takes no push",
            ));
        }
        broker_answers(gate.surroundings.run.join("keys").join("broker.sock")).await?;
    } else if request.service == Service::UploadPack || !served.was_fetched() {
        served.fresh().await?;
    }
    Ok(served)
}

/// Records what was refused before git's daemon had anything to do with it.
fn record_refusal(gate: &Gate, request: Option<&Request>, failure: &Failure, came: Instant) {
    let reason = Some(failure.reason.code().to_owned());
    let decision = Decision { reason, detail: Some(failure.text.clone()), ..Decision::default() };
    gate.record(&Record {
        id: &ids::next(),
        service: request.map(|request| request.service),
        repository: request.map_or("", |request| &request.repository),
        decision: &decision,
        took: came.elapsed(),
    });
}

/// Tells the agent why not, in the form in which git shows it.
async fn refuse(mut stream: TcpStream, unread: usize, failure: &Failure) -> std::io::Result<()> {
    // Closing with unread data would reset the connection before the text is read.
    let mut request = vec![0; unread];
    stream.read_exact(&mut request).await?;
    let text = format!("ERR {failure} ({})", failure.reason.hint());
    stream.write_all(format!("{:04x}{text}", text.len() + 4).as_bytes()).await?;
    stream.shutdown().await
}

async fn hand_over(
    gate: &Gate,
    stream: TcpStream,
    request: Request,
    served: &Served,
    number: u64,
    came: Instant,
) -> std::io::Result<()> {
    // What the access hook compares with what git's daemon is about to do.
    let service = request.service.program().trim_start_matches("git-");
    let granted = format!("{service} {}.git", request.repository);
    let is_fetch = request.service == Service::UploadPack;
    let (id, recorded, guard) = (ids::next(), AtomicBool::new(false), Mutex::default());
    let connection = Arc::new(Connection { request, id, came, recorded, guard });
    gate.connections.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&connection));
    let result = daemon(gate, stream, number, granted).await;
    gate.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    let guard = connection.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
    if is_fetch {
        connection.decided(gate, &Decision::default());
    } else if guard.is_some() {
        // Unless the hook has said more: it was cut off, and the upstream may or may not have the push.
        let reason = Some(Reason::GateFailed.code().to_owned());
        let detail = Some("the hook ended before it told what became of the push".to_owned());
        connection.decided(gate, &Decision { reason, detail, ..Decision::default() });
    }
    if let Some(guard) = guard {
        served.pushed(guard).await;
    }
    result
}

async fn broker_answers(socket: PathBuf) -> Result<(), Failure> {
    let asked = tokio::task::spawn_blocking(move || wire::ask(&socket, &Question::Ping, &[]));
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(Ok(Answer::Pong))) => Ok(()),
        Ok(Ok(Ok(_))) => Err(Failure::inside("the broker answered another question")),
        Ok(Ok(Err(error))) => Err(Failure::inside(error)),
        Ok(Err(error)) => Err(Failure::inside(error)),
        Err(_) => Err(Failure::inside("the broker does not answer")),
    }
}

/// Gives the socket to git's daemon and waits for its end.
async fn daemon(gate: &Gate, stream: TcpStream, number: u64, granted: String) -> std::io::Result<()> {
    let state = &gate.settings.state;
    let socket = stream.into_std()?;
    // Taken while the socket does not block, which the runtime insists on; it is only ever watched.
    let eager = acknowledge(TcpStream::from_std(socket.try_clone()?)?);
    socket.set_nonblocking(false)?;
    let socket = OwnedFd::from(socket);
    let mut command = Command::new(&gate.daemon);
    command.args(["--inetd", "--informative-errors", "--export-all", "--enable=receive-pack"]);
    command.args(["--log-destination=stderr", "--init-timeout=10"]);
    command.arg(format!("--timeout={}", gate.settings.total_limit));
    command.arg(format!("--access-hook={}", gate.settings.hooks.join("access-hook").display()));
    command.arg(format!("--base-path={}", state.display())).arg(state);
    command.current_dir(state).env_clear().envs(gate.surroundings.environment());
    command.env(CONNECTION, number.to_string()).env(GRANTED, granted).process_group(0);
    command.stdin(Stdio::from(socket.try_clone()?)).stdout(Stdio::from(socket)).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    // The command still holds the socket, whose end the agent waits for.
    drop(command);
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(log::copy(format!("connection {number}"), stderr));
    }
    let limit = gate.surroundings.limits.total;
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, child.wait()) => ended,
        error = eager => {
            log::line("serve", &format!("connection {number}: {error}"));
            tokio::time::timeout(limit, child.wait()).await
        }
    };
    if let Ok(status) = ended {
        let status = status?;
        if !status.success() {
            log::line("serve", &format!("connection {number} ended: {status}"));
        }
    } else {
        log::line("serve", &format!("connection {number} is cut off after {} s", limit.as_secs()));
        process::kill(&mut child, Group::Own).await;
    }
    Ok(())
}

/// Acknowledges at once whatever the agent's git sends, until it fails.
///
/// Git asks for refs in several small writes. The second waits in the agent's kernel until the first is acknowledged
/// (Nagle), which this kernel puts off by 40 ms in the hope for an answer to carry it. The setting wears off with the next
/// answer, so it is renewed whenever something arrives; the data is left for git's daemon.
async fn acknowledge(socket: TcpStream) -> std::io::Error {
    loop {
        match socket.ready(Interest::READABLE).await {
            // Nothing more will arrive, and this state would be reported without end.
            Ok(ready) if ready.is_read_closed() => std::future::pending().await,
            Ok(_) => {}
            Err(error) => return error,
        }
        // The pretence that the data was read makes the runtime wait for more.
        let renew = || {
            set_tcp_quickack(&socket, true)?;
            Err::<Infallible, _>(ErrorKind::WouldBlock.into())
        };
        if let Err(error) = socket.try_io(Interest::READABLE, renew)
            && error.kind() != ErrorKind::WouldBlock
        {
            return error;
        }
        // Nothing is acknowledged while git's daemon has not taken the data, so it is asked for again when it has.
        for pause in RENEWALS {
            tokio::time::sleep(pause).await;
            if let Err(error) = set_tcp_quickack(&socket, true) {
                return error.into();
            }
        }
    }
}
