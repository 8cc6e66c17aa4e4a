//! `bottle man`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};

use super::{Cli, EXIT_OK};
use crate::fs;

/// Write the manual pages into a directory, one for each command
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory, such as ~/.local/share/man/man1
    directory: PathBuf,
}

/// Writes the pages.
pub(super) fn run(args: &Args) -> Result<u8> {
    fs::create_dir_all(&args.directory)?;
    let mut command = Cli::command();
    command.build();
    write(&command, &args.directory)?;
    Ok(EXIT_OK)
}

fn write(command: &Command, directory: &Path) -> Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    let name = page.get_filename();
    page.render(&mut text).with_context(|| format!("could not write `{name}`"))?;
    fs::write_atomic(&directory.join(name), &text, 0o644)?;
    for part in command.get_subcommands().filter(|part| part.get_name() != "help") {
        write(part, directory)?;
    }
    Ok(())
}
