//! The git gate: what of it is not shell.
//!
//! `start` is the container's process: it makes the keys usable and runs two daemons under two users. `broker` (user
//! `keys`) holds every credential and does nothing but run `git-upload-pack` and `git-receive-pack` on the upstreams of
//! the policy. `serve` (user `git`) listens for the agent, keeps the mirrors fresh and hands each connection to git's
//! own daemon. Everything that parses what the agent sent runs as `git`, which can ask the broker and cannot read a key.

pub mod git;
pub mod judge;
pub mod scan;

mod audit;
mod bridge;
mod broker;
mod check;
mod config;
mod control;
mod credential;
pub(crate) mod grants;
mod hook;
mod lifeline;
mod log;
pub(crate) mod message;
mod serve;
mod ssh;
mod start;
mod upstream;
mod wire;

use anyhow::Result;
use clap::Subcommand;

/// Serve repositories to the agent through checked mirrors
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

/// The parts of the gate; `start` runs them, git calls `ssh`, `credential` and `hook`.
#[derive(Debug, Subcommand)]
enum Part {
    Start(start::Args),
    Serve(serve::Args),
    Broker(broker::Args),
    Check(check::Args),
    Hook(hook::Args),
    AgentBridge(bridge::Args),
    Ssh(ssh::Args),
    Credential(credential::Args),
}

/// Runs the part of the gate that the arguments name, and gives the exit code.
pub fn run(args: Args) -> Result<u8> {
    match args.part {
        Part::Start(args) => start::run(args),
        Part::Serve(args) => serve::run(args),
        Part::Broker(args) => broker::run(args),
        Part::Check(args) => check::run(&args),
        Part::Hook(args) => Ok(hook::run(&args)),
        Part::AgentBridge(args) => bridge::run(args),
        Part::Ssh(args) => ssh::run(&args),
        Part::Credential(args) => credential::run(&args),
    }
}
