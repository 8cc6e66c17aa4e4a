//! `bottle cleanup`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::json;

use super::source::{Source, working_directory};
use super::{EXIT_FAILURE, EXIT_OK};
use crate::engine::docker::{self, Resource};
use crate::engine::left_over::{self, Scope, Why};
use crate::manifest::Map;
use crate::manifest::source::shown;
use crate::plan;

/// Remove what bottles have left in the engine
///
/// Containers, networks and images of the manifest's agents that have bottle's own label, and whose bundle is gone or
/// has changed, or whose start did not come to its end. What has no such label is never touched, and a bottle that runs
/// or was stopped never either. Lists first what it would remove, and asks. Exits with 1 if something could not be
/// removed.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,

    /// The directory of compose.yaml [default: here]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Look for what all bottles of this engine have left, not only those of the manifest
    #[arg(long, conflicts_with_all = ["output", "file"])]
    all: bool,

    /// Remove volumes too that no bundle has any more: workspaces, homes, mirrors, audit logs, decisions
    #[arg(long)]
    volumes: bool,

    /// Only list what would be removed
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists, asks and removes.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { source, output, all, volumes, dry_run, yes, json } = args;
    let projects = if all { None } else { Some(projects(source, output)?) };
    let found = left_over::find(&Scope { projects, volumes })?;
    let mut stdout = std::io::stdout();
    if json {
        if !dry_run && !yes && !found.is_empty() {
            bail!(
                "`--json` asks nothing: add `--yes` to remove what is left over, or `--dry-run` to list it"
            );
        }
        let done: Vec<Done> =
            found.iter().map(|(one, _)| if dry_run { Done::Listed } else { remove(one) }).collect();
        writeln!(stdout, "{}", serde_json::to_string_pretty(&as_json(&found, &done))?)?;
        let kept = done.iter().any(|done| matches!(done, Done::Kept(_)));
        return Ok(if kept { EXIT_FAILURE } else { EXIT_OK });
    }
    if found.is_empty() {
        writeln!(stdout, "nothing is left over")?;
        return Ok(EXIT_OK);
    }
    stdout.write_all(list(&found).as_bytes())?;
    if dry_run {
        return Ok(EXIT_OK);
    }
    if !yes && !asked(found.len())? {
        writeln!(stdout, "nothing was removed")?;
        return Ok(EXIT_FAILURE);
    }
    let mut kept = 0;
    for (resource, _) in &found {
        let (word, name) = (resource.kind.word(), &resource.name);
        match remove(resource) {
            Done::Removed => writeln!(stdout, "removed the {word} {name}")?,
            Done::Gone => writeln!(stdout, "the {word} {name} is gone already")?,
            Done::Kept(said) => {
                kept += 1;
                writeln!(stdout, "kept the {word} {name}: {said}")?;
            }
            Done::Listed => {}
        }
    }
    if kept > 0 {
        bail!("{kept} of {} could not be removed; the engine's own words are above", found.len());
    }
    Ok(EXIT_OK)
}

/// What became of something that is left over.
enum Done {
    /// Nobody was to remove it.
    Listed,
    Removed,
    /// Whoever was faster has done the same.
    Gone,
    /// With the engine's own words.
    Kept(String),
}

fn remove(resource: &Resource) -> Done {
    match docker::remove(resource) {
        Ok(()) => Done::Removed,
        Err(failed) if failed.to_string().to_lowercase().contains("no such") => Done::Gone,
        Err(failed) => Done::Kept(failed.to_string()),
    }
}

fn as_json(found: &[(Resource, Why)], done: &[Done]) -> serde_json::Value {
    let each = found.iter().zip(done).map(|((resource, why), done)| {
        let (done, said) = match done {
            Done::Listed => ("listed", None),
            Done::Removed => ("removed", None),
            Done::Gone => ("gone", None),
            Done::Kept(said) => ("kept", Some(said)),
        };
        json!({
            "kind": resource.kind.word(),
            "name": resource.name,
            "project": resource.project(),
            "why": why.text(),
            "done": done,
            "said": said,
        })
    });
    json!({ "left_over": each.collect::<Vec<_>>() })
}

/// The projects of the manifest's agents, and where the compose file of each is.
fn projects(source: Source, output: Option<PathBuf>) -> Result<Vec<(String, PathBuf)>> {
    let here = working_directory()?;
    let directory = here.join(output.unwrap_or_default());
    let loaded = plan::check(source.load(here)?)?;
    let agents = loaded.manifest.agents.as_ref().into_iter().flat_map(Map::names);
    let file = |agent: &str| {
        let own = directory.join(format!("compose.{agent}.yaml"));
        if own.is_file() { own } else { directory.join("compose.yaml") }
    };
    Ok(agents.map(|agent| (format!("bottle-{agent}"), file(agent))).collect())
}

fn list(found: &[(Resource, Why)]) -> String {
    let lines = found.iter().map(|(resource, why)| {
        let (word, project) = (resource.kind.word(), resource.project().unwrap_or("no project"));
        format!("{word:9} {} ({}): {}\n", shown(&resource.name), shown(project), why.text())
    });
    lines.collect()
}

/// Asks whoever sits at the terminal.
fn asked(count: usize) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "there is no terminal to ask on; `--yes` removes this without asking, `--dry-run` only lists it"
        );
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "remove {count} of these? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
