//! Whether a push is allowed.

use super::{Answer, Request, Verdict};
use crate::policy::ask::Ask;
use crate::policy::gate::{GatePolicy, PushOperation, PushRule, Repository};
use crate::policy::reason::Reason;
use crate::sidecar::git_gate::judge::{Refusal, policy as judge};
use crate::sidecar::supervise::lines;

/// A push that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// The repository's name at the gate.
    pub repository: &'a str,
    /// The ref; a short one is a branch.
    pub refname: &'a str,
    /// What it does to the ref; none for what `git push` does without `--force`.
    pub operation: Option<PushOperation>,
    /// The paths that its commits change.
    pub paths: &'a [String],
    /// The upstream's default branch, where it is known.
    pub default_branch: Option<&'a str>,
}

/// Judges a push by a policy and the rules that grants add for the repository.
pub fn push(gate: Option<&GatePolicy>, granted: &[PushRule], asked: Push<'_>) -> Answer {
    let Push { repository: name, refname, operation, paths, default_branch } = asked;
    let full = full_name(refname);
    let operations = match operation {
        Some(operation) => vec![operation],
        // A tag that moves is forced, whatever it moves to.
        None if full.starts_with("refs/tags/") => vec![PushOperation::Create],
        None => vec![PushOperation::Create, PushOperation::FastForward],
    };
    let words: Vec<_> = operations.iter().map(|operation| operation.text()).collect();
    let question = format!("push {name} {full} ({})", words.join(", "));
    let found = gate.and_then(|gate| gate.repositories.get(name).map(|repository| (gate, repository)));
    let Some((gate, repository)) = found else {
        let verdict = Verdict::refused(question.clone(), Reason::RepositoryUnknown);
        return Answer::new(question, vec![verdict], Vec::new());
    };
    let default = default_branch.map(full_name);
    let judged =
        |default: &str, operation| judge::judge(name, repository, granted, default, &full, operation);
    let mut notes = Vec::new();
    let mut verdicts = Vec::new();
    for operation in operations {
        let subject = format!("{} {full}", operation.text());
        verdicts.push(match judged(default.as_deref().unwrap_or_default(), operation) {
            Ok(rule) => {
                if default.is_none() && full.starts_with("refs/heads/") && judged(&full, operation).is_err() {
                    let note = "if it is the upstream's default branch it is refused (default-branch-protected): no rule spells it out";
                    if !notes.iter().any(|said| said == note) {
                        notes.push(note.to_owned());
                    }
                }
                Verdict { subject, allowed: true, rule: Some(rule), ..Verdict::default() }
            }
            Err(refusal) => refused(subject, *refusal, gate),
        });
    }
    verdicts.extend(paths.iter().map(|path| self::path(repository, path)));
    notes.push("the gate also scans what is new for secrets, which shows only when it is pushed".to_owned());
    Answer::new(question, verdicts, notes)
}

/// A short name is a branch, as in the manifest.
fn full_name(refname: &str) -> String {
    if refname.starts_with("refs/") { refname.to_owned() } else { format!("refs/heads/{refname}") }
}

fn refused(subject: String, refusal: Refusal, gate: &GatePolicy) -> Verdict {
    let Refusal { reason, subject: _, detail, rule, ask } = refusal;
    let manifest = ask.as_ref().and_then(|ask: &Ask| lines(ask, None, Some(gate)));
    let ask = gate.ask.as_ref().zip(ask).filter(|_| manifest.is_some());
    Verdict {
        detail: Some(detail),
        rule,
        manifest,
        ask: ask.map(|(url, body)| Request::new(url, body)),
        ..Verdict::refused(subject, reason)
    }
}

fn path(repository: &Repository, path: &str) -> Verdict {
    let subject = format!("change {path}");
    if judge::protects(repository, path) {
        let rule = Some(repository.source.clone());
        return Verdict { rule, ..Verdict::refused(subject, Reason::PathProtected) };
    }
    Verdict { subject, allowed: true, ..Verdict::default() }
}
