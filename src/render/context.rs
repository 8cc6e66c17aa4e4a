//! What the templates get to see.
//!
//! Only texts, numbers, truth values and lists of them: a template decides on truth values alone, so that a harmless
//! word in the place of a text takes the same way through it (see [`super::read_back`]).

use serde::Serialize;

use super::{DIRECTORY, RenderError, compose_path};
use crate::plan::{self, Image, Plan, Secret};
use crate::policy::egress::Credential;
use crate::policy::gate::SecretSource;

#[derive(Debug, Serialize)]
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
    pub(super) repositories: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Agent {
    pub(super) shell: bool,
    image: Option<String>,
    build: Option<String>,
    command: Vec<String>,
    environment: Vec<Pair>,
    /// The URL that the workspace is cloned from.
    clone: Option<String>,
    cpus: Option<String>,
    memory: String,
    pids: u32,
    runtime: Option<String>,
}

#[derive(Debug, Serialize)]
struct Pair {
    name: String,
    value: String,
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

/// What a sidecar's container gets of the host.
#[derive(Debug, Default, Serialize)]
struct Secrets {
    files: Vec<Mount>,
    agent_socket: Option<String>,
    variables: Vec<Variable>,
}

#[derive(Debug, Serialize)]
struct Mount {
    source: String,
    target: String,
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

/// The command of the preset `shell`: Compose's `tty: true` keeps it waiting.
const SHELL_COMMAND: [&str; 1] = ["bash"];

impl Context {
    pub(super) fn new(plan: &Plan, base: &std::path::Path) -> Result<Self, RenderError> {
        let Plan { slug, agent, egress, gate, supervise, images } = plan;
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            hash: String::new(),
            slug: slug.clone(),
            project: format!("bottle-{slug}"),
            own: format!("./{DIRECTORY}/{slug}"),
            images: images.clone(),
            agent: Agent::new(agent, gate.as_ref(), base)?,
            egress: egress.as_ref().map(|egress| Egress::new(egress, images.as_deref(), base)).transpose()?,
            gate: gate.as_ref().map(|gate| Gate::new(gate, images.as_deref(), base)).transpose()?,
            supervise: supervise.as_ref().map(|supervise| Supervise {
                image: published("supervise", images.as_deref()),
                port: supervise.port,
            }),
            repositories: gate.iter().flat_map(|gate| gate.policy.repositories.keys().cloned()).collect(),
        })
    }
}

impl Agent {
    fn new(
        agent: &plan::Agent,
        gate: Option<&plan::Gate>,
        base: &std::path::Path,
    ) -> Result<Self, RenderError> {
        let plan::Agent { image, command, environment, clone, cpus, memory, pids, runtime } = agent;
        let (shell, named, build) = match image {
            Image::Shell => (true, None, None),
            Image::Named(name) => (false, Some(name.clone()), None),
            Image::Build(path) => (false, None, Some(compose_path(path, base)?)),
        };
        let remote = |name: &String| {
            gate.and_then(|gate| gate.remotes.iter().find(|remote| remote.repository == *name))
        };
        Ok(Self {
            shell,
            image: named,
            build,
            command: command.clone().unwrap_or_else(|| SHELL_COMMAND.map(str::to_owned).to_vec()),
            environment: pairs(environment),
            clone: clone.as_ref().and_then(remote).map(|remote| remote.url.clone()),
            cpus: cpus.clone(),
            memory: memory.clone(),
            pids: *pids,
            runtime: runtime.clone(),
        })
    }
}

impl Egress {
    fn new(egress: &plan::Egress, images: Option<&str>, base: &std::path::Path) -> Result<Self, RenderError> {
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
    fn new(gate: &plan::Gate, images: Option<&str>, base: &std::path::Path) -> Result<Self, RenderError> {
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

/// The published image of a sidecar, where images are not built.
fn published(sidecar: &str, images: Option<&str>) -> Option<String> {
    images.map(|images| format!("{images}/bottle-{sidecar}:{}", env!("CARGO_PKG_VERSION")))
}

fn pairs(map: &indexmap::IndexMap<String, String>) -> Vec<Pair> {
    map.iter().map(|(name, value)| Pair { name: name.clone(), value: value.clone() }).collect()
}
