//! A mounted workspace in the bundle: what lies over it in the agent's container, and what has to be on the host for that.
//!
//! A mount holds its own place only: a directory above it can be moved away with it, and another one made there. So each
//! directory on the way from the workspace to a closed path is mounted too, as it is. And a file that takes another one's place
//! on the host is a new one, with nothing over it: a bundle in a directory of its own is closed as that directory.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{DIRECTORY, RenderError, compose_path, relative};
use crate::plan;
use crate::plan::below;

/// Where the agent's container has its workspace.
const TARGET: &str = "/workspace";

/// The files beside the compose file by which Compose is steered.
pub(crate) const OVERRIDE: &str = "compose.override.yaml";
pub(crate) const ENVIRONMENT: &str = ".env";

/// What of git's settings (git-config(1)) is or holds a secret, which the agent could read in `.git/config`: extended regular
/// expressions, of their names and of their values. A user in an `https` URL may be a token, one in an `ssh` URL is none.
pub(crate) const SECRET_NAMES: &str =
    "(^http\\..*extraheader$|smtppass$|^url\\.https?://[^/@]+@|^url\\.[a-z+]+://[^/@:]*:[^/@]+@)";
pub(crate) const SECRET_VALUES: &str = "(https?://[^/@]+@|://[^/@:]*:[^/@]+@)";

/// What the templates see of it.
#[derive(Debug, Serialize)]
pub(super) struct Mounted {
    /// [`SECRET_NAMES`] and [`SECRET_VALUES`].
    secret_names: &'static str,
    secret_values: &'static str,
    /// The directory, as compose.yaml names it.
    source: String,
    /// Its `.git`.
    git: String,
    /// Directories on the way to what is closed, mounted as they are.
    ways: Vec<super::context::Mount>,
    /// What is mounted read-only over itself.
    closed: Vec<super::context::Mount>,
    /// All places where something is mounted read-only, as the kernel writes them.
    checked: Vec<String>,
    /// Compose's environment file, which the agent finds empty.
    environment: Option<String>,
    /// What Compose is told to go by, where it would look into the directory otherwise.
    compose: Option<String>,
}

/// What has to be on the host before the bundle starts. It is made where it is missing, and nothing that is there is
/// changed: the engine would make it as root's.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The mounted directory.
    pub(crate) directory: PathBuf,
    /// What is mounted over it, from there; none of it may be a link.
    pub(crate) closed: Vec<String>,
    /// The directory of the compose file from there, where it is in it, and the compose file's name.
    pub(crate) compose: Option<(String, String)>,
    /// What steers the host and isn't in it by its name.
    pub(crate) elsewhere: Vec<PathBuf>,
}

/// Makes both from the plan. `base` is the directory of the compose files, `names` are what they are called, this agent's
/// first.
pub(super) fn new(
    mounted: &plan::Mounted,
    base: &Path,
    names: &[String],
) -> Result<(Mounted, Ground), RenderError> {
    let plan::Mounted { source, directory, closed, elsewhere } = mounted;
    let (mut closed, mut elsewhere) = (closed.clone(), elsewhere.clone());
    let bundle = below(directory, base);
    match bundle.as_deref() {
        None => elsewhere.push(base.to_owned()),
        Some("") => {
            closed.extend([DIRECTORY, OVERRIDE].map(str::to_owned));
            closed.extend(names.iter().cloned());
        }
        // A directory stays where it is, whatever is done to the files in it.
        Some(own) => closed.push(own.to_owned()),
    }
    closed.sort();
    closed.dedup();
    let all = closed.clone();
    closed.retain(|path| !all.iter().any(|other| is_below(other, path)));
    let environment = bundle.as_deref().map(|own| match own {
        "" => ENVIRONMENT.to_owned(),
        own => format!("{own}/{ENVIRONMENT}"),
    });
    let mut ways: Vec<String> = Vec::new();
    for path in closed.iter().chain(&environment) {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        ways.extend(
            parents
                .filter(|way| !closed.iter().any(|over| over == way || is_below(over, way)))
                .map(str::to_owned),
        );
    }
    ways.sort();
    ways.dedup();
    let mount = |path: &String| {
        let to = directory.join(path);
        let source = relative(base, &to).ok_or_else(|| RenderError::Path { from: base.to_owned(), to })?;
        Ok(super::context::Mount { source, target: format!("{TARGET}/{path}") })
    };
    let source = compose_path(source, base)?;
    let checked = closed.iter().chain(&environment).map(|path| as_in_mountinfo(&format!("{TARGET}/{path}")));
    let context = Mounted {
        secret_names: SECRET_NAMES,
        secret_values: SECRET_VALUES,
        git: format!("{source}/.git"),
        source,
        checked: checked.collect(),
        ways: ways.iter().map(mount).collect::<Result<_, RenderError>>()?,
        closed: closed.iter().map(mount).collect::<Result<_, RenderError>>()?,
        environment: environment.map(|path| format!("{TARGET}/{path}")),
        compose: bundle.as_deref().filter(|own| own.is_empty()).and_then(|_| names.first().cloned()),
    };
    let compose = bundle.zip(names.first().cloned());
    Ok((context, Ground { directory: directory.clone(), closed, compose, elsewhere }))
}

/// A place as `/proc/self/mountinfo` has it (proc(5)); a path of the manifest has no line break.
fn as_in_mountinfo(place: &str) -> String {
    place.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011")
}

impl Mounted {
    /// Whether the agent is kept from a file that it would see.
    pub(super) fn hides(&self) -> bool {
        self.environment.is_some()
    }
}

fn is_below(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}
