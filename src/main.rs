//! The `bottle` command: parses, runs, and maps the result to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bottle::cli::main(std::env::args_os())
}
