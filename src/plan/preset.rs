//! What a preset brings into the plan, and what it needs of the bottle: a route to its model, with a credential.
//!
//! The route stands in the manifest and not in the preset: what the agent reaches, and with whose credential, is what people
//! review there, and what `bottle diff` and `bottle explain` speak of.

use indexmap::IndexMap;

use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::source::Spanned;
use crate::manifest::values::{HostPath, PathBase};
use crate::manifest::{self, Agent, Bottle, Loaded, Map};
use crate::policy::egress::{EgressPolicy, Inject, Scheme};
use crate::policy::host::Host;
use crate::policy::rules::{Request, Rules, Target};
use crate::preset::{Key, Model, Preset};

use super::{Path, egress, path};

/// Something of the host that the agent reads.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it is.
    pub source: Path,
    /// Where its container has it.
    pub target: String,
}

/// Where an agent without a place of its own for them has its instructions and its skills.
const PROMPT: &str = "/etc/bottle/prompt.md";
const SKILLS: &str = "/etc/bottle/skills";

/// The environment variables of the agent: the preset's own, and the one that stands for the credential of its model.
pub(super) fn environment(
    preset: &Preset,
    bottle: &Bottle,
    policy: Option<&EgressPolicy>,
) -> IndexMap<String, String> {
    let mut environment = preset.description.environment.clone();
    let model = preset.description.model.as_ref();
    if let (Some(model), Some(policy)) = (model, policy)
        && let Some(Credential { name, variable: Some(variable) }) = credential(model, policy)
        && !has_placeholder(bottle, &name)
    {
        environment.insert(variable, egress::placeholder(&name));
    }
    environment
}

/// What of the host the agent reads: its instructions and its skills.
pub(super) fn mounts(loaded: &Loaded, agent: &Agent) -> Vec<Mount> {
    let preset = agent.preset.as_ref().map(|preset| loaded.preset(preset));
    let description = preset.as_ref().map(|preset| &preset.description);
    let prompt_place = description.map_or(PROMPT, |description| description.prompt.as_str());
    let skills_place = description.map_or(SKILLS, |description| description.skills.as_str());
    let prompt = agent.prompt.iter().map(|prompt| (prompt, prompt_place.to_owned()));
    let skills = agent.skills.iter().flat_map(|skills| skills.iter());
    let skills = skills.filter_map(|skill| Some((skill, format!("{skills_place}/{}", skill_name(skill)?))));
    prompt.chain(skills).map(|(source, target)| Mount { source: path(loaded, source), target }).collect()
}

/// The name of a skill is its directory's.
fn skill_name(skill: &Spanned<HostPath>) -> Option<&str> {
    let name = skill.value.rest.rsplit('/').next()?;
    (!name.is_empty() && name != "..").then_some(name)
}

/// Skills that would have no name, or the same one.
pub(super) fn check_skills(agent: &Agent, errors: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(&str, &Spanned<HostPath>)> = Vec::new();
    for skill in agent.skills.iter().flat_map(|skills| skills.iter()) {
        let Some(name) = skill_name(skill) else {
            // A whole home directory or the root is refused as what it is.
            if skill.value.base != PathBase::File {
                continue;
            }
            errors.push(
                Diagnostic::new(skill.span, "this directory gives the skill no name")
                    .hint("name the skill's own directory, such as `skills/review`"),
            );
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == name) {
            errors.push(
                Diagnostic::new(skill.span, format!("two skills are called `{name}`"))
                    .note(first.span, "the first one is here")
                    .hint("the directory's name is the skill's; rename one of them"),
            );
        }
        seen.push((name, skill));
    }
}

