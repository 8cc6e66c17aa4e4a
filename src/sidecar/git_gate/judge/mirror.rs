//! What the mirror itself says: the only side of a push that isn't the client's word.

use std::collections::HashMap;
use std::path::Path;

use super::JudgeError;
use super::id::ObjectId;
use crate::sidecar::git_gate::git::Git;

/// The mirror's refs, as far as they matter for a push.
#[derive(Debug)]
pub(super) struct Mirror {
    /// The full name of the branch that the mirror's HEAD stands for, whether it exists or not.
    pub(super) default_branch: Vec<u8>,
    refs: HashMap<Vec<u8>, ObjectId>,
}

impl Mirror {
    /// Reads HEAD and the refs of these names. The names must be valid.
    pub(super) fn read(git: &Git, names: &[&[u8]]) -> Result<Self, JudgeError> {
        let head = git.ask(&["symbolic-ref", "--quiet", "HEAD"])?.ok_or(JudgeError::NoDefaultBranch)?;
        let default_branch = head.strip_suffix(b"\n").unwrap_or(&head).to_vec();
        let mut input = Vec::new();
        for name in names.iter().chain([&default_branch.as_slice()]) {
            input.extend_from_slice(name);
            input.push(b'\n');
        }
        // A name also matches what lies below it, so that there may be more refs than were asked for.
        let arguments = ["for-each-ref", "--stdin", "--format=%(objectname) %(refname)"];
        let output = git.output(&arguments, input)?;
        let mut refs = HashMap::new();
        for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let space = line.iter().position(|byte| *byte == b' ').ok_or(JudgeError::Refs)?;
            let (hex, name) =
                (line.get(..space).unwrap_or_default(), line.get(space + 1..).unwrap_or_default());
            refs.insert(name.to_vec(), ObjectId::from_hex(hex).ok_or(JudgeError::Refs)?);
        }
        Ok(Self { default_branch, refs })
    }

    /// What a ref names.
    pub(super) fn value(&self, name: &[u8]) -> Option<ObjectId> {
        self.refs.get(name).copied()
    }

    /// What the default branch names.
    pub(super) fn default_tip(&self) -> Option<ObjectId> {
        self.value(&self.default_branch)
    }
}

/// Refuses to judge in a repository in which git would not look at everything that the upstream is going to get: with a
/// `shallow` file the history ends early, with a promisor pack missing objects count as there. Replace refs and grafts
/// are switched off by the environment (see [`Git`]).
pub(super) fn check_soundness(git: &Git) -> Result<(), JudgeError> {
    let shallow = git.git_dir().join("shallow");
    if crate::fs::read_if_exists(&shallow)?.is_some_and(|bytes| !bytes.is_empty()) {
        return Err(JudgeError::Unsound { what: "its history is cut off by a `shallow` file" });
    }
    let packs = git.git_dir().join("objects/pack");
    for directory in [Some(packs), git.quarantine().map(|path| path.join("pack"))].into_iter().flatten() {
        if files(&directory, 0)?.iter().any(|(name, _)| name.ends_with(".promisor")) {
            return Err(JudgeError::Unsound { what: "it has a promisor pack" });
        }
    }
    Ok(())
}

/// The bytes that the push has put into the quarantine.
pub(super) fn quarantine_bytes(git: &Git) -> Result<u64, JudgeError> {
    let Some(directory) = git.quarantine() else { return Ok(0) };
    Ok(files(directory, 2)?.iter().map(|(_, size)| size).sum())
}

/// The files in a directory and so many levels below it; a directory that isn't there has none.
fn files(directory: &Path, depth: u32) -> Result<Vec<(String, u64)>, JudgeError> {
    let failed = |source| {
        JudgeError::File(crate::fs::Error {
            action: "list the directory",
            path: directory.to_owned(),
            source,
        })
    };
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        if !metadata.is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
        } else if depth > 0 {
            found.extend(files(&entry.path(), depth - 1)?);
        }
    }
    Ok(found)
}
