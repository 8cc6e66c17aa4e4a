//! A directory of the host as the workspace: what of it the agent may not change.
//!
//! Only the manifest says what is below the directory: nothing on the disk is asked, so that the same manifest gives the
//! same bundle on any machine. That is why `mount` is relative to the manifest.

use std::path::{Component, Path as FilePath, PathBuf};

use super::{Path, path};
use crate::manifest::source::Spanned;
use crate::manifest::values::{HostPath, PathBase};
use crate::manifest::{Agent, Bottle, Loaded, lexically_normal};

/// A directory of the host that is the agent's workspace.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The directory, as the manifest names it.
    pub source: Path,
    /// The directory, absolute.
    pub directory: PathBuf,
    /// What in it the agent reads and doesn't change: the paths from there, `/` between the parts.
    pub closed: Vec<String>,
}

/// What editors run when they open a directory with it.
const DEVCONTAINER: &str = ".devcontainer";

pub(super) fn plan(loaded: &Loaded, agent: &Agent, bottle: &Bottle) -> Option<Mounted> {
    let workspace = &agent.workspace.as_ref()?.value;
    let mount = workspace.mount.as_ref()?;
    let directory = resolved(loaded, mount)?;
    let own = workspace.read_only.iter().flat_map(|list| list.iter());
    let of_agent =
        agent.build.iter().chain(&agent.prompt).chain(agent.skills.iter().flat_map(|list| list.iter()));
    let authorities =
        bottle.egress.iter().filter_map(|egress| egress.value.extra_ca.as_ref()).flat_map(|list| list.iter());
    let files = loaded.files().map(|(directory, name)| directory.join(name));
    let all = files
        .chain(loaded.lock_path())
        .chain(own.chain(of_agent).chain(authorities).filter_map(|path| resolved(loaded, path)));
    let mut closed = vec![DEVCONTAINER.to_owned()];
    for below in all.filter_map(|path| below(&directory, &path)).filter(|below| !below.is_empty()) {
        if !closed.contains(&below) {
            closed.push(below);
        }
    }
    Some(Mounted { source: path(loaded, mount), directory, closed })
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
