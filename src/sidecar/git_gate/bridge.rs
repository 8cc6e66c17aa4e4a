//! Lends the operator's SSH agent to the broker.
//!
//! An SSH agent answers its own user only, and so does its socket. The bridge runs as that user and relays; the kernel
//! tells it who connects, and it serves nobody but the broker's user.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::net::{UnixListener, UnixStream};

use super::{broker, lifeline, log};
use crate::cli::EXIT_OK;

/// Relay the operator's SSH agent to the broker
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The operator's socket
    #[arg(long)]
    from: PathBuf,
    /// The socket for the broker
    #[arg(long)]
    to: PathBuf,
    /// The user id that may connect [default: one's own]
    #[arg(long)]
    peer: Option<u32>,
}

/// Relays until stdin is closed.
pub(super) fn run(args: Args) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(relay(args))
}

async fn relay(args: Args) -> Result<u8> {
    let Args { from, to, peer } = args;
    let peer = peer.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    broker::remove_stale(&to)?;
    let listener =
        UnixListener::bind(&to).with_context(|| format!("could not listen on `{}`", to.display()))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::chmod(&to, mode).context("could not open the bridge's socket to the broker")?;
    let end = lifeline::closed(lifeline::stdin()?);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(EXIT_OK),
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("could not accept the broker")?;
                tokio::spawn(serve(stream, from.clone(), peer));
            }
        }
    }
}

async fn serve(mut stream: UnixStream, from: PathBuf, peer: u32) {
    match stream.peer_cred() {
        Ok(caller) if caller.uid() == peer => {}
        Ok(caller) => {
            return log::line("agent-bridge", &format!("refused: user {} is not the broker", caller.uid()));
        }
        Err(error) => {
            return log::line("agent-bridge", &format!("a caller has no identity: {error}"));
        }
    }
    match UnixStream::connect(&from).await {
        Ok(mut agent) => {
            // Either side may leave at any time; that ends the exchange and is no failure.
            drop(tokio::io::copy_bidirectional(&mut stream, &mut agent).await);
        }
        Err(error) => log::line("agent-bridge", &format!("the operator's agent does not answer: {error}")),
    }
}
