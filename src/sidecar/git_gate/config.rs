//! Loading `gate.yaml`, and the checks that the gate does itself although the renderer has done them: a name or a host
//! that begins with a dash would be an option to a program that it is given to.

use std::path::{Path, PathBuf};

use crate::fs;
use crate::policy::gate::{GatePolicy, HttpsUpstream, SshUpstream, Upstream, VERSION};
use crate::policy::whole::{END, is_whole};

/// The repository that the health check asks for; it has no upstream, and no name of the policy begins with `_`.
pub(crate) const HEALTH: &str = "_health";

/// The policy can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error(transparent)]
    Read(#[from] fs::Error),
    /// The file isn't a policy.
    #[error("`{}` is not a policy of this version: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_yaml::Error,
    },
    /// The file ends before its end.
    #[error("`{}` is cut off: the last line of a whole one is `{}`; render the bundle again", path.display(), END.trim_end())]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// The file has another format.
    #[error("`{}` has format {found}, this program reads format {VERSION}; render the bundle again", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A value that must not reach a program's command line.
    #[error("repository `{repository}` has an unusable {what}: `{value}`")]
    Value {
        /// The repository's name.
        repository: String,
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// Reads and checks the policy.
pub(crate) fn load(path: &Path) -> Result<GatePolicy, ConfigError> {
    let text = fs::read_to_string(path)?;
    let policy: GatePolicy =
        serde_yaml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
    if !is_whole(text.as_bytes()) {
        return Err(ConfigError::CutOff { path: path.to_owned() });
    }
    if policy.version != VERSION {
        return Err(ConfigError::Version { path: path.to_owned(), found: policy.version });
    }
    for (name, repository) in &policy.repositories {
        let bad = |what, value: &str| ConfigError::Value {
            repository: name.clone(),
            what,
            value: value.to_owned(),
        };
        if !is_name(name) {
            return Err(bad("name", name));
        }
        match &repository.upstream {
            Upstream::Ssh(ssh) => check_ssh(ssh).map_err(|(what, value)| bad(what, value))?,
            Upstream::Https(https) => check_https(https).map_err(|(what, value)| bad(what, value))?,
        }
    }
    Ok(policy)
}

/// Tells whether a repository may have this name: it becomes a directory, a path in a URL and an environment variable.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= 100
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(plain)
        && !name.contains("..")
        && !name.ends_with('.')
        && Path::new(name).extension().is_none_or(|extension| extension != "git" && extension != "lock")
}

fn check_ssh(ssh: &SshUpstream) -> Result<(), (&'static str, &str)> {
    let word = |value: &str| {
        !value.is_empty() && !value.starts_with('-') && value.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !word(&ssh.user) || ssh.user.contains(['@', ':', '/']) {
        return Err(("user", &ssh.user));
    }
    if !word(&ssh.host) || ssh.host.contains(['@', '/', '[', ']', '%']) {
        return Err(("host", &ssh.host));
    }
    if ssh.path.is_empty() || ssh.path.starts_with('-') || ssh.path.contains(char::is_control) {
        return Err(("path", &ssh.path));
    }
    if ssh.known_hosts.contains(['"', '%', '\n']) || !ssh.known_hosts.starts_with('/') {
        return Err(("known_hosts", &ssh.known_hosts));
    }
    Ok(())
}

fn check_https(https: &HttpsUpstream) -> Result<(), (&'static str, &str)> {
    let clean = !https.url.contains(|c: char| c.is_control() || c.is_whitespace());
    if !clean || https_host(&https.url).is_none() {
        return Err(("url", &https.url));
    }
    let username = https.credential.as_ref().map_or("", |credential| &credential.username);
    if username.contains(char::is_control) {
        return Err(("credential", username));
    }
    Ok(())
}

/// The `host[:port]` of an `https://` URL, as git names it to a credential helper; none where the URL has another form
/// or carries a user.
pub(crate) fn https_host(url: &str) -> Option<&str> {
    let (host, _) = url.strip_prefix("https://")?.split_once('/')?;
    (!host.is_empty() && !host.starts_with('-') && !host.contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::{https_host, is_name};

    #[test]
    fn a_name_is_never_an_option_or_a_way_out() {
        for name in ["app", "app.web", "a-b_c", "1"] {
            assert!(is_name(name), "{name}");
        }
        for name in
            ["", "-o", "_health", ".", "..", "a/b", "a b", "a.git", "a.lock", "a..b", "ä", "a\n", "a."]
        {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn an_https_url_has_a_host_and_no_user() {
        assert_eq!(https_host("https://h.example:8443/x.git"), Some("h.example:8443"));
        for url in ["http://h/x", "https://u@h/x", "https:///x", "ext::sh -c x", "https://h"] {
            assert_eq!(https_host(url), None, "{url}");
        }
    }
}
