//! The command line: one file a subcommand, each with its arguments and its `run`.

mod sidecar;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// The user's input is wrong, a check found drift, or a command failed.
pub const EXIT_FAILURE: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;

/// Put a coding agent in a bottle
#[derive(Debug, Parser)]
#[command(name = "bottle", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sidecar(sidecar::Args),
}

/// Runs the command line and gives the exit code; the one place that prints an error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, mistakes to stderr; a closed pipe is no failure.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { EXIT_OK });
        }
    };
    let result = match cli.command {
        Command::Sidecar(args) => sidecar::run(args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}