/// Says what is missing where the preset's client would not reach its model.
pub(super) fn check(
    loaded: &Loaded,
    agent: &Agent,
    bottle: &Bottle,
    policy: Option<&EgressPolicy>,
) -> Option<Diagnostic> {
    let named = agent.preset.as_ref()?;
    let preset = loaded.preset(named);
    let model = preset.description.model.as_ref()?;
    let of_agent = agent.env.iter().flat_map(Map::iter);
    if of_agent.clone().any(|(name, _)| model.elsewhere.iter().any(|known| known == name.value.as_str())) {
        return None;
    }
    let hint = format!(
        "add to the bottle `{}`:\n{}\nor, for a model elsewhere, set {} in the agent's `env`",
        agent.bottle.value.as_str(),
        lines(model),
        model.elsewhere.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
    );
    let Some(found) = policy.and_then(|policy| credential(model, policy)) else {
        let what = format!(
            "the preset `{}` has no route with a credential to its model at {}",
            preset.name, model.host
        );
        return Some(Diagnostic::new(named.span, what).hint(hint));
    };
    let given = of_agent.clone().any(|(name, _)| model.keys.iter().any(|key| key.env == name.value.as_str()));
    if found.variable.is_some() || has_placeholder(bottle, &found.name) || given {
        return None;
    }
    let what = format!(
        "the client of the preset `{}` knows no variable for a credential of the form of `{}`",
        preset.name, found.name
    );
    let forms = model.keys.iter().map(|key| format!("`inject: {{ {} }}`", form(&key.inject)));
    let hint = format!(
        "write {}, or give it a `placeholder` with the variable that the client looks for",
        forms.collect::<Vec<_>>().join(" or ")
    );
    let of_bottle = bottle.credentials.as_ref().and_then(|credentials| credentials.get(&found.name));
    let error = Diagnostic::new(named.span, what).hint(hint);
    Some(match of_bottle {
        Some((name, _)) => error.note(name.span, "the credential is here"),
        None => error,
    })
}

/// The credential with which requests to the model leave, and the variable by which the client takes one of its form.
struct Credential {
    name: String,
    variable: Option<String>,
}

fn credential(model: &Model, policy: &EgressPolicy) -> Option<Credential> {
    let rules = Rules::new(policy, &[]).ok()?;
    let host = Host::parse(&model.host).ok()?;
    let target = Target { scheme: Scheme::Https, host: &host, port: 443 };
    let (method, path) = (model.methods.first()?, model.paths.first()?);
    let route = rules.judge(&Request { target, method, path, websocket: false }).ok()?;
    let name = route.credential.clone()?;
    let inject = &policy.credentials.get(&name)?.inject;
    let key = model.keys.iter().find(|key| key.inject == *inject);
    Some(Credential { name, variable: key.map(|key| key.env.clone()) })
}

fn has_placeholder(bottle: &Bottle, name: &str) -> bool {
    let credentials = bottle.credentials.as_ref();
    credentials.and_then(|credentials| credentials.get(name)).is_some_and(|(_, found)| {
        let manifest::Credential { source: _, inject: _, placeholder } = found;
        placeholder.is_some()
    })
}

/// The lines of a manifest that give the client its model.
fn lines(model: &Model) -> String {
    let lines = model.keys.first().map(|key| ModelLines::new(model, key));
    let ModelLines { route, credential } = lines.unwrap_or_default();
    format!("    egress:\n      routes:\n        - {route}\n    credentials:\n      {credential}")
}

/// What a manifest says of a preset's model: an entry of `routes` and one of `credentials`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelLines {
    pub(crate) route: String,
    pub(crate) credential: String,
}

impl ModelLines {
    pub(crate) fn new(model: &Model, key: &Key) -> Self {
        let Model { host, methods, paths, keys: _, elsewhere: _ } = model;
        let Key { inject, env } = key;
        let (methods, paths) = (methods.join(", "), paths.join(", "));
        Self {
            route: format!("{{ host: {host}, methods: [{methods}], paths: [{paths}], credential: model }}"),
            credential: format!("model: {{ source: {{ env: {env} }}, inject: {{ {} }} }}", form(inject)),
        }
    }
}

/// How the manifest writes the form of a credential.
fn form(inject: &Inject) -> String {
    match inject {
        Inject::Header(header) => format!("header: {header}"),
        Inject::Bearer => "bearer: true".to_owned(),
        Inject::Basic(username) => format!("basic: {{ username: {username} }}"),
    }
}
