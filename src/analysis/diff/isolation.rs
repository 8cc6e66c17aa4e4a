//! What changes of the containers: what runs, on which networks, with what of the host, and within which limits.
//!
//! All parts of a plan are taken apart by name, so that one that is added later is not forgotten here.

use indexmap::IndexMap;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Change, Policies, What};
use crate::manifest::values::PathBase;
use crate::plan::amount::bytes;
use crate::plan::{Agent, Egress, Gate, Image, Mount, Mounted, Path, Pipelock, Plan, Secret, Supervise};
use crate::policy::egress::{EgressPolicy, Inject};
use crate::policy::gate::{GatePolicy, HttpsCredential, HttpsUpstream, Repository, SshUpstream, Upstream};
use crate::preset::Description;

/// Something that has one value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Setting {
    /// What it is.
    pub name: String,
    /// Its value before.
    pub old: Option<String>,
    /// Its value now.
    pub new: Option<String>,
}

/// How much a value lets through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weight {
    /// Nothing that counts.
    Nothing,
    /// More than where there is none; another one may be more.
    Opens,
    /// So much; nothing of the kind where there is none.
    Amount(f64),
    /// At most so much; without one there is no limit.
    Limit(f64),
    /// Less than where there is none; another one may be less.
    Holds,
    /// What goes where is another thing with each value, and without one.
    Leads,
}

/// The settings of a plan by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(pub(super) IndexMap<String, (String, Weight)>);

impl Settings {
    pub(super) fn put(&mut self, name: impl Into<String>, value: impl Into<String>, weight: Weight) {
        self.0.insert(name.into(), (value.into(), weight));
    }
}

/// Compares the settings of two plans. An agent that is new or gone has no settings to compare but those that open something.
pub(super) fn changes(old: Option<&Plan>, new: Option<&Plan>) -> Vec<Change> {
    let of = |plan: Option<&Plan>| plan.map(settings).unwrap_or_default();
    compare(&of(old), &of(new), old.is_none() || new.is_none())
}

/// Compares those settings that stand in the sidecars' policies.
pub(super) fn of_policies(old: &Policies, new: &Policies) -> Vec<Change> {
    let of = |policies: &Policies| {
        let Policies { egress, gate } = policies;
        let mut settings = Settings::default();
        if let Some(policy) = egress {
            of_egress(policy, &mut settings);
        }
        if let Some(policy) = gate {
            of_gate(policy, &mut settings);
        }
        settings
    };
    compare(&of(old), &of(new), false)
}

pub(super) fn compare(old_settings: &Settings, new_settings: &Settings, one_sided: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let gone = old_settings.0.keys().filter(|name| !new_settings.0.contains_key(*name));
    for name in new_settings.0.keys().chain(gone) {
        let (before, now) = (old_settings.0.get(name), new_settings.0.get(name));
        if before.map(|(value, _)| value) == now.map(|(value, _)| value) {
            continue;
        }
        if one_sided && !matches!(before.or(now), Some((_, Weight::Opens))) {
            continue;
        }
        let widens = match (before.map(|(_, weight)| weight), now.map(|(_, weight)| weight)) {
            (Some(Weight::Holds | Weight::Leads), _) | (_, Some(Weight::Opens | Weight::Leads)) => true,
            (Some(Weight::Amount(before)), Some(Weight::Amount(now)))
            | (Some(Weight::Limit(before)), Some(Weight::Limit(now))) => now > before,
            (before, now) => matches!((before, now), (Some(Weight::Limit(_)), None)),
        };
        let value = |setting: Option<&(String, Weight)>| setting.map(|(value, _)| value.clone());
        let setting = Setting { name: name.clone(), old: value(before), new: value(now) };
        changes.push(Change { widens, what: What::Setting(setting) });
    }
    changes
}

