//! A remote's URL, in any spelling that git takes (git-fetch(1), "GIT URLS").
//!
//! A user name and a password in it are dropped here: some hosts take the token as either of them.

use super::ssh;
use crate::manifest::values::GitUrl;

/// Where a remote leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Remote {
    /// The way there.
    pub(crate) way: Way,
    /// Whether something that may be secret was left out.
    pub(crate) dropped: bool,
}

/// The way to a remote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// SSH. The host may be a name that only the user's `ssh_config(5)` knows.
    Ssh {
        /// The user, where the URL names one.
        user: Option<String>,
        /// The host.
        host: String,
        /// The port, where the URL names one.
        port: Option<u16>,
        /// The path; one that does not start with `/` is relative to the user's home directory.
        path: String,
    },
    /// HTTPS.
    Https(GitUrl),
}

/// Reads a remote's URL.
///
/// # Errors
///
/// Why the gate can't go there. The URL itself is not repeated: it may hold a secret.
pub(crate) fn remote(text: &str) -> Result<Remote, String> {
    if text.chars().any(char::is_control) {
        return Err("its URL has control characters".to_owned());
    }
    for scheme in ["ssh://", "git+ssh://", "ssh+git://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            let (authority, path) = rest.split_once('/').ok_or("its URL has no path")?;
            return ssh(authority, format!("/{path}"), true);
        }
    }
    if let Some(rest) = text.strip_prefix("https://") {
        let (authority, path) = rest.split_once('/').ok_or("its URL has no path")?;
        let (user, host) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        // A query has no meaning to a git server but for what it lets in.
        let (path, query) =
            path.split_once(['?', '#']).map_or((path, None), |(path, query)| (path, Some(query)));
        let url = format!("https://{host}/{path}").parse();
        let url = url.map_err(|_| "its URL is not one that the gate goes to".to_owned())?;
        return Ok(Remote { way: Way::Https(url), dropped: user.is_some() || query.is_some() });
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(match scheme {
            "http" | "git" => format!("`{scheme}://` is neither encrypted nor authenticated"),
            "file" => "it is a directory of this machine".to_owned(),
            _ => "only ssh and https lead to an upstream".to_owned(),
        });
    }
    if text.split_once("::").is_some_and(|(helper, _)| !helper.contains(['/', '[', '@'])) {
        return Err("its URL starts a remote helper, which could run a program".to_owned());
    }
    // The scp form has a colon before any slash; the colons of an address in brackets don't count.
    let (authority, path) = match text.find('[').and(text.split_once("]:")) {
        Some((before, path)) => (format!("{before}]"), path),
        None => match text.split_once(':') {
            Some((before, path)) => (before.to_owned(), path),
            None => return Err("it is a directory of this machine".to_owned()),
        },
    };
    if authority.contains('/') {
        return Err("it is a directory of this machine".to_owned());
    }
    // `user:password@host:path` is none of git's spellings: to git the password is part of a path. People write it.
    if !authority.contains('@') && path.split('/').next().is_some_and(|first| first.contains('@')) {
        return Err("its URL looks as if it had a password in it".to_owned());
    }
    ssh(&authority, path.to_owned(), false)
}

fn ssh(authority: &str, path: String, may_have_port: bool) -> Result<Remote, String> {
    let invalid = || "its URL is not one that the gate goes to".to_owned();
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (user, dropped) = match user.and_then(|user| user.split_once(':')) {
        Some((user, _)) => (Some(user), true),
        None => (user, false),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => (address, after.strip_prefix(':')),
        None if may_have_port => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        None => (host, None),
    };
    let port = port.filter(|port| !port.is_empty());
    let port = port.map(|port| port.parse::<u16>().map_err(|_| invalid())).transpose()?;
    // What is an argument of ssh must be no option of it. A host may be a nickname, and has the letters of a name.
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    if !plain(host, b"._-:") || !user.is_none_or(|user| plain(user, b"._-+")) {
        return Err(invalid());
    }
    let (user, host) = (user.map(str::to_owned), host.to_owned());
    Ok(Remote { way: Way::Ssh { user, host, port, path }, dropped })
}

/// The upstream over SSH, with what the user's configuration of SSH says of its host.
///
/// # Errors
///
/// It is none that a manifest can name.
pub(crate) fn upstream(config: &ssh::Config, path: &str) -> Result<GitUrl, String> {
    let ssh::Config { user, hostname, port, .. } = config;
    let host = if hostname.contains(':') { format!("[{hostname}]") } else { hostname.clone() };
    let text = match (port, path.starts_with('/')) {
        (22, false) => format!("{user}@{host}:{path}"),
        (22, true) => format!("ssh://{user}@{host}{path}"),
        // The scp form has no place for a port.
        (port, false) => format!("ssh://{user}@{host}:{port}/{path}"),
        (port, true) => format!("ssh://{user}@{host}:{port}{path}"),
    };
    text.parse()
}

/// The remote to use, and why; of several without a reason none.
pub(crate) fn choose(remotes: &[String], tracked: Option<&str>) -> Option<(String, &'static str)> {
    let named = |wanted: &str| remotes.iter().find(|remote| *remote == wanted).cloned();
    match remotes {
        [only] => Some((only.clone(), "it is the only remote")),
        _ => named("origin")
            .map(|name| (name, "it is the remote that the repository was cloned from, by its name"))
            .or_else(|| Some((named(tracked?)?, "the branch that is checked out follows it"))),
    }
}
