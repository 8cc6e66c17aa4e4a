//! What the engine holds, through the `docker` command line.

use std::collections::BTreeMap;

use serde_json::Value;

use super::command::{Command, Failed};
use crate::sidecar::supervise::decisions::time;

/// The label by which a resource is known as ours; its value is the agent's name.
pub(crate) const AGENT: &str = "io.bottle.agent";
/// The label with the hash of the bundle that a resource was made from.
pub(crate) const HASH: &str = "io.bottle.hash";
/// The label by which Compose knows its project.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
/// The label with the directory that a container's project was started from.
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
/// The label with the files that a container's project was started from, with commas between them.
const FILES: &str = "com.docker.compose.project.config_files";
/// The label with the name of a container's service.
const SERVICE: &str = "com.docker.compose.service";

/// What a resource is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// An image.
    Image,
}

impl Kind {
    /// All kinds, in the order in which they can be removed.
    pub(crate) const ALL: [Self; 4] = [Self::Container, Self::Network, Self::Volume, Self::Image];

    /// The word of the `docker` command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Image => "image",
        }
    }
}

/// A container, a network, a volume or an image.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    /// The engine's id; a volume's is its name.
    pub(crate) id: String,
    /// The name; of an image its first tag, or its id where it has none.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// All that the engine tells.
    pub(crate) value: Value,
}

impl Resource {
    /// Reads what `inspect` tells; none where that has no name.
    pub(crate) fn new(kind: Kind, value: Value) -> Option<Self> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (id, name, labels) = match kind {
            Kind::Container => {
                (text("/Id")?, text("/Name")?.trim_start_matches('/').to_owned(), "/Config/Labels")
            }
            Kind::Network => (text("/Id")?, text("/Name")?, "/Labels"),
            Kind::Volume => (text("/Name")?, text("/Name")?, "/Labels"),
            Kind::Image => {
                let id = text("/Id")?;
                (id.clone(), text("/RepoTags/0").unwrap_or(id), "/Config/Labels")
            }
        };
        let labels = value.pointer(labels).and_then(Value::as_object).into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Some(Self { kind, id, name, labels: labels.collect(), value })
    }

    /// A label's value.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// The name of the agent to whose bottle it belongs; none where it isn't ours.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.label(AGENT)
    }

    /// The hash of its bundle.
    pub(crate) fn hash(&self) -> Option<&str> {
        self.label(HASH)
    }

    /// Compose's project.
    pub(crate) fn project(&self) -> Option<&str> {
        self.label(PROJECT)
    }

    /// The service, of a container.
    pub(crate) fn service(&self) -> Option<&str> {
        self.label(SERVICE)
    }

    /// The directory that the project was started from, of a container.
    pub(crate) fn directory(&self) -> Option<&str> {
        self.label(DIRECTORY)
    }

    /// The first file that the project was started from, of a container.
    pub(crate) fn file(&self) -> Option<&str> {
        self.label(FILES)?.split(',').next()
    }

    /// When it was made, in milliseconds since the Unix epoch.
    pub(crate) fn created(&self) -> Option<u64> {
        let name = if self.kind == Kind::Volume { "/CreatedAt" } else { "/Created" };
        time::read(self.text(name))
    }

    /// A container's state, such as `running` or `exited`.
    pub(crate) fn status(&self) -> &str {
        self.text("/State/Status")
    }

    /// Whether it is a container with a process.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.status(), "running" | "paused" | "restarting")
    }

    /// A text that the engine tells of it, or nothing.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The addresses of a network, as the engine writes them.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = &str> {
        let configs = self.value.pointer("/IPAM/Config").and_then(Value::as_array).into_iter().flatten();
        configs.filter_map(|config| config.get("Subnet")?.as_str())
    }

    /// The ports of this machine at which a container is published.
    pub(crate) fn published(&self) -> impl Iterator<Item = u16> {
        let ports = self.value.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
        let bindings =
            ports.into_iter().flat_map(|ports| ports.values()).filter_map(Value::as_array).flatten();
        bindings.filter_map(|binding| binding.get("HostPort")?.as_str()?.parse().ok())
    }
}

/// Everything of a kind that the engine holds; with `ours` only what has our label.
///
/// # Errors
///
/// The engine does not answer. What is removed while it is asked is left out.
pub(crate) fn list(kind: Kind, ours: bool) -> Result<Vec<Resource>, Failed> {
    let mut arguments = vec![kind.word(), "ls", "--quiet"];
    if kind == Kind::Container {
        arguments.push("--all");
    }
    if kind != Kind::Volume {
        arguments.push("--no-trunc");
    }
    let label = format!("label={AGENT}");
    if ours {
        arguments.extend(["--filter", &label]);
    }
    let listed = Command::new("docker").args(arguments).run()?;
    let mut ids: Vec<String> = String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect();
    // An image is listed once for each of its names.
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // It fails if one of them is gone, and prints the others all the same.
    let output = Command::new("docker").args([kind.word(), "inspect"]).args(ids).output()?;
    let values: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok(values.into_iter().filter_map(|value| Resource::new(kind, value)).collect())
}

/// Asks the engine for one of its descriptions of itself: `version` or `info`.
///
/// # Errors
///
/// There is no engine, or it does not answer, or with something else.
pub(crate) fn describe(what: &str) -> Result<Value, Failed> {
    let command = Command::new("docker").args([what, "--format", "{{json .}}"]);
    let output = command.run()?;
    serde_json::from_slice(&output)
        .map_err(|error| Failed::Refused { command: command.to_string(), said: error.to_string() })
}

/// Removes a resource. A container that has been started in the meantime is kept: it is not forced.
///
/// # Errors
///
/// The engine says why not.
pub(crate) fn remove(resource: &Resource) -> Result<(), Failed> {
    let Resource { kind, id, .. } = resource;
    Command::new("docker").args([kind.word(), "rm", id]).run().map(drop)
}
