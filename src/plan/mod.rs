//! The plan: the manifest resolved for one agent.
//!
//! Every name is looked up, every default decided, every conflict found. A plan is pure data: no input or output, and
//! nothing of the machine it was made on.

pub(crate) mod amount;
mod check;
mod egress;
pub(crate) mod gate;
mod hosts;
mod pipelock;
mod preset;
mod secret;
mod supervise;
mod workspace;

use std::sync::Arc;

use indexmap::IndexMap;

use crate::images::Lock;
use crate::manifest::diagnostic::{Diagnostic, Diagnostics, list, suggest};
use crate::manifest::source::Spanned;
use crate::manifest::values::{EnvValue, HostPath, Name, PathBase};
use crate::manifest::{self, Loaded, Map, Resources, Sidecars, Workspace};
use crate::preset::Preset;

pub use egress::Egress;
pub use gate::{Gate, Remote};
pub use pipelock::Pipelock;
pub(crate) use preset::ModelLines;
pub use preset::Mount;
pub use secret::Secret;
pub use supervise::Supervise;
pub use workspace::Mounted;
pub(crate) use workspace::below;

/// A path on the host, with the directory of the file that names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Path {
    /// The path as written.
    pub written: HostPath,
    /// The directory of the file that names it, absolute.
    pub directory: std::path::PathBuf,
}

/// Everything that the bundle of one agent is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The agent's name.
    pub slug: String,
    /// The agent's container.
    pub agent: Agent,
    /// The proxy, where the bottle has egress.
    pub egress: Option<Egress>,
    /// The git gate, where the bottle has repositories.
    pub gate: Option<Gate>,
    /// Where the agent asks and the operator decides, where the bottle has it.
    pub supervise: Option<Supervise>,
    /// What looks at requests beside egress itself, where the bottle has it.
    pub pipelock: Option<Pipelock>,
    /// Whether the sidecars share one container.
    pub bundled: bool,
    /// Where published sidecar images are; without it Compose builds them.
    pub images: Option<Images>,
}

/// Where published sidecar images are.
#[derive(Clone, Debug)]
pub struct Images {
    /// The registry and path before their names.
    pub registry: String,
    /// Their digests; without them they are named by this version's tag.
    pub lock: Option<Lock>,
}

/// The agent's container.
#[derive(Clone, Debug)]
pub struct Agent {
    /// What it is made from.
    pub image: Image,
    /// The command, where it isn't the image's own.
    pub command: Option<Vec<String>>,
    /// The environment variables: the preset's, those by which its programs find egress, those that stand for credentials,
    /// and the user's own in the order of the manifest.
    pub environment: IndexMap<String, String>,
    /// What of the host it reads: instructions and skills.
    pub mounts: Vec<Mount>,
    /// The repository that is cloned into the workspace.
    pub clone: Option<String>,
    /// The directory of the host that is the workspace.
    pub mount: Option<Mounted>,
    /// Processors, in Compose's notation.
    pub cpus: Option<String>,
    /// Memory, in Compose's notation.
    pub memory: String,
    /// The most processes.
    pub pids: u32,
    /// Another OCI runtime.
    pub runtime: Option<String>,
}

/// What the agent's container is made from.
#[derive(Clone, Debug)]
pub enum Image {
    /// A preset's.
    Preset(Arc<Preset>),
    /// An image.
    Named(String),
    /// A directory with a Dockerfile.
    Build(Path),
}

impl Image {
    /// The program that a session in the container starts with. Of an image nothing is known but that bottle's entrypoint needs
    /// a shell there.
    #[must_use]
    pub fn session(&self) -> &str {
        match self {
            Self::Preset(preset) => preset.description.session(),
            Self::Named(_) | Self::Build(_) => "sh",
        }
    }
}

