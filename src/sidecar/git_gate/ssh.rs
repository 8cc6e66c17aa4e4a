//! What git runs as `ssh`: it asks the broker for the session and waits for its end.
//!
//! The arguments that git gives name a host and options; they are ignored, as the broker takes both from the policy. Only
//! the command at the end is looked at, and must be exactly one of the two services on the configured path.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::broker::quote;
use super::config;
use super::upstream::{POLICY, REPOSITORY, RUN};
use super::wire::{self, Answer, Question, Service};
use crate::policy::gate::Upstream;

/// Ask the broker for a session; git runs it as `ssh`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What git gives to `ssh`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The exit status of `ssh` when it could not connect.
const SSH_FAILED: u8 = 255;

/// Runs the session, and gives its exit status.
pub(super) fn run(args: &Args) -> Result<u8> {
    // Git may be killed when it takes too long; the session must not outlive it.
    set_parent_process_death_signal(Some(Signal::KILL)).context("could not tie ssh to git")?;
    let repository = environment(REPOSITORY)?;
    let service = service(args, &repository)?;
    let protocol = std::env::var("GIT_PROTOCOL").ok().filter(|value| wire::is_protocol(value));
    let question = Question::Session { repository, service, protocol };
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let socket = PathBuf::from(environment(RUN)?).join("keys").join("broker.sock");
    match wire::ask(&socket, &question, &streams)? {
        Answer::Ended(status) => Ok(u8::try_from(status).unwrap_or(SSH_FAILED)),
        Answer::Refused(why) => {
            writeln!(std::io::stderr(), "{why}")?;
            Ok(SSH_FAILED)
        }
        Answer::Credential { .. } | Answer::Pong => bail!("the broker answered another question"),
    }
}

/// A variable that the gate sets for its children.
pub(super) fn environment(name: &'static str) -> Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set; this command is run by the gate's own git"))
}

fn service(args: &Args, repository: &str) -> Result<Service> {
    let policy = config::load(&PathBuf::from(environment(POLICY)?))?;
    let Some(Upstream::Ssh(upstream)) = policy.repositories.get(repository).map(|found| &found.upstream)
    else {
        bail!("`{repository}` is no repository with an upstream behind SSH");
    };
    let last = args.arguments.last().and_then(|last| last.to_str()).unwrap_or_default();
    let (program, path) = last.split_once(' ').unwrap_or((last, ""));
    match Service::from_program(program) {
        Some(service) if path == quote(&upstream.path) => Ok(service),
        _ => bail!("refused to run `{last}` on the upstream of `{repository}`"),
    }
}
