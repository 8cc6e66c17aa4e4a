//! What is wrong with a manifest beyond its syntax.

mod egress;
mod workspace;

use std::collections::HashMap;

use super::gate::spellings;
use super::{hosts, preset};
use crate::manifest::diagnostic::{Diagnostic, said_once, suggest};
use crate::manifest::lexically_normal;
use crate::manifest::source::{Span, Spanned};
use crate::manifest::values::{Host, HostPath, Name, PathBase, Transport};
use crate::manifest::{Agent, Bottle, Credential, Loaded, Map, Repository};
use egress::known_credential;

/// The directory below `.bottle` that isn't an agent's.
const RESERVED_AGENT: &str = "docker";

pub(super) fn manifest(loaded: &Loaded) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    let none = Map::default();
    let bottles = loaded.manifest.bottles.as_ref().unwrap_or(&none);
    for (_, checked) in bottles {
        bottle(checked, &mut errors);
    }
    for (name, checked) in loaded.manifest.agents.iter().flat_map(Map::iter) {
        let found = bottles.get(checked.bottle.value.as_str()).map(|(_, bottle)| bottle);
        if found.is_none() {
            let wanted = checked.bottle.value.as_str();
            errors.push(
                Diagnostic::new(checked.bottle.span, format!("there is no bottle `{wanted}`"))
                    .hint(suggest(wanted, bottles.names())),
            );
        }
        agent(name, checked, found, loaded, &mut errors);
    }
    said_once(&mut errors);
    errors
}

/// Says which of several keys is meant when not exactly one of them is there.
pub(super) fn exactly_one(
    span: Span,
    what: &str,
    keys: &[(&str, Option<Span>)],
    errors: &mut Vec<Diagnostic>,
) {
    let names = keys.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    let mut given = keys.iter().filter_map(|(_, span)| *span);
    match (given.next(), given.next()) {
        (None, _) => errors.push(Diagnostic::new(span, format!("{what} needs {names}"))),
        (Some(first), Some(second)) => errors.push(
            Diagnostic::new(second, format!("{what} has more than one of {names}"))
                .note(first, "the first one is here")
                .hint("keep one of them"),
        ),
        (Some(_), None) => {}
    }
}

fn bottle(bottle: &Bottle, errors: &mut Vec<Diagnostic>) {
    let Bottle { extends: _, egress, credentials, git, supervise, pipelock: _, sidecars: _ } = bottle;
    if let Some(on_refusal) = egress.as_ref().and_then(|egress| egress.value.on_refusal.as_ref()) {
        egress::on_refusal(on_refusal, supervise.as_ref(), errors);
    }
    let none = Map::default();
    let credentials = credentials.as_ref().unwrap_or(&none);
    egress::credentials(credentials, errors);
    for checked in
        egress.iter().filter_map(|egress| egress.value.routes.as_ref()).flat_map(|routes| routes.iter())
    {
        egress::route(checked, credentials, errors);
    }
    for path in
        egress.iter().filter_map(|egress| egress.value.extra_ca.as_ref()).flat_map(|paths| paths.iter())
    {
        file_source(path, "`extra_ca`", errors);
    }
    let repositories = git.iter().flat_map(Map::iter);
    for (name, checked) in repositories.clone() {
        repository(name, checked, credentials, errors);
    }
    same_remote(git.iter().flat_map(Map::iter), errors);
    let parts = repositories
        .filter_map(|(name, repository)| Some((name.value.as_str(), repository.extra_hosts.as_ref()?)));
    let all = parts.clone().map(|(_, hosts)| hosts);
    for (host, _) in
        all.chain(egress.iter().filter_map(|egress| egress.value.extra_hosts.as_ref())).flat_map(Map::iter)
    {
        names_no_address(host, errors);
    }
    hosts::merge(parts, errors);
}

/// `/etc/hosts` gives addresses to names, and Compose refuses some addresses in the place of a name.
fn names_no_address(host: &Spanned<Host>, errors: &mut Vec<Diagnostic>) {
    if host.value.as_str().trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        errors.push(
            Diagnostic::new(
                host.span,
                format!("`{}` is an address, and needs no other", host.value.as_str()),
            )
            .hint("`extra_hosts` gives addresses to names"),
        );
    }
}

