//! A directory of the host as the workspace: what of it the agent may not change.
//!
//! Only the manifest says what is below the directory: nothing on the disk is asked, so that the same manifest gives the
//! same bundle on any machine. That is why `mount` is relative to the manifest.

use std::path::{Component, Path as FilePath, PathBuf};

use super::{Path, path};
use crate::manifest::source::Spanned;
use crate::manifest::values::{HostPath, PathBase};
use crate::manifest::{Agent, Loaded, Map, Preset, lexically_normal};

/// A directory of the host that is the agent's workspace.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The directory, as the manifest names it.
    pub source: Path,
    /// The directory, absolute.
    pub directory: PathBuf,
    /// What in it the agent reads and doesn't change: the paths from there, `/` between the parts.
    pub closed: Vec<String>,
    /// What agents are made of that isn't in it by its name, absolute: on this machine a link may lead there all the same.
    pub elsewhere: Vec<PathBuf>,
}

/// What editors run when they open a directory with it.
const DEVCONTAINER: &str = ".devcontainer";

pub(super) fn plan(loaded: &Loaded, agent: &Agent) -> Option<Mounted> {
    let workspace = &agent.workspace.as_ref()?.value;
    let mount = workspace.mount.as_ref()?;
    let directory = resolved(loaded, mount)?;
    let own = workspace.read_only.iter().flat_map(|list| list.iter().cloned());
    let files = loaded.files().map(|(directory, name)| directory.join(name));
    let all = files
        .chain(loaded.lock_path())
        .chain(own.chain(sources(loaded)).filter_map(|path| on_this_machine(loaded, &path)));
    // What is the user's own is never closed by its name: the bundle would differ between machines.
    let (mut closed, mut elsewhere) = (vec![DEVCONTAINER.to_owned()], loaded.own().to_vec());
    for path in all {
        match below(&directory, &path) {
            Some(inside) if inside.is_empty() || closed.contains(&inside) => {}
            Some(inside) => closed.push(inside),
            None => elsewhere.push(path),
        }
    }
    Some(Mounted { source: path(loaded, mount), directory, closed, elsewhere })
}

/// The files and directories that agents and bottles are made of, those of the whole manifest: who could change what another
/// agent is built from would run there.
pub(super) fn sources(loaded: &Loaded) -> impl Iterator<Item = Spanned<HostPath>> {
    let manifest = &loaded.manifest;
    let of_agents = manifest.agents.iter().flat_map(Map::iter).flat_map(|(_, agent)| {
        let skills = agent.skills.iter().flat_map(|list| list.iter());
        let named = agent.build.iter().chain(&agent.prompt).chain(skills).cloned();
        named.chain(agent.preset.as_ref().and_then(preset_directory))
    });
    let of_bottles = manifest.bottles.iter().flat_map(Map::iter).flat_map(|(_, bottle)| {
        let authorities = bottle.egress.iter().filter_map(|egress| egress.value.extra_ca.as_ref());
        authorities.flat_map(|list| list.iter().cloned())
    });
    of_agents.chain(of_bottles)
}

/// The directory of a preset that the manifest names by its path.
pub(super) fn preset_directory(named: &Spanned<Preset>) -> Option<Spanned<HostPath>> {
    match &named.value {
        Preset::Directory { path, .. } => Some(Spanned { value: path.clone(), span: named.span }),
        Preset::Named(_) | Preset::Home(_) => None,
    }
}

/// Where a path is on this machine, absolute: for what is refused, which is nothing that is rendered.
pub(super) fn on_this_machine(loaded: &Loaded, path: &Spanned<HostPath>) -> Option<PathBuf> {
    match path.value.base {
        PathBase::Home => Some(loaded.home()?.join(&path.value.rest)),
        PathBase::File | PathBase::Root => resolved(loaded, path),
    }
}

/// Where a path that is relative to its file is, absolute.
pub(super) fn resolved(loaded: &Loaded, path: &Spanned<HostPath>) -> Option<PathBuf> {
    let HostPath { base, rest } = &path.value;
    match base {
        PathBase::File => Some(lexically_normal(&loaded.directory(path.span.file).join(rest))),
        PathBase::Root => Some(FilePath::new("/").join(rest)),
        PathBase::Home => None,
    }
}

/// The way from a directory to what is in it, `/` between the parts; nothing for the directory itself.
pub(crate) fn below(directory: &FilePath, path: &FilePath) -> Option<String> {
    let parts = path.strip_prefix(directory).ok()?.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}
