//! The first line that git sends on a connection, judged before git's daemon sees it.
//!
//! The daemon looks the host up that the client names, for its access hook: a name made by the agent would reach the
//! resolver outside, and carry data there. So only our own names and addresses are accepted; what else can't be needed
//! (another service, a path that isn't a repository's name, an unknown parameter) is refused here as well.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::super::config;
use super::super::message::Failure;
use super::super::wire::Service;
use crate::policy::reason::Reason;

/// The longest request; git's own is below 300 bytes.
const MAX_REQUEST: usize = 4096;
/// How soon a part of a request is looked at again, at first and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// What the agent asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Request {
    /// The service.
    pub(super) service: Service,
    /// The repository's name, without `.git`; whether there is one of that name is not known yet.
    pub(super) repository: String,
}

/// Waits until the whole first line is there, and gives it without taking it from the socket; gives what there is when
/// the client sends no more or no such line.
pub(super) async fn peek(stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; MAX_REQUEST];
    let mut pause = LOOK.0;
    let mut before = 0;
    loop {
        let count = stream.peek(&mut buffer).await?;
        let wanted = length(&buffer).filter(|_| count >= 4);
        let enough = match wanted {
            Some(wanted) => wanted > MAX_REQUEST || count >= wanted,
            None => count >= 4,
        };
        if enough || count == 0 {
            buffer.truncate(wanted.unwrap_or(count).min(count));
            return Ok(buffer);
        }
        pause = if count > before { LOOK.0 } else { (pause * 2).min(LOOK.1) };
        before = count;
        tokio::time::sleep(pause).await;
    }
}

fn length(buffer: &[u8]) -> Option<usize> {
    let digits = buffer.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|length| *length > 4)
}

/// Judges the first line; `hosts` are the names under which the agent knows the gate.
pub(super) fn parse(line: &[u8], hosts: &[String]) -> Result<Request, Failure> {
    let invalid = |what: &str| Failure::new(Reason::RequestInvalid, what);
    if length(line) != Some(line.len()) {
        return Err(invalid("the connection does not begin with a request of git"));
    }
    let text = line.get(4..).and_then(|body| std::str::from_utf8(body).ok());
    let text = text.ok_or_else(|| invalid("the request is not UTF-8"))?;
    let (command, parameters) = text.split_once('\0').unwrap_or((text, ""));
    let (program, path) = command.trim_end_matches('\n').split_once(' ').ok_or_else(|| invalid("no path"))?;
    let service =
        Service::from_program(program).ok_or_else(|| invalid("the gate fetches and pushes, nothing else"))?;
    let mut seen_host = false;
    for parameter in parameters.split('\0').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("host", host)) if !seen_host => {
                seen_host = true;
                if !is_ours(host, hosts) {
                    return Err(invalid("the request names another host than the gate"));
                }
            }
            Some(("version", "0" | "1" | "2")) => {}
            _ => return Err(invalid("the request has an unknown parameter")),
        }
    }
    let name = path.strip_prefix('/').unwrap_or_default();
    let name = name.strip_suffix('/').unwrap_or(name);
    let name = name.strip_suffix(".git").unwrap_or(name);
    if name != config::HEALTH && !config::is_name(name) {
        // What the agent's git calls an upstream that the bottle doesn't have.
        return Err(Failure::new(
            Reason::RepositoryUnknown,
            format!("no repository `{name}` in this bottle"),
        ));
    }
    Ok(Request { service, repository: name.to_owned() })
}

fn is_ours(host: &str, hosts: &[String]) -> bool {
    let (name, rest) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    // Git's daemon takes all before the last colon for the name, and so there may be one colon only.
    if !rest.is_empty() && rest.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none() {
        return false;
    }
    name.parse::<IpAddr>().is_ok() || hosts.iter().any(|ours| ours == name)
}

#[cfg(test)]
mod tests {
    use super::{Request, parse};
    use crate::policy::reason::Reason;
    use crate::sidecar::git_gate::wire::Service;

    fn line(body: &str) -> Vec<u8> {
        format!("{:04x}{body}", body.len() + 4).into_bytes()
    }

    fn judge(body: &str) -> Result<Request, Reason> {
        parse(&line(body), &["git-gate".to_owned()]).map_err(|failure| failure.reason)
    }

    #[test]
    fn what_git_sends_is_understood() {
        let app = Request { service: Service::UploadPack, repository: "app".to_owned() };
        for body in [
            "git-upload-pack /app.git\0host=git-gate\0\0version=2\0",
            "git-upload-pack /app\0host=git-gate:9418\0",
            "git-upload-pack /app.git/\0host=127.0.0.1:9418\0\0version=1\0",
            "git-upload-pack /app.git\0host=[::1]:9418\0",
            "git-upload-pack /app.git\n",
        ] {
            assert_eq!(judge(body).as_ref(), Ok(&app), "{body:?}");
        }
    }

    #[test]
    fn a_host_of_the_agents_making_is_never_looked_up() {
        for host in [
            "secret.evil.example",
            "git-gate.evil.example",
            "",
            "0x7f.1",
            "git-gate@evil",
            "[evil]:1",
            // Git's daemon takes all before the last colon for the host.
            "git-gate:secret.evil.example:9418",
            "git-gate:secret.evil.example:",
            "git-gate:evil",
            "[::1].evil",
            "[::1]:evil",
        ] {
            let body = format!("git-upload-pack /app.git\0host={host}\0");
            assert_eq!(judge(&body), Err(Reason::RequestInvalid), "{host}");
        }
        assert_eq!(judge("git-upload-pack /app\0host=git-gate\0host=evil\0"), Err(Reason::RequestInvalid));
    }

    #[test]
    fn other_services_parameters_and_paths_are_refused() {
        for body in [
            "git-upload-archive /app.git\0host=git-gate\0",
            "git-upload-pack\0host=git-gate\0",
            "git-upload-pack /app.git\0host=git-gate\0\0version=3\0",
            "git-upload-pack /app.git\0host=git-gate\0\0upload=x\0",
            "GET / HTTP/1.1",
        ] {
            assert_eq!(judge(body), Err(Reason::RequestInvalid), "{body:?}");
        }
        for path in ["/../etc", "/-upload-pack=x", "ext::sh -c id", "/~root/x", "/a/b", "app", "/", "/.git"] {
            let body = format!("git-upload-pack {path}\0host=git-gate\0");
            assert_eq!(judge(&body), Err(Reason::RepositoryUnknown), "{path}");
        }
    }

    #[test]
    fn a_line_whose_length_lies_is_refused() {
        assert!(parse(b"0000", &[]).is_err());
        assert!(parse(b"zzzzgit-upload-pack /app", &[]).is_err());
        assert!(parse(b"00ffgit-upload-pack /app", &[]).is_err());
    }
}