/// Two repositories whose remotes people write alike: the agent's git could take only one of them.
fn same_remote<'a>(
    repositories: impl Iterator<Item = &'a (Spanned<Name>, Repository)>,
    errors: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<String, &Spanned<Name>> = HashMap::new();
    for (name, repository) in repositories {
        for spelling in spellings(&repository.upstream.value) {
            if let Some(first) = seen.insert(spelling, name)
                && first.span != name.span
            {
                errors.push(
                    Diagnostic::new(
                        repository.upstream.span,
                        format!(
                            "the repositories `{}` and `{}` have the same upstream",
                            first.value.as_str(),
                            name.value.as_str()
                        ),
                    )
                    .note(first.span, "the first one is here")
                    .hint("declare it once: its URL can lead to only one of them"),
                );
                break;
            }
        }
    }
}

fn repository(
    name: &Spanned<Name>,
    repository: &Repository,
    credentials: &Map<Name, Credential>,
    errors: &mut Vec<Diagnostic>,
) {
    let Repository {
        upstream,
        identity_file,
        ssh_agent,
        credential,
        known_host_key,
        extra_hosts: _,
        push: _,
        protect: _,
        max_pack: _,
    } = repository;
    let what = format!("the repository `{}`", name.value.as_str());
    match upstream.value.transport {
        Transport::Ssh => {
            let keys = [
                ("identity_file", identity_file.as_ref().map(|file| file.span)),
                ("ssh_agent", ssh_agent.as_ref().map(|agent| agent.span)),
            ];
            exactly_one(upstream.span, &format!("{what}, which is reached by SSH,"), &keys, errors);
            if let Some(credential) = credential {
                errors.push(
                    Diagnostic::new(
                        credential.span,
                        format!("{what} is reached by SSH, which uses no credential"),
                    )
                    .hint("name a key with `identity_file`, or write `ssh_agent: true`"),
                );
            }
            if known_host_key.is_none() {
                let host = &upstream.value.host;
                errors.push(
                    Diagnostic::new(upstream.span, format!("{what} has no `known_host_key`, so its upstream could be anyone"))
                        .hint(format!(
                            "compare the fingerprint with your host's documentation, then add the output of `ssh-keyscan -p {} {host}` without the host name",
                            upstream.value.effective_port()
                        )),
                );
            }
            if let Some(file) = identity_file {
                file_source(file, &what, errors);
            }
        }
        Transport::Https => {
            let ssh_only = [
                ("identity_file", identity_file.as_ref().map(|file| file.span)),
                ("ssh_agent", ssh_agent.as_ref().map(|agent| agent.span)),
                (
                    "known_host_key",
                    known_host_key.as_ref().and_then(|keys| keys.0.first()).map(|key| key.span),
                ),
            ];
            for (key, span) in ssh_only {
                if let Some(span) = span {
                    errors.push(
                        Diagnostic::new(
                            span,
                            format!("{what} is reached by HTTPS, which has no use for `{key}`"),
                        )
                        .note(upstream.span, "the upstream is here")
                        .hint("take it out, or use the upstream's SSH URL"),
                    );
                }
            }
            if let Some(credential) = credential
                && let Some(found) = known_credential(credential, credentials, errors)
            {
                https_credential(credential, found, errors);
            }
        }
    }
}

/// git sends a user name and a password; the user name comes from the credential's `inject: { basic: … }`.
fn https_credential(name: &Spanned<Name>, credential: &Credential, errors: &mut Vec<Diagnostic>) {
    let basic = credential.inject.as_ref().and_then(|inject| inject.value.basic.as_ref());
    if basic.is_none() {
        errors.push(
            Diagnostic::new(
                name.span,
                format!("the credential `{}` has no user name, which git needs", name.value.as_str()),
            )
            .hint("add `inject: { basic: { username: x-access-token } }` to it"),
        );
    }
}

/// The names of the sockets of container engines.
const ENGINE_SOCKETS: [&str; 3] = ["docker.sock", "podman.sock", "containerd.sock"];

