//! An upstream's URL, in the spellings that git knows (git-fetch(1), "GIT URLS").

use std::fmt;

use super::super::decode::Invalid;
use super::super::source::shown;
use super::net::host;
use super::{no_option, one_line, text};

/// The parts of an upstream's URL.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GitUrl {
    /// How the upstream is reached.
    pub transport: Transport,
    /// The user of an SSH upstream.
    pub user: String,
    /// The host's name or address; an IPv6 address has no brackets.
    pub host: String,
    /// The port, where the URL names one.
    pub port: Option<u16>,
    /// The path as the upstream gets it: absolute after `ssh://` and `https://`, relative to the user's home in the
    /// scp form.
    pub path: String,
}

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// SSH.
    Ssh,
    /// HTTPS.
    Https,
}

impl GitUrl {
    /// The port that is dialled.
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(match self.transport {
            Transport::Ssh => 22,
            Transport::Https => 443,
        })
    }

    /// The path without a slash before it and without `/` or `.git` after it: what all spellings have in common.
    pub fn repository(&self) -> &str {
        let path = self.path.trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path)
    }

    /// The host as a URL writes it, an IPv6 address in brackets.
    pub fn url_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// The URL in git's notation: the scp form where the path is relative to the user's home.
impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, user, host: _, port, path } = self;
        let host = self.url_host();
        match transport {
            Transport::Ssh if !path.starts_with('/') => return write!(f, "{user}@{host}:{path}"),
            Transport::Ssh => write!(f, "ssh://{user}@{host}")?,
            Transport::Https => write!(f, "https://{host}")?,
        }
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        f.write_str(path)
    }
}

text!(@scalar GitUrl, "the URL of a git repository", parse, "string");

const HINT: &str = "write `ssh://git@git.example.com/team/app.git`, `git@git.example.com:team/app.git` or `https://git.example.com/team/app.git`";

fn parse(text: &str) -> Result<GitUrl, Invalid> {
    one_line(text, "the URL")?;
    no_option(text, "the URL")?;
    if text.contains("::") && !text.contains("://") && !text.contains('[') {
        let helper = text.split("::").next().unwrap_or_default();
        return Err(Invalid::with_hint(
            format!("`{}::` starts a remote helper, which could run a program", shown(helper)),
            HINT,
        ));
    }
    if let Some(rest) = text.strip_prefix("ssh://") {
        let (authority, path) =
            rest.split_once('/').ok_or_else(|| Invalid::with_hint("the URL has no path", HINT))?;
        let (user, host_port) = user(authority)?;
        let (host, port) = host_and_port(host_port)?;
        return Ok(GitUrl {
            transport: Transport::Ssh,
            user,
            host,
            port,
            path: checked_path(&format!("/{path}"))?,
        });
    }
    if let Some(rest) = text.strip_prefix("https://") {
        let (authority, path) =
            rest.split_once('/').ok_or_else(|| Invalid::with_hint("the URL has no path", HINT))?;
        if authority.contains('@') {
            return Err(Invalid::with_hint(
                "a user or password has no place in the URL",
                "declare it under `credentials:` and name it with `credential:`",
            ));
        }
        let (host, port) = host_and_port(authority)?;
        if path.contains(['?', '#']) {
            return Err(Invalid::with_hint("the URL has a query or a fragment", HINT));
        }
        let path = checked_path(&format!("/{path}"))?;
        return Ok(GitUrl { transport: Transport::Https, user: String::new(), host, port, path });
    }
    if let Some((scheme, _)) = text.split_once("://") {
        let why = match scheme {
            "http" | "git" => "it is neither encrypted nor authenticated",
            _ => "only ssh and https lead to an upstream",
        };
        return Err(Invalid::with_hint(format!("`{}://` is refused: {why}", shown(scheme)), HINT));
    }
    scp(text)
}

/// `user@host:path`, with an IPv6 address in brackets.
fn scp(text: &str) -> Result<GitUrl, Invalid> {
    let not_remote =
        || Invalid::with_hint(format!("`{}` is not the URL of a remote repository", shown(text)), HINT);
    let (authority, path) = match text.find('[') {
        Some(_) => {
            text.split_once("]:").map(|(before, path)| (format!("{before}]"), path)).ok_or_else(not_remote)?
        }
        None => {
            text.split_once(':').map(|(before, path)| (before.to_owned(), path)).ok_or_else(not_remote)?
        }
    };
    if authority.contains('/') {
        return Err(not_remote());
    }
    let (user, bare) = user(&authority)?;
    let bare = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(bare);
    Ok(GitUrl { transport: Transport::Ssh, user, host: host(bare)?, port: None, path: checked_path(path)? })
}

