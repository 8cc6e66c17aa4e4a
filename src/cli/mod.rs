//! The command line: one file a subcommand, each with its arguments and its `run`.

mod audit;
mod cleanup;
mod completions;
mod diff;
mod doctor;
mod explain;
mod graph;
mod images;
mod init;
mod man;
mod render;
mod requests;
mod running;
mod schema;
mod sidecar;
mod source;
mod top;
mod validate;
mod version;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::engine::command;
use crate::manifest::diagnostic::Diagnostics;
use crate::manifest::source::shown;
use crate::render::RenderError;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// The user's input is wrong, a check found drift, or a command failed.
pub const EXIT_FAILURE: u8 = 1;
/// The answer is no: `bottle explain` was asked about something that is refused.
pub const EXIT_REFUSED: u8 = 1;
/// `bottle diff --exit-code` has found that something widens.
pub const EXIT_WIDENS: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;

/// Put a coding agent in a bottle
#[derive(Debug, Parser)]
#[command(name = "bottle", version, long_version = version::long(), max_term_width = 100)]
struct Cli {
    /// Tell on stderr which commands are run, how each ended and how long it took
    #[arg(short, long, global = true)]
    verbose: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(audit::Args),
    Cleanup(cleanup::Args),
    Completions(completions::Args),
    Diff(diff::Args),
    Doctor(doctor::Args),
    Explain(explain::Args),
    Graph(graph::Args),
    Images(images::Args),
    Init(Box<init::Args>),
    Man(man::Args),
    Render(render::Args),
    Requests(requests::Args),
    Schema(schema::Args),
    Sidecar(sidecar::Args),
    Top(top::Args),
    Validate(validate::Args),
}

/// Runs the command line and gives the exit code; the one place that prints an error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, mistakes to stderr; a closed pipe is no failure.
            // As plain text: another package in the build may have asked clap for colours.
            let text = error.render().to_string();
            if error.use_stderr() {
                drop(std::io::stderr().write_all(text.as_bytes()));
                return ExitCode::from(EXIT_USAGE);
            }
            drop(std::io::stdout().write_all(text.as_bytes()));
            return ExitCode::from(EXIT_OK);
        }
    };
    if cli.verbose {
        command::listen(|line| drop(writeln!(std::io::stderr(), "bottle: ran {}", shown(line))));
    }
    let result = match cli.command {
        Command::Audit(args) => audit::run(args),
        Command::Cleanup(args) => cleanup::run(args),
        Command::Completions(args) => completions::run(&args),
        Command::Diff(args) => diff::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Graph(args) => graph::run(args),
        Command::Images(args) => images::run(args),
        Command::Init(args) => init::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Render(args) => render::run(args),
        Command::Requests(args) => requests::run(args),
        Command::Schema(schema::Args) => schema::run(),
        Command::Sidecar(args) => sidecar::run(args),
        Command::Top(args) => top::run(args),
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
    let of_template = match error.downcast_ref::<RenderError>() {
        Some(RenderError::Client(diagnostics)) => Some(&**diagnostics),
        _ => None,
    };
    let text = match error.downcast_ref::<Diagnostics>().or(of_template) {
        // They bring their own `error:` lines, one each.
        Some(diagnostics) => diagnostics.to_string(),
        None => format!("error: {}\n", chain(error)),
    };
    drop(std::io::stderr().write_all(text.as_bytes()));
}
