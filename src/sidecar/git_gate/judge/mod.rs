//! The judge: whether a push may go on to the upstream.
//!
//! It runs in the mirror's `pre-receive` hook, when the pushed objects lie in quarantine and no ref has changed. What the
//! upstream has taken in is what the mirror's own branches and tags reach; everything else that the pushed refs reach is
//! new, and all of it is judged before any of it is sent. Refs of other kinds don't count: `refs/pull/1/head` has what any
//! stranger proposed.
//! - the refs: their names, what is done to them and whether the push rules allow it (`rules`), what they name;
//! - the protected paths, in every new commit (`protect`);
//! - secrets, in every new object and name (`content`, `findings`).
//!
//! Nothing that the client says is believed: what a ref was before is the mirror's word, and an old value that differs
//! from it is refused. Nothing is skipped: what can't be read, scanned or compared is a refusal or an error, and the
//! caller treats an error as a refusal. All refusals of a push are told at once.

mod content;
mod diff;
mod findings;
mod graph;
mod id;
mod mirror;
mod objects;
mod parse;
pub(crate) mod policy;
mod protect;
mod refname;
mod refs;
mod report;
mod rules;
mod show;
mod updates;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

pub use id::ObjectId;
pub use report::format;
pub use updates::{RefUpdate, UpdatesError, parse_updates};

use super::git::{Git, GitError};
use super::scan::{Scan, ScanError, Scanner};
use crate::policy::ask::Ask;
use crate::policy::gate::{PushOperation, PushRule, Repository};
use crate::policy::reason::Reason;
use content::{Content, Source};
use diff::Diff;
use mirror::Mirror;
use objects::Objects;
use protect::{Guard, Merges};
use rules::Rules;
use show::printable;

/// One reason against a push.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The reason's code.
    pub reason: Reason,
    /// What is refused: a ref's name, or an object. Fit for a terminal.
    pub subject: String,
    /// What is wrong with it, without any secret. Fit for a terminal.
    pub detail: String,
    /// The rule that says so, as `file:line` of the manifest or the name of a grant.
    pub rule: Option<String>,
    /// What the agent could ask for; none where no approval would help.
    pub ask: Option<Ask>,
}

/// What grants add for one repository.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// Rules beside those of the repository.
    pub push: Vec<PushRule>,
    /// The findings that may pass, by id, and what lets them.
    pub findings: BTreeMap<String, String>,
    /// The sources of the grants that are for one push, and of their rules for one ref of it; with the time at which each
    /// ends, in seconds since the Unix epoch.
    pub once: BTreeMap<String, Option<u64>>,
}

/// One ref update that may go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// The ref's full name.
    pub name: Vec<u8>,
    /// What the mirror has there, and so what the upstream must still have; none for a new ref.
    pub expected: Option<ObjectId>,
    /// What it shall name; none for a deletion.
    pub new: Option<ObjectId>,
    /// What that does to the ref.
    pub operation: PushOperation,
    /// The rule that allows it, as `file:line` of the manifest or the name of a grant.
    pub rule: String,
}

impl Accepted {
    /// Whether the upstream must be told that this is no fast-forward.
    pub fn force(&self) -> bool {
        self.operation == PushOperation::Force
    }
}

/// The outcome. A push goes on only as a whole: `accepted` is of use only without refusals.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything against the push.
    pub refusals: Vec<Refusal>,
    /// The updates against which there is nothing.
    pub accepted: Vec<Accepted>,
    /// The names of the refs without what the scan found in them; none where it saw nothing. Fit for a terminal.
    pub names: Vec<String>,
    /// What the operator should know about how the judgement went, for the log.
    pub notes: Vec<String>,
    /// The ids of the findings that are refused.
    pub findings: Vec<String>,
    /// The ids of those that a grant lets pass.
    pub allowed: Vec<String>,
}

