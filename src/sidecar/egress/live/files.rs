//! Reading the policy file and the grants: bytes first, and what they mean after. Whether that makes sense is for
//! [`crate::policy::rules`] to say.

use std::path::{Path, PathBuf};

use crate::fs::{self, Links};
use crate::policy::egress::EgressPolicy;
use crate::policy::whole::{END, is_whole};
use crate::sidecar::grants::{self, Grants, parse};
use crate::sidecar::used::Used;

/// The most bytes of a policy file.
const MAX_POLICY: u64 = 4 << 20;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) policy: PathBuf,
    pub(super) grants: Option<PathBuf>,
    /// Which grants were used; without it none can be used that is for one request.
    pub(super) used: Option<Used>,
    /// Where the secrets are that the operator entered.
    pub(super) entered: Option<PathBuf>,
}

/// What the files hold at one moment, not yet understood: what can't be read is a sentence that says why.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Files {
    policy: Result<Vec<u8>, String>,
    grants: grants::Files,
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
        let grants = self.grants.as_deref().map(grants::Files::read).unwrap_or_default();
        Files { policy, grants }
    }

    /// The path of a grant, for messages.
    pub(super) fn grant(&self, name: &str) -> PathBuf {
        grants::path(self.directory(), name)
    }

    /// Finds out what the files mean.
    pub(super) fn understand(&self, files: &Files) -> Meaning {
        let policy = files.policy.clone().and_then(|bytes| {
            let policy = parse(&self.policy, &bytes)?;
            if is_whole(&bytes) { Ok(policy) } else { Err(cut_off(&self.policy)) }
        });
        let (grants, problems) = files.grants.understand(self.directory());
        Meaning { policy, grants, problems }
    }

    fn directory(&self) -> &Path {
        self.grants.as_deref().unwrap_or(Path::new(""))
    }
}

/// What is wrong with a file whose writer may not have finished.
fn cut_off(path: &Path) -> String {
    format!("{}: it is cut off: the last line of a whole one is `{}`", path.display(), END.trim_end())
}
