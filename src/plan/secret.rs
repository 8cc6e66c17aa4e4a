//! What of the host a sidecar's container gets: secrets, and the certificates to trust.

use super::{Path, path};
use crate::manifest::values::HostPath;
use crate::manifest::{Credential, List, Loaded};
use crate::policy::gate::SecretSource;

/// Where a sidecar's container has what the bundle mounts.
pub(super) const ETC: &str = "/etc/bottle";

/// A file or a secret of the host on its way into a sidecar's container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Secret {
    /// A file of the host, mounted read-only.
    File {
        /// The file.
        source: Path,
        /// Where the container has it.
        target: String,
    },
    /// The socket of the operator's SSH agent, which the environment variable `SSH_AUTH_SOCK` names.
    AgentSocket {
        /// Where the container has it.
        target: String,
    },
    /// An environment variable of whoever runs `docker compose up`.
    Env {
        /// The variable there.
        source: String,
        /// The variable in the container.
        target: String,
    },
}

/// Adds what a container needs for a credential, and says where it finds the secret.
pub(super) fn of_credential(
    loaded: &Loaded,
    name: &str,
    credential: &Credential,
    secrets: &mut Vec<Secret>,
) -> SecretSource {
    let (secret, source) = match (&credential.source.value.env, &credential.source.value.file) {
        (_, Some(file)) => {
            let target = format!("{ETC}/credentials/{name}");
            (Secret::File { source: path(loaded, file), target: target.clone() }, SecretSource::File(target))
        }
        (env, None) => {
            // A name has no capital letters, so no two names give the same variable.
            let target = format!("BOTTLE_CREDENTIAL_{}", name.replace('-', "D"));
            let source = env.as_ref().map_or("", |env| env.value.as_str()).to_owned();
            (Secret::Env { source, target: target.clone() }, SecretSource::Env(target))
        }
    };
    if !secrets.contains(&secret) {
        secrets.push(secret);
    }
    source
}

/// Adds the certificates to trust, and says where the container has them.
pub(super) fn authorities(
    loaded: &Loaded,
    certificates: Option<&List<HostPath>>,
    secrets: &mut Vec<Secret>,
) -> Vec<String> {
    let mut targets = Vec::new();
    for (index, certificate) in certificates.into_iter().flat_map(List::iter).enumerate() {
        let target = format!("{ETC}/ca/{index}.pem");
        secrets.push(Secret::File { source: path(loaded, certificate), target: target.clone() });
        targets.push(target);
    }
    targets
}
