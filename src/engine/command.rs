//! Running the programs of the operator's machine: `docker`, `git`, `ssh-keyscan`.
//!
//! Nothing that they print is thrown away: what a command complained about is in the error, trimmed and made harmless,
//! beside the command itself. No secret is ever an argument, so that the command can be shown as it is.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::process::{self, Group, Limits, Output, RunError};
use crate::render::escape::shell;
use crate::sidecar::git_gate::message::essence;

/// The most characters of what a program says that an error repeats.
const MAX_TEXT: usize = 600;
/// How long a program may take that has nothing to wait for.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Who is told of each command that was run.
static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

/// Has somebody told of each command that is run from here on, with how it ended and how long it took.
pub(crate) fn listen(listener: fn(&str)) {
    // Whoever came first stays: there is one command line in a process.
    LISTENER.get_or_init(|| listener);
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The program isn't there, or can't be started.
    #[error("`{command}` could not be run: {source}")]
    Missing {
        /// The command.
        command: String,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// It gave no answer.
    #[error("`{command}` did not answer within {} s{}{said}", after.as_secs(), if said.is_empty() { "" } else { ": " })]
    Slow {
        /// The command.
        command: String,
        /// How long it was waited for.
        after: Duration,
        /// What it had said by then.
        said: String,
    },
    /// It said no.
    #[error("`{command}` failed: {said}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
}

/// A command: a program, its arguments, and what is set in its environment beside our own.
#[derive(Clone, Debug)]
pub(crate) struct Command<'a> {
    program: &'a str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
    limit: Duration,
}

impl<'a> Command<'a> {
    pub(crate) fn new(program: &'a str) -> Self {
        Self { program, arguments: Vec::new(), environment: Vec::new(), directory: None, limit: LIMIT }
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Settings of git, which nothing but git gets to see (git-config(1), `GIT_CONFIG_COUNT`).
    pub(crate) fn settings(mut self, settings: Vec<(String, String)>) -> Self {
        self.environment.push(("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string()));
        for (number, (key, value)) in settings.into_iter().enumerate() {
            self.environment.push((format!("GIT_CONFIG_KEY_{number}"), key));
            self.environment.push((format!("GIT_CONFIG_VALUE_{number}"), value));
        }
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it and gives what it printed.
    ///
    /// # Errors
    ///
    /// It could not be run, took too long, or ended with another status than 0.
    pub(crate) fn run(&self) -> Result<Vec<u8>, Failed> {
        let output = self.output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = match essence(&output.stderr) {
            said if said.is_empty() => format!("{} without a word", output.status),
            said => said,
        };
        Err(Failed::Refused { command: self.to_string(), said: said.chars().take(MAX_TEXT).collect() })
    }

    /// Runs it and gives all that it left, whatever its status is.
    ///
    /// # Errors
    ///
    /// It could not be run, or took too long.
    pub(crate) fn output(&self) -> Result<Output, Failed> {
        let command = self.to_string();
        let missing = |source| Failed::Missing { command: command.clone(), source };
        let mut child = tokio::process::Command::new(self.program);
        child.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            child.current_dir(directory);
        }
        let limits = Limits { total: self.limit, stall: self.limit };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(missing)?;
        let started = Instant::now();
        let ended = runtime.block_on(process::run(child, limits, Group::Own));
        if let Some(listener) = LISTENER.get() {
            let how = ended.as_ref().map_or_else(ToString::to_string, |output| output.status.to_string());
            listener(&format!("`{command}`: {how}, {} ms", started.elapsed().as_millis()));
        }
        ended.map_err(|error| match error {
            RunError::Start { source, .. } => missing(source),
            RunError::TooSlow { after, stderr, .. } => {
                Failed::Slow { command: command.clone(), after, said: essence(&stderr) }
            }
        })
    }
}

/// As a shell would take it.
impl std::fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.program)?;
        for argument in &self.arguments {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+".contains(&byte);
            if !argument.is_empty() && argument.bytes().all(plain) {
                write!(f, " {argument}")?;
            } else {
                write!(f, " {}", shell(argument))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Command, Failed};

    #[test]
    fn what_a_program_complains_about_is_in_the_error_with_the_command() {
        let shell = Command::new("sh").args(["-c", "printf 'no\\033[31m such thing\\n' >&2; exit 3"]);
        let error = shell.run().unwrap_err().to_string();
        assert_eq!(
            error,
            "`sh -c 'printf '\\''no\\033[31m such thing\\n'\\'' >&2; exit 3'` failed: no?[31m such thing"
        );
        let silent = Command::new("sh").args(["-c", "exit 3"]).run().unwrap_err();
        assert!(silent.to_string().ends_with("failed: exit status: 3 without a word"), "{silent}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Command::new("bottle-no-such-program").args(["a"]).run().unwrap_err();
        assert!(matches!(error, Failed::Missing { .. }), "{error}");
        assert!(
            error.to_string().starts_with("`bottle-no-such-program a` could not be run: No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_hangs_is_ended_and_what_it_said_is_told() {
        let hang =
            Command::new("sh").args(["-c", "echo waiting >&2; sleep 600"]).limit(Duration::from_secs(1));
        let error = hang.run().unwrap_err().to_string();
        assert!(error.ends_with("did not answer within 1 s: waiting"), "{error}");
    }
}
