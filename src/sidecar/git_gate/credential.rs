//! What git runs as its credential helper: it asks the broker, for the URL of the policy only.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::ssh::environment;
use super::upstream::{REPOSITORY, RUN};
use super::wire::{self, Answer, Question};
use crate::cli::{EXIT_FAILURE, EXIT_OK};

/// Ask the broker for a credential; git runs it as its credential helper
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What git wants: `get`, `store` or `erase`
    operation: String,
}

/// The longest description of a credential that is read.
const MAX_LINES: usize = 64;

/// Answers `get`; there is nothing to do for `store` and `erase`.
pub(super) fn run(args: &Args) -> Result<u8> {
    if args.operation != "get" {
        return Ok(EXIT_OK);
    }
    let (mut protocol, mut host) = (String::new(), String::new());
    for line in std::io::stdin().lock().lines().take(MAX_LINES) {
        let line = line?;
        match line.split_once('=') {
            Some(("protocol", value)) => value.clone_into(&mut protocol),
            Some(("host", value)) => value.clone_into(&mut host),
            _ => {}
        }
    }
    let repository = environment(REPOSITORY)?;
    let socket = PathBuf::from(environment(RUN)?).join("keys").join("broker.sock");
    let mut stdout = std::io::stdout();
    match wire::ask(&socket, &Question::Credential { repository, protocol, host }, &[])? {
        Answer::Credential { username, password } => {
            // A line break would be another attribute of the credential.
            if username.contains(['\n', '\0']) || password.contains(['\n', '\0']) {
                bail!("the credential contains a line break");
            }
            write!(stdout, "username={username}\npassword={password}\n")?;
            Ok(EXIT_OK)
        }
        Answer::Refused(why) => {
            // `quit` keeps git from asking elsewhere; the reason is read from stderr.
            writeln!(std::io::stderr(), "bottle: {why}")?;
            writeln!(stdout, "quit=1")?;
            Ok(EXIT_FAILURE)
        }
        Answer::Ended(_) | Answer::Pong => bail!("the broker answered another question"),
    }
}
