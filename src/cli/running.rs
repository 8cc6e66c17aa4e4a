//! What the bottle in the working directory goes by while it runs, as its own containers say it.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::analysis::diff::Containers;
use crate::engine::compose::{self, BUNDLED, EGRESS, GATE};
use crate::engine::docker::{self, Kind, Resource};
use crate::manifest::source::shown;
use crate::policy::egress::EgressPolicy;
use crate::policy::gate::GatePolicy;
use crate::policy::grant::Grant;

/// Where the gate's container has its policy, and egress's its own.
const GATE_POLICY: &str = "/etc/bottle/gate.yaml";
const EGRESS_POLICY: &str = "/etc/bottle/egress/policy.yaml";

/// What egress says is in force.
#[derive(Debug, Deserialize)]
pub(super) struct Egress {
    /// The policy, without the grants.
    pub(super) policy: EgressPolicy,
    /// The grants by their names.
    #[serde(deserialize_with = "in_order")]
    pub(super) grants: Vec<(String, Grant)>,
}

fn in_order<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Grant)>, D::Error> {
    let grants = indexmap::IndexMap::<String, Grant>::deserialize(deserializer)?;
    Ok(grants.into_iter().collect())
}

/// Asks egress.
pub(super) fn egress() -> Result<Egress> {
    let command =
        ["/usr/local/bin/bottle", "sidecar", "egress", "check", "--admin=127.0.0.1:3129", "--policy"];
    serde_json::from_slice(&compose::exec(EGRESS, &command)?).context("what egress says can't be read")
}

/// Reads the gate's policy where the gate reads it.
pub(super) fn gate() -> Result<GatePolicy> {
    serde_yaml::from_slice(&compose::exec(GATE, &["cat", GATE_POLICY])?)
        .context("the gate's policy can't be read")
}

/// A whole bottle that runs.
#[derive(Debug)]
pub(super) struct Bottle {
    /// The agent.
    pub(super) agent: String,
    /// What egress goes by, where it runs.
    pub(super) egress: Option<Egress>,
    /// What the gate goes by, where it runs.
    pub(super) gate: Option<GatePolicy>,
    /// What holds the containers that run.
    pub(super) holding: Containers,
    /// Those sidecars, or all of them together, that have a container that does not run, with what the engine says of it.
    pub(super) down: Vec<(String, String)>,
}

/// Asks all containers of the project.
///
/// # Errors
///
/// Compose fails; nothing of the project runs; it is no bottle; a sidecar doesn't answer.
pub(super) fn bottle() -> Result<Bottle> {
    let containers = compose::containers()?;
    let runs =
        |service: &str| containers.iter().any(|known| known.service == service && known.state == "running");
    let Some(running) = containers.iter().find(|container| container.state == "running") else {
        bail!(
            "nothing of the Compose project of this directory runs; `docker compose up --detach` starts it"
        );
    };
    let Some(agent) = running.project.strip_prefix("bottle-") else {
        bail!("the Compose project `{}` of this directory is none of bottle's", shown(&running.project));
    };
    // One container of all says by what is mounted which of them it has.
    let has = |sidecar: compose::Sidecar, policy: &str| {
        runs(sidecar.service) || (runs(BUNDLED) && compose::exec(sidecar, &["test", "-e", policy]).is_ok())
    };
    let down = containers
        .iter()
        .filter(|container| [EGRESS.service, GATE.service, BUNDLED].contains(&container.service.as_str()))
        .filter(|container| !runs(&container.service));
    Ok(Bottle {
        agent: agent.to_owned(),
        holding: holding(&running.project)?,
        egress: if has(EGRESS, EGRESS_POLICY) { Some(egress()?) } else { None },
        gate: if has(GATE, GATE_POLICY) { Some(gate()?) } else { None },
        down: down.map(|container| (container.service.clone(), container.state.clone())).collect(),
    })
}

/// Asks the engine what holds the containers of a project that run, and its networks.
fn holding(project: &str) -> Result<Containers> {
    let of = |kind| -> Result<Vec<Resource>> {
        let mut all = docker::list(kind, true)?;
        all.retain(|resource| resource.project() == Some(project));
        Ok(all)
    };
    let (containers, networks) = (of(Kind::Container)?, of(Kind::Network)?);
    let containers = containers.iter().filter(|container| container.is_running());
    let containers = containers.filter_map(|container| Some((container.service()?, &container.value)));
    Ok(Containers::of_engine(project, containers, networks.iter().map(|network| &network.value)))
}
