//! `bottle sidecar`: what the containers run.

use anyhow::Result;
use clap::Subcommand;

use crate::sidecar::{git_gate, probe};

/// Run a sidecar; the containers' own command
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    sidecar: Sidecar,
}

#[derive(Debug, Subcommand)]
enum Sidecar {
    GitGate(Box<git_gate::Args>),
    Probe(probe::Args),
}

/// Runs the sidecar until it ends, and gives the exit code.
pub(super) fn run(args: Args) -> Result<u8> {
    match args.sidecar {
        Sidecar::GitGate(args) => git_gate::run(*args),
        Sidecar::Probe(probe::Args) => probe::run(),
    }
}