fn settings(plan: &Plan) -> Settings {
    let Plan { slug: _, agent: of_agent, egress, gate, supervise, pipelock, bundled, images } = plan;
    let mut settings = Settings::default();
    let network = egress.is_some() || gate.is_some();
    settings.put(
        "network of the agent",
        if network { "inside" } else { "none" },
        if network { Weight::Opens } else { Weight::Nothing },
    );
    agent(of_agent, &mut settings);
    if network {
        // What shares a kernel's namespaces is nearer to each other than what does not.
        let (value, weight) =
            if *bundled { ("one for all", Weight::Opens) } else { ("one each", Weight::Nothing) };
        settings.put("containers of the sidecars", value, weight);
    }
    if let Some(images) = images {
        // Digests are compared where their file is: `git diff` shows them.
        settings.put("registry of the sidecars' images", images.registry.as_str(), Weight::Opens);
    }
    if let Some(Egress { policy, secrets }) = egress {
        of_egress(policy, &mut settings);
        of_secrets("egress", secrets, &mut settings);
    }
    if let Some(Gate { policy, known_hosts, extra_hosts, secrets, remotes: _ }) = gate {
        of_gate(policy, &mut settings);
        for line in known_hosts.lines() {
            settings.put(format!("known host key `{line}`"), "trusted", Weight::Opens);
        }
        for (host, address) in extra_hosts {
            settings.put(format!("address of {host} in git-gate"), address, Weight::Leads);
        }
        of_secrets("git-gate", secrets, &mut settings);
    }
    if let Some(Supervise { port }) = supervise {
        settings.put("sidecar supervise", "runs", Weight::Opens);
        settings.put("port of the operator's page", port.to_string(), Weight::Nothing);
    }
    if let Some(Pipelock { image, config }) = pipelock {
        settings.put("image of pipelock", image, Weight::Holds);
        settings.put("mode of pipelock", config.mode.text(), Weight::Holds);
    }
    settings
}

fn agent(agent: &Agent, settings: &mut Settings) {
    let Agent { image, command, environment, mounts, clone, mount, cpus, memory, pids, runtime } = agent;
    let described = match image {
        Image::Preset(preset) => format!("preset {}", preset.name),
        Image::Named(name) => format!("image {name}"),
        Image::Build(from) => format!("built from {}", path(from)),
    };
    settings.put("image of the agent", described, Weight::Nothing);
    if let Image::Preset(preset) = image
        && preset.is_own
    {
        for (name, text) in preset.build.iter().chain(&preset.templates) {
            // What is in it is for a review of the file itself: here is only that it is another one.
            settings.put(format!("file {name} of the preset"), digest(text), Weight::Nothing);
        }
        let Description {
            command: _,
            // No part of the bundle: what bottle says to do next.
            session: _,
            build: _,
            environment: _,
            model: _,
            files,
            prompt: _,
            skills: _,
            links,
        } = &preset.description;
        for file in files {
            let place = file.target.clone().or_else(|| file.once.as_ref().map(|path| format!("~/{path}")));
            settings.put(
                format!("place of {} of the preset", file.name),
                place.unwrap_or_default(),
                Weight::Nothing,
            );
        }
        for link in links {
            settings.put(format!("link ~/{} of the agent", link.path), &link.target, Weight::Nothing);
        }
    }
    let of_preset = match image {
        Image::Preset(preset) if preset.is_own => Some(&preset.description.command),
        _ => None,
    };
    if let Some(command) = command.as_ref().or(of_preset) {
        settings.put("command of the agent", command.join(" "), Weight::Nothing);
    }
    for (name, value) in environment {
        settings.put(format!("environment variable {name} of the agent"), value, Weight::Nothing);
    }
    for Mount { source, target } in mounts {
        settings.put(format!("read-only {target} of the agent"), path(source), Weight::Opens);
    }
    if let Some(clone) = clone {
        settings.put("repository in the workspace", clone, Weight::Nothing);
    }
    if let Some(Mounted { source, directory: _, closed, elsewhere: _ }) = mount {
        settings.put("directory of the host in the workspace, writable", path(source), Weight::Opens);
        for closed in closed {
            settings.put(format!("read-only {closed} in the workspace"), "closed", Weight::Holds);
        }
    }
    if let Some(cpus) = cpus {
        settings.put("processors of the agent", cpus, Weight::Limit(cpus.parse().unwrap_or(f64::INFINITY)));
    }
    settings.put("memory of the agent", memory, Weight::Amount(bytes(memory)));
    settings.put("processes of the agent", pids.to_string(), Weight::Amount(f64::from(*pids)));
    if let Some(runtime) = runtime {
        settings.put("runtime of the agent", runtime, Weight::Holds);
    }
}

