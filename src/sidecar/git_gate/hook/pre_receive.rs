//! The pre-receive hook: judge everything, then forward everything, or nothing.
//!
//! Git runs it when the pushed objects are in quarantine and before any ref moves. Nothing goes to the upstream before
//! the whole push is judged: an object that was sent and then dropped has left the house all the same.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use super::super::control::{self, Demand};
use super::super::judge::{self, RefUpdate};
use super::super::message::{Failure, neutral};
use super::super::scan::{Gitleaks, RemoteScanner};
use super::super::serve::SCAN_LIMIT;
use super::super::upstream::{GITLEAKS, GITLEAKS_CONFIG};
use super::super::{config, ssh};
use super::forward;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::policy::reason::Reason;

/// Judge a push and forward it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy
    #[arg(long)]
    policy: PathBuf,
    /// The repository's name
    #[arg(long)]
    repository: String,
}

/// The longest list of ref updates: some 50,000 refs.
const MAX_UPDATES: u64 = 8 << 20;

/// Runs the hook; the exit code decides whether git moves the mirror's refs.
pub(super) fn run(args: &Args) -> u8 {
    match push(args) {
        Ok(true) => EXIT_OK,
        Ok(false) => EXIT_FAILURE,
        Err(failure) => {
            say(&failure.to_string());
            say(&format!("bottle: hint: {}", failure.reason.hint()));
            EXIT_FAILURE
        }
    }
}

/// Writes one line to stderr, which reaches the agent as a `remote:` line: harmless for a terminal and marked as ours.
pub(super) fn say(text: &str) {
    let text = neutral(text.as_bytes());
    let mark = if text.starts_with("bottle: ") { "" } else { "bottle: " };
    // An agent that has left doesn't change what happens to its push.
    drop(writeln!(std::io::stderr(), "{mark}{text}"));
}

fn push(args: &Args) -> Result<bool, Failure> {
    let policy = config::load(&args.policy).map_err(Failure::inside)?;
    let unknown = || Failure::new(Reason::RepositoryUnknown, format!("no repository `{}`", args.repository));
    let repository = policy.repositories.get(&args.repository).ok_or_else(unknown)?;
    let updates = updates()?;
    // Nobody asked for a certificate, and git keeps it outside of the quarantine (githooks(5), pre-receive).
    if std::env::var_os("GIT_PUSH_CERT").is_some() {
        return Err(Failure::new(Reason::RequestInvalid, "a signed push, which the gate does not offer"));
    }
    let options =
        std::env::var("GIT_PUSH_OPTION_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0_u32);
    if options > 0 {
        say(&format!("bottle: note: {options} push option(s) ignored: the gate passes none to the upstream"));
    }
    let run = super::run_directory()?;
    let demand = Demand::Lock { connection: super::connection()?, repository: args.repository.clone() };
    control::ask(&run, &demand)?;
    let git_dir = std::env::current_dir().map_err(Failure::inside)?;
    let scanner = RemoteScanner {
        socket: run.join("gate").join("scan.sock"),
        fallback: Gitleaks {
            binary: path(GITLEAKS)?,
            config: path(GITLEAKS_CONFIG)?,
            time_limit: SCAN_LIMIT,
        },
    };
    let verdict = judge::judge(&args.repository, repository, &git_dir, &updates, &scanner)
        .map_err(|error| Failure::new(Reason::ScanFailed, error.to_string()))?;
    for note in &verdict.notes {
        // Stderr is the agent's; the operator reads the listener's log.
        control::ask(&run, &Demand::Note { connection: super::connection()?, text: note.clone() })?;
    }
    if !verdict.passes() {
        for line in judge::format(&verdict) {
            say(&line);
        }
        say("bottle: nothing was sent to the upstream");
        return Ok(false);
    }
    if verdict.accepted.len() != updates.len() {
        return Err(Failure::inside("a ref update was neither accepted nor refused"));
    }
    forward::forward(&args.repository, repository, &git_dir, &verdict.accepted)?;
    Ok(true)
}

fn path(variable: &'static str) -> Result<PathBuf, Failure> {
    ssh::environment(variable).map(PathBuf::from).map_err(Failure::inside)
}

fn updates() -> Result<Vec<RefUpdate>, Failure> {
    let mut text = Vec::new();
    let read = std::io::stdin().take(MAX_UPDATES + 1).read_to_end(&mut text).map_err(Failure::inside)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_UPDATES {
        return Err(Failure::new(Reason::PackTooLarge, "the push names too many refs at a time"));
    }
    judge::parse_updates(&text).map_err(Failure::inside)
}
