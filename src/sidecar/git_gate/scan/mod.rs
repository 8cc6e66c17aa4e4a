//! Looking for secrets with gitleaks.
//!
//! gitleaks runs as `gitleaks stdin` on text that the gate itself puts together: its git mode leaves out merges, files
//! with NUL bytes, messages and whatever the pushed tree asks it to ignore, and ends with 0 when its range is wrong.
//! The text travels in frames over a packet socket ([`text`] says why), each of which ends with a canary: a random line
//! that only this scan has and that a rule of ours finds. A report without every canary at its place is no report.
//!
//! Loading the rules takes gitleaks some hundred milliseconds. The daemon therefore keeps one process that has loaded
//! them and waits ([`serve_scan`]); a hook asks for it ([`RemoteScanner`]) and is handed the process itself, as file
//! descriptors over a unix socket, so that nothing is copied on the way. Whatever goes wrong with it leads to a process
//! of the hook's own ([`Gitleaks`]), never to no scan.
//!
//! What it can't see: the insides of archives and compressed files, secrets of a form that no rule knows, and what the
//! allow lists among gitleaks' default rules let pass by their content (the ones that go by path have no effect here).

mod gitleaks;
mod process;
mod remote;
mod report;
mod standby;
pub mod text;

#[cfg(test)]
pub(crate) mod tests;

use std::io;

pub use gitleaks::Gitleaks;
pub use remote::RemoteScanner;
pub use standby::serve_scan;
pub use text::Text;

/// Something that finds secrets in a text.
pub trait Scanner {
    /// Scans what `input` writes. `input` may be called again, for a second attempt, and then starts over.
    fn scan(&self, input: &mut Input<'_>) -> Result<Scan, ScanError>;
}

/// What writes the text to scan.
pub type Input<'a> = dyn FnMut(&mut Text<'_>) -> io::Result<()> + 'a;

/// The outcome of a scan that saw everything.
#[derive(Debug, Default)]
pub struct Scan {
    /// What was found.
    pub findings: Vec<RawFinding>,
    /// What the operator should know about how it went, for the log.
    pub notes: Vec<String>,
}

/// One secret at one place.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct RawFinding {
    /// The label that the writer of the text gave the piece in which it stands.
    pub label: u64,
    /// The line within that piece, from 1; none where the view has no lines of its own.
    pub line: Option<u64>,
    /// The rule that found it.
    pub rule: String,
    /// The secret itself, as the report gives it (bytes that are not UTF-8 are replaced). Never to be printed.
    pub secret: String,
}

impl RawFinding {
    /// What was found where, without the line.
    pub fn what(&self) -> (u64, &str, &str) {
        (self.label, &self.rule, &self.secret)
    }
}

/// Leaves the secret out, so that no log ever has it.
impl std::fmt::Debug for RawFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { label, line, rule, secret: _ } = self;
        f.debug_struct("RawFinding")
            .field("label", label)
            .field("line", line)
            .field("rule", rule)
            .finish_non_exhaustive()
    }
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The writer of the text failed; another attempt would fail as well.
    #[error("the text to scan could not be put together: {0}")]
    Input(io::Error),
    /// The scanner could not be started or talked to.
    #[error("could not {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The scanner took too long.
    #[error("the scan was not done within {0} seconds")]
    TimedOut(u64),
    /// The scanner ended in a way that proves nothing.
    #[error("gitleaks ended with {status}: {}", stderr.trim_end())]
    Ended {
        /// Its exit code, or a word for what stood in its place.
        status: String,
        /// All it wrote on its standard error.
        stderr: String,
    },
    /// The scanner's report isn't one, or does not cover the whole text.
    #[error("gitleaks' report proves nothing: {what}; on standard error: `{}`", stderr.trim_end())]
    Report {
        /// What is wrong with it.
        what: String,
        /// All it wrote on its standard error.
        stderr: String,
    },
}
