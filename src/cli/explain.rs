//! `bottle explain`.

use std::io::Write as _;

use anyhow::{Result, bail};
use clap::Subcommand;

use super::source::{Source, working_directory};
use super::{EXIT_OK, EXIT_REFUSED, running};
use crate::analysis::explain::{self, Answer, Asked};
use crate::manifest::diagnostic::suggest;
use crate::manifest::{Loaded, Map};
use crate::plan::{self, Plan};
use crate::policy::gate::PushOperation;
use crate::policy::grant::Grant;
use crate::sidecar::git_gate::grants::granted;

/// Say whether something is allowed, by which rule, and what would allow it
///
/// Exits with 0 if it is allowed and with 1 if it is refused. It asks the code that the sidecars run, and sends nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Egress(Egress),
    Push(Push),
    Credential(Credential),
}

/// Explain a request
#[derive(Debug, clap::Args)]
struct Egress {
    /// The method, in capital letters
    method: String,

    /// The URL, with http or https
    #[arg(value_parser = url)]
    url: String,

    /// Ask for a WebSocket
    #[arg(long)]
    websocket: bool,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    live: Live,
}

/// Explain a push
#[derive(Debug, clap::Args)]
struct Push {
    /// The repository's name at the gate
    repository: String,

    /// The ref; a short one is a branch
    #[arg(value_name = "REF")]
    refname: String,

    #[command(flatten)]
    operation: Operation,

    /// A path that the commits change (can be repeated)
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,

    /// The upstream's default branch; without it that is left open
    #[arg(long, value_name = "BRANCH")]
    default_branch: Option<String>,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    live: Live,
}

/// What is done to the ref; without any of them what `git push` does by itself.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Operation {
    /// Make a ref that the upstream doesn't have
    #[arg(long)]
    create: bool,

    /// Move the ref to a descendant
    #[arg(long)]
    fast_forward: bool,

    /// Move the ref to anything
    #[arg(long)]
    force: bool,

    /// Remove the ref
    #[arg(long)]
    delete: bool,
}

/// Explain where a credential travels
#[derive(Debug, clap::Args)]
struct Credential {
    /// The credential's name in the manifest
    name: String,

    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The agent whose bottle it is; needs no name where the manifest has only one
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,

    #[command(flatten)]
    source: Source,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Live {
    /// By what is in force now in the Compose project of the working directory, grants too, and not by the manifest
    #[arg(long, conflicts_with = "agent")]
    live: bool,
}

/// Refuses what egress has no scheme for before anything is read.
fn url(text: &str) -> Result<String, &'static str> {
    match text.split_once("://") {
        Some((scheme, _)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            Ok(text.to_owned())
        }
        _ => Err("it does not start with `https://` or `http://`"),
    }
}

impl Operation {
    fn named(&self) -> Option<PushOperation> {
        let Self { create, fast_forward, force, delete } = *self;
        let operations = [
            (create, PushOperation::Create),
            (fast_forward, PushOperation::FastForward),
            (force, PushOperation::Force),
            (delete, PushOperation::Delete),
        ];
        operations.into_iter().find_map(|(wanted, operation)| wanted.then_some(operation))
    }
}

/// Answers the question.
pub(super) fn run(args: Args) -> Result<u8> {
    let (answer, json) = match args.what {
        What::Egress(args) => egress(args)?,
        What::Push(args) => push(args)?,
        What::Credential(args) => credential(args)?,
    };
    let text =
        if json { format!("{}\n", serde_json::to_string_pretty(&answer)?) } else { explain::text(&answer) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if answer.allowed { EXIT_OK } else { EXIT_REFUSED })
}

fn egress(args: Egress) -> Result<(Answer, bool)> {
    let Egress { method, url, websocket, common, live } = args;
    let json = common.json;
    let asked = Asked { method: &method, url: &url, websocket };
    if live.live {
        let running::Egress { policy, grants } = running::egress()?;
        let grants: Vec<Grant> = grants.into_iter().map(|(_, grant)| grant).collect();
        return Ok((explain::egress(&policy, &[], &grants, asked)?, json));
    }
    let plan = common.plan()?;
    let (policy, secrets) = match plan.egress {
        Some(plan::Egress { policy, secrets }) => (policy, secrets),
        None => (explain::no_egress(), Vec::new()),
    };
    Ok((explain::egress(&policy, &secrets, &[], asked)?, json))
}

fn push(args: Push) -> Result<(Answer, bool)> {
    let Push { repository, refname, operation, paths, default_branch, common, live } = args;
    let json = common.json;
    let asked = explain::Push {
        repository: &repository,
        refname: &refname,
        operation: operation.named(),
        paths: &paths,
        default_branch: default_branch.as_deref(),
    };
    if live.live {
        let gate = running::gate()?;
        // Where nobody can be asked there is no grant.
        let grants = if gate.ask.is_some() { running::egress()?.grants } else { Vec::new() };
        return Ok((explain::push(Some(&gate), &granted(&grants, &repository).push, asked), json));
    }
    let plan = common.plan()?;
    Ok((explain::push(plan.gate.as_ref().map(|gate| &gate.policy), &[], asked), json))
}

fn credential(args: Credential) -> Result<(Answer, bool)> {
    let Credential { name, common } = args;
    let json = common.json;
    let loaded = plan::check(common.source.load(working_directory()?)?)?;
    let known = names(&loaded);
    let plan = plan::resolve(loaded, common.agent.as_deref())?;
    let answer = explain::credential(&plan, &name);
    if !answer.allowed && !known.contains(&name) {
        bail!(
            "no bottle has a credential `{}`; {}",
            crate::manifest::source::shown(&name),
            suggest(&name, known.iter().map(String::as_str))
        );
    }
    Ok((answer, json))
}

/// The credentials of all bottles.
fn names(loaded: &Loaded) -> Vec<String> {
    let bottles = loaded.manifest.bottles.iter().flat_map(Map::iter);
    let credentials = bottles.flat_map(|(_, bottle)| bottle.credentials.iter().flat_map(Map::iter));
    let mut names: Vec<String> = credentials.map(|(name, _)| name.value.as_str().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

impl Common {
    fn plan(self) -> Result<Plan> {
        Ok(plan::resolve(self.source.load(working_directory()?)?, self.agent.as_deref())?)
    }
}
