//! The container's health check: that of each sidecar, and the names of those that are not well.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::process::{Section, sections, users};
use crate::cli::EXIT_OK;
use crate::process::{self, Group, Limits};
use crate::sidecar::git_gate::message::essence;

/// What is between the name of a sidecar and what is wrong with it, in the check's output.
pub(crate) const NOT_HEALTHY: &str = ": not healthy: ";
/// How long the check of one may take.
const LIMITS: Limits = Limits { total: Duration::from_secs(8), stall: Duration::from_secs(8) };
/// The most characters of what one says.
const MAX_TEXT: usize = 600;

/// Check that all sidecars of the container are healthy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The sidecars, each with the arguments of its own `check`; `--user=ID` is the user of the check
    #[arg(last = true, required = true, value_name = "SIDECAR")]
    sidecars: Vec<OsString>,
}

/// Runs the checks side by side, and prints a line for each; an error if one of them fails.
pub(super) fn run(args: &Args) -> Result<u8> {
    let sections = sections(&args.sidecars)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let said = runtime.block_on(check(sections))?;
    let mut text = String::new();
    for (name, problem) in &said {
        match problem {
            Some(problem) => writeln!(text, "{name}{NOT_HEALTHY}{problem}")?,
            None => writeln!(text, "{name}: ok")?,
        }
    }
    std::io::stdout().write_all(text.as_bytes())?;
    let red: Vec<_> = said.iter().filter(|(_, problem)| problem.is_some()).map(|(name, _)| *name).collect();
    if red.is_empty() { Ok(EXIT_OK) } else { bail!("red: {}", red.join(", ")) }
}

/// What is wrong with each, in the order of the sections.
async fn check(sections: Vec<Section>) -> Result<Vec<(&'static str, Option<String>)>> {
    let mut running = JoinSet::new();
    for (index, Section { sidecar, arguments }) in sections.into_iter().enumerate() {
        let user = users(&arguments)?;
        let mut command = Command::new(std::env::current_exe().context("could not find this program")?);
        command.args(["sidecar", sidecar.name(), "check"]);
        // What a sidecar answers is read as its own user: it may have been taken over.
        if let [user] = user.as_slice() {
            command.gid(*user).uid(*user);
        }
        let own = |argument: &&OsString| argument.to_str().is_some_and(|text| text.starts_with("--user="));
        command.args(arguments.iter().filter(|argument| !own(argument))).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir("/");
        running.spawn(async move { (index, sidecar.name(), one(command).await) });
    }
    let mut said = running.join_all().await;
    said.sort_unstable_by_key(|(index, ..)| *index);
    Ok(said.into_iter().map(|(_, name, problem)| (name, problem)).collect())
}

/// What is wrong with one.
async fn one(command: Command) -> Option<String> {
    let said = match process::run(command, LIMITS, Group::Own).await {
        Ok(output) if output.status.success() => return None,
        Ok(output) => essence(&output.stderr),
        Err(error) => error.to_string(),
    };
    Some(if said.is_empty() { "without a word".to_owned() } else { said.chars().take(MAX_TEXT).collect() })
}
