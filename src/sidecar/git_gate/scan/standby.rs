//! The processes that have loaded their rules and wait.
//!
//! There are two, so that a push right after another finds one as well; each holds some 30 MiB of its own. The successor
//! of one that is lent starts a moment later: loading the rules keeps a core busy for as long as a small push takes.
//!
//! The protocol of the socket: a hook connects and says nothing. It is sent one byte with three file descriptors (the
//! ends of a gitleaks process: input, report, complaints), talks to the process itself, and is then sent the exit code
//! as four bytes, least significant first; -1 stands for a signal.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

use super::process::{Ends, sockets};
use super::{Gitleaks, ScanError};

/// How long to wait before a standby that died is replaced; short enough for a stumble, long enough for a broken file.
const PAUSE: Duration = Duration::from_secs(1);

/// How many processes wait.
const WAITING: usize = 2;
/// How long after a loan its successor starts, while another one waits.
const SUCCESSION: Duration = Duration::from_millis(500);

struct Warm {
    child: Child,
    ends: Ends,
    started: Instant,
}

/// Serves warm scanners on a socket, for as long as it is polled. What goes wrong is given to `log`; the hooks then scan
/// with processes of their own.
pub async fn serve_scan(
    listener: UnixListener,
    gitleaks: Gitleaks,
    log: impl Fn(String),
) -> Result<(), ScanError> {
    let mut waiting: VecDeque<Warm> = VecDeque::with_capacity(WAITING);
    let mut next_start = Instant::now();
    loop {
        let vacant = waiting.len() < WAITING;
        let Some(first) = waiting.front_mut() else {
            match start(&gitleaks) {
                Ok(warm) => waiting.push_back(warm),
                Err(error) => {
                    log(format!("no warm scanner: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
            continue;
        };
        let started = first.started;
        tokio::select! {
            // A hook gets a process that lives over one that has just died.
            biased;
            status = first.child.wait() => {
                let said = complaints(first);
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                log(format!("the warm scanner ended by itself with {status}: {said}"));
                waiting.pop_front();
                tokio::time::sleep(PAUSE.saturating_sub(started.elapsed())).await;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Some(warm) = waiting.pop_front() {
                        tokio::spawn(lend(stream, warm, gitleaks.time_limit));
                    }
                    next_start = Instant::now() + SUCCESSION;
                }
                Err(error) => {
                    log(format!("no connection to the warm scanner: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = tokio::time::sleep_until(next_start.into()), if vacant => {
                match start(&gitleaks) {
                    Ok(warm) => waiting.push_back(warm),
                    Err(error) => {
                        log(format!("only one warm scanner: {error}"));
                        next_start = Instant::now() + PAUSE;
                    }
                }
            }
        }
    }
}

fn start(gitleaks: &Gitleaks) -> Result<Warm, ScanError> {
    let (ends, stdio) = sockets()?;
    let mut command = Command::from(gitleaks.command(stdio));
    let spawned = command.kill_on_drop(true).spawn();
    let child = spawned.map_err(|source| ScanError::Io { action: "start gitleaks", source })?;
    Ok(Warm { child, ends, started: Instant::now() })
}

/// What a process that has ended said.
fn complaints(warm: &Warm) -> String {
    let mut bytes = [0; 4096];
    let read = rustix::net::recv(&warm.ends.complaints, &mut bytes[..], rustix::net::RecvFlags::DONTWAIT);
    let said = read.ok().and_then(|(length, _)| bytes.get(..length)).unwrap_or_default();
    String::from_utf8_lossy(said).trim().to_owned()
}

/// Hands the process over and sends its exit code. A hook that has gone away has closed its ends, which ends the process.
async fn lend(mut stream: UnixStream, warm: Warm, limit: Duration) {
    let Warm { mut child, ends, started: _ } = warm;
    if hand_over(&stream, &ends).await.is_err() {
        return;
    }
    // The copies here would keep the process from ever seeing the end of its input.
    drop(ends);
    let code = match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) => status.code().unwrap_or(-1),
        // Dropping the child kills it.
        Ok(Err(_)) | Err(_) => -1,
    };
    // The hook takes silence for a failure.
    drop(stream.write_all(&code.to_le_bytes()).await);
}

async fn hand_over(stream: &UnixStream, ends: &Ends) -> std::io::Result<()> {
    let send = || {
        let descriptors = [ends.input.as_fd(), ends.report.as_fd(), ends.complaints.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        }
        let sent = rustix::net::sendmsg(stream, &[IoSlice::new(b"g")], &mut ancillary, SendFlags::NOSIGNAL);
        Ok(sent.map(|_| ())?)
    };
    stream.async_io(Interest::WRITABLE, send).await
}