impl Verdict {
    /// Whether the push may go on.
    pub fn passes(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// Why there is no verdict. The push is to be refused.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// A git command failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] crate::fs::Error),
    /// An object could not be read.
    #[error("could not read object {id}: {source}")]
    Read {
        /// The object.
        id: ObjectId,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The scanner did not take the text; what it has to say about that comes from itself.
    #[error("the scanner does not take the text: {0}")]
    Text(io::Error),
    /// Git's list of refs or commits is not what git documents.
    #[error("git's list of refs or commits could not be read")]
    Refs,
    /// The mirror's HEAD isn't the name of a branch.
    #[error("the mirror does not know the upstream's default branch")]
    NoDefaultBranch,
    /// Git would not look at everything in this repository.
    #[error("the mirror can't be judged in: {what}")]
    Unsound {
        /// Why.
        what: &'static str,
    },
    /// The push changes more paths than can be looked at.
    #[error("the push changes too many paths; push fewer files or commits at a time")]
    TooManyChanges,
    /// The push has more merges around protected paths than can be looked into.
    #[error("too many merges change protected paths; push fewer commits at a time")]
    TooManyMerges,
}

/// Judges a push to the mirror in `git_dir`, from within its `pre-receive` hook. `name` is the repository's name in the
/// manifest, `granted` what the operator's grants add to its rules now.
pub fn judge(
    name: &str,
    repository: &Repository,
    granted: &Granted,
    git_dir: &Path,
    updates: &[RefUpdate],
    scanner: &dyn Scanner,
) -> Result<Verdict, JudgeError> {
    judge_in(&Git::in_hook(git_dir), name, repository, granted, updates, scanner)
}

/// Judges with an explicit view of the repository.
pub(crate) fn judge_in(
    git: &Git,
    name: &str,
    repository: &Repository,
    granted: &Granted,
    updates: &[RefUpdate],
    scanner: &dyn Scanner,
) -> Result<Verdict, JudgeError> {
    let mut verdict = Verdict::default();
    let bytes = mirror::quarantine_bytes(git)?;
    if bytes > repository.max_pack_bytes {
        // Nothing else is looked at: that would be the work which the limit is there to spare.
        let detail =
            format!("the push has {bytes} bytes, and at most {} are accepted", repository.max_pack_bytes);
        let (subject, rule) = (printable(name.as_bytes()), Some(repository.source.clone()));
        verdict.refusals.push(Refusal { reason: Reason::PackTooLarge, subject, detail, rule, ask: None });
        return Ok(verdict);
    }
    mirror::check_soundness(git)?;
    // Everything that can wait for its input is started first, so that the processes come up side by side.
    let mut listing = git.start(&[
        "rev-list",
        "--objects",
        "--no-object-names",
        "--stdin",
        "--not",
        "--branches",
        "--tags",
    ])?;
    let tips = updates.iter().filter(|update| !update.new.is_zero());
    listing.feed(tips.flat_map(|update| format!("{}\n", update.new).into_bytes()).collect());
    let mut objects = Objects::start(git)?;
    let mut diff = Some(Diff::start(git)?);

    let names = refs::check_names(updates, &mut verdict);
    let mirror = Mirror::read(git, &names)?;
    let targets = refs::check_targets(updates, &mut objects, &mut verdict)?;
    let output = listing.read_all()?;
    listing.finish()?;
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let new: Vec<ObjectId> = lines.map(ObjectId::from_hex).collect::<Option<_>>().ok_or(JudgeError::Refs)?;

    let is_new: HashSet<ObjectId> = new.iter().copied().collect();
    let guard = Guard::new(&repository.protect);
    let created: Vec<&[u8]> = updates
        .iter()
        .filter(|u| !u.new.is_zero() && mirror.value(&u.name).is_none())
        .map(|u| &*u.name)
        .collect();
    let source = Source { git, new: &new, is_new: &is_new, guard: &guard, ref_names: &created };
    let (content, outcome) = scan(&source, &mut objects, &mut diff, scanner)?;

    let rules = Rules { name, repository, granted };
    refs::judge(git, &rules, updates, &mirror, &targets, &content.graph, &mut verdict)?;
    verdict.refusals.extend(content.refusals.iter().cloned());
    let owners = content.graph.owners(updates.iter().map(|update| update.new));
    let mut merges = Merges::new(git, &guard, mirror.default_tip());
    for touched in &content.touched {
        for path in merges.offences(touched)? {
            let by = owners.get(&touched.commit).and_then(|at| updates.get(*at));
            let subject = by.map_or_else(|| "the push".into(), |update| printable(&update.name));
            let detail = format!(
                "commit {} changes the protected path `{}`",
                touched.commit.short(),
                printable(&path)
            );
            let rule = Some(repository.source.clone());
            verdict.refusals.push(Refusal {
                reason: Reason::PathProtected,
                subject,
                detail,
                rule,
                ask: None,
            });
        }
    }
    match outcome {
        Ok(Scan { findings, notes }) => {
            verdict.notes.extend(notes);
            verdict.names = updates.iter().map(|update| printable(&update.name)).collect();
            let judged = findings::Judged { name, allowed: &granted.findings, updates, findings: &findings };
            findings::refuse(&source, &mut objects, &content, scanner, &judged, &mut verdict)?;
        }
        Err(error) => {
            let subject = printable(name.as_bytes());
            verdict.refusals.push(Refusal {
                reason: Reason::ScanFailed,
                subject,
                detail: error.to_string(),
                rule: None,
                ask: None,
            });
        }
    }
    Ok(verdict)
}

/// Feeds everything new to the scanner. Where the scan fails, what was learned about the objects is still complete: it
/// is then gathered again without a scanner.
fn scan(
    source: &Source<'_>,
    objects: &mut Objects,
    diff: &mut Option<Diff>,
    scanner: &dyn Scanner,
) -> Result<(Content, Result<Scan, ScanError>), JudgeError> {
    if source.new.is_empty() && source.ref_names.is_empty() {
        return Ok((Content::default(), Ok(Scan::default())));
    }
    let mut content = None;
    let mut failure = None;
    let outcome = scanner.scan(&mut |text| {
        // A second attempt starts over.
        content = None;
        match Content::feed(source, objects, diff.take(), text) {
            Ok(fed) => content = Some(fed),
            Err(JudgeError::Text(error)) => return Err(error),
            Err(error) => {
                failure = Some(error);
                return Err(io::Error::other("the new objects could not be read"));
            }
        }
        Ok(())
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let content = match (content, &outcome) {
        (Some(content), _) => content,
        (None, Err(_)) => {
            let mut nowhere = |_: &[u8]| Ok(());
            let mut text = super::scan::Text::start(String::new(), &mut nowhere).map_err(JudgeError::Text)?;
            Content::feed(source, objects, None, &mut text)?
        }
        // A scanner that never asked for the text has scanned nothing.
        (None, Ok(_)) => return Err(JudgeError::Text(io::ErrorKind::InvalidData.into())),
    };
    Ok((content, outcome))
}
