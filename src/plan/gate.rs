//! The git gate's part of the plan.

use indexmap::IndexMap;

use super::secret::{self, ETC, Secret};
use super::supervise;
use super::{hosts, path};
use crate::manifest::values::{GitUrl, Transport};
use crate::manifest::{Bottle, Credential, Loaded, Map, Operation, PushRule, Repository};
use crate::policy::gate::{
    GatePolicy, HttpsCredential, HttpsUpstream, PushOperation, PushRule as Rule, Repository as Policy,
    SshKey, SshUpstream, Upstream, VERSION,
};

/// Where the gate's entrypoint puts the system's roots and the bottle's `extra_ca` together.
const CA_BUNDLE: &str = "/run/bottle/ca.pem";

/// The paths that a push may not touch, where the manifest says nothing.
const DEFAULT_PROTECT: [&str; 3] = ["bottle.yaml", "compose.yaml", ".bottle/**"];

/// The most that one push may carry, where the manifest says nothing.
const DEFAULT_MAX_PACK: u64 = 256 << 20;

/// The git gate.
#[derive(Clone, Debug)]
pub struct Gate {
    /// What its daemon and hooks go by.
    pub policy: GatePolicy,
    /// The file of known host keys.
    pub known_hosts: String,
    /// The addresses of hosts, instead of what DNS says.
    pub extra_hosts: IndexMap<String, String>,
    /// The files and secrets of the host that its container gets.
    pub secrets: Vec<Secret>,
    /// What each repository's remote is called outside of the bottle.
    pub remotes: Vec<Remote>,
}

/// What a repository's remote is called outside of the bottle.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remote {
    /// The repository's name at the gate.
    pub repository: String,
    /// Its URL.
    pub url: String,
    /// The URLs that people write for it.
    pub spellings: Vec<String>,
}

pub(super) fn plan(loaded: &Loaded, bottle: &Bottle) -> Option<Gate> {
    let repositories = bottle.git.as_ref().filter(|git| !git.is_empty())?;
    let none = Map::default();
    let credentials = bottle.credentials.as_ref().unwrap_or(&none);
    let mut gate = Gate {
        policy: GatePolicy { version: VERSION, ask: supervise::ask(bottle), repositories: IndexMap::new() },
        known_hosts: String::new(),
        extra_hosts: IndexMap::new(),
        secrets: Vec::new(),
        remotes: Vec::new(),
    };
    // `check` has shown that there are no conflicts.
    let parts = repositories
        .iter()
        .filter_map(|(name, repository)| Some((name.value.as_str(), repository.extra_hosts.as_ref()?)));
    gate.extra_hosts = hosts::merge(parts, &mut Vec::new());
    let authorities = bottle.egress.as_ref().and_then(|egress| egress.value.extra_ca.as_ref());
    let https = |repository: &Repository| repository.upstream.value.transport == Transport::Https;
    let authorities = authorities.filter(|_| repositories.iter().any(|(_, repository)| https(repository)));
    secret::authorities(loaded, authorities, &mut gate.secrets);
    for (name, repository) in repositories {
        let name_text = name.value.as_str();
        // The other fields are an SSH upstream's own.
        let Repository { upstream, credential, push, protect, max_pack, .. } = repository;
        let url = &upstream.value;
        let to = match url.transport {
            Transport::Ssh => Upstream::Ssh(ssh(loaded, name_text, repository, &mut gate)),
            Transport::Https => Upstream::Https(HttpsUpstream {
                url: https_url(url),
                credential: credential.as_ref().and_then(|name| credentials.get(name.value.as_str())).map(
                    |(name, credential)| {
                        https_credential(loaded, name.value.as_str(), credential, &mut gate.secrets)
                    },
                ),
                ca_file: authorities.map(|_| CA_BUNDLE.to_owned()),
            }),
        };
        gate.remotes.push(Remote {
            repository: name_text.to_owned(),
            url: url.to_string(),
            spellings: spellings(url),
        });
        let rules = push.iter().flat_map(|rules| rules.iter()).map(|rule| {
            let PushRule { refs, allow } = &rule.value;
            Rule {
                source: loaded.sources.file_line(rule.span),
                refs: refs.value.as_str().to_owned(),
                allow: allow.iter().map(|operation| push_operation(operation.value)).collect(),
            }
        });
        let policy = Policy {
            source: loaded.sources.file_line(name.span),
            upstream: to,
            push: rules.collect(),
            protect: match protect {
                Some(patterns) => patterns.iter().map(|pattern| pattern.value.as_str().to_owned()).collect(),
                None => DEFAULT_PROTECT.map(str::to_owned).to_vec(),
            },
            max_pack_bytes: max_pack.as_ref().map_or(DEFAULT_MAX_PACK, |memory| memory.value.bytes()),
        };
        gate.policy.repositories.insert(name_text.to_owned(), policy);
    }
    Some(gate)
}

