//! Where the manifest comes from: the options that several commands share.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::manifest::{Input, Loaded, Options, Trust, discover, load};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Source {
    /// Read the manifest from FILE, or from standard input for `-` [default: bottle.yaml here or in a directory above]
    #[arg(short, long, value_name = "FILE", env = "BOTTLE_FILE")]
    file: Option<PathBuf>,

    /// Whose bottles are accepted: with `home` only those of your own configuration
    #[arg(long, value_name = "WHOSE", env = "BOTTLE_TRUST", default_value = "manifest")]
    trust: TrustArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TrustArg {
    /// Those of the manifest, and your own as `home/NAME`
    Manifest,
    /// Only your own
    Home,
}

impl Source {
    /// Loads the manifest that the options name.
    pub(super) fn load(self, working_directory: PathBuf) -> Result<Loaded> {
        let input = match self.file.clone() {
            None => Input::Discover,
            Some(path) if path.as_os_str() == "-" => Input::Stdin,
            Some(path) => Input::File(path),
        };
        self.load_from(working_directory, input)
    }

    /// The same options with another file.
    pub(super) fn with_file(self, file: &str) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    /// The path at which the manifest is a file.
    pub(super) fn path(&self, working_directory: &Path) -> Option<PathBuf> {
        match &self.file {
            Some(path) if path.as_os_str() != "-" => Some(working_directory.join(path)),
            _ => discover(working_directory),
        }
    }

    /// Loads a manifest from elsewhere under the same options.
    pub(super) fn load_from(self, working_directory: PathBuf, input: Input) -> Result<Loaded> {
        let Self { file: _, trust } = self;
        let options = Options {
            input,
            trust: match trust {
                TrustArg::Manifest => Trust::Manifest,
                TrustArg::Home => Trust::Home,
            },
            working_directory,
            home_bottles: configuration("bottles"),
            home_presets: configuration("presets"),
            home: absolute("HOME"),
        };
        Ok(load(&options)?)
    }
}

/// The working directory.
pub(super) fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().context("the working directory can't be found")
}

/// A directory of the user's own configuration (XDG Base Directory Specification).
pub(super) fn configuration(what: &str) -> Option<PathBuf> {
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("bottle").join(what))
}

/// The absolute path in an environment variable.
pub(super) fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
