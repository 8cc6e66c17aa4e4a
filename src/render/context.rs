//! What the templates get to see.
//!
//! Only texts, numbers, truth values and lists of them: a template decides on truth values alone, so that a harmless
//! word in the place of a text takes the same way through it (see [`super::read_back`]).

use serde::Serialize;

use super::workspace::Mounted;
use super::{DIRECTORY, RenderError, compose_path};
use crate::images::tagged;
use crate::plan::{self, Image, Images, Plan, Secret};
use crate::policy::egress::Credential;
use crate::policy::gate::SecretSource;
use crate::preset::{ClientFile, Description, Link, Preset};

#[derive(Debug, Default, Serialize)]
pub(super) struct Context {
    pub(super) version: &'static str,
    pub(super) hash: String,
    pub(super) slug: String,
    pub(super) project: String,
    /// Where this agent's files are, as compose.yaml names it.
    pub(super) own: String,
    pub(super) images: Option<String>,
    pub(super) agent: Agent,
    pub(super) egress: Option<Egress>,
    pub(super) gate: Option<Gate>,
    pub(super) supervise: Option<Supervise>,
    pub(super) pipelock: Option<Pipelock>,
    /// Where the sidecars share one container; none where there is no sidecar.
    pub(super) bundled: Option<Bundled>,
    pub(super) repositories: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Agent {
    image: Option<String>,
    build: Option<String>,
    command: Vec<String>,
    /// Whether the command is a shell at the container's terminal.
    hangs_up: bool,
    environment: Vec<Pair>,
    /// What it reads: files of the bundle, and what of the host the manifest names.
    mounts: Vec<Mount>,
    /// What is copied into its home at the first start.
    once: Vec<Mount>,
    /// What leads from its home to another place.
    links: Vec<Mount>,
    /// The URL that the workspace is cloned from.
    clone: Option<String>,
    /// The directory of the host that is the workspace.
    pub(super) mounted: Option<Mounted>,
    cpus: Option<String>,
    memory: String,
    pids: u32,
    runtime: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Pair {
    name: String,
    value: String,
}

/// What the templates of a preset get to see: less, so that they depend on little.
#[derive(Debug, Serialize)]
pub(super) struct Client<'a> {
    slug: &'a str,
    pub(super) agent: ClientAgent<'a>,
    /// Whether the bottle has each of the sidecars.
    egress: bool,
    gate: bool,
    supervise: bool,
    repositories: &'a [String],
}

#[derive(Debug, Serialize)]
pub(super) struct ClientAgent<'a> {
    command: &'a [String],
    pub(super) environment: &'a [Pair],
}

impl<'a> Client<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let Agent { command, environment, .. } = &context.agent;
        Self {
            slug: &context.slug,
            agent: ClientAgent { command, environment },
            egress: context.egress.is_some(),
            gate: context.gate.is_some(),
            supervise: context.supervise.is_some(),
            repositories: &context.repositories,
        }
    }
}

/// The policy is no part of it: compose.yaml must stay the same where only routes change (see [`super::hash`]).
#[derive(Debug, Serialize)]
pub(super) struct Egress {
    image: Option<String>,
    /// Whether a credential is in a file, which its owner may have closed to everybody else.
    owned: bool,
    secrets: Secrets,
}

#[derive(Debug, Serialize)]
pub(super) struct Gate {
    image: Option<String>,
    extra_hosts: Vec<Pair>,
    known_hosts: Vec<String>,
    remotes: Vec<Remote>,
    secrets: Secrets,
}

#[derive(Debug, Serialize)]
pub(super) struct Supervise {
    image: Option<String>,
    port: u16,
}

/// What it goes by is no part of it, as it is none of egress's.
#[derive(Debug, Serialize)]
pub(super) struct Pipelock {
    image: String,
}

/// The one container of all sidecars.
#[derive(Debug, Serialize)]
pub(super) struct Bundled {
    image: Option<String>,
    /// The files of all sidecars; one that several of them have is mounted once.
    files: Vec<Mount>,
    /// The variables of all sidecars, each under a name that begins with its sidecar's.
    variables: Vec<Variable>,
}