/// An SSH upstream; what its container needs for it goes into the gate.
fn ssh(loaded: &Loaded, name: &str, repository: &Repository, gate: &mut Gate) -> SshUpstream {
    let Repository { upstream, identity_file, ssh_agent, known_host_key, .. } = repository;
    let url = &upstream.value;
    let pattern = known_hosts_pattern(&url.host, url.effective_port());
    for key in known_host_key.iter().flat_map(|keys| &keys.0) {
        let line = format!("{pattern} {}\n", key.value.as_str());
        if !gate.known_hosts.contains(&line) {
            gate.known_hosts.push_str(&line);
        }
    }
    let key = if ssh_agent.is_some() {
        let target = "/run/bottle-agent/operator.sock".to_owned();
        let socket = Secret::AgentSocket { target: target.clone() };
        if !gate.secrets.contains(&socket) {
            gate.secrets.push(socket);
        }
        SshKey::Agent(target)
    } else {
        let target = format!("{ETC}/identity/{name}");
        if let Some(file) = identity_file {
            gate.secrets.push(Secret::File { source: path(loaded, file), target: target.clone() });
        }
        SshKey::IdentityFile(target)
    };
    SshUpstream {
        user: url.user.clone(),
        host: url.host.clone(),
        port: url.effective_port(),
        path: url.path.clone(),
        known_hosts: format!("{ETC}/known_hosts"),
        key,
    }
}

fn push_operation(operation: Operation) -> PushOperation {
    match operation {
        Operation::Create => PushOperation::Create,
        Operation::FastForward => PushOperation::FastForward,
        Operation::Force => PushOperation::Force,
        Operation::Delete => PushOperation::Delete,
    }
}

fn https_credential(
    loaded: &Loaded,
    name: &str,
    credential: &Credential,
    secrets: &mut Vec<Secret>,
) -> HttpsCredential {
    let username = credential.inject.as_ref().and_then(|inject| inject.value.basic.as_ref());
    HttpsCredential {
        name: name.to_owned(),
        username: username.map_or("", |basic| basic.value.username.value.as_str()).to_owned(),
        source: secret::of_credential(loaded, name, credential, secrets),
    }
}

/// The host as `known_hosts` writes it: in brackets with the port where that isn't 22 (sshd(8), "`SSH_KNOWN_HOSTS` FILE
/// FORMAT").
pub(crate) fn known_hosts_pattern(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

fn https_url(url: &GitUrl) -> String {
    let host = url.url_host();
    match url.port.filter(|port| *port != 443) {
        Some(port) => format!("https://{host}:{port}{}", url.path),
        None => format!("https://{host}{}", url.path),
    }
}

/// The URLs that people write for one upstream: every scheme, with and without the user, the port and `.git`.
///
/// The list is of prefixes, as `url.<base>.insteadOf` is (git-config(1)); the longest match wins there.
pub(super) fn spellings(url: &GitUrl) -> Vec<String> {
    let path = url.repository();
    let host = url.url_host();
    let mut starts = Vec::new();
    let users: Vec<String> = match url.transport {
        Transport::Ssh => vec![format!("{}@", url.user), String::new()],
        Transport::Https => vec!["git@".to_owned(), String::new()],
    };
    let ssh_port = match url.transport {
        Transport::Ssh => url.effective_port(),
        Transport::Https => 22,
    };
    for scheme in ["ssh", "git+ssh", "ssh+git"] {
        for user in &users {
            if ssh_port == 22 {
                starts.push(format!("{scheme}://{user}{host}/"));
            }
            starts.push(format!("{scheme}://{user}{host}:{ssh_port}/"));
        }
    }
    // The scp form has no place for a port; where the port isn't 22 it would mean another upstream.
    if ssh_port == 22 {
        for user in &users {
            starts.push(format!("{user}{host}:"));
            starts.push(format!("{user}{host}:/"));
        }
    }
    let https_port = match url.transport {
        Transport::Https => url.effective_port(),
        Transport::Ssh => 443,
    };
    let mut authorities = vec![format!("{host}:{https_port}")];
    if https_port == 443 {
        authorities.push(host.clone());
    }
    for authority in authorities {
        starts.push(format!("https://{authority}/"));
        if let Transport::Ssh = url.transport {
            starts.push(format!("https://{}@{authority}/", url.user));
        }
    }
    starts.iter().flat_map(|start| [format!("{start}{path}"), format!("{start}{path}.git")]).collect()
}
