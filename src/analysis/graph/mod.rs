//! `bottle graph`: a picture of a bottle.
//!
//! [`Picture`] is what there is to see, the same for every format: boxes in three columns, and arrows from the left to the
//! right. The agent is left, what it can ask of the sidecars is in the middle, and what those reach is right. The arrows name
//! the network or the credential that a request gets on the way.

mod dot;
mod mermaid;
mod svg;

use crate::manifest::source::shown;
use crate::manifest::values::PathBase;
use crate::plan::{Agent, Egress, Gate, Image, Pipelock, Plan, Secret, Supervise};
use crate::policy::egress::{Route, Scheme};
use crate::policy::gate::{Repository, SshKey, Upstream};

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;

/// What there is to see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Picture {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// A box.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Node {
    column: Column,
    title: String,
    lines: Vec<String>,
}

/// Where a box stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Column {
    /// The agent.
    Agent,
    /// A sidecar.
    Sidecar,
    /// What a sidecar reaches, or who reaches it.
    Outside,
}

/// An arrow between boxes, by their numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
}

impl Picture {
    /// Makes the picture of a plan.
    pub fn new(plan: &Plan) -> Self {
        let Plan { slug, agent, egress, gate, supervise, pipelock, bundled, images: _ } = plan;
        let mut picture = Self { title: format!("bottle-{slug}"), nodes: Vec::new(), edges: Vec::new() };
        let alone = egress.is_none() && gate.is_none();
        let lines = of_agent(agent, alone);
        let from = picture.node(Column::Agent, &format!("agent {slug}"), &lines);
        if let Some(egress) = egress {
            let sidecar = picture.egress(from, egress);
            if let Some(Pipelock { image, config }) = pipelock {
                let lines =
                    vec![image.clone(), format!("mode {}", config.mode.text()), "reaches nothing".to_owned()];
                let scanner = picture.node(Column::Outside, "pipelock", &lines);
                picture.edge(sidecar, scanner, "inspect");
            }
        }
        if let Some(gate) = gate {
            picture.gate(from, gate);
        }
        if let Some(Supervise { port }) = supervise {
            let lines = vec!["what the agent may ask for".to_owned()];
            let sidecar = picture.node(Column::Sidecar, "supervise", &lines);
            picture.edge(from, sidecar, "inside");
            let page = vec![format!("page on 127.0.0.1:{port}"), "approves and rejects".to_owned()];
            let operator = picture.node(Column::Outside, "operator", &page);
            picture.edge(sidecar, operator, "operator");
        }
        if *bundled {
            let sidecars = picture.nodes.iter_mut().filter(|node| node.column == Column::Sidecar);
            sidecars
                .for_each(|sidecar| sidecar.lines.insert(0, "in one container with the others".to_owned()));
        }
        picture
    }

    fn node(&mut self, column: Column, title: &str, lines: &[String]) -> usize {
        let lines = lines.iter().map(|line| shown(line)).collect();
        self.nodes.push(Node { column, title: shown(title), lines });
        self.nodes.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, label: &str) {
        self.edges.push(Edge { from, to, label: shown(label) });
    }

    fn egress(&mut self, agent: usize, Egress { policy, secrets }: &Egress) -> usize {
        let mut lines = held(secrets);
        lines.extend(policy.deny.iter().map(|deny| format!("denies {}", deny.host)));
        lines.extend(policy.upstream_proxy.iter().map(|proxy| format!("goes out by {proxy}")));
        if policy.routes.is_empty() {
            lines.push("no route leads anywhere".to_owned());
        }
        let sidecar = self.node(Column::Sidecar, "egress", &lines);
        self.edge(agent, sidecar, "inside");
        for route in &policy.routes {
            let Route { host, scheme, ports, methods, paths, websocket, private, credential, .. } = route;
            let scheme = if *scheme == Scheme::Https { "https" } else { "http" };
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            let mut lines = vec![format!("{} {}", methods.join(", "), paths.join(", "))];
            lines.extend(websocket.then(|| "WebSockets".to_owned()));
            lines.extend(private.then(|| "private addresses".to_owned()));
            let title = format!("{scheme}://{host}:{}", ports.join(","));
            let to = self.node(Column::Outside, &title, &lines);
            let label = credential.as_ref().map_or("outside".to_owned(), |name| format!("with {name}"));
            self.edge(sidecar, to, &label);
        }
        sidecar
    }

    fn gate(
        &mut self,
        agent: usize,
        Gate { policy, known_hosts: _, extra_hosts: _, secrets, remotes: _ }: &Gate,
    ) {
        let sidecar = self.node(Column::Sidecar, "git-gate", &held(secrets));
        self.edge(agent, sidecar, "inside");
        for (name, repository) in &policy.repositories {
            let Repository { source: _, upstream, push, protect: _, max_pack_bytes: _ } = repository;
            let (url, label) = match upstream {
                Upstream::Ssh(ssh) => {
                    let key = match ssh.key {
                        SshKey::IdentityFile(_) => "with its key",
                        SshKey::Agent(_) => "with the SSH agent",
                    };
                    (format!("ssh://{}:{}", ssh.host, ssh.port), key.to_owned())
                }
                Upstream::Https(https) => {
                    let label =
                        https.credential.as_ref().map(|credential| format!("with {}", credential.name));
                    (https.url.clone(), label.unwrap_or_else(|| "outside".to_owned()))
                }
            };
            let mut lines = vec![url];
            if push.is_empty() {
                lines.push("fetch only".to_owned());
            }
            lines.extend(push.iter().map(|rule| {
                let operations: Vec<_> = rule.allow.iter().map(|operation| operation.text()).collect();
                let refs = rule.refs.strip_prefix("refs/heads/").unwrap_or(&rule.refs);
                format!("push {refs}: {}", operations.join(", "))
            }));
            let to = self.node(Column::Outside, &format!("repository {name}"), &lines);
            self.edge(sidecar, to, &label);
        }
    }
}

fn of_agent(agent: &Agent, alone: bool) -> Vec<String> {
    let Agent {
        image,
        command: _,
        environment: _,
        mounts: _,
        clone,
        mount,
        cpus: _,
        memory: _,
        pids: _,
        runtime,
    } = agent;
    let mut lines = vec![match image {
        Image::Preset(preset) => format!("preset {}", preset.name),
        Image::Named(name) => name.clone(),
        Image::Build(path) => format!("built from {}", path.written.rest),
    }];
    lines.extend(runtime.iter().map(|runtime| format!("runtime {runtime}")));
    lines.extend(clone.iter().map(|clone| format!("workspace: {clone}")));
    lines.extend(mount.iter().map(|mounted| {
        let written = &mounted.source.written.rest;
        format!("workspace: ./{written} of the host")
    }));
    lines.push("holds no secret".to_owned());
    if alone {
        lines.push("has no network".to_owned());
    }
    lines
}

/// The secrets that a sidecar holds.
fn held(secrets: &[Secret]) -> Vec<String> {
    let secret = |secret: &Secret| match secret {
        // Certificates are no secret.
        Secret::File { target, .. } if target.contains("/ca/") => None,
        Secret::File { source, .. } => {
            let start = match source.written.base {
                PathBase::Home => "~/",
                PathBase::Root => "/",
                PathBase::File => "",
            };
            Some(format!("holds {start}{}", source.written.rest))
        }
        Secret::AgentSocket { .. } => Some("holds the operator's SSH agent".to_owned()),
        Secret::Env { source, .. } => Some(format!("holds ${source}")),
    };
    secrets.iter().filter_map(secret).collect()
}
