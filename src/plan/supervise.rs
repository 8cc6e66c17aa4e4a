//! Supervise's part of the plan.

use crate::manifest::{Bottle, Supervise as Section, SuperviseOptions};

/// Where the agent asks and the operator decides.
#[derive(Clone, Debug)]
pub struct Supervise {
    /// The port of the operator's page on 127.0.0.1.
    pub port: u16,
}

/// Where the agent finds supervise, as a URL.
pub(super) const URL: &str = "http://supervise:7331";

/// The environment variable by which the agent's programs find it.
pub(super) const VARIABLE: &str = "BOTTLE_SUPERVISE";

/// Where the agent's container has the configuration of MCP clients, and the variable that says so.
pub(super) const MCP_CONFIG: (&str, &str) = ("BOTTLE_MCP_CONFIG", "/etc/bottle/mcp.json");

/// Whether a bottle has the sidecar. It is off unless the manifest names the page's port.
pub(super) fn is_on(bottle: &Bottle) -> bool {
    plan(bottle).is_some()
}

/// Where the sidecars tell the agent to ask for what they refused.
pub(super) fn ask(bottle: &Bottle) -> Option<String> {
    is_on(bottle).then(|| URL.to_owned())
}

pub(super) fn plan(bottle: &Bottle) -> Option<Supervise> {
    match &bottle.supervise.as_ref()?.value {
        Section::Off => None,
        Section::On(SuperviseOptions { port }) => Some(Supervise { port: port.value.0 }),
    }
}
