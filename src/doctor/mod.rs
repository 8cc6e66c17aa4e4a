//! Looking, before anything starts, for what would fail while it does; and at what runs, for what is not well.
//!
//! Nothing is changed. Each check asks the real thing: the engine, Compose, the upstreams, the files. What can't be asked
//! is told as not checked, never as good.

mod bundle;
mod clashes;
mod engine;
pub(crate) mod files;
mod images;
mod pools;
mod port;
mod routes;
mod running;
mod subject;
mod upstreams;
pub(crate) mod workspace;

use serde::Serialize;

use crate::policy::reason::Reason;

pub(crate) use subject::{Place, Subject};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Something would fail, or does.
    Problem,
    /// It works, and may surprise.
    Warning,
}

/// What a check found: what it is, why that matters, and what mends it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) reason: Reason,
    /// What was found, with its names.
    pub(crate) what: String,
    /// The command or the change that mends it.
    pub(crate) mend: String,
}

impl Finding {
    /// Something that would fail, mended as its reason says.
    pub(crate) fn problem(reason: Reason, what: impl Into<String>) -> Self {
        Self { level: Level::Problem, reason, what: what.into(), mend: reason.hint().to_owned() }
    }

    /// Something that may surprise, mended as its reason says.
    pub(crate) fn warning(reason: Reason, what: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::problem(reason, what) }
    }

    /// With a command of its own.
    pub(crate) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: mend.into(), ..self }
    }
}

/// What a check says: its findings, or why it could not look.
type Outcome = Result<Vec<Finding>, String>;

/// A check: its name, and what it does.
type Check = (&'static str, fn(&Subject<'_>) -> Outcome);

/// All checks, in the order in which what they find is mended.
const CHECKS: &[Check] = &[
    ("engine", engine::engine),
    ("compose", engine::compose),
    ("runtime", engine::runtime),
    ("clock", engine::clock),
    ("disk", engine::disk),
    ("memory", engine::memory),
    ("images", images::images),
    ("bundle", bundle::drift),
    ("compose file", bundle::compose),
    ("names", clashes::names),
    ("left-overs", clashes::left_overs),
    ("addresses", pools::addresses),
    ("operator port", port::operator),
    ("credentials", files::variables),
    ("files", files::files),
    ("ssh agent", files::agent),
    ("workspace", workspace::workspace),
    ("upstreams", upstreams::upstreams),
    ("routes", routes::routes),
    ("running", running::containers),
];

/// What all checks said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was found.
    pub(crate) findings: Vec<Finding>,
    /// The checks that found nothing.
    pub(crate) passed: Vec<&'static str>,
    /// The checks that could not look, and why.
    pub(crate) skipped: Vec<(&'static str, String)>,
    /// What would run the bottle: the programs and their versions.
    pub(crate) machine: Vec<(&'static str, String)>,
}

impl Report {
    /// Whether something would fail.
    pub(crate) fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Problem)
    }
}

/// Runs all checks, side by side: most of their time is spent waiting for somebody's answer.
pub(crate) fn examine(subject: &Subject<'_>) -> Report {
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let machine = scope.spawn(|| engine::machine(subject));
        let checks: Vec<_> =
            CHECKS.iter().map(|(name, check)| (*name, scope.spawn(move || check(subject)))).collect();
        for (name, check) in checks {
            match check.join() {
                Ok(Ok(findings)) if findings.is_empty() => report.passed.push(name),
                Ok(Ok(findings)) => report.findings.extend(findings),
                Ok(Err(why)) => report.skipped.push((name, why)),
                Err(_) => report.skipped.push((name, "it failed; this is a mistake in bottle".to_owned())),
            }
        }
        report.machine = machine.join().unwrap_or_default();
    });
    report
}
