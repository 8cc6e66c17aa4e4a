//! The text of the manifest.
//!
//! Values go through the escaping of rendered files, comments through [`neutral`]: each is one line, whatever it is made of.

use std::fmt::Write as _;

use super::packages::Manager;
use super::{Access, Key, Need, Proposal, Repository, Runs};
use crate::manifest::values::{HostPath, PathBase};
use crate::plan::ModelLines;
use crate::policy::egress::Route;
use crate::render::escape::json;
use crate::sidecar::supervise::rule::written;
use crate::sidecar::text::neutral;

/// The most characters of a text of somebody else in a comment.
const MAX_COMMENT: usize = 120;

/// Lines at an indentation.
struct Lines {
    text: String,
}

impl Lines {
    fn put(&mut self, indent: usize, line: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    fn comment(&mut self, indent: usize, line: &str) {
        self.put(indent, &format!("# {}", neutral(line.as_bytes())));
    }

    /// A line, or the same as a comment that a person may take the `# ` from.
    fn put_if(&mut self, active: bool, indent: usize, line: &str) {
        if active {
            self.put(indent, line);
        } else {
            self.put(indent, &format!("# {line}"));
        }
    }
}

/// A name as it stands in YAML: bare where no reader takes it for something else.
fn bare(name: &str) -> String {
    const TAKEN: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = name.starts_with(|first: char| first.is_ascii_lowercase()) && !TAKEN.contains(&name);
    if is_word { name.to_owned() } else { json(name) }
}

/// A text of somebody else for a comment or a message.
pub(crate) fn shortened(text: &str) -> String {
    let text = neutral(text.as_bytes());
    if text.chars().count() <= MAX_COMMENT {
        return text;
    }
    text.chars().take(MAX_COMMENT).chain(['…']).collect()
}

/// Writes the manifest.
pub(crate) fn manifest(proposal: &Proposal) -> String {
    let Proposal { slug, runs, model, repository, needs, supervise } = proposal;
    let slug = bare(slug.as_str());
    let mut lines = Lines { text: String::new() };
    lines.comment(
        0,
        "What the agent may reach, with which credentials, and what it may push. Written by `bottle init`;",
    );
    lines.comment(0, "it is yours now. `bottle validate` checks it, `bottle graph` draws it, `bottle explain` answers for it.");
    lines.put(0, "bottles:");
    let routes: Vec<Route> = routes(needs);
    let is_closed = routes.is_empty()
        && model.is_none()
        && needs.is_empty()
        && supervise.is_none()
        && repository.is_none();
    if is_closed {
        lines.put(2, &format!("{slug}: {{}}"));
    } else {
        lines.put(2, &format!("{slug}:"));
    }
    egress(&mut lines, needs, model.as_ref(), !routes.is_empty() || model.is_some(), supervise.is_some());
    credentials(&mut lines, model.as_ref(), repository.as_ref());
    let has_clone = repository.as_ref().is_some_and(|repository| self::repository(&mut lines, repository));
    if let Some(port) = supervise {
        lines.comment(
            4,
            "Where you decide about what the agent asks for: a page on 127.0.0.1, and `bottle requests`.",
        );
        lines.put(4, &format!("supervise: {{ port: {port} }}"));
    } else if !is_closed && routes.is_empty() && model.is_none() && !has_clone {
        // What is above are comments alone.
        lines.put(4, "supervise: false");
    }
    lines.put(0, "agents:");
    lines.put(2, &format!("{slug}:"));
    lines.put(4, &format!("bottle: {slug}"));
    match runs {
        Runs::Preset(preset) => lines.put(4, &format!("preset: {preset}")),
        Runs::Image(image, command) => {
            lines.put(4, &format!("image: {}", json(image.as_str())));
            let command: Vec<String> = command.iter().map(|word| json(word)).collect();
            lines.put(4, &format!("command: [{}]", command.join(", ")));
        }
    }
    if let Some(repository) = repository {
        let clone = format!("workspace: {{ clone: {} }}", bare(repository.name.as_str()));
        lines.put_if(has_clone, 4, &clone);
    }
    lines.put(4, "# resources: { cpus: 2, memory: 4g, pids: 512 }");
    lines.text
}

/// The routes to all registries, each once.
fn routes(needs: &[Need]) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for route in needs.iter().flat_map(|need| &need.registries).map(super::registry::Registry::route) {
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

fn egress(lines: &mut Lines, needs: &[Need], model: Option<&ModelLines>, has_routes: bool, supervise: bool) {
    let active = has_routes || supervise;
    if !active && needs.is_empty() {
        return;
    }
    lines.put_if(active, 4, "egress:");
    if supervise {
        lines.comment(6, "A request to a host that no route names waits 20 seconds while you are asked. Without this it is refused at");
        lines.comment(6, "once, and the agent may ask.");
        lines.put(6, "on_refusal: ask");
    }
    lines.comment(
        6,
        "What may be reached over HTTPS: GET and HEAD, unless a route names `methods`. Nothing else is.",
    );
    lines.put_if(has_routes, 6, "routes:");
    if let Some(ModelLines { route, credential: _ }) = model {
        lines.comment(8, "The model of the agent. Egress puts the credential in; the agent never has it.");
        lines.put(8, &format!("- {route}"));
    }
    let mut written_already: Vec<Route> = Vec::new();
    for need in needs {
        let Need { manager, shown_by, registries } = need;
        let used = format!("{} ({})", manager.name(), shortened(shown_by));
        if registries.is_empty() {
            let why = match manager.asked() {
                Some(asked) => format!("{asked} names none"),
                None => "bottle can't ask for its own".to_owned(),
            };
            lines.comment(8, &format!("{used}: which registry? {why}. Fill in its host:"));
            lines.put(8, "# - { host: packages.example.org }");
            continue;
        }
        let asked = manager.asked().unwrap_or_default();
        lines.comment(8, &format!("{used}, named by {asked}."));
        for route in registries.iter().map(super::registry::Registry::route) {
            if !written_already.contains(&route) {
                lines.put(8, &format!("- {}", written(&route)));
                written_already.push(route);
            }
        }
        if matches!(manager, Manager::Python | Manager::Cargo) {
            lines.comment(
                8,
                "Where its files are on another host, `bottle audit --code route-missing` shows which.",
            );
        }
    }
    if needs.is_empty() {
        lines.put(8, "# - { host: docs.example.org }");
    }
}

/// Writes the credentials of the model and of the repository.
fn credentials(lines: &mut Lines, model: Option<&ModelLines>, repository: Option<&Repository>) {
    let variable = repository.and_then(|repository| match &repository.access {
        Access::Https(variable) => Some(variable),
        Access::Ssh { .. } => None,
    });
    if model.is_none() && variable.is_none() {
        return;
    }
    lines.put(4, "credentials:");
    lines.comment(6, "Compose reads the variables when it starts the bottle. Only the sidecar that uses one gets its value; no file has it.");
    if let Some(ModelLines { route: _, credential }) = model {
        lines.put(6, credential);
    }
    if let Some(variable) = variable {
        lines.put(6, "git:");
        lines.put(8, &format!("source: {{ env: {} }}", variable.as_str()));
        lines.comment(8, "The user name that goes with the token: some hosts want your own.");
        lines.put(8, "inject: { basic: { username: x-access-token } }");
    }
}

/// Writes the repository; whether it is there or only a comment.
fn repository(lines: &mut Lines, repository: &Repository) -> bool {
    let Repository { name, remote, upstream, access, default_branch } = repository;
    let active = match access {
        Access::Ssh { key: _, hosts } => !hosts.is_empty(),
        Access::Https(_) => true,
    };
    let name = bare(name.as_str());
    if !active {
        lines.comment(4, "No host key of the repository's host is known here. Fill it in, and take the `# ` away, here and at");
        lines.comment(4, "`workspace:` below: connect with `ssh` once and look at `ssh-keygen -F HOST`, or ask the host's owner.");
    }
    lines.put_if(active, 4, "git:");
    lines.put_if(active, 4, &format!("  {name}:"));
    lines.put_if(active, 4, &format!("    # The remote `{}`.", shortened(remote)));
    lines.put_if(active, 4, &format!("    upstream: {}", json(&upstream.to_string())));
    match access {
        Access::Https(_) => lines.put(8, "credential: git"),
        Access::Ssh { key, hosts } => {
            let key = match key {
                Key::Agent => "ssh_agent: true".to_owned(),
                Key::File(path) => format!("identity_file: {}", json(&shown(path))),
            };
            lines.put_if(active, 4, &format!("    {key}"));
            lines.put_if(active, 4, "    known_host_key:");
            for host in hosts {
                lines.put(10, &format!("- {}", json(host.as_str())));
            }
            if hosts.is_empty() {
                lines.put(4, "#       - ssh-ed25519 AAAA…");
            }
        }
    }
    lines.put_if(
        active,
        4,
        "    # Branches below agent/ may be made and moved forward. Nothing may be forced or deleted.",
    );
    if let Some(branch) = default_branch {
        let branch = shortened(branch);
        let line = format!("    # The default branch is `{branch}`; no rule with a wildcard opens it.");
        lines.put_if(active, 4, &line);
    }
    lines.put_if(active, 4, "    push:");
    lines.put_if(active, 4, "      - { refs: \"agent/**\", allow: [create, fast-forward] }");
    active
}

/// A path on the host as the manifest writes it.
pub(crate) fn shown(path: &HostPath) -> String {
    let HostPath { base, rest } = path;
    match base {
        PathBase::Home => format!("~/{rest}"),
        PathBase::Root => format!("/{rest}"),
        PathBase::File => format!("./{rest}"),
    }
}
