//! `bottle validate`.

use std::io::Write as _;

use anyhow::Result;

use super::EXIT_OK;
use super::source::{Source, working_directory};
use crate::plan;

/// Check the manifest without rendering it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
}

/// Checks the manifest and says what it holds.
pub(super) fn run(args: Args) -> Result<u8> {
    let loaded = plan::check(args.source.load(working_directory()?)?)?;
    let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let bottles = loaded.manifest.bottles.as_ref().map_or(0, |bottles| bottles.0.len());
    let agents = loaded.manifest.agents.as_ref().map_or(0, |agents| agents.0.len());
    writeln!(std::io::stderr(), "valid: {}, {}", count(bottles, "bottle"), count(agents, "agent"))?;
    Ok(EXIT_OK)
}
