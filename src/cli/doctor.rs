//! `bottle doctor`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::source::{Source, absolute, working_directory};
use super::{EXIT_FAILURE, EXIT_OK};
use crate::doctor::{self, Finding, Level, Place, Report, Subject};
use crate::manifest::source::shown;
use crate::manifest::{Map, lexically_normal};
use crate::plan;
use crate::render::{self, COMPOSE, Renderer};

/// Look for what would keep a bottle from starting or working
///
/// Asks the engine, Compose, the upstreams and the files that the manifest names, and changes nothing. Each finding
/// says what it is, why it matters and what mends it. While the bottle runs it also looks at the health of its
/// containers. Exits with 1 if there is a problem; a warning alone is none.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The agent to look at; needs no name where the manifest has only one
    agent: Option<String>,

    #[command(flatten)]
    source: Source,

    /// The directory of compose.yaml [default: here]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Print only problems and warnings
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,

    /// The Linux program that the containers run [default: this program]
    #[arg(long, value_name = "PATH", env = "BOTTLE_LINUX_BINARY")]
    linux_binary: Option<PathBuf>,
}

/// Looks, and prints what was found.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { agent, source, output, json, quiet, linux_binary } = args;
    let here = working_directory()?;
    let directory = lexically_normal(&here.join(output.unwrap_or_default()));
    let loaded = source.load(here)?;
    let agents = loaded.manifest.agents.iter().flat_map(Map::names).map(str::to_owned).collect::<Vec<_>>();
    let plan = plan::resolve(loaded, agent.as_deref())?;
    let bundle =
        Renderer::default().render_beside(&plan, &directory, &names(&plan.slug, &agents, &directory))?;
    let binary = match linux_binary {
        Some(path) => path,
        None => std::env::current_exe().context("this program's own file can't be found")?,
    };
    let place = Place { directory, binary, home: absolute("HOME") };
    let report = doctor::examine(&Subject::new(&plan, &bundle, &place)?);
    let text = match (json, quiet) {
        (true, _) => as_json(&report)?,
        (false, true) => findings(&report),
        (false, false) => as_text(&report),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if report.has_problems() { EXIT_FAILURE } else { EXIT_OK })
}

/// The names of the compose files, as they were rendered: one for the agent, or one for each.
fn names(slug: &str, agents: &[String], directory: &Path) -> Vec<String> {
    let own = render::compose_of(slug);
    if directory.join(COMPOSE).is_file() || !directory.join(&own).is_file() {
        return vec![COMPOSE.to_owned()];
    }
    let others = agents.iter().filter(|agent| *agent != slug).map(|agent| render::compose_of(agent));
    std::iter::once(own).chain(others).collect()
}

fn findings(report: &Report) -> String {
    let mut text = String::new();
    for Finding { level, reason, what, mend } in &report.findings {
        let level = match level {
            Level::Problem => "problem",
            Level::Warning => "warning",
        };
        let why = reason.sentence();
        // Writing to a string can't fail.
        // Names and paths are somebody else's at times: they don't get to steer the terminal.
        let (what, mend) = (shown(what), shown(mend));
        let _ = writeln!(text, "{level}: {reason}: {what}\n  why:  {why}\n  mend: {mend}");
    }
    text
}

fn as_text(report: &Report) -> String {
    let mut text = findings(report);
    for (check, why) in &report.skipped {
        let _ = writeln!(text, "not checked: {check}: {}", shown(why));
    }
    for (name, version) in &report.machine {
        let _ = writeln!(text, "{name}: {}", shown(version));
    }
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        text,
        "{}, {}; found nothing: {}",
        counted(count(Level::Problem), "problem"),
        counted(count(Level::Warning), "warning"),
        if report.passed.is_empty() { "none".to_owned() } else { report.passed.join(", ") },
    );
    text
}

fn as_json(report: &Report) -> Result<String> {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "level": finding.level,
            "code": finding.reason.code(),
            "title": finding.reason.title(),
            "what": finding.what,
            "why": finding.reason.sentence(),
            "mend": finding.mend,
            "retry": finding.reason.retry_helps(),
        })
    });
    let skipped = report.skipped.iter().map(|(check, why)| json!({ "check": check, "why": why }));
    let machine: serde_json::Map<_, _> =
        report.machine.iter().map(|(name, version)| ((*name).to_owned(), json!(version))).collect();
    let value = json!({
        "findings": findings.collect::<Vec<_>>(),
        "not_checked": skipped.collect::<Vec<_>>(),
        "found_nothing": report.passed,
        "machine": machine,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::{Finding, Report, as_json, as_text, findings};
    use crate::policy::reason::Reason;

    fn report() -> Report {
        Report {
            findings: vec![
                Finding::problem(Reason::PortTaken, "127.0.0.1:7333 is taken by `nc` (process 7)"),
                Finding::warning(
                    Reason::LeftOver,
                    "the container `bottle-a-agent-1` was made and never started",
                ),
            ],
            passed: vec!["engine", "files"],
            skipped: vec![("routes", "names are resolved by the `upstream_proxy`".to_owned())],
            machine: vec![("engine", "28.5.1".to_owned()), ("builder", "v0.29.1".to_owned())],
        }
    }

    #[test]
    fn each_finding_says_what_it_is_why_it_matters_and_what_mends_it() {
        insta::with_settings!({ snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/doctor") }, {
            insta::assert_snapshot!("text", as_text(&report()));
            insta::assert_snapshot!("json", as_json(&report()).unwrap());
        });
    }

    #[test]
    fn quietly_there_are_only_the_findings() {
        let mut report = report();
        let text = as_text(&report);
        let quiet = findings(&report);
        assert!(
            text.starts_with(&quiet) && quiet.contains("port-taken") && quiet.contains("left-over"),
            "{quiet}"
        );
        assert!(!quiet.contains("not checked") && !quiet.contains("found nothing"), "{quiet}");
        report.findings.clear();
        assert_eq!(findings(&report), "");
    }

    #[test]
    fn a_name_of_somebody_elses_does_not_steer_the_terminal() {
        let hostile = "/x\u{1b}[2J\u{202e}\nproblem: engine-down: no";
        let finding = Finding::problem(Reason::ProjectElsewhere, hostile).mend(hostile);
        let text = as_text(&Report { findings: vec![finding], ..Report::default() });
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.lines().count() == 4, "{text}");
    }

    #[test]
    fn a_warning_alone_is_no_problem() {
        let mut report = report();
        assert!(report.has_problems());
        report.findings.remove(0);
        assert!(!report.has_problems());
    }
}
