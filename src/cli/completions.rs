//! `bottle completions`.

use std::io::Write as _;

use anyhow::Result;
use clap::{CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};

use super::{Cli, EXIT_OK};

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Known,
}

/// The shells that are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    /// Put it into ~/.local/share/bash-completion/completions/bottle
    Bash,
    /// Put it into a directory of `$fpath`, as `_bottle`
    Zsh,
    /// Put it into ~/.config/fish/completions/bottle.fish
    Fish,
}

/// Prints the script.
pub(super) fn run(args: &Args) -> Result<u8> {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    // Into memory first: the generator gives up on a pipe that is closed by panicking.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "bottle", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(EXIT_OK)
}
