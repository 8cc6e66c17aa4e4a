//! `bottle diff`: the meaning of a change of a manifest, and not its text.
//!
//! Each change says whether it widens what an agent can do. What egress and the gate allow is compared as sets: a rule that
//! moved changes nothing, what another rule allows already is not reported, and a deny rule counts. For requests whose path
//! has one reading (see [`crate::policy::path`]) the comparison is exact; a request whose path has several is always in
//! what is reported where it is newly allowed, and may be in it where it isn't.

mod containers;
mod hosts;
mod isolation;
mod markdown;
mod paths;
mod push;
mod reach;
#[cfg(test)]
mod tests;
mod text;

use serde::Serialize;

use self::paths::Facet;
use crate::analysis::explain::no_egress;
use crate::plan::Plan;
use crate::policy::egress::{EgressPolicy, OnSecret};
use crate::policy::gate::{GatePolicy, Repository};

pub use containers::Containers;
pub use isolation::Setting;
pub use markdown::markdown;
pub use push::Refs;
pub use reach::{Region, Websocket};
pub use text::text;

/// What changes for some agents.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Diff {
    /// Whether anything widens.
    pub widens: bool,
    /// What changes, for the agents to which the same happens.
    pub agents: Vec<Agents>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Agents to which the same happens.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Agents {
    /// Their names.
    pub names: Vec<String>,
    /// What changes.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Change {
    /// Whether the agent can do more, or is held less.
    pub widens: bool,
    /// What changes.
    #[serde(flatten)]
    pub what: What,
}

/// What changes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum What {
    /// The agent is new, or gone.
    Agent {
        /// Whether it is new.
        new: bool,
    },
    /// Requests that become allowed, or are no longer.
    Reach {
        /// Why they were not allowed, or are no longer.
        by: By,
        /// The requests.
        #[serde(flatten)]
        region: Box<Region>,
    },
    /// A credential that travels with other requests than before.
    Credential {
        /// The credential.
        credential: String,
        /// The one that they carry on the other side.
        instead: Option<String>,
        /// The requests.
        #[serde(flatten)]
        region: Box<Region>,
    },
    /// Requests whose host may have a private address, or may no longer.
    Private {
        /// The requests.
        #[serde(flatten)]
        region: Box<Region>,
    },
    /// Requests whose body may be larger, or must be smaller; none means no limit.
    Upload {
        /// The most bytes before.
        old: Option<u64>,
        /// The most bytes now.
        new: Option<u64>,
        /// The requests.
        #[serde(flatten)]
        region: Box<Region>,
    },
    /// Requests in which a secret meets another answer.
    OnSecret {
        /// The answer before.
        old: OnSecret,
        /// The answer now.
        new: OnSecret,
        /// The requests.
        #[serde(flatten)]
        region: Box<Region>,
    },
    /// Requests whose bodies keep a tool of the server, or lose it.
    Tool {
        /// The tool.
        tool: String,
        /// The requests.
        #[serde(flatten)]
        region: Box<Region>,
    },
    /// Pushes that become allowed, or are no longer.
    Push {
        /// The refs and what is done to them.
        #[serde(flatten)]
        refs: Refs,
    },
    /// Paths that pushes may touch, or may no longer.
    Protect {
        /// The repository.
        repository: String,
        /// Patterns of the paths.
        paths: Vec<String>,
        /// Patterns of paths for which it isn't so.
        except: Vec<String>,
    },
    /// Something else that has one value.
    Setting(Setting),
}

/// What decides about requests on one side only.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A route.
    Route,
    /// A deny rule.
    Deny,
    /// A route that allows what several routes allow apart; only requests whose path has several readings.
    Readings,
}

/// Compares the plans of all agents.
pub fn diff(old: &[Plan], new: &[Plan]) -> Diff {
    let mut agents: Vec<Agents> = Vec::new();
    let find = |plans: &[Plan], slug: &str| plans.iter().position(|plan| plan.slug == slug);
    let gone = old.iter().filter(|plan| find(new, &plan.slug).is_none());
    for slug in new.iter().chain(gone).map(|plan| plan.slug.as_str()) {
        let of = |plans: &'_ [Plan]| find(plans, slug);
        let changes = changes(of(old).and_then(|at| old.get(at)), of(new).and_then(|at| new.get(at)));
        if changes.is_empty() {
            continue;
        }
        match agents.iter_mut().find(|agents| agents.changes == changes) {
            Some(agents) => agents.names.push(slug.to_owned()),
            None => agents.push(Agents { names: vec![slug.to_owned()], changes }),
        }
    }
    Diff::new(agents, Vec::new())
}

/// What the sidecars of one bottle go by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'a> {
    /// Egress's policy, where there is one.
    pub egress: Option<&'a EgressPolicy>,
    /// The gate's policy, where there is one.
    pub gate: Option<&'a GatePolicy>,
}