/// Resolves the manifest for one agent, or for the only one there is.
///
/// # Errors
///
/// Everything that [`check`] finds; an agent that isn't there, or several when none is named; parts of the manifest
/// whose sidecars this version doesn't have.
pub fn resolve(loaded: Loaded, agent: Option<&str>) -> Result<Plan, Diagnostics> {
    resolve_each(loaded, |agents| match agent {
        Some(wanted) if agents.get(wanted).is_some() => Ok(vec![wanted.to_owned()]),
        Some(wanted) => Err(Diagnostic::without_place(format!("there is no agent `{wanted}`"))
            .hint(suggest(wanted, agents.names()))),
        None => match agents.0.as_slice() {
            [(name, _)] => Ok(vec![name.value.as_str().to_owned()]),
            [] => {
                Err(Diagnostic::without_place("the manifest has no agents").hint("add one under `agents:`"))
            }
            _ => Err(Diagnostic::without_place("the manifest has several agents, and none is named")
                .hint(format!("name one of {}, or render all with `--all`", list(agents.names())))),
        },
    })
    .map(|mut plans| plans.swap_remove(0))
}

/// Resolves the manifest for all its agents.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_all(loaded: Loaded) -> Result<Vec<Plan>, Diagnostics> {
    resolve_each(loaded, |agents| {
        if agents.is_empty() {
            return Err(
                Diagnostic::without_place("the manifest has no agents").hint("add one under `agents:`")
            );
        }
        Ok(agents.names().map(str::to_owned).collect())
    })
}

/// Finds what is wrong with a manifest beyond its syntax, for all bottles and agents.
///
/// # Errors
///
/// Names that nothing has, settings that exclude each other, hosts with two addresses, mounts that open the host.
pub fn check(loaded: Loaded) -> Result<Loaded, Diagnostics> {
    let mut errors = check::manifest(&loaded);
    if errors.is_empty() {
        errors = models(&loaded);
    }
    if errors.is_empty() { Ok(loaded) } else { Err(loaded.diagnostics(errors)) }
}

/// What is missing for the presets' clients to reach their models.
fn models(loaded: &Loaded) -> Vec<Diagnostic> {
    let agents = loaded.manifest.agents.iter().flat_map(Map::iter);
    let missing = agents.filter_map(|(_, agent)| {
        let (_, bottle) = loaded.manifest.bottles.as_ref()?.get(agent.bottle.value.as_str())?;
        let egress = egress::plan(loaded, bottle);
        preset::check(loaded, agent, bottle, egress.as_ref().map(|egress| &egress.policy))
    });
    missing.collect()
}

type Agents = Map<Name, manifest::Agent>;

fn resolve_each(
    loaded: Loaded,
    choose: impl FnOnce(&Agents) -> Result<Vec<String>, Diagnostic>,
) -> Result<Vec<Plan>, Diagnostics> {
    let loaded = check(loaded)?;
    let none = Agents::default();
    let agents = loaded.manifest.agents.as_ref().unwrap_or(&none);
    let chosen = match choose(agents) {
        Ok(chosen) => chosen,
        Err(error) => return Err(loaded.diagnostics(vec![error])),
    };
    let images = match images(&loaded) {
        Ok(images) => images,
        Err(error) => return Err(loaded.diagnostics(vec![error])),
    };
    let mut plans = Vec::with_capacity(chosen.len());
    for (name, agent) in agents.iter().filter(|(name, _)| {
        chosen.len() == agents.0.len() || chosen.iter().any(|chosen| chosen == name.value.as_str())
    }) {
        let bottle_name = agent.bottle.value.as_str();
        // `check` has shown that it is there.
        let Some((_, bottle)) = loaded.manifest.bottles.as_ref().and_then(|bottles| bottles.get(bottle_name))
        else {
            continue;
        };
        plans.push(plan(&loaded, name.value.as_str(), agent, bottle, images.clone()));
    }
    Ok(plans)
}

/// The memory of an agent's container, where the manifest says nothing.
const DEFAULT_MEMORY: &str = "4g";
/// The processes of an agent's container, where the manifest says nothing.
const DEFAULT_PIDS: u32 = 512;