/// A file that holds one thing: never a directory such as the home directory or the root.
pub(super) fn file_source(path: &Spanned<HostPath>, what: &str, errors: &mut Vec<Diagnostic>) {
    let HostPath { base, rest } = &path.value;
    let last = rest.rsplit('/').next().unwrap_or_default();
    if ENGINE_SOCKETS.contains(&last) {
        errors.push(Diagnostic::new(path.span, format!("{what} names the engine's socket")));
    }
    let keys = *base != PathBase::File && last == ".ssh";
    if keys || last.is_empty() || last == ".." {
        errors.push(Diagnostic::new(path.span, format!("{what} names a directory where a file is meant")));
    }
}

fn agent(
    name: &Spanned<Name>,
    agent: &Agent,
    bottle: Option<&Bottle>,
    loaded: &Loaded,
    errors: &mut Vec<Diagnostic>,
) {
    if name.value.as_str() == RESERVED_AGENT {
        errors.push(
            Diagnostic::new(name.span, format!("an agent can't be called `{RESERVED_AGENT}`"))
                .hint("`.bottle/docker` holds what the images are built from; choose another name"),
        );
    }
    let Agent {
        bottle: _,
        preset,
        image,
        build,
        command,
        workspace,
        env,
        prompt,
        skills,
        resources: _,
        runtime: _,
    } = agent;
    let keys = [
        ("preset", preset.as_ref().map(|preset| preset.span)),
        ("image", image.as_ref().map(|image| image.span)),
        ("build", build.as_ref().map(|build| build.span)),
    ];
    exactly_one(name.span, &format!("the agent `{}`", name.value.as_str()), &keys, errors);
    for path in build.iter().chain(prompt.iter()).chain(skills.iter().flat_map(|skills| skills.iter())) {
        opens_the_host(path, loaded, errors);
    }
    preset::check_skills(agent, errors);
    for (variable, _) in env.iter().flat_map(Map::iter) {
        egress::variable(variable, bottle, errors);
    }
    if command.is_none()
        && let Some(span) = image.as_ref().map(|image| image.span).or(build.as_ref().map(|build| build.span))
    {
        errors.push(
            Diagnostic::new(
                span,
                format!("the agent `{}` has an image of its own and no `command`", name.value.as_str()),
            )
            .hint("add `command: [...]`: the bundle's entrypoint takes the place of the image's"),
        );
    }
    if let Some(workspace) = workspace {
        workspace::check(workspace, bottle, loaded, errors);
    }
}

/// Refuses to give the agent what would give it the host: the root, a home directory, the user's SSH keys or Docker's
/// socket.
fn opens_the_host(path: &Spanned<HostPath>, loaded: &Loaded, errors: &mut Vec<Diagnostic>) {
    let HostPath { base, rest } = &path.value;
    // A relative path may climb to any of these places.
    let (base, rest) = match base {
        PathBase::File => {
            let resolved = lexically_normal(&loaded.directory(path.span.file).join(rest));
            (PathBase::Root, resolved.to_string_lossy().into_owned())
        }
        PathBase::Home | PathBase::Root => (*base, rest.clone()),
    };
    let segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let what = match (base, segments.as_slice()) {
        (PathBase::Root, []) => Some("the root of the file system"),
        (PathBase::Home, []) | (PathBase::Root, ["root" | "home"] | ["home" | "Users", _]) => {
            Some("a home directory")
        }
        (PathBase::Home, [".ssh", ..])
        | (PathBase::Root, ["root", ".ssh", ..] | ["home" | "Users", _, ".ssh", ..]) => {
            Some("a place for SSH keys")
        }
        (PathBase::Root, ["var", "run"] | ["run" | "var"] | ["proc" | "sys" | "dev", ..]) => {
            Some("a directory that steers the host")
        }
        (_, [.., last]) if ENGINE_SOCKETS.contains(last) => Some("the engine's socket"),
        _ => None,
    };
    if let Some(what) = what {
        errors.push(
            Diagnostic::new(path.span, format!("this is {what}, which would give the agent the host"))
                .hint("name the directory of one project"),
        );
    }
}
