//! The pre-receive hook, which the rendered shell script runs; it asks the listener, whose descendant it is.

mod forward;
mod pre_receive;

use std::path::PathBuf;

use clap::Subcommand;

use super::message::Failure;
use super::ssh::environment;
use super::upstream::{CONNECTION, RUN};

/// Answer a hook of git
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, Subcommand)]
enum Hook {
    PreReceive(pre_receive::Args),
}

/// Runs the hook.
pub(super) fn run(args: &Args) -> u8 {
    match &args.hook {
        Hook::PreReceive(args) => pre_receive::run(args),
    }
}

fn run_directory() -> Result<PathBuf, Failure> {
    environment(RUN).map(PathBuf::from).map_err(Failure::inside)
}

fn connection() -> Result<u64, Failure> {
    let text = environment(CONNECTION).map_err(Failure::inside)?;
    text.parse().map_err(|_| Failure::inside(format!("{CONNECTION} is not a number")))
}