/// What a sidecar's container gets of the host.
#[derive(Debug, Default, Serialize)]
struct Secrets {
    files: Vec<Mount>,
    agent_socket: Option<String>,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Mount {
    pub(super) source: String,
    pub(super) target: String,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    source: String,
}

#[derive(Debug, Serialize)]
struct Remote {
    repository: String,
    urls: Vec<String>,
}

impl Context {
    /// A context in which an agent has one variable.
    #[cfg(test)]
    pub(super) fn with_variable(name: &str, value: &str) -> Self {
        let environment = vec![Pair { name: name.to_owned(), value: value.to_owned() }];
        Self { agent: Agent { environment, ..Agent::default() }, ..Self::default() }
    }

    pub(super) fn new(
        plan: &Plan,
        base: &std::path::Path,
        mounted: Option<Mounted>,
    ) -> Result<Self, RenderError> {
        let Plan { slug, agent, egress, gate, supervise, pipelock, bundled, images } = plan;
        let egress = egress.as_ref().map(|egress| Egress::new(egress, images.as_ref(), base)).transpose()?;
        let gate_context = gate.as_ref().map(|gate| Gate::new(gate, images.as_ref(), base)).transpose()?;
        let bundled = (*bundled && (egress.is_some() || gate.is_some()))
            .then(|| Bundled::new(egress.as_ref(), gate_context.as_ref(), images.as_ref()));
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            hash: String::new(),
            slug: slug.clone(),
            project: format!("bottle-{slug}"),
            own: format!("./{DIRECTORY}/{slug}"),
            images: images.as_ref().map(|images| images.registry.clone()),
            agent: Agent::new(slug, agent, gate.as_ref(), base, mounted)?,
            egress,
            gate: gate_context,
            bundled,
            supervise: supervise.as_ref().map(|supervise| Supervise {
                image: published("supervise", images.as_ref()),
                port: supervise.port,
            }),
            pipelock: pipelock
                .as_ref()
                .map(|plan::Pipelock { image, config: _ }| Pipelock { image: image.clone() }),
            repositories: gate.iter().flat_map(|gate| gate.policy.repositories.keys().cloned()).collect(),
        })
    }
}

impl Agent {
    fn new(
        slug: &str,
        agent: &plan::Agent,
        gate: Option<&plan::Gate>,
        base: &std::path::Path,
        mounted: Option<Mounted>,
    ) -> Result<Self, RenderError> {
        let plan::Agent { image, command, environment, mounts, clone, mount: _, cpus, memory, pids, runtime } =
            agent;
        let (preset, named, build) = match image {
            Image::Preset(preset) => {
                (Some(preset), None, Some(format!("./{}", preset_directory(slug, preset))))
            }
            Image::Named(name) => (None, Some(name.clone()), None),
            Image::Build(path) => (None, None, Some(compose_path(path, base)?)),
        };
        let mut files = OwnFiles::default();
        if let Some(preset) = preset {
            files.add(slug, &preset.description);
        }
        for plan::Mount { source, target } in mounts {
            files.mounts.push(Mount { source: compose_path(source, base)?, target: target.clone() });
        }
        // A link to what isn't there would be in the way of the client's own file.
        let OwnFiles { mounts, once, mut links } = files;
        links.retain(|link| mounts.iter().any(|mount| mount.target == link.source));
        let remote = |name: &String| {
            gate.and_then(|gate| gate.remotes.iter().find(|remote| remote.repository == *name))
        };
        let command =
            command.clone().or_else(|| Some(preset?.description.command.clone())).unwrap_or_default();
        Ok(Self {
            image: named,
            build,
            hangs_up: matches!(command.as_slice(), [one] if ["bash", "sh"].contains(&one.as_str())),
            command,
            environment: pairs(environment),
            mounts,
            once,
            links,
            clone: clone.as_ref().and_then(remote).map(|remote| remote.url.clone()),
            mounted,
            cpus: cpus.clone(),
            memory: memory.clone(),
            pids: *pids,
            runtime: runtime.clone(),
        })
    }
}

/// Where the files of a preset's image are in the bundle. Agents share those of bottle's own; two directories of the user's
/// may have one name.
pub(super) fn preset_directory(slug: &str, preset: &Preset) -> String {
    if preset.is_own {
        format!("{DIRECTORY}/{slug}/image")
    } else {
        format!("{DIRECTORY}/docker/agent-{}", preset.name)
    }
}

