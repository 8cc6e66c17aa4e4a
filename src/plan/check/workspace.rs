//! What an agent may not be given to work on.

use std::path::Path;

use super::super::workspace::{below, on_this_machine, preset_directory, resolved, sources};
use super::{exactly_one, opens_the_host};
use crate::fs::led_to;
use crate::manifest::diagnostic::{Diagnostic, suggest};
use crate::manifest::source::Spanned;
use crate::manifest::values::{HostPath, PathBase};
use crate::manifest::{Bottle, Loaded, Map, Workspace};

pub(super) fn check(
    workspace: &Spanned<Workspace>,
    bottle: Option<&Bottle>,
    loaded: &Loaded,
    errors: &mut Vec<Diagnostic>,
) {
    let Workspace { clone, mount, read_only } = &workspace.value;
    let keys = [
        ("clone", clone.as_ref().map(|clone| clone.span)),
        ("mount", mount.as_ref().map(|mount| mount.span)),
    ];
    exactly_one(workspace.span, "`workspace`", &keys, errors);
    if let Some(mount) = mount {
        let before = errors.len();
        opens_the_host(mount, loaded, errors);
        if errors.len() == before {
            directory(mount, loaded, errors);
        }
        for path in read_only.iter().flat_map(|list| list.iter()) {
            is_within(path, mount, loaded, errors);
        }
        built_from(mount, loaded, errors);
        named_from_elsewhere(mount, loaded, errors);
        secrets(mount, loaded, errors);
    } else if let Some(path) = read_only.iter().flat_map(|list| list.iter()).next() {
        errors.push(
            Diagnostic::new(path.span, "`read_only` is about a mounted directory, and there is none")
                .hint("take it out, or write `mount`"),
        );
    }
    if let (Some(clone), Some(bottle)) = (clone, bottle) {
        let none = Map::default();
        let repositories = bottle.git.as_ref().unwrap_or(&none);
        let wanted = clone.value.as_str();
        if repositories.get(wanted).is_none() {
            errors.push(
                Diagnostic::new(clone.span, format!("the bottle has no repository `{wanted}`"))
                    .hint(suggest(wanted, repositories.names())),
            );
        }
    }
}

