//! `bottle sidecar`: what the containers run.

use anyhow::Result;
use clap::Subcommand;

use crate::sidecar::{all, egress, git_gate, probe, supervise};

/// Run a sidecar; the containers' own command
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    sidecar: Sidecar,
}

#[derive(Debug, Subcommand)]
enum Sidecar {
    All(all::Args),
    Egress(Box<egress::Args>),
    GitGate(Box<git_gate::Args>),
    Probe(probe::Args),
    Supervise(Box<supervise::Args>),
}

/// Runs the sidecar until it ends, and gives the exit code.
pub(super) fn run(args: Args) -> Result<u8> {
    match args.sidecar {
        Sidecar::All(args) => all::run(args),
        Sidecar::Egress(args) => egress::run(*args),
        Sidecar::GitGate(args) => git_gate::run(*args),
        Sidecar::Probe(args) => probe::run(&args),
        Sidecar::Supervise(args) => supervise::run(*args),
    }
}
