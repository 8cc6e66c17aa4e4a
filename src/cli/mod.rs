//! The command line: one file a subcommand, each with its arguments and its `run`.

mod audit;
mod render;
mod requests;
mod schema;
mod sidecar;
mod source;
mod validate;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::manifest::diagnostic::Diagnostics;

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
    Audit(audit::Args),
    Render(render::Args),
    Requests(requests::Args),
    Schema(schema::Args),
    Sidecar(sidecar::Args),
    Validate(validate::Args),
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
        Command::Audit(args) => audit::run(args),
        Command::Render(args) => render::run(args),
        Command::Requests(args) => requests::run(args),
        Command::Schema(schema::Args) => schema::run(),
        Command::Sidecar(args) => sidecar::run(args),
        Command::Validate(args) => validate::run(args),
    };
    match result {
        // A reader that has seen enough, as in `bottle schema | head`, is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::from(EXIT_OK),
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The error and its causes. Many errors name their cause already; it is not said twice.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        _ if text.contains(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

fn report(error: &anyhow::Error) {
    let text = match error.downcast_ref::<Diagnostics>() {
        // They bring their own `error:` lines, one each.
        Some(diagnostics) => diagnostics.to_string(),
        None => format!("error: {}\n", chain(error)),
    };
    drop(std::io::stderr().write_all(text.as_bytes()));
}
