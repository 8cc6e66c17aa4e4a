//! Secrets in files.
//!
//! The directory may be one that others write to as well, so a symbolic link is followed only within it: that is how
//! Kubernetes swaps all of a directory's files at once. What a link outside would make egress send, such as its own
//! environment, is nobody's credential.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::form::MOST;
use super::owner;
use super::problem::Problem;
use crate::fs;

/// How long ago a file must have been written for its time to tell it from the next version of it.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of what a path names now, if there is such a file; of one that was opened before, of that one.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match owner::metadata(path) {
            Some(metadata) => metadata.ok().as_ref().map(Self::from),
            None => fs::metadata(path).ok().as_ref().map(Self::from),
        }
    }
}

impl From<&std::fs::Metadata> for Stamp {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads a secret without its trailing line break, and the stamp of what was read; no stamp where the file is so new
/// that it may change again without a sign of it.
pub(super) fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Option<Stamp>), Problem> {
    let file = match owner::opened(path) {
        // Its directory may be closed to us by now.
        Some(opened) => opened.map_err(|error| Problem::Unreadable(error.to_string()))?,
        None => fs::open_itself(&inside(path)?)?,
    };
    let metadata = file.metadata().map_err(|error| Problem::Unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(Problem::NotAFile);
    }
    // All at once into memory that never moves, so that no part of it stays behind unwiped.
    let most = u64::try_from(MOST).unwrap_or(u64::MAX).saturating_add(LINE_BREAK);
    let mut secret = Zeroizing::new(Vec::with_capacity(MOST + 64));
    file.take(most + 1).read_to_end(&mut secret).map_err(|error| Problem::Unreadable(error.to_string()))?;
    for end in [b'\n', b'\r'] {
        if secret.last() == Some(&end) {
            secret.pop();
        } else {
            break;
        }
    }
    if secret.is_empty() {
        return Err(Problem::Empty);
    }
    let settled = metadata
        .modified()
        .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED));
    Ok((secret, settled.then(|| Stamp::from(&metadata))))
}

/// Where a path leads, which must be in its own directory.
fn inside(path: &Path) -> Result<PathBuf, Problem> {
    let directory = fs::canonicalize(path.parent().unwrap_or(Path::new("/")))?;
    let real = fs::canonicalize(path)?;
    if real.starts_with(&directory) { Ok(real) } else { Err(Problem::Escape) }
}

/// The most bytes of a line break.
const LINE_BREAK: u64 = 2;
