//! The pre-receive hook: judge everything, then forward everything, or nothing.
//!
//! Git runs it when the pushed objects are in quarantine and before any ref moves. Nothing goes to the upstream before
//! the whole push is judged: an object that was sent and then dropped has left the house all the same.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::super::audit::{Decision, MOST};
use super::super::control::{self, Demand};
use super::super::judge::{self, Granted, RefUpdate, Verdict};
use super::super::message::Failure;
use super::super::scan::{Gitleaks, RemoteScanner};
use super::super::serve::SCAN_LIMIT;
use super::super::upstream::{GITLEAKS, GITLEAKS_CONFIG, GRANTS, REPORT};
use super::super::{config, grants, ssh};
use super::forward;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::policy::ask::{Ask, PushAsk};
use crate::policy::gate::{GatePolicy, PushOperation};
use crate::policy::reason::Reason;
use crate::sidecar::grants::name_of;
use crate::sidecar::text::neutral;
use crate::sidecar::used::{Claim, Used};

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

/// The longest text that goes into the audit log.
const MAX_TEXT: usize = 200;
/// The longest list of ref updates: some 50,000 refs.
const MAX_UPDATES: u64 = 8 << 20;

/// Runs the hook; the exit code decides whether git moves the mirror's refs.
pub(super) fn run(args: &Args) -> u8 {
    let mut decision = Decision::default();
    let outcome = push(args, &mut decision);
    if let Err(failure) = &outcome {
        decision.reason = Some(failure.reason.code().to_owned());
        decision.detail = Some(failure.text.clone());
    }
    // Before the agent is told, who may then ask for what was refused. The push is what it is without it.
    if let Err(failure) = tell(decision) {
        say(&format!("bottle: note: the push is not in the audit log: {}", failure.text));
    }
    match outcome {
        Ok(None) => EXIT_OK,
        Ok(Some(lines)) => {
            for line in &lines {
                say(line);
            }
            EXIT_FAILURE
        }
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

fn tell(decision: Decision) -> Result<(), Failure> {
    let (run, connection) = (super::run_directory()?, super::connection()?);
    control::ask(&run, &Demand::Decision { connection, decision: Box::new(decision) })
}

/// Judges and forwards the push, and gives the lines of a refusal.
fn push(args: &Args, decision: &mut Decision) -> Result<Option<Vec<String>>, Failure> {
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
    let used = std::env::var_os(REPORT).map(|report| Used::of(Path::new(&report)));
    let (granted, verdict) = loop {
        let granted = granted(&run, used.as_ref(), &policy, &args.repository)?;
        let verdict = judge::judge(&args.repository, repository, &granted, &git_dir, &updates, &scanner)
            .map_err(|error| Failure::new(Reason::ScanFailed, error.to_string()))?;
        record(&verdict, decision);
        for note in &verdict.notes {
            // Stderr is the agent's; the operator reads the listener's log.
            control::ask(&run, &Demand::Note { connection: super::connection()?, text: note.clone() })?;
        }
        if !verdict.passes() {
            let mut lines = judge::format(&verdict, policy.ask.as_deref());
            lines.push("bottle: nothing was sent to the upstream".to_owned());
            return Ok(Some(lines));
        }
        if verdict.accepted.len() != updates.len() {
            return Err(Failure::inside("a ref update was neither accepted nor refused"));
        }
        // What was another push's is no grant any more when they are read again.
        if claim(&granted, &verdict, used.as_ref())? == Claim::Won {
            break (granted, verdict);
        }
    };
    forward::forward(&args.repository, repository, &git_dir, &verdict.accepted)?;
    let by: Vec<_> = rules(&granted, &verdict).into_iter().filter(|rule| name_of(rule).is_some()).collect();
    if !by.is_empty() {
        say(&format!("bottle: note: allowed by {}", by.join(", ")));
    }
    Ok(None)
}

/// What the grants add for the repository: read anew for each push, so that one that was taken back counts no more.
fn granted(
    run: &Path,
    used: Option<&Used>,
    policy: &GatePolicy,
    repository: &str,
) -> Result<Granted, Failure> {
    let Some(directory) = std::env::var_os(GRANTS).map(PathBuf::from) else {
        return Ok(Granted::default());
    };
    let look = grants::look(&directory, used, policy, control::now(run)?);
    Ok(grants::granted(&look.grants, repository))
}

/// The rules that a push passes by, each once.
fn rules<'a>(granted: &'a Granted, verdict: &'a Verdict) -> BTreeSet<&'a str> {
    let findings = verdict.allowed.iter().filter_map(|id| granted.findings.get(id));
    verdict.accepted.iter().map(|accepted| &accepted.rule).chain(findings).map(String::as_str).collect()
}

/// Uses up the grants for one push that let this one pass, before anything of it leaves.
fn claim(granted: &Granted, verdict: &Verdict, used: Option<&Used>) -> Result<Claim, Failure> {
    for rule in rules(granted, verdict) {
        let Some(until) = granted.once.get(rule) else { continue };
        let unclaimed = |problem: &str| {
            Failure::new(Reason::GrantUnclaimed, format!("the {rule} can't be used: {problem}"))
        };
        let used = used.ok_or_else(|| unclaimed("there is no report directory"))?;
        let name = name_of(rule).unwrap_or_default();
        match used.claim(name, *until).map_err(|error| unclaimed(&error.to_string()))? {
            Claim::Won => {}
            Claim::Lost => return Ok(Claim::Lost),
        }
    }
    Ok(Claim::Won)
}

/// Puts the verdict into the line of the audit log.
fn record(verdict: &Verdict, decision: &mut Decision) {
    let failed = verdict.refusals.iter().find(|refusal| refusal.reason == Reason::ScanFailed);
    // What was not scanned may be named after a secret.
    if let Some(first) = failed.or(verdict.refusals.first()) {
        let more = verdict.refusals.len() - 1;
        let rest = if more == 0 { String::new() } else { format!("; and {more} more") };
        decision.reason = Some(first.reason.code().to_owned());
        decision.detail = Some(format!("{}: {}{rest}", short(&first.subject), short(&first.detail)));
        decision.rules = several(verdict.refusals.iter().filter_map(|refusal| refusal.rule.as_deref()));
    } else {
        decision.rules = several(verdict.accepted.iter().map(|accepted| accepted.rule.as_str()));
    }
    let refused = verdict.refusals.iter().filter_map(|refusal| match &refusal.ask {
        Some(Ask::Push(PushAsk { operations, .. })) => Some(operations),
        _ => None,
    });
    let operations = verdict.accepted.iter().map(|accepted| accepted.operation);
    let operations = operations.chain(refused.flatten().copied());
    decision.operations = several(operations.map(PushOperation::text));
    decision.refs = several(verdict.names.iter().map(String::as_str));
    decision.findings = several(verdict.findings.iter().map(String::as_str));
    decision.allowed = several(verdict.allowed.iter().map(String::as_str));
}

/// The first of several texts, each once.
fn several<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for text in texts.map(short) {
        if all.len() < MOST && !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// A text with an end: all of them together must go through one line of the listener's socket.
fn short(text: &str) -> String {
    match text.get(..text.floor_char_boundary(MAX_TEXT)) {
        Some(kept) if kept.len() < text.len() => format!("{kept}…"),
        _ => text.to_owned(),
    }
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
