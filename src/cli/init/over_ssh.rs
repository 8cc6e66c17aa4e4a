//! Looking at what SSH knows of a remote's host, with OpenSSH's own programs.

use std::path::PathBuf;

use super::look::{LIMIT, Place};
use super::{Args, Decisions, key_text};
use crate::doctor::files::is_encrypted;
use crate::engine::command::Command;
use crate::init::text::shortened;
use crate::init::{Access, Key, git, ssh};
use crate::manifest::values::{GitUrl, HostKey};

/// Where a remote over SSH leads, as its URL says it.
pub(super) struct Target {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
}

/// The upstream and the way to it, by the user's own configuration of SSH.
pub(super) fn reach(
    place: &Place,
    args: &Args,
    target: &Target,
    decisions: &mut Decisions,
) -> Option<(GitUrl, Access)> {
    let Target { user, host, port, path } = target;
    // A look at DNS would be a question to the network.
    let mut options = vec!["-G".to_owned(), "-o".to_owned(), "CanonicalizeHostname=no".to_owned()];
    options.extend(user.iter().flat_map(|user| ["-l".to_owned(), user.clone()]));
    options.extend(port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    options.push(host.clone());
    let answer = Command::new("ssh").args(options).limit(LIMIT).run();
    let config = match answer.map(|bytes| ssh::config(&String::from_utf8_lossy(&bytes))) {
        Ok(Some(config)) => config,
        Ok(None) => {
            decisions.add("repository: none: `ssh -G` says nothing of its host");
            return None;
        }
        Err(failed) => {
            decisions.add(format!("repository: none: {}", shortened(&failed.to_string())));
            return None;
        }
    };
    let upstream = match git::upstream(&config, path) {
        Ok(upstream) => upstream,
        Err(why) => {
            decisions.add(format!("repository: none: {}", shortened(&why)));
            return None;
        }
    };
    if config.hostname != *host || (config.port != 22 && port.is_none()) {
        decisions.add(format!("upstream: `{upstream}`: your SSH configuration says so of `{host}`"));
    } else {
        decisions.add(format!("upstream: `{upstream}`"));
    }
    if config.port != 22 && !path.starts_with('/') {
        decisions.add("upstream: with a port its path starts at the root; write `/~/` before it if it is in the user's home directory");
    }
    if config.indirect {
        decisions.add("warning: your SSH configuration goes there through another host or a program; the gate connects by itself");
    }
    let (key, why) = key(place, args, &config)?;
    decisions.add(format!("key: {}: {why}", key_text(&key)));
    let hosts = host_keys(place, args, &config, decisions);
    Some((upstream, Access::Ssh { key, hosts }))
}

fn key(place: &Place, args: &Args, config: &ssh::Config) -> Option<(Key, &'static str)> {
    if args.ssh_agent {
        return Some((Key::Agent, "you want it"));
    }
    if let Some(path) = &args.identity_file {
        return Some((Key::File(path.clone()), "you named it"));
    }
    let files = config.identity_files.iter().map(|file| place.host_path(file)).filter(|path| path.is_file());
    let (encrypted, open): (Vec<PathBuf>, Vec<PathBuf>) = files.partition(|path| is_encrypted(path));
    if let Some(path) = open.iter().find_map(|path| place.written(path)) {
        return Some((Key::File(path), "the first that SSH tries and that has no passphrase"));
    }
    // It ends with another status than 0 where there is no agent, or no key in it.
    if std::env::var_os("SSH_AUTH_SOCK").is_some()
        && Command::new("ssh-add").args(["-l"]).limit(LIMIT).run().is_ok()
    {
        return Some((Key::Agent, "no key file here goes without a passphrase, and the agent has keys"));
    }
    match encrypted.iter().find_map(|path| place.written(path)) {
        Some(path) => Some((
            Key::File(path),
            "it is the only one, but it has a passphrase, for which the gate can't ask: `ssh-add` it and use `--ssh-agent`",
        )),
        None => Some((
            Key::File("~/.ssh/id_ed25519".parse().ok()?),
            "there is none yet; `bottle doctor` says so until there is",
        )),
    }
}

fn host_keys(place: &Place, args: &Args, config: &ssh::Config, decisions: &mut Decisions) -> Vec<HostKey> {
    let name = config.known_as();
    let files = config.known_hosts.iter().map(|file| place.host_path(file)).filter(|path| path.is_file());
    let mut lines = String::new();
    for file in files {
        let file = file.to_string_lossy().into_owned();
        let find = Command::new("ssh-keygen").args(["-F", &name, "-f", &file]).limit(LIMIT);
        lines.push_str(&String::from_utf8_lossy(&find.run().unwrap_or_default()));
    }
    let known = ssh::host_keys(&lines);
    let (keys, source) = if known.is_empty() && args.scan_host_key {
        let port = config.port.to_string();
        let scan = Command::new("ssh-keyscan").args(["-T", "10", "-p", &port, "--", &config.hostname]);
        let said = match scan.limit(LIMIT).run() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(failed) => {
                decisions.add(format!("host key: {}", shortened(&failed.to_string())));
                String::new()
            }
        };
        (ssh::host_keys(&said), "asked from the network: compare it with what the host's owner says")
    } else {
        (known, "known here")
    };
    for fingerprint in keys.iter().filter_map(ssh::fingerprint) {
        decisions.add(format!("host key: {fingerprint}: {source}"));
    }
    if keys.is_empty() {
        decisions.add(format!(
            "host key: none of `{}` is known here, so the repository is written as a comment; connect once with `ssh`, or ask the network with `--scan-host-key`",
            shortened(&name)
        ));
    }
    keys
}
