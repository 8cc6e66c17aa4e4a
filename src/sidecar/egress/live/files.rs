//! Reading the policy file and the grants: bytes first, and what they mean after. Whether that makes sense is for
//! [`crate::policy::rules`] to say.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::Grants;
use crate::fs::{self, Links};
use crate::policy::egress::EgressPolicy;

/// The most bytes of a policy file.
const MAX_POLICY: u64 = 4 << 20;
/// The most bytes of a grant.
const MAX_GRANT: u64 = 64 << 10;
/// The most grants.
const MAX_GRANTS: usize = 1_000;
/// The most bytes of what a parser says about a file.
const MAX_MESSAGE: usize = 1_000;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) policy: PathBuf,
    pub(super) grants: Option<PathBuf>,
}

/// What the files hold at one moment, not yet understood: what can't be read is a sentence that says why.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Files {
    policy: Result<Vec<u8>, String>,
    grants: Vec<(String, Result<Vec<u8>, String>)>,
    /// What is wrong with the grants directory as a whole.
    directory: Option<String>,
}

/// What the files mean.
#[derive(Debug)]
pub(super) struct Meaning {
    /// The policy, or what is wrong with it.
    pub(super) policy: Result<EgressPolicy, String>,
    /// The grants that are well-formed, by name, whether they have ended or not.
    pub(super) grants: Grants,
    /// What is wrong with the others.
    pub(super) problems: Vec<String>,
}

impl Source {
    /// Reads all files as they are now.
    pub(super) fn read(&self) -> Files {
        let policy =
            fs::read_regular(&self.policy, MAX_POLICY, Links::Followed).map_err(|error| error.to_string());
        let mut files = Files { policy, grants: Vec::new(), directory: None };
        if let Some(directory) = &self.grants {
            files.directory = read_grants(directory, &mut files.grants).err();
        }
        files
    }

    /// The path of a grant, for messages.
    pub(super) fn grant(&self, name: &str) -> PathBuf {
        self.grants.as_deref().unwrap_or(Path::new("")).join(format!("{name}.yaml"))
    }

    /// Finds out what the files mean.
    pub(super) fn understand(&self, files: &Files) -> Meaning {
        let policy = files.policy.clone().and_then(|bytes| parse(&self.policy, &bytes));
        let mut meaning = Meaning { policy, grants: Vec::new(), problems: Vec::new() };
        meaning.problems.extend(files.directory.clone());
        for (name, bytes) in &files.grants {
            match bytes.clone().and_then(|bytes| parse(&self.grant(name), &bytes)) {
                Ok(grant) => meaning.grants.push((name.clone(), grant)),
                Err(problem) => meaning.problems.push(problem),
            }
        }
        meaning
    }
}

/// The name of a grant whose file has this name; `None` for what is none: a writer's temporary file, or another kind.
pub(super) fn grant_name(file: &str) -> Option<&str> {
    file.strip_suffix(".yaml").filter(|name| !name.is_empty() && !name.starts_with('.'))
}

fn read_grants(directory: &Path, grants: &mut Vec<(String, Result<Vec<u8>, String>)>) -> Result<(), String> {
    let files = match fs::file_names(directory) {
        Ok(files) => files,
        // Without the directory there is no grant.
        Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    // The conversion is only for names; a name that it changes leads to no file, and that is reported.
    let names = files.iter().map(|file| file.to_string_lossy());
    for (number, file) in names.filter(|file| grant_name(file).is_some()).enumerate() {
        if number == MAX_GRANTS {
            return Err(format!(
                "`{}` holds more than {MAX_GRANTS} grants; only the first count",
                directory.display()
            ));
        }
        let bytes = match fs::read_regular(&directory.join(file.as_ref()), MAX_GRANT, Links::Refused) {
            // It was removed since the directory was listed.
            Err(error) if error.source.kind() == ErrorKind::NotFound => continue,
            bytes => bytes.map_err(|error| error.to_string()),
        };
        grants.push((grant_name(&file).unwrap_or_default().to_owned(), bytes));
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, String> {
    serde_yaml::from_slice(bytes).map_err(|error| {
        let mut message = error.to_string();
        let place = match error.location() {
            Some(at) => {
                let again = format!(" at line {} column {}", at.line(), at.column());
                message = message.replacen(&again, "", 1);
                format!("{}:{}:{}", path.display(), at.line(), at.column())
            }
            None => path.display().to_string(),
        };
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        format!("{place}: {message}")
    })
}
