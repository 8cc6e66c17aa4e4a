//! What the renderer tells the git gate: `gate.yaml`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the format of `gate.yaml` that this binary writes and reads.
pub const VERSION: u32 = 1;

/// The whole of `gate.yaml`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GatePolicy {
    /// The format's version, [`VERSION`].
    pub version: u32,
    /// Where the agent may ask for what was refused, as `http://host:port`; named by refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// The repositories by the name under which the agent sees them.
    pub repositories: IndexMap<String, Repository>,
}

/// One repository: where it comes from and what may be pushed to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Where in the manifest it is defined, as `file:line`; named by refusals.
    pub source: String,
    /// The upstream.
    pub upstream: Upstream,
    /// The rules of which at least one must allow each ref update; none means fetch only.
    #[serde(default)]
    pub push: Vec<PushRule>,
    /// Path patterns that no new commit may touch.
    #[serde(default)]
    pub protect: Vec<String>,
    /// The most bytes that one push may carry.
    pub max_pack_bytes: u64,
}

/// How the upstream is reached.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Upstream {
    /// `ssh://` and the scp form.
    Ssh(SshUpstream),
    /// `https://`.
    Https(HttpsUpstream),
}

/// An upstream behind SSH.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SshUpstream {
    /// The user to log in as.
    pub user: String,
    /// The host's name or address; an IPv6 address has no brackets here.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The path as the upstream's shell gets it; `~user/x` and relative paths are the upstream's to resolve.
    pub path: String,
    /// The file in the container that holds the known host keys.
    pub known_hosts: String,
    /// What proves who we are.
    pub key: SshKey,
}

/// What proves to an SSH upstream who we are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum SshKey {
    /// The private key at this path in the container.
    IdentityFile(String),
    /// The operator's SSH agent, whose socket is at this path in the container.
    Agent(String),
}

/// An upstream behind HTTPS.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpsUpstream {
    /// The URL, without a user or a password.
    pub url: String,
    /// The user name and where the password comes from; none for a public repository.
    #[serde(default)]
    pub credential: Option<HttpsCredential>,
    /// A file in the container with certificates to trust, instead of the system's roots.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// The user name and password that an HTTPS upstream wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpsCredential {
    /// The credential's name in the manifest; named by refusals.
    pub name: String,
    /// The user name.
    pub username: String,
    /// Where the password comes from.
    pub source: SecretSource,
}

/// Where a secret comes from, inside the container.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, whose trailing line break is not part of the secret.
    File(String),
}

/// One rule for pushes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushRule {
    /// Where in the manifest it stands, as `file:line`.
    pub source: String,
    /// A pattern (see [`super::glob`]) over full ref names: the renderer has put `refs/heads/` before a short one.
    pub refs: String,
    /// What may be done to a ref that matches.
    pub allow: Vec<PushOperation>,
}

/// What a push may do to one ref.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushOperation {
    /// Make a ref that the upstream doesn't have.
    Create,
    /// Move a ref to a descendant of what it names.
    FastForward,
    /// Move a ref to anything else.
    Force,
    /// Remove a ref.
    Delete,
}

impl PushOperation {
    /// As the manifest writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::FastForward => "fast-forward",
            Self::Force => "force",
            Self::Delete => "delete",
        }
    }
}
