//! The container's health check: git itself lists a repository that the daemon serves.
//!
//! The repository has no upstream, so that an upstream that is down doesn't turn the container unhealthy. The listener
//! grants access to it only if the broker answers, so that one request proves both processes and the hook.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{config, message};
use crate::cli::EXIT_OK;
use crate::sidecar::listen::Listen;

/// Check that the gate serves a repository
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address on which the gate listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9418")]
    at: Listen,
    /// The user id for the check [default: one's own]
    #[arg(long)]
    git_user: Option<u32>,
}

/// Runs the check; an error is the reason why the gate isn't healthy.
pub(super) fn run(args: &Args) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = format!("git://{}/{}.git", runtime.block_on(args.at.address())?, config::HEALTH);
    let mut command = Command::new("git");
    command.args(["ls-remote", "--", &url]).current_dir("/").env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent").env("LC_ALL", "C");
    if let Some(user) = args.git_user {
        command.uid(user).gid(user);
    }
    let output = command.output().context("could not run git")?;
    if !output.status.success() {
        bail!("the gate does not serve: {}", message::essence(&output.stderr));
    }
    if !String::from_utf8_lossy(&output.stdout).contains("refs/heads/health") {
        bail!("the gate serves an empty repository in place of its own");
    }
    Ok(EXIT_OK)
}
