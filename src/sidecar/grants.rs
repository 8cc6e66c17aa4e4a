//! The directory of grants, as every sidecar that enforces them reads it: bytes first, and what they mean after. Whether
//! a grant makes sense is for the sidecar's own rules to say.
//!
//! A grant that is wrong is not applied, and keeps no other one from being applied: a grant only adds, so that without it
//! nothing is open that should be closed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::used::Used;
use crate::fs::{self, Links};
use crate::policy::grant::Grant;

/// What stands before a grant's name in the source of its rules.
const SOURCE: &str = "grant ";
/// The most bytes of a grant.
const MAX_GRANT: u64 = 64 << 10;
/// The most grants.
const MAX_GRANTS: usize = 1_000;
/// The most problems that are told at a time.
const MAX_PROBLEMS: usize = 8;
/// The most bytes of what a parser says about a file.
const MAX_MESSAGE: usize = 1_000;

/// Grants by name, in the order of their names.
pub(crate) type Grants = Vec<(String, Grant)>;

/// What the directory holds at one moment, not yet understood: what can't be read is a sentence that says why.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Files {
    files: Vec<(String, Result<Vec<u8>, String>)>,
    /// What is wrong with the directory as a whole.
    directory: Option<String>,
}

impl Files {
    /// Reads all files as they are now.
    pub(crate) fn read(directory: &Path) -> Self {
        let mut files = Self::default();
        files.directory = files.fill(directory).err();
        files
    }

    fn fill(&mut self, directory: &Path) -> Result<(), String> {
        let files = match fs::file_names(directory) {
            Ok(files) => files,
            // Without the directory there is no grant.
            Err(error) if error.source.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        // The conversion is only for names; a name that it changes leads to no file, and that is reported.
        let names = files.iter().map(|file| file.to_string_lossy());
        for (number, file) in names.filter(|file| name(file).is_some()).enumerate() {
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
            self.files.push((name(&file).unwrap_or_default().to_owned(), bytes));
        }
        Ok(())
    }

    /// Finds out what the files mean: the grants that are well-formed, whether they have ended or not, and what is wrong
    /// with the others.
    pub(crate) fn understand(&self, directory: &Path) -> (Grants, Vec<String>) {
        let (mut grants, mut problems) = (Grants::new(), Vec::new());
        problems.extend(self.directory.clone());
        for (name, bytes) in &self.files {
            match bytes.clone().and_then(|bytes| parse::<Grant>(&path(directory, name), &bytes)) {
                Ok(grant) => grants.push((name.clone(), sourced(name, grant))),
                Err(problem) => problems.push(problem),
            }
        }
        (grants, problems)
    }
}

/// A grant whose rules name it. Whatever the file says of itself: it is the one whose removal takes the rules away.
fn sourced(name: &str, mut grant: Grant) -> Grant {
    let routes = grant.routes.iter_mut().map(|route| &mut route.source);
    let pushes = grant.push.iter_mut().map(|push| &mut push.rule.source);
    let secrets = grant.secrets.iter_mut().map(|secret| &mut secret.source);
    for source in routes.chain(pushes).chain(secrets) {
        *source = source_of(name);
    }
    grant
}

/// The source of the rules of a grant.
pub(crate) fn source_of(name: &str) -> String {
    format!("{SOURCE}{name}")
}

/// The name of the grant that is the source of a rule.
pub(crate) fn name_of(source: &str) -> Option<&str> {
    source.strip_prefix(SOURCE)
}

/// The name of a grant whose file has this name; `None` for what is none: a writer's temporary file, or another kind.
pub(crate) fn name(file: &str) -> Option<&str> {
    file.strip_suffix(".yaml").filter(|name| !name.is_empty() && !name.starts_with('.'))
}

/// The path of a grant, for messages.
pub(crate) fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.yaml"))
}

/// The grants that have not ended and were not used up, and when the next of them will end.
pub(crate) fn unended(
    grants: &[(String, Grant)],
    used: Option<&Used>,
    now: Duration,
) -> (Grants, Option<Duration>) {
    let end = |until: Option<u64>| until.map(Duration::from_secs);
    let unended = grants.iter().filter(|(_, grant)| end(grant.until).is_none_or(|end| now < end));
    let mut grants: Grants = unended.cloned().collect();
    if let Some(used) = used {
        used.unused(&mut grants);
    }
    let next = grants.iter().filter_map(|(_, grant)| end(grant.until)).min();
    (grants, next)
}

/// What is wrong, in one text that has an end.
pub(crate) fn told(problems: &[String]) -> Option<String> {
    let told: Vec<&str> = problems.iter().take(MAX_PROBLEMS).map(String::as_str).collect();
    let more = problems.len() - told.len();
    let rest = if more == 0 { String::new() } else { format!("; and {more} more") };
    (!told.is_empty()).then(|| told.join("; ") + &rest)
}

/// Reads YAML; what is wrong with it begins with the file, the line and the column.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, String> {
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
