//! Where supervise finds what it needs, and the policies that requests are judged by.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::refused::Refused;
use super::rule::Enforcer;
use crate::fs::{self, Links};
use crate::policy::egress::EgressPolicy;
use crate::policy::gate::GatePolicy;
use crate::policy::reason::Reason;
use crate::sidecar::text::hex;

/// The most bytes of a policy file.
const MAX_POLICY: u64 = 4 << 20;

/// The files and directories of supervise. A bottle without egress or without a gate has none of its files.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Egress's policy.
    pub(crate) egress_policy: Option<PathBuf>,
    /// The gate's policy.
    pub(crate) gate_policy: Option<PathBuf>,
    /// Where egress reports.
    pub(crate) egress_report: Option<PathBuf>,
    /// Where the gate reports.
    pub(crate) gate_report: Option<PathBuf>,
    /// The directory with the letters for egress; none where no credential can be entered.
    pub(crate) letters: Option<PathBuf>,
    /// The grants directory; supervise alone writes it.
    pub(crate) grants: PathBuf,
    /// The directory of supervise's own state.
    pub(crate) state: PathBuf,
}

/// The policies as they are now.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    /// What egress goes by.
    pub(crate) egress: Option<EgressPolicy>,
    /// What the gate goes by.
    pub(crate) gate: Option<GatePolicy>,
    /// A digest of both files.
    pub(crate) digest: String,
}

/// The policy files as they are now, not yet understood.
#[derive(Debug)]
pub(super) struct Files {
    egress: Option<(PathBuf, Vec<u8>)>,
    gate: Option<(PathBuf, Vec<u8>)>,
    /// A digest of both.
    pub(super) digest: String,
}

impl Files {
    /// Finds out what they mean.
    pub(super) fn understand(&self) -> Result<Policies, Refused> {
        let digest = self.digest.clone();
        Ok(Policies { egress: parse(self.egress.as_ref())?, gate: parse(self.gate.as_ref())?, digest })
    }
}

impl Places {
    /// Reads the files of the policies.
    ///
    /// # Errors
    ///
    /// A file that can't be read: then nothing can be approved.
    pub(super) fn policy_files(&self) -> Result<Files, Refused> {
        let mut hash = Sha256::new();
        let egress = read(self.egress_policy.as_deref(), &mut hash)?;
        let gate = read(self.gate_policy.as_deref(), &mut hash)?;
        let digest = hex(hash.finalize().get(..8).unwrap_or_default());
        Ok(Files { egress, gate, digest })
    }

    /// Where a sidecar reports.
    pub(crate) fn report(&self, enforcer: Enforcer) -> Option<&Path> {
        match enforcer {
            Enforcer::Egress => self.egress_report.as_deref(),
            Enforcer::GitGate => self.gate_report.as_deref(),
        }
    }
}

fn read(path: Option<&Path>, hash: &mut Sha256) -> Result<Option<(PathBuf, Vec<u8>)>, Refused> {
    let Some(path) = path else {
        hash.update([0]);
        return Ok(None);
    };
    let bytes =
        fs::read_regular(path, MAX_POLICY, Links::Followed).map_err(|error| failed(error.to_string()))?;
    hash.update([1]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(&bytes);
    Ok(Some((path.to_owned(), bytes)))
}

fn parse<T: serde::de::DeserializeOwned>(file: Option<&(PathBuf, Vec<u8>)>) -> Result<Option<T>, Refused> {
    let parse = |(path, bytes): &(PathBuf, Vec<u8>)| {
        serde_yaml::from_slice(bytes)
            .map_err(|error| failed(format!("`{}` is no policy of this version: {error}", path.display())))
    };
    file.map(parse).transpose()
}

fn failed(message: String) -> Refused {
    Refused::new(Reason::StoreFailed, message, "render the bundle again, and see the log of supervise")
}