fn user(authority: &str) -> Result<(String, &str), Invalid> {
    let (user, rest) = authority.rsplit_once('@').ok_or_else(|| {
        Invalid::with_hint("the URL names no user", "most hosts want `git@` before the host name")
    })?;
    no_option(user, "the user")?;
    if user.contains(':') {
        return Err(Invalid::with_hint(
            "a password has no place in the URL",
            "use `identity_file` or `ssh_agent: true`",
        ));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    if user.is_empty() || !user.bytes().all(fits) {
        return Err(Invalid::new(format!("`{}` is not a user name", shown(user))));
    }
    Ok((user.to_owned(), rest))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), Invalid> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) =
                rest.split_once(']').ok_or_else(|| Invalid::new("a `[` in the URL is not closed"))?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(Invalid::new(format!("`{}` is not an IPv6 address", shown(address))));
            }
            if !after.is_empty() && !after.starts_with(':') {
                return Err(Invalid::new(format!("`{}` stands after the address", shown(after))));
            }
            (address, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let port = match port {
        None => None,
        Some(digits) => Some(
            digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| Invalid::new(format!("`{}` is not a port", shown(digits))))?,
        ),
    };
    Ok((host(name)?, port))
}

/// The path reaches the upstream's shell inside quotes; nothing that means something there is needed in a path.
fn checked_path(path: &str) -> Result<String, Invalid> {
    no_option(path.trim_start_matches('/'), "the path")?;
    if matches!(path.trim_matches('/'), "" | ".git") {
        return Err(Invalid::with_hint("the URL has no path", HINT));
    }
    // Git compares URLs as texts, so the agent's git would not find the gate by this one.
    if path.contains("//") {
        return Err(Invalid::with_hint("the path has `//` in it", "write one slash"));
    }
    if path.split('/').any(|segment| segment == ".." || segment == ".") {
        return Err(Invalid::new("the path has `.` or `..` in it"));
    }
    let meaning = |character: char| !character.is_alphanumeric() && !"._-~/+@,=%".contains(character);
    if let Some(character) = path.chars().find(|character| meaning(*character)) {
        return Err(Invalid::new(format!("the path has the character `{}`", shown(&character.to_string()))));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::super::decode::Scalar as _;
    use super::{GitUrl, Transport};

    fn parts(text: &str) -> (Transport, String, String, Option<u16>, String) {
        let url = GitUrl::parse(text).expect("a URL");
        (url.transport, url.user, url.host, url.port, url.path)
    }

    #[test]
    fn the_spellings_of_ssh_are_understood() {
        let ssh = |host: &str, port, path: &str| {
            (Transport::Ssh, "git".to_owned(), host.to_owned(), port, path.to_owned())
        };
        assert_eq!(
            parts("ssh://git@git.example.com:2222/team/app.git"),
            ssh("git.example.com", Some(2222), "/team/app.git")
        );
        assert_eq!(parts("git@git.example.com:team/app.git"), ssh("git.example.com", None, "team/app.git"));
        assert_eq!(parts("ssh://git@[fd00::1]:22/~/app"), ssh("fd00::1", Some(22), "/~/app"));
        assert_eq!(parts("git@[fd00::1]:app"), ssh("fd00::1", None, "app"));
    }

    #[test]
    fn a_url_is_written_as_it_was_read() {
        for text in [
            "ssh://git@h.example:2222/team/app.git",
            "git@[fd00::1]:team/app",
            "https://h.example:8443/app.git",
        ] {
            assert_eq!(GitUrl::parse(text).expect("a URL").to_string(), text);
        }
    }

    #[test]
    fn https_has_no_user() {
        assert_eq!(parts("https://git.example.com/team/app").0, Transport::Https);
        assert!(GitUrl::parse("https://user:secret@git.example.com/team/app").is_err());
        assert!(GitUrl::parse("https://git.example.com/team/app?x=1").is_err());
    }

    #[test]
    fn what_could_run_a_program_or_read_another_file_is_refused() {
        for text in [
            "ext::sh -c touch% /tmp/x",
            "-oProxyCommand=x",
            "ssh://-oProxyCommand=x/app",
            "git@-oProxyCommand=x:app",
            "ssh://-l@host/app",
            "--upload-pack=x",
            "git@host:--upload-pack=x",
            "ssh://git@host/--upload-pack=x",
            "/srv/app.git",
            "../app.git",
            "file:///srv/app",
            "git://host/app",
            "http://host/app",
            "fd::17",
            "git@host:../../etc",
            "ssh://git@host/a/../b",
            "git@host:a\0b",
            "git@host:a\nb",
            "git@host:a'b",
            "git@host:$(x)",
            "ssh://git@host",
            "ssh://git@host/",
            "git@host:",
            "ssh://git:pw@host/app",
            "git@ho st:app",
            "ssh://git@host:0/a",
            "ssh://git@host:+22/a",
            "git@0x7f.1:app",
            "ssh://git@[fd00::1]x/app",
            "https://host//app",
            "https://host/.git",
            "ssh://git@2130706433/app",
            "transport::ssh://git@host/app",
        ] {
            assert!(GitUrl::parse(text).is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn all_spellings_have_the_repository_in_common() {
        for text in
            ["ssh://git@h.example/team/app.git", "git@h.example:team/app", "https://h.example/team/app.git/"]
        {
            assert_eq!(GitUrl::parse(text).expect("a URL").repository(), "team/app");
        }
    }
}
