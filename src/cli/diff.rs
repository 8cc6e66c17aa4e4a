//! `bottle diff`.

use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::source::{Source, working_directory};
use super::{EXIT_OK, EXIT_WIDENS, running};
use crate::analysis::diff::{self, Containers, Diff, Policies, diff};
use crate::engine::command::{Command, Failed};
use crate::manifest::preset::MAX_FILE;
use crate::manifest::source::shown;
use crate::manifest::{Input, Loaded, Map, Revision};
use crate::plan::{self, Plan};
use crate::render::Renderer;

/// Say what a change of the manifest opens and closes
///
/// Compares the meaning of two manifests, not their text: what becomes reachable, where credentials travel, what may be
/// pushed, and what changes of the containers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest before: a file, or a revision of git that has the manifest [default: HEAD]
    old: Option<String>,

    /// The manifest now: a file, or a revision of git [default: the manifest in the working tree]
    new: Option<String>,

    /// Compare what runs in the Compose project of the working directory with the manifest
    ///
    /// What the sidecars go by, without the grants in force, and what holds the containers: networks, users, rights, limits,
    /// mounts, published ports.
    #[arg(long, conflicts_with_all = ["old", "new", "agent"])]
    running: bool,

    #[command(flatten)]
    source: Source,

    /// Only this agent
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,

    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,

    /// Exit with 1 if anything widens
    #[arg(long)]
    exit_code: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For a program
    Json,
    /// For a comment of a pull request
    Markdown,
}

/// Compares, and prints what changes.
pub(super) fn run(args: Args) -> Result<u8> {
    let Args { old, new, running, source, agent, format, exit_code } = args;
    let diff = if running {
        of_running(source)?
    } else {
        of_manifests(old.as_deref(), new.as_deref(), &source, agent.as_deref())?
    };
    let text = match format {
        Format::Text => diff::text(&diff),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&diff)?),
        Format::Markdown => diff::markdown(&diff),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if exit_code && diff.widens { EXIT_WIDENS } else { EXIT_OK })
}

/// Compares two manifests.
fn of_manifests(old: Option<&str>, new: Option<&str>, source: &Source, agent: Option<&str>) -> Result<Diff> {
    let working_directory = working_directory()?;
    let load = |side: Option<&str>, default: Option<&str>| -> Result<Vec<Plan>> {
        let loaded = match side.or(default) {
            None => Some(source.clone().load(working_directory.clone())?),
            Some(text) if text == "-" || working_directory.join(text).is_file() => {
                Some(source.clone().with_file(text).load(working_directory.clone())?)
            }
            Some(revision) => of_revision(source, &working_directory, revision)?,
        };
        plans(loaded, agent)
    };
    let (old, new) = (load(old, Some("HEAD"))?, load(new, None)?);
    if let Some(agent) = agent.filter(|_| old.is_empty() && new.is_empty()) {
        bail!("neither manifest has an agent `{}`", shown(agent));
    }
    Ok(diff(&old, &new))
}

/// Compares what runs with the manifest. The bottle that runs says which agent it is.
fn of_running(source: Source) -> Result<Diff> {
    let loaded = source.load(working_directory()?)?;
    let running::Bottle { agent, egress, gate, holding, down } = running::bottle()?;
    let plans = plans(Some(loaded), Some(&agent))?;
    let Some(plan) = plans.first() else {
        bail!("the agent `{}` runs, and the manifest has no such agent", shown(&agent));
    };
    let mut notes: Vec<String> = down
        .iter()
        .map(|(service, state)| {
            format!("{} does not run ({}) and counts as not there", shown(service), shown(state))
        })
        .collect();
    let grants = egress.iter().flat_map(|egress| &egress.grants);
    let grants: Vec<String> = grants.map(|(name, _)| shown(name)).collect();
    if !grants.is_empty() {
        notes.push(format!("grants in force are left out: {}", grants.join(", ")));
    }
    let bundle = Renderer::default().render(plan, &working_directory()?)?;
    let old = Policies { egress: egress.as_ref().map(|egress| &egress.policy), gate: gate.as_ref() };
    let new = (Policies::of(Some(plan)), Containers::of_compose(&bundle.compose)?);
    Ok(diff::running(&agent, &(old, holding), &new, notes))
}

/// The plans of a manifest; none of one that isn't there, and of one without agents.
fn plans(loaded: Option<Loaded>, agent: Option<&str>) -> Result<Vec<Plan>> {
    let Some(loaded) = loaded else { return Ok(Vec::new()) };
    if loaded.manifest.agents.as_ref().is_none_or(Map::is_empty) {
        plan::check(loaded)?;
        return Ok(Vec::new());
    }
    let mut plans = plan::resolve_all(loaded)?;
    if let Some(agent) = agent {
        plans.retain(|plan| plan.slug == agent);
    }
    Ok(plans)
}

/// The manifest as a revision has it: at the place that it has in the working tree. Where the revision has none there, there
/// was none.
fn of_revision(source: &Source, working_directory: &Path, revision: &str) -> Result<Option<Loaded>> {
    let path =
        source.path(working_directory).context("there is no bottle.yaml here or in a directory above")?;
    let directory = path.parent().map_or_else(|| working_directory.to_owned(), Path::to_owned);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let object = format!("{revision}:./{name}");
    // The text as it was committed: no filter and no pager has a say in it.
    match git(&directory, &["show", "--no-textconv", "--end-of-options", &object])? {
        Ok(bytes) => {
            let name = format!("{}:{}", shown(revision), shown(&name));
            let (place, revision) = (directory.clone(), revision.to_owned());
            let files = Some(Revision(Rc::new(move |path| of_preset(&place, &revision, path))));
            Ok(Some(
                source
                    .clone()
                    .load_from(working_directory.to_owned(), Input::Text { name, directory, bytes, files })?,
            ))
        }
        Err(failed) => {
            // A revision without the file is one where there was no manifest yet; anything else is a mistake.
            let listed = git(
                &directory,
                &["ls-tree", "-z", "--end-of-options", revision, "--", &format!("./{name}")],
            )?;
            if listed.is_ok_and(|listed| listed.is_empty()) {
                return Ok(None);
            }
            bail!("`{}` is no file, and {failed}", shown(revision))
        }
    }
}

/// A file of a preset as a revision has it. A link there is as little a file as it is on the disk.
fn of_preset(directory: &Path, revision: &str, path: &str) -> Result<Vec<u8>, String> {
    let path = format!("./{path}");
    let said = |arguments: &[&str]| match git(directory, arguments) {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(failed)) => Err(failed.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let listed = said(&["ls-tree", "-z", "--long", "--end-of-options", revision, "--", &path])?;
    let entry = String::from_utf8_lossy(&listed).into_owned();
    let mut words = entry.split_whitespace();
    match words.next() {
        None => return Err(format!("the revision `{revision}` does not have it")),
        Some("100644" | "100755") => {}
        Some(_) => return Err("it is not a regular file".to_owned()),
    }
    if words.nth(2).and_then(|size| size.parse::<u64>().ok()).is_none_or(|size| size > MAX_FILE) {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    said(&["show", "--no-textconv", "--end-of-options", &format!("{revision}:{path}")])
}

/// Runs git: what it printed, or that it refused.
fn git(directory: &Path, args: &[&str]) -> Result<Result<Vec<u8>, Failed>> {
    match Command::new("git").args(args.iter().copied()).directory(directory).run() {
        Err(failed @ Failed::Refused { .. }) => Ok(Err(failed)),
        other => Ok(Ok(other?)),
    }
}
