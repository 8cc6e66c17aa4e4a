//! What is looked at: a plan, its bundle, and the machine that is to run it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::engine::command::Failed;
use crate::engine::docker::{self, Kind, Resource};
use crate::manifest::values::PathBase;
use crate::plan::{self, Plan};
use crate::render::Bundle;

/// Where the bundle is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directory of compose.yaml.
    pub(crate) directory: PathBuf,
    /// The program that the containers run.
    pub(crate) binary: PathBuf,
    /// The user's home directory.
    pub(crate) home: Option<PathBuf>,
}

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) bundle: &'a Bundle,
    pub(crate) place: &'a Place,
    pub(crate) names: Names,
    pub(crate) engine: Result<Engine, Failed>,
}

/// What the bundle calls what it needs.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) project: String,
    pub(crate) hash: String,
    services: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) volumes: Vec<String>,
}

/// What the engine tells of itself.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) version: Value,
    pub(crate) info: Value,
    /// When it was asked.
    pub(crate) asked: SystemTime,
    pub(crate) containers: Vec<Resource>,
    pub(crate) networks: Vec<Resource>,
    pub(crate) volumes: Vec<Resource>,
}

impl<'a> Subject<'a> {
    /// Reads the bundle and asks the engine.
    ///
    /// # Errors
    ///
    /// The bundle's compose file is none.
    pub(crate) fn new(plan: &'a Plan, bundle: &'a Bundle, place: &'a Place) -> anyhow::Result<Self> {
        Ok(Self { plan, bundle, place, names: Names::new(&bundle.compose)?, engine: Engine::ask() })
    }

    /// What the engine tells, or that it tells nothing.
    pub(crate) fn engine(&self) -> Result<&Engine, String> {
        self.engine.as_ref().map_err(|_| "the engine does not answer".to_owned())
    }

    /// The containers of the bottle's project.
    pub(crate) fn own_containers<'e>(&self, engine: &'e Engine) -> impl Iterator<Item = &'e Resource> {
        engine.containers.iter().filter(|container| container.project() == Some(&self.names.project))
    }

    /// A path on the host that the manifest names.
    pub(crate) fn host_path(&self, path: &plan::Path) -> PathBuf {
        let base = match path.written.base {
            PathBase::File => path.directory.as_path(),
            PathBase::Home => self.place.home.as_deref().unwrap_or(Path::new("/")),
            PathBase::Root => Path::new("/"),
        };
        base.join(&path.written.rest)
    }
}

impl Names {
    fn new(compose: &str) -> anyhow::Result<Self> {
        let value: Value = serde_yaml::from_str(compose)?;
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let keys = |name: &str| {
            let map = value.get(name).and_then(Value::as_object);
            map.into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>()
        };
        let project = text("/name");
        let full = |names: Vec<String>| names.iter().map(|name| format!("{project}_{name}")).collect();
        let (networks, volumes) = (full(keys("networks")), full(keys("volumes")));
        Ok(Self { hash: text("/x-bottle/hash"), services: keys("services"), networks, volumes, project })
    }

    /// What Compose calls the containers.
    pub(crate) fn containers(&self) -> Vec<String> {
        self.services.iter().map(|service| format!("{}-{service}-1", self.project)).collect()
    }
}

impl Engine {
    fn ask() -> Result<Self, Failed> {
        let version = docker::describe("version")?;
        let asked = SystemTime::now();
        Ok(Self {
            version,
            info: docker::describe("info")?,
            asked,
            containers: docker::list(Kind::Container, false)?,
            networks: docker::list(Kind::Network, false)?,
            volumes: docker::list(Kind::Volume, false)?,
        })
    }

    /// A text of `docker info`.
    pub(crate) fn info(&self, pointer: &str) -> &str {
        self.info.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_those_that_compose_gives() {
        let text = "name: bottle-dev\nx-bottle: { hash: \"1f\" }\nservices: { agent: {}, egress: {} }\n\
                    networks: { inside: {} }\nvolumes: { home: {} }\n";
        let names = Names::new(text).unwrap();
        assert_eq!(names.containers(), ["bottle-dev-agent-1", "bottle-dev-egress-1"]);
        assert_eq!(
            (names.networks, names.volumes),
            (vec!["bottle-dev_inside".to_owned()], vec!["bottle-dev_home".to_owned()])
        );
        assert_eq!((names.project.as_str(), names.hash.as_str()), ("bottle-dev", "1f"));
    }
}
