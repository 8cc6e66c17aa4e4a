//! The one file by which supervise hands egress a sealed message about a credential, in a directory that nobody else has.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::seal::Sealed;
use crate::fs::{self, Links};

/// The file in the directory.
pub(crate) const FILE: &str = "letter.json";
/// The most bytes of it: those of the longest secret in hexadecimal digits, and as many again.
const MAX_BYTES: u64 = 64 << 10;

/// A message, and the credential that it is about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Letter {
    /// The credential's name.
    pub(crate) credential: String,
    /// Whether it is to remove what was entered; the message must say the same.
    pub(crate) remove: bool,
    /// The message, for egress alone.
    pub(crate) message: Sealed,
}

impl Letter {
    /// Leaves it in the directory, in the place of one that was not taken.
    ///
    /// # Errors
    ///
    /// The directory can't be written.
    pub(crate) fn leave(&self, directory: &Path) -> Result<(), fs::Error> {
        // Texts always have a JSON form.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let path = directory.join(FILE);
        // The second attempt finds no left-over of a process that was killed in the middle of its own.
        fs::write_atomic(&path, &text, 0o644).or_else(|_| fs::write_atomic(&path, &text, 0o644))
    }

    /// Takes the one of the directory; what is no letter is taken away as well, and told. None where there is none.
    pub(crate) fn take(directory: &Path) -> Option<Result<Self, String>> {
        let path = directory.join(FILE);
        let read = match fs::read_regular(&path, MAX_BYTES, Links::Refused) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return None,
            read => read.map_err(|error| error.to_string()),
        };
        // Before it is opened: whatever happens then, it is not there again.
        if let Err(error) = fs::remove_file(&path) {
            return Some(Err(error.to_string()));
        }
        let parse = |bytes: Vec<u8>| {
            // What a parser says about it may quote it.
            serde_json::from_slice(&bytes).map_err(|_| format!("`{}` is no letter", path.display()))
        };
        Some(read.and_then(parse))
    }
}
