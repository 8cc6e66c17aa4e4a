//! The broker: the one process that can use a credential.
//!
//! It runs as a user of its own and answers the user of the listener, whose identity the kernel vouches for, on a Unix
//! socket. Whoever asks can have `git-upload-pack` or `git-receive-pack` run on an upstream of the policy, and can
//! never read a key. A user name and password for HTTPS are given out, for the URL of the policy only: git needs them.

mod master;
mod session;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indexmap::IndexMap;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::wire::{self, Answer, Question};
use super::{config, lifeline, log};
use crate::cli::EXIT_OK;
use crate::policy::gate::{GatePolicy, HttpsUpstream, Upstream};
use master::Masters;
pub(super) use master::agent_socket;
pub(super) use session::quote;

/// How many questions are worked on at a time; the listener has fewer connections than that.
const MAX_QUESTIONS: usize = 256;
/// How long a question may take to arrive.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// Hold the credentials and run git's two services on the upstreams
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy
    #[arg(long)]
    policy: PathBuf,
    /// The directory for sockets, shared with the listener
    #[arg(long)]
    run: PathBuf,
    /// The user id that may ask [default: one's own]
    #[arg(long)]
    peer: Option<u32>,
}

/// Runs the broker. Its stdin carries the passwords by repository as one line of JSON and then stays open; when it is
/// closed, the broker ends. One line on its stdout tells that it answers.
pub(super) fn run(args: Args) -> Result<u8> {
    let policy = config::load(&args.policy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, policy))
}

struct Broker {
    policy: GatePolicy,
    passwords: BTreeMap<String, String>,
    masters: IndexMap<String, Arc<Masters>>,
    peer: u32,
    busy: Arc<Semaphore>,
}

async fn serve(args: Args, policy: GatePolicy) -> Result<u8> {
    let mut stdin = BufReader::new(lifeline::stdin()?);
    let mut line = String::new();
    stdin.read_line(&mut line).await.context("could not read the passwords from stdin")?;
    let passwords = if line.trim().is_empty() {
        BTreeMap::new()
    } else {
        // The parser's message could quote a password.
        serde_json::from_str(&line).ok().context("the passwords on stdin are not a map in JSON")?
    };
    let socket = args.run.join("keys").join("broker.sock");
    remove_stale(&socket)?;
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("could not listen on `{}`", socket.display()))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::chmod(&socket, mode).context("could not open the broker's socket to the listener")?;
    let mut masters = IndexMap::new();
    for (index, (name, repository)) in policy.repositories.iter().enumerate() {
        if let Upstream::Ssh(upstream) = &repository.upstream {
            masters.insert(name.clone(), Arc::new(Masters::new(name, upstream.clone(), &args.run, index)));
        }
    }
    let broker = Arc::new(Broker {
        policy,
        passwords,
        masters,
        peer: args.peer.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        busy: Arc::new(Semaphore::new(MAX_QUESTIONS)),
    });
    log::line("broker", &format!("bottle {} answers on {}", env!("CARGO_PKG_VERSION"), socket.display()));
    writeln!(io::stdout(), "{}", serde_json::json!({ "ready": "broker" }))?;
    io::stdout().flush()?;
    let end = lifeline::closed(stdin);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("could not accept a question")?;
                tokio::spawn(answer(Arc::clone(&broker), stream));
            }
        }
    }
    for masters in broker.masters.values() {
        masters.end().await;
    }
    Ok(EXIT_OK)
}

/// Removes the socket of a process that is gone.
pub(super) fn remove_stale(socket: &std::path::Path) -> Result<()> {
    match crate::fs::remove_file(socket) {
        Err(error) if error.source.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

async fn answer(broker: Arc<Broker>, stream: UnixStream) {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => return log::line("broker", &format!("a caller has no identity: {error}")),
    };
    if uid != broker.peer {
        log::line("broker", &format!("refused: user {uid} is not user {}", broker.peer));
        return reply(stream, &Answer::Refused(format!("user {uid} may not ask"))).await;
    }
    let Ok(_permit) = Arc::clone(&broker.busy).try_acquire_owned() else {
        return reply(stream, &Answer::Refused("too many questions at a time".to_owned())).await;
    };
    match tokio::time::timeout(QUESTION_LIMIT, question(&stream)).await {
        Ok(Ok((question, streams))) => broker.work(question, streams, stream).await,
        Ok(Err(error)) => log::line("broker", &format!("a question was not understood: {error}")),
        Err(_) => log::line("broker", "a question did not arrive in time"),
    }
}

async fn question(stream: &UnixStream) -> io::Result<(Question, Vec<OwnedFd>)> {
    let (mut line, mut streams) = (Vec::new(), Vec::new());
    loop {
        let count = stream
            .async_io(Interest::READABLE, || wire::receive(stream.as_fd(), &mut line, &mut streams))
            .await?;
        if line.ends_with(b"\n") {
            return Ok((serde_json::from_slice(&line)?, streams));
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn reply(mut stream: UnixStream, answer: &Answer) {
    let mut line = match serde_json::to_vec(answer) {
        Ok(line) => line,
        Err(error) => return log::line("broker", &format!("an answer can't be written: {error}")),
    };
    line.push(b'\n');
    if let Err(error) = stream.write_all(&line).await {
        log::line("broker", &format!("a caller left before its answer: {error}"));
    }
}

impl Broker {
    async fn work(&self, question: Question, streams: Vec<OwnedFd>, mut stream: UnixStream) {
        let answer = match question {
            Question::Ping => Answer::Pong,
            Question::Credential { repository, protocol, host } => {
                self.credential(&repository, &protocol, &host)
            }
            Question::Session { repository, service, protocol } => {
                let streams: Result<[OwnedFd; 3], _> = streams.try_into();
                match (self.masters.get(&repository), streams) {
                    (None, _) => Answer::Refused(format!(
                        "`{repository}` is no repository with an upstream behind SSH"
                    )),
                    (_, Err(_)) => Answer::Refused("a session needs three streams".to_owned()),
                    _ if protocol.as_deref().is_some_and(|value| !wire::is_protocol(value)) => {
                        Answer::Refused("GIT_PROTOCOL has an unknown value".to_owned())
                    }
                    (Some(masters), Ok(streams)) => {
                        let session = session::Session { service, protocol, streams };
                        match session::run(masters, session, &mut stream).await {
                            Some(answer) => answer,
                            None => return,
                        }
                    }
                }
            }
        };
        if let Answer::Refused(why) = &answer {
            log::line("broker", &format!("refused: {why}"));
        }
        reply(stream, &answer).await;
    }

    fn credential(&self, name: &str, protocol: &str, host: &str) -> Answer {
        let Some(Upstream::Https(HttpsUpstream { url, credential, .. })) =
            self.policy.repositories.get(name).map(|repository| &repository.upstream)
        else {
            return Answer::Refused(format!("`{name}` is no repository with an upstream behind HTTPS"));
        };
        if protocol != "https" || config::https_host(url) != Some(host) {
            return Answer::Refused(format!("{protocol}://{host} is not the upstream of `{name}`"));
        }
        let Some(credential) = credential else {
            return Answer::Refused(format!(
                "upstream-auth: the upstream of `{name}` asks for a credential, none is named"
            ));
        };
        match self.passwords.get(name) {
            Some(password) => {
                Answer::Credential { username: credential.username.clone(), password: password.clone() }
            }
            None => Answer::Refused(format!(
                "credential-missing: the credential `{}` has no value",
                credential.name
            )),
        }
    }
}
