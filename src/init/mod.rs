//! What `bottle init` makes of what it found: pure functions from the answers of other programs to the text of a manifest.
//!
//! Whoever made the repository chose its remotes, branches and files, and an agent chose what stands in an audit log. So
//! each text becomes one of the manifest's own types before it is written, the way the loader would read it, and what
//! can't is left out. A URL's user and password never come further than [`git`] and [`registry`].

pub(crate) mod git;
pub(crate) mod log;
pub(crate) mod packages;
pub(crate) mod registry;
pub(crate) mod ssh;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use crate::manifest::values::{EnvName, GitUrl, HostKey, HostPath, ImageName, Name};
use crate::plan::ModelLines;
use registry::Registry;

/// Everything that the manifest is written from.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The name of the agent and of its bottle.
    pub(crate) slug: Name,
    /// What runs.
    pub(crate) runs: Runs,
    /// The way of the preset to its model, where it has one.
    pub(crate) model: Option<ModelLines>,
    /// The repository, where there is one.
    pub(crate) repository: Option<Repository>,
    /// The package managers that the repository uses.
    pub(crate) needs: Vec<Need>,
    /// The port of the operator's page.
    pub(crate) supervise: Option<u16>,
}

/// What runs in the agent's container.
#[derive(Clone, Debug)]
pub(crate) enum Runs {
    /// A preset.
    Preset(&'static str),
    /// An image, and its command.
    Image(ImageName, Vec<String>),
}

/// The repository that the agent works on.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// Its name in the manifest.
    pub(crate) name: Name,
    /// The remote that it was read from.
    pub(crate) remote: String,
    /// Where it is.
    pub(crate) upstream: GitUrl,
    /// How the gate gets there.
    pub(crate) access: Access,
    /// The upstream's default branch, where this clone knows it.
    pub(crate) default_branch: Option<String>,
}

/// How the gate reaches an upstream.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Over SSH. Without a host key the repository is written as a comment: the gate trusts none that it isn't told.
    Ssh {
        /// The key of whoever runs the bottle.
        key: Key,
        /// The keys of the host.
        hosts: Vec<HostKey>,
    },
    /// Over HTTPS, with the token in this environment variable.
    Https(EnvName),
}

/// The private key for an upstream over SSH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Key {
    /// Those in the SSH agent.
    Agent,
    /// In this file.
    File(HostPath),
}

/// A package manager that the repository uses, and where the user's own configuration has it look.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    /// Which.
    pub(crate) manager: packages::Manager,
    /// The file that shows that it is used.
    pub(crate) shown_by: String,
    /// Its registries.
    pub(crate) registries: Vec<Registry>,
}

/// Makes a name of any text: that of a directory or of a repository.
pub(crate) fn name_of(text: &str) -> Option<Name> {
    let fit = |character: char| match character.to_ascii_lowercase() {
        fits @ ('a'..='z' | '0'..='9' | '_') => fits,
        _ => '-',
    };
    let name: String = text.chars().map(fit).collect();
    let name: String = name.trim_matches(['-', '_']).chars().take(30).collect();
    match name.as_str() {
        // It would be a directory of the bundle.
        "docker" => "docker-agent".parse().ok(),
        name => name.parse().ok(),
    }
}