/// The directories whose files steer the whole system, with all that is below them.
const SYSTEM: [&str; 12] =
    ["bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "snap", "sys", "usr"];

fn directory(mount: &Spanned<HostPath>, loaded: &Loaded, errors: &mut Vec<Diagnostic>) {
    let refuse = |what: &str| {
        Diagnostic::new(mount.span, what.to_owned())
            .hint("name the directory of one project, relative to this file")
    };
    let HostPath { base, rest: _ } = &mount.value;
    let path = resolved(loaded, mount);
    let text = path.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
    let hidden = |name: &str| name.starts_with('.');
    let what = match segments.as_slice() {
        _ if *base == PathBase::Home => None,
        [first, ..] if SYSTEM.contains(first) => Some("this is a directory of the system"),
        ["var", "lib" | "run" | "cache" | "log" | "spool", ..] | ["var"] => {
            Some("this is a directory of the system")
        }
        ["root", name, ..] | ["home" | "Users", _, name, ..] if hidden(name) => {
            Some("this is in a hidden directory of a home, where programs keep their settings and secrets")
        }
        segments if segments.contains(&".bottle") => Some("this is where bottle keeps what it renders"),
        segments if segments.contains(&".git") => {
            Some("this is git's own directory, which can run programs on the host")
        }
        _ => None,
    };
    if let Some(what) = what {
        errors.push(refuse(what));
    } else if *base != PathBase::File {
        errors.push(Diagnostic::new(mount.span, "a mounted directory is named relative to this file").hint(
            "which files the agent may not change must be the same on every machine; write `.` or `../app`",
        ));
    }
}

fn is_within(
    path: &Spanned<HostPath>,
    mount: &Spanned<HostPath>,
    loaded: &Loaded,
    errors: &mut Vec<Diagnostic>,
) {
    let (Some(directory), relative) = (resolved(loaded, mount), path.value.base == PathBase::File) else {
        return;
    };
    let inside = resolved(loaded, path).and_then(|path| below(&directory, &path)).filter(|_| relative);
    let what = match inside.as_deref() {
        None => "this is not in the mounted directory",
        Some("") => "this is the mounted directory itself",
        Some(text) if text == ".git" || text.starts_with(".git/") => {
            "the agent has a `.git` of its own there"
        }
        Some(".env") => "the agent finds an empty `.env` there",
        Some(_) => return,
    };
    errors.push(
        Diagnostic::new(path.span, what)
            .note(mount.span, "the mounted directory is here")
            .hint("name a file or directory in it, relative to this file"),
    );
}

/// An image is built with the network of the host, by whatever is in the directory then: those of all agents.
fn built_from(mount: &Spanned<HostPath>, loaded: &Loaded, errors: &mut Vec<Diagnostic>) {
    let agents = loaded.manifest.agents.iter().flat_map(Map::iter);
    let images = agents.flat_map(|(_, agent)| {
        agent.build.iter().cloned().chain(agent.preset.as_ref().and_then(preset_directory))
    });
    for build in images {
        let (Some(directory), Some(from)) = (resolved(loaded, mount), on_this_machine(loaded, &build)) else {
            continue;
        };
        if below(&from, &directory).or_else(|| below(&led_to(&from), &led_to(&directory))).is_some() {
            errors.push(
                Diagnostic::new(
                    build.span,
                    "the agent could change what its image is built from, and a build is not bound by its policy",
                )
                .note(mount.span, "the mounted directory is here")
                .hint("build from a directory of its own, such as `image`, which the agent then can't change"),
            );
        }
    }
}

/// What is closed is told from the manifest alone, so that a path through the home directory can't be.
fn named_from_elsewhere(mount: &Spanned<HostPath>, loaded: &Loaded, errors: &mut Vec<Diagnostic>) {
    let Some(directory) = resolved(loaded, mount) else { return };
    for path in sources(loaded).filter(|path| path.value.base == PathBase::Home) {
        let inside = on_this_machine(loaded, &path).and_then(|path| below(&directory, &path));
        if inside.is_some_and(|inside| !inside.is_empty()) {
            errors.push(
                Diagnostic::new(path.span, "this is in the mounted directory, and the agent could change it")
                    .note(mount.span, "the mounted directory is here")
                    .hint("name it relative to this file, so that it is closed to the agent on any machine"),
            );
        }
    }
}

/// What is in the mounted directory the agent can read: the secrets of all bottles.
fn secrets(mount: &Spanned<HostPath>, loaded: &Loaded, errors: &mut Vec<Diagnostic>) {
    let Some(directory) = resolved(loaded, mount) else { return };
    let real = led_to(&directory);
    let is_inside = |path: &Path| below(&directory, path).is_some() || below(&real, &led_to(path)).is_some();
    let bottles = || loaded.manifest.bottles.iter().flat_map(Map::iter).map(|(_, bottle)| bottle);
    let keys = bottles()
        .flat_map(|bottle| bottle.git.iter().flat_map(Map::iter))
        .filter_map(|(_, repository)| repository.identity_file.as_ref());
    let files = bottles()
        .flat_map(|bottle| bottle.credentials.iter().flat_map(Map::iter))
        .filter_map(|(_, credential)| credential.source.value.file.as_ref());
    for path in keys.chain(files) {
        if on_this_machine(loaded, path).is_some_and(|path| is_inside(&path)) {
            errors.push(
                Diagnostic::new(
                    path.span,
                    "this secret is in the mounted directory, where the agent can read it",
                )
                .note(mount.span, "the mounted directory is here")
                .hint("keep it elsewhere, such as below `~/.config/bottle`"),
            );
        }
    }
}
