//! pipelock's part of the plan.

use super::egress::Egress;
use crate::manifest::{Bottle, Pipelock as Section, PipelockMode};
use crate::policy::pipelock::{Mode, PipelockConfig, SCANNER};

/// What looks at requests beside egress itself.
#[derive(Clone, Debug)]
pub struct Pipelock {
    /// Its image.
    pub image: String,
    /// What it goes by.
    pub config: PipelockConfig,
}

/// Where egress asks it.
pub(super) fn scanner(bottle: &Bottle) -> Option<String> {
    bottle.pipelock.is_some().then(|| SCANNER.to_owned())
}

pub(super) fn plan(bottle: &Bottle, egress: Option<&Egress>) -> Option<Pipelock> {
    let Section { image, mode } = &bottle.pipelock.as_ref()?.value;
    let mode = match mode.as_ref().map(|mode| mode.value) {
        Some(PipelockMode::Strict) => Mode::Strict,
        Some(PipelockMode::Balanced) | None => Mode::Balanced,
    };
    let mut hosts: Vec<String> = Vec::new();
    for route in egress.iter().flat_map(|egress| &egress.policy.routes) {
        if !hosts.contains(&route.host) {
            hosts.push(route.host.clone());
        }
    }
    Some(Pipelock { image: image.value.as_str().to_owned(), config: PipelockConfig::new(mode, hosts) })
}
