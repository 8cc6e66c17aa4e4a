//! Names that somebody else has, and what older bundles and broken starts have left behind.

use super::{Finding, Outcome, Subject};
use crate::engine::command::Command;
use crate::engine::docker::Resource;
use crate::fs::led_to;
use crate::policy::reason::Reason;

pub(super) fn names(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let names = &subject.names;
    let containers = names.containers();
    let mut findings: Vec<Finding> = [
        (&engine.containers, &containers),
        (&engine.networks, &names.networks),
        (&engine.volumes, &names.volumes),
    ]
    .into_iter()
    .flat_map(|(all, needed)| all.iter().filter(|one| needed.contains(&one.name)))
    .filter(|one| one.agent().is_none() || one.project() != Some(&names.project))
    .map(taken)
    .collect();
    findings.extend(elsewhere(subject, subject.own_containers(engine)));
    Ok(findings)
}

fn taken(resource: &Resource) -> Finding {
    let word = resource.kind.word();
    let what = format!("the {word} `{}` is there and is none of this bottle's", resource.name);
    let mend =
        format!("`docker {word} rm {}` if nobody needs it, or give the agent another name", resource.name);
    Finding::problem(Reason::NameTaken, what).mend(mend)
}

fn elsewhere<'a>(subject: &Subject<'_>, own: impl Iterator<Item = &'a Resource>) -> Option<Finding> {
    let here = &subject.place.directory;
    let other = own.filter_map(Resource::directory).find(|other| led_to(other.as_ref()) != led_to(here))?;
    let what = format!("`{}` was started from `{other}`", subject.names.project);
    let down = Command::new("docker").args(["compose", "--project-directory", other, "down"]);
    let mend = format!("`{down}`, or give one agent another name");
    Some(Finding::problem(Reason::ProjectElsewhere, what).mend(mend))
}

pub(super) fn left_overs(subject: &Subject<'_>) -> Outcome {
    let engine = subject.engine()?;
    let own: Vec<&Resource> = subject.own_containers(engine).filter(|one| one.agent().is_some()).collect();
    let mut findings = Vec::new();
    for container in &own {
        let name = &container.name;
        if container.hash() != Some(&subject.names.hash) {
            let state = if container.is_running() { "runs what" } else { "is left of what" };
            let what = format!("the container `{name}` {state} an older bundle said");
            let mend = if container.is_running() {
                "`docker compose up --detach --wait` replaces it"
            } else {
                Reason::LeftOver.hint()
            };
            findings.push(Finding::warning(Reason::LeftOver, what).mend(mend));
        } else if matches!(container.status(), "created" | "dead" | "removing") {
            let what = format!("the container `{name}` was made and never started");
            findings.push(Finding::warning(Reason::LeftOver, what));
        }
    }
    // A network without a container is what a start leaves that failed, or was killed.
    let networks = engine.networks.iter().filter(|one| one.project() == Some(&subject.names.project));
    for network in networks.filter(|_| own.is_empty()) {
        let what = format!("the network `{}` is left of a start that did not come to its end", network.name);
        findings.push(Finding::warning(Reason::LeftOver, what));
    }
    Ok(findings)
}