/// What a preset's client reads.
#[derive(Default)]
struct OwnFiles {
    mounts: Vec<Mount>,
    once: Vec<Mount>,
    links: Vec<Mount>,
}

impl OwnFiles {
    fn add(&mut self, slug: &str, description: &Description) {
        for ClientFile { name, target, once } in &description.files {
            let mounted = target.clone().unwrap_or_else(|| format!("/etc/bottle/once/{name}"));
            self.once.extend(once.iter().map(|path| Mount { source: mounted.clone(), target: path.clone() }));
            self.mounts.push(Mount { source: format!("./{DIRECTORY}/{slug}/agent/{name}"), target: mounted });
        }
        self.links.extend(
            description
                .links
                .iter()
                .map(|Link { path, target }| Mount { source: target.clone(), target: path.clone() }),
        );
    }
}

impl Egress {
    fn new(
        egress: &plan::Egress,
        images: Option<&Images>,
        base: &std::path::Path,
    ) -> Result<Self, RenderError> {
        let plan::Egress { policy, secrets } = egress;
        let in_file = |credential: &Credential| matches!(credential.secret, SecretSource::File(_));
        Ok(Self {
            image: published("egress", images),
            owned: policy.credentials.values().any(in_file),
            secrets: Secrets::new(secrets, base)?,
        })
    }
}

impl Gate {
    fn new(gate: &plan::Gate, images: Option<&Images>, base: &std::path::Path) -> Result<Self, RenderError> {
        let plan::Gate { policy: _, known_hosts, extra_hosts, secrets, remotes } = gate;
        let remote = |remote: &plan::Remote| {
            let plan::Remote { repository, url: _, spellings } = remote;
            Remote { repository: repository.clone(), urls: spellings.clone() }
        };
        Ok(Self {
            image: published("git-gate", images),
            extra_hosts: pairs(extra_hosts),
            known_hosts: known_hosts.lines().map(str::to_owned).collect(),
            remotes: remotes.iter().map(remote).collect(),
            secrets: Secrets::new(secrets, base)?,
        })
    }
}

impl Bundled {
    fn new(egress: Option<&Egress>, gate: Option<&Gate>, images: Option<&Images>) -> Self {
        let mut bundled =
            Self { image: published("sidecars", images), files: Vec::new(), variables: Vec::new() };
        let egress = egress.map(|egress| ("EGRESS_", &egress.secrets));
        for (prefix, secrets) in egress.into_iter().chain(gate.map(|gate| ("GIT_GATE_", &gate.secrets))) {
            for file in &secrets.files {
                // The same credential and the same certificate have the same place in every sidecar.
                if !bundled.files.contains(file) {
                    bundled.files.push(file.clone());
                }
            }
            bundled.variables.extend(secrets.variables.iter().map(|variable| Variable {
                name: format!("{prefix}{}", variable.name),
                source: variable.source.clone(),
            }));
        }
        bundled
    }
}

impl Secrets {
    fn new(secrets: &[Secret], base: &std::path::Path) -> Result<Self, RenderError> {
        let mut context = Self::default();
        for secret in secrets {
            match secret {
                Secret::File { source, target } => {
                    context.files.push(Mount { source: compose_path(source, base)?, target: target.clone() });
                }
                Secret::AgentSocket { target } => context.agent_socket = Some(target.clone()),
                Secret::Env { source, target } => {
                    context.variables.push(Variable { name: target.clone(), source: source.clone() });
                }
            }
        }
        Ok(context)
    }
}

/// The published image of a sidecar, where images are not built: by its digest where there is a lock.
fn published(sidecar: &str, images: Option<&Images>) -> Option<String> {
    let Images { registry, lock } = images?;
    Some(lock.as_ref().and_then(|lock| lock.image(sidecar)).unwrap_or_else(|| tagged(registry, sidecar)))
}

fn pairs(map: &indexmap::IndexMap<String, String>) -> Vec<Pair> {
    map.iter().map(|(name, value)| Pair { name: name.clone(), value: value.clone() }).collect()
}