impl<'a> Policies<'a> {
    /// Those of a plan, or of none.
    pub fn of(plan: Option<&'a Plan>) -> Self {
        Self {
            egress: plan.and_then(|plan| plan.egress.as_ref()).map(|egress| &egress.policy),
            gate: plan.and_then(|plan| plan.gate.as_ref()).map(|gate| &gate.policy),
        }
    }
}

/// A bottle that runs, or would: what its sidecars go by, and what holds its containers.
pub type Bottle<'a> = (Policies<'a>, Containers);

/// Compares a bottle that runs with what the manifest makes of it.
pub fn running(agent: &str, old: &Bottle<'_>, new: &Bottle<'_>, notes: Vec<String>) -> Diff {
    let ((old, holding), (new, would_hold)) = (old, new);
    let mut changes = rules(old, new);
    changes.extend(isolation::of_policies(old, new));
    changes.extend(containers::changes(holding, would_hold));
    let agents = Agents { names: vec![agent.to_owned()], changes };
    Diff::new(if agents.changes.is_empty() { Vec::new() } else { vec![agents] }, notes)
}

impl Diff {
    fn new(agents: Vec<Agents>, notes: Vec<String>) -> Self {
        let widens = agents.iter().flat_map(|agents| &agents.changes).any(|change| change.widens);
        Self { widens, agents, notes }
    }
}

fn changes(old: Option<&Plan>, new: Option<&Plan>) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.is_none() != new.is_none() {
        changes.push(Change { widens: new.is_some(), what: What::Agent { new: new.is_some() } });
    }
    changes.extend(rules(&Policies::of(old), &Policies::of(new)));
    changes.extend(isolation::changes(old, new));
    changes
}

/// Compares what is compared as sets.
fn rules(old: &Policies, new: &Policies) -> Vec<Change> {
    let policy = |policies: &Policies| policies.egress.map_or_else(no_egress, Clone::clone);
    let mut changes = egress(&policy(old), &policy(new));
    for name in repositories(old, new) {
        let (old, new) = (repository(old, &name), repository(new, &name));
        let pushes = |from, to, widens| {
            push::changes(&name, from, to)
                .into_iter()
                .map(move |refs| Change { widens, what: What::Push { refs } })
        };
        changes.extend(pushes(old, new, true).chain(pushes(new, old, false)));
        if let (Some(old), Some(new)) = (old, new) {
            changes.extend(protect(&name, old, new));
        }
    }
    changes
}

/// Compares what egress allows and does.
pub fn egress(old: &EgressPolicy, new: &EgressPolicy) -> Vec<Change> {
    let one_way = |from, to, widens: bool| {
        reach::changes(from, to).into_iter().map(move |(facet, region)| {
            let region = Box::new(region);
            let what = match facet {
                Facet::Route => What::Reach { by: By::Route, region },
                Facet::Deny => What::Reach { by: By::Deny, region },
                Facet::Readings => What::Reach { by: By::Readings, region },
                Facet::Credential(credential, instead) => What::Credential { credential, instead, region },
                Facet::Private => What::Private { region },
                Facet::Upload(to, from) if widens => What::Upload { old: from, new: to, region },
                Facet::Upload(to, from) => What::Upload { old: to, new: from, region },
                Facet::Secret(to, from) if widens => What::OnSecret { old: from, new: to, region },
                Facet::Secret(to, from) => What::OnSecret { old: to, new: from, region },
                Facet::Tool(tool) => What::Tool { tool, region },
            };
            Change { widens, what }
        })
    };
    one_way(old, new, true).chain(one_way(new, old, false)).collect()
}

fn protect(name: &str, old: &Repository, new: &Repository) -> Vec<Change> {
    let one_way = |from: &Repository, to: &Repository, widens: bool| {
        let difference = push::difference(&folded(&to.protect), &folded(&from.protect), "")?;
        let what = What::Protect {
            repository: name.to_owned(),
            paths: difference.patterns,
            except: difference.except,
        };
        Some(Change { widens, what })
    };
    one_way(old, new, true).into_iter().chain(one_way(new, old, false)).collect()
}

/// Protected paths are protected in any case of their letters.
fn folded(patterns: &[String]) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.to_lowercase()).collect()
}

fn repository<'a>(policies: &Policies<'a>, name: &str) -> Option<&'a Repository> {
    policies.gate.and_then(|gate| gate.repositories.get(name))
}

fn repositories(old: &Policies, new: &Policies) -> Vec<String> {
    let gates = [new, old].into_iter().filter_map(|policies| policies.gate);
    let names = gates.flat_map(|gate| gate.repositories.keys().cloned());
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}
