//! Where a credential comes from, who holds it and where it travels.

use super::{Answer, Use, Verdict, origin, used};
use crate::plan::{Egress, Gate, Plan};
use crate::policy::egress::{Route, Scheme};
use crate::policy::gate::{Repository, Upstream};

/// Tells where a credential travels: one part for each route and repository that uses it. It is allowed if there is one.
pub fn credential(plan: &Plan, name: &str) -> Answer {
    let Plan { slug: _, agent: _, egress, gate, supervise: _, pipelock: _, bundled: _, images: _ } = plan;
    let mut verdicts = Vec::new();
    let mut notes = Vec::new();
    if let Some(Egress { policy, secrets }) = egress
        && let Some(credential) = policy.credentials.get(name)
    {
        notes.push("egress holds it; the agent never sees it".to_owned());
        let routes = policy.routes.iter().filter(|route| route.credential.as_deref() == Some(name));
        verdicts.extend(routes.map(|route| Verdict {
            subject: place(route),
            allowed: true,
            rule: Some(route.source.clone()),
            credential: Some(used(name, credential, secrets)),
            ..Verdict::default()
        }));
    }
    if let Some(gate) = gate {
        let before = verdicts.len();
        verdicts.extend(
            gate.policy
                .repositories
                .iter()
                .filter_map(|(repository, policy)| of_repository(gate, repository, policy, name)),
        );
        if verdicts.len() > before {
            notes.push("git-gate holds it; the agent never sees it".to_owned());
        }
    }
    let question = format!("credential {name}");
    if verdicts.is_empty() {
        let hint = "name it as the `credential` of a route or of a repository in bottle.yaml";
        verdicts.push(Verdict {
            subject: question.clone(),
            detail: Some("it travels nowhere: no route and no repository uses it".to_owned()),
            hint: Some(hint.to_owned()),
            ..Verdict::default()
        });
    }
    Answer::new(question, verdicts, notes)
}

fn of_repository(gate: &Gate, repository: &str, policy: &Repository, name: &str) -> Option<Verdict> {
    let Upstream::Https(upstream) = &policy.upstream else { return None };
    let credential = upstream.credential.as_ref().filter(|credential| credential.name == name)?;
    Some(Verdict {
        subject: format!("{} (repository `{repository}`)", upstream.url),
        allowed: true,
        rule: Some(policy.source.clone()),
        credential: Some(Use {
            name: name.to_owned(),
            rule: policy.source.clone(),
            carried: format!("the password of `Authorization: Basic` for `{}`", credential.username),
            from: origin(&credential.source, &gate.secrets),
        }),
        ..Verdict::default()
    })
}

/// What a route allows, in one line.
fn place(route: &Route) -> String {
    let scheme = match route.scheme {
        Scheme::Https => "https",
        Scheme::Http => "http",
    };
    let ports: Vec<_> = route.ports.iter().map(u16::to_string).collect();
    let (host, ports) = (&route.host, ports.join(","));
    format!("{} {scheme}://{host}:{ports} {}", route.methods.join(","), route.paths.join(" "))
}
