//! What the programs of OpenSSH say of a host: `ssh -G`, `ssh-keygen -F`, `ssh-keyscan`.

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::manifest::values::HostKey;
use crate::plan::gate::known_hosts_pattern;

/// What the user's configuration says of a host (`ssh -G`, `ssh_config(5)`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Config {
    /// The user.
    pub(crate) user: String,
    /// The host's real name.
    pub(crate) hostname: String,
    /// The port.
    pub(crate) port: u16,
    /// The files of private keys, in the order in which they are tried; they need not be there.
    pub(crate) identity_files: Vec<String>,
    /// The files of known hosts.
    pub(crate) known_hosts: Vec<String>,
    /// The name under which the host's key is known, where it is another.
    pub(crate) alias: Option<String>,
    /// Whether the host is reached through another one or a program, which the gate does not do.
    pub(crate) indirect: bool,
}

/// Reads what `ssh -G` prints; nothing where it lacks what every answer has.
pub(crate) fn config(text: &str) -> Option<Config> {
    let mut config = Config::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        let value = value.trim();
        match key {
            "user" => value.clone_into(&mut config.user),
            "hostname" => value.clone_into(&mut config.hostname),
            "port" => config.port = value.parse().ok()?,
            "identityfile" if value != "none" => config.identity_files.push(value.to_owned()),
            "userknownhostsfile" | "globalknownhostsfile" => {
                config.known_hosts.extend(value.split(' ').filter(|file| *file != "none").map(str::to_owned));
            }
            "hostkeyalias" if value != "none" => config.alias = Some(value.to_owned()),
            "proxyjump" | "proxycommand" if value != "none" => config.indirect = true,
            _ => {}
        }
    }
    let complete = !config.user.is_empty() && !config.hostname.is_empty() && config.port > 0;
    complete.then_some(config)
}

impl Config {
    /// The name by which files of known hosts have the host.
    pub(crate) fn known_as(&self) -> String {
        match &self.alias {
            Some(alias) => alias.clone(),
            None => known_hosts_pattern(&self.hostname, self.port),
        }
    }
}

/// The host keys in lines of a file of known hosts, without what is revoked. The keys of authorities are none: a manifest
/// can't name them.
pub(crate) fn host_keys(text: &str) -> Vec<HostKey> {
    let mut keys: Vec<HostKey> = Vec::new();
    let mut revoked: Vec<HostKey> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (marker, line) = match line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
            Some((marker, rest)) => (Some(marker), rest),
            None => (None, line),
        };
        // The first word is the host, perhaps hashed.
        let Some(key) = line.split_once(' ').and_then(|(_, key)| key.parse::<HostKey>().ok()) else {
            continue;
        };
        match marker {
            None if !keys.contains(&key) => keys.push(key),
            Some("revoked") => revoked.push(key),
            _ => {}
        }
    }
    keys.retain(|key| !revoked.contains(key));
    keys
}

/// The fingerprint of a key as OpenSSH shows it.
pub(crate) fn fingerprint(key: &HostKey) -> Option<String> {
    let (kind, body) = key.as_str().split_once(' ')?;
    let blob = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    let digest = base64::engine::general_purpose::STANDARD_NO_PAD.encode(Sha256::digest(blob));
    Some(format!("{kind} SHA256:{digest}"))
}
