//! What the operator's approvals add to the policy while a bottle runs: grants.
//!
//! Supervise writes one file `ID.yaml` for each into the grants volume; egress and the gate follow that directory. What
//! the manifest denies or protects stays so whatever a grant says.

use serde::{Deserialize, Serialize};

use super::egress::Route;
use super::gate::PushRule;
use super::secret::SecretId;

/// The version of the format of a grant that this binary writes and reads.
pub const VERSION: u32 = 1;

/// One approval.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The format's version, [`VERSION`].
    pub version: u32,
    /// When it ends, in seconds since the Unix epoch; none means with the bottle.
    #[serde(default)]
    pub until: Option<u64>,
    /// Whether it is over after one request, or one push. The sidecar that enforces it claims it before anything leaves.
    #[serde(default, skip_serializing_if = "is_false")]
    pub once: bool,
    /// What egress allows by it. A credential must be one of the policy's.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// What may be pushed by it.
    #[serde(default)]
    pub push: Vec<GrantedPush>,
    /// Secret findings that may pass the gate by it.
    #[serde(default)]
    pub findings: Vec<AllowedFinding>,
    /// Secrets that egress may let pass by it, on routes that ask for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<AllowedSecret>,
}

/// A push rule beside those of the manifest. Protected paths and refs stay protected.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrantedPush {
    /// The repository's name.
    pub repository: String,
    /// The rule.
    pub rule: PushRule,
}

/// One secret finding that the operator has looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedFinding {
    /// The repository's name.
    pub repository: String,
    /// The finding's id, as the refusal says it.
    pub finding: String,
}

/// One secret that may be sent to one host.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedSecret {
    /// The grant that it comes from.
    pub source: String,
    /// The host, as requests name it: no pattern.
    pub host: String,
    /// The finding's id, as the refusal says it: what kind of secret it is, its name, and its fingerprint.
    pub finding: SecretId,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
