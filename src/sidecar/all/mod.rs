//! All sidecars in one container: a small supervisor, and the health of all.
//!
//! Each process is what a sidecar's container runs otherwise, with the same arguments, as users of its own. The supervisor
//! starts them in the order in which they are written, starts again what ends, passes on the signal that ends it, and
//! puts the name of a process before each line of its log. It looks into nothing that a process or the agent sends.
//!
//! It is root with nothing but the rights to become another user and to end what other users run, as the gate's own
//! `start` is; init ([`docker-init`](https://github.com/krallin/tini)) is above it, and reaps what a process leaves behind.

mod check;
mod keeper;
mod left;
mod output;
mod process;
#[cfg(test)]
mod tests;

pub(crate) use check::NOT_HEALTHY;

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::keeper::{Ending, keep};
use self::process::{Process, sections};
use crate::cli::EXIT_OK;
use crate::sidecar::log;

/// Run several sidecars in one container
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// The sidecars, each with its arguments: `-- egress ARG... -- git-gate ARG... -- supervise ARG...`
    #[arg(last = true, required = true, value_name = "SIDECAR")]
    sidecars: Vec<OsString>,
}

/// What it does beside running them.
#[derive(Debug, clap::Subcommand)]
enum Part {
    Check(check::Args),
}

/// Runs the sidecars until a signal ends them, or checks those that run, and gives the exit code.
///
/// # Errors
///
/// A sidecar that there is none of, or that is named twice; of a check: one that is not healthy.
pub fn run(args: Args) -> Result<u8> {
    let Args { part, sidecars } = args;
    if let Some(Part::Check(args)) = part {
        return check::run(&args);
    }
    let processes: Vec<Process> = sections(&sidecars)?
        .into_iter()
        .map(|section| Process::new(section, std::env::vars_os()))
        .collect::<Result<_>>()?;
    ensure!(!processes.is_empty(), "there is nothing to run");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervise(processes))?;
    Ok(EXIT_OK)
}

/// Keeps the processes running until a signal comes, and then ends all of them at once, as Compose does with containers
/// that don't depend on each other.
async fn supervise(processes: Vec<Process>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (end, ending) = watch::channel(Ending::Not);
    let mut kept = JoinSet::new();
    for process in processes {
        kept.spawn(keep(process, ending.clone()));
    }
    loop {
        tokio::select! {
            one = kept.join_next() => match one {
                None => return Ok(()),
                Some(Ok(())) => continue,
                // Without its keeper a process would be left alone; the container is started again.
                Some(Err(error)) => return Err(error).context("a keeper failed"),
            },
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::line("all", "ending: each process has its time for what it has begun");
        end.send_modify(Ending::advance);
    }
}
