//! The git gate: what of it is not shell.

use anyhow::Result;

/// Serve repositories to the agent through checked mirrors
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the part of the gate that the arguments name, and gives the exit code.
pub fn run(args: Args) -> Result<u8> {
    let Args {} = args;
    Ok(0)
}