/// What tells one text from another.
fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    format!("sha256:{:016x}", u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default()))
}

fn of_egress(policy: &EgressPolicy, settings: &mut Settings) {
    settings.put("sidecar egress", "runs", Weight::Opens);
    // Routes, deny rules and where credentials travel are compared as sets; certificates are files of the host.
    let EgressPolicy {
        version: _,
        deny: _,
        extra_hosts,
        upstream_proxy,
        extra_ca: _,
        credentials,
        ask: _,
        on_refusal,
        scanner,
        routes: _,
    } = policy;
    for (host, address) in extra_hosts {
        settings.put(format!("address of {host} in egress"), address.to_string(), Weight::Leads);
    }
    if let Some(proxy) = upstream_proxy {
        settings.put("proxy of egress", proxy, Weight::Leads);
    }
    for (name, credential) in credentials {
        let carried = match &credential.inject {
            Inject::Header(header) => format!("header {header}"),
            Inject::Bearer => "bearer".to_owned(),
            Inject::Basic(user) => format!("basic for {user}"),
        };
        settings.put(format!("form of the credential {name}"), carried, Weight::Nothing);
    }
    if let Some(scanner) = scanner {
        settings.put("scanner of what leaves", scanner, Weight::Holds);
    }
    if on_refusal.is_some() {
        settings.put("requests without a route", "are held for an approval", Weight::Nothing);
    }
}

fn of_gate(policy: &GatePolicy, settings: &mut Settings) {
    settings.put("sidecar git-gate", "runs", Weight::Opens);
    // Where to ask is supervise's to say.
    let GatePolicy { version: _, ask: _, repositories } = policy;
    for (name, repository) in repositories {
        of_repository(name, repository, settings);
    }
}

fn of_repository(name: &str, repository: &Repository, settings: &mut Settings) {
    // The push rules and the protected paths are compared as sets.
    let Repository { source: _, upstream, push: _, protect: _, max_pack_bytes } = repository;
    let upstream = match upstream {
        Upstream::Ssh(SshUpstream { user, host, port, path, known_hosts: _, key: _ }) => {
            format!("ssh://{user}@{host}:{port} {path}")
        }
        Upstream::Https(HttpsUpstream { url, credential, ca_file: _ }) => {
            if let Some(HttpsCredential { name: credential, username, source: _ }) = credential {
                settings.put(
                    format!("credential of the repository {name}"),
                    format!("{credential} for {username}"),
                    Weight::Opens,
                );
            }
            url.clone()
        }
    };
    settings.put(format!("repository {name}"), upstream, Weight::Opens);
    #[expect(clippy::cast_precision_loss, reason = "only the larger one is asked for")]
    let most = *max_pack_bytes as f64;
    settings.put(format!("most bytes of a push to {name}"), max_pack_bytes.to_string(), Weight::Amount(most));
}

fn of_secrets(sidecar: &str, secrets: &[Secret], settings: &mut Settings) {
    for secret in secrets {
        let (name, target) = match secret {
            Secret::File { source, target } => (format!("file {} in {sidecar}", path(source)), target),
            Secret::AgentSocket { target } => (format!("SSH agent of the operator in {sidecar}"), target),
            Secret::Env { source, target } => (format!("variable {source} in {sidecar}"), target),
        };
        // One file may be several things, and is told as all of them.
        let value = match settings.0.get(&name) {
            Some((known, _)) => format!("{known}, {target}"),
            None => target.clone(),
        };
        settings.put(name, value, Weight::Opens);
    }
}

/// A path as the manifest writes it.
fn path(path: &Path) -> String {
    let start = match path.written.base {
        PathBase::Home => "~/",
        PathBase::Root => "/",
        PathBase::File => "./",
    };
    format!("{start}{}", path.written.rest)
}
