//! Supervise: the agent asks, a person decides, and the policy changes while everything runs.
//!
//! - [`ask`] is what the agent may ask for, [`rule`] the exact rule that the operator approves;
//! - [`preflight`] makes the one of the other, or says why that can't be;
//! - [`desk`] is where all requests, decisions and grants are: every way in, of the agent ([`agent`]) and of the operator
//!   ([`operator`]), ends there.

mod agent;
mod ask;
mod check;
mod config;
pub(crate) mod decisions;
mod desk;
mod held;
mod lines;
mod operator;
mod preflight;
mod refused;
pub(crate) mod rule;
mod run;
mod serve;
mod state;
mod store;

use anyhow::{Result, bail};

pub(crate) use lines::lines;

/// Run the desk where the agent asks and the operator decides
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    serve: Option<run::Serve>,
}

/// What supervise does beside being the desk.
#[derive(Debug, clap::Subcommand)]
enum Part {
    Check(check::Args),
}

/// Runs supervise until a signal ends it, or checks one that runs, and gives the exit code.
///
/// # Errors
///
/// What keeps it from starting or from going on.
pub fn run(args: Args) -> Result<u8> {
    match (args.part, args.serve) {
        (Some(Part::Check(args)), _) => check::run(&args),
        (None, Some(args)) => run::run(args),
        (None, None) => bail!("`--grants` and the other options are missing"),
    }
}