/// Where the images are, with their digests where the manifest names a lock file.
fn images(loaded: &Loaded) -> Result<Option<Images>, Diagnostic> {
    let Some(manifest::Images { registry, digests }) = &loaded.manifest.images else { return Ok(None) };
    let registry = registry.value.as_str().to_owned();
    let lock = match (digests, loaded.lock()) {
        (Some(digests), Some(read)) => {
            let fail = |what: String| {
                Diagnostic::new(digests.span, format!("the lock file of the images can't be used: {what}"))
                    .hint("`bottle images build`, `push` and `lock` write it, in this order; where the images are published already, pull them and lock")
            };
            let bytes = read.map_err(|error| fail(error.to_owned()))?;
            Some(Lock::read(bytes, &registry).map_err(|error| fail(error.to_string()))?)
        }
        _ => None,
    };
    Ok(Some(Images { registry, lock }))
}

fn plan(
    loaded: &Loaded,
    slug: &str,
    agent: &manifest::Agent,
    bottle: &manifest::Bottle,
    images: Option<Images>,
) -> Plan {
    let manifest::Agent {
        bottle: _,
        preset: named,
        image,
        build,
        command,
        workspace,
        env,
        prompt: _,
        skills: _,
        resources,
        runtime,
    } = agent;
    let image = match (image, build) {
        (Some(image), _) => Image::Named(image.value.as_str().to_owned()),
        (None, Some(build)) => Image::Build(path(loaded, build)),
        (None, None) => {
            let shell = || crate::preset::find(manifest::PresetName::Shell);
            Image::Preset(named.as_ref().map_or_else(shell, |named| loaded.preset(named)))
        }
    };
    let clone = workspace.as_ref().and_then(|workspace| {
        let Workspace { clone, mount: _, read_only: _ } = &workspace.value;
        clone.as_ref().map(|name| name.value.as_str().to_owned())
    });
    let none = Resources { cpus: None, memory: None, pids: None };
    let Resources { cpus, memory, pids } = resources.as_ref().unwrap_or(&none);
    let egress = egress::plan(loaded, bottle);
    let mut environment = match &image {
        Image::Preset(preset) => {
            preset::environment(preset, bottle, egress.as_ref().map(|egress| &egress.policy))
        }
        Image::Named(_) | Image::Build(_) => IndexMap::new(),
    };
    if egress.is_some() {
        environment.extend(egress::environment());
    }
    environment.extend(egress::placeholders(bottle));
    let supervise = supervise::plan(bottle);
    if supervise.is_some() {
        for (name, value) in [(supervise::VARIABLE, supervise::URL), supervise::MCP_CONFIG] {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    let own = env.iter().flat_map(Map::iter);
    environment
        .extend(own.map(|(name, value)| (name.value.as_str().to_owned(), value.value.as_str().to_owned())));
    let texts =
        |list: &manifest::List<EnvValue>| list.iter().map(|text| text.value.as_str().to_owned()).collect();
    Plan {
        slug: slug.to_owned(),
        agent: Agent {
            image,
            command: command.as_ref().map(texts),
            environment,
            mounts: preset::mounts(loaded, agent),
            clone,
            mount: workspace::plan(loaded, agent),
            cpus: cpus.as_ref().map(|cpus| cpus.value.as_str().to_owned()),
            memory: memory.as_ref().map_or(DEFAULT_MEMORY, |memory| memory.value.as_str()).to_owned(),
            pids: pids.as_ref().map_or(DEFAULT_PIDS, |pids| pids.value.0),
            runtime: runtime.as_ref().map(|runtime| runtime.value.as_str().to_owned()),
        },
        pipelock: pipelock::plan(bottle, egress.as_ref()),
        egress,
        gate: gate::plan(loaded, bottle),
        supervise,
        bundled: bottle.sidecars.as_ref().is_some_and(|sidecars| sidecars.value == Sidecars::Bundled),
        images,
    }
}

fn path(loaded: &Loaded, path: &Spanned<HostPath>) -> Path {
    let directory = loaded.directory(path.span.file);
    let mut written = path.value.clone();
    if let (PathBase::File, Some(home)) = (written.base, loaded.home_of(path.span.file)) {
        let target = manifest::lexically_normal(&directory.join(&written.rest));
        if let Some(rest) = target.strip_prefix(home).ok().and_then(std::path::Path::to_str) {
            written = HostPath { base: PathBase::Home, rest: rest.to_owned() };
        }
    }
    Path { written, directory: directory.to_owned() }
}
