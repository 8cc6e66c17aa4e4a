//! The upstreams of the git gate, asked as the gate would ask them: the same host keys, the same key or credential,
//! nothing of the user's own configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use rustix::fs::Mode;

use super::{Finding, Outcome, Subject};
use crate::engine::command::Command;
use crate::fs;
use crate::plan::{Gate, Secret};
use crate::policy::gate::{HttpsUpstream, SecretSource, SshKey, SshUpstream, Upstream};
use crate::policy::reason::Reason;
use crate::render::escape::shell;
use crate::sidecar::git_gate::message::Failure;

/// How long one upstream may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a connection may take, as `ssh` takes it.
const CONNECT: &str = "ConnectTimeout=10";

pub(super) fn upstreams(subject: &Subject<'_>) -> Outcome {
    let Some(gate) = &subject.plan.gate else { return Ok(Vec::new()) };
    let scratch = Scratch::new()?;
    let known_hosts = scratch.0.join("known_hosts");
    fs::write_atomic(&known_hosts, gate.known_hosts.as_bytes(), 0o600).map_err(|error| error.to_string())?;
    let ask = |(name, upstream): (&str, &Upstream)| match upstream {
        Upstream::Ssh(upstream) => ssh(subject, gate, name, upstream, &known_hosts),
        Upstream::Https(upstream) => https(subject, gate, name, upstream, &scratch.0),
    };
    let repositories = gate.policy.repositories.iter();
    std::thread::scope(|scope| {
        let asked: Vec<_> = repositories
            .map(|(name, repository)| scope.spawn(move || ask((name.as_str(), &repository.upstream))))
            .collect();
        let said = asked.into_iter().map(|one| one.join().unwrap_or_else(|_| Err("it failed".to_owned())));
        let said: Vec<Vec<Finding>> = said.collect::<Result<_, _>>()?;
        Ok(said.concat())
    })
}

/// A directory that nobody else can look into, gone in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("bottle-doctor-{}", std::process::id()));
        // It fails where something is there already, whoever made it.
        rustix::fs::mkdir(&path, Mode::RWXU).map_err(|error| format!("`{}`: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed holds public keys and certificates.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What nothing of the user's own configuration has a say in.
fn git() -> Command<'static> {
    Command::new("git")
        .args(["ls-remote", "--quiet"])
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .limit(LIMIT)
}

fn source<'a>(subject: &Subject<'_>, gate: &'a Gate, wanted: &str) -> Option<(PathBuf, &'a str)> {
    gate.secrets.iter().find_map(|secret| match secret {
        Secret::File { source, target } if target == wanted => {
            Some((subject.host_path(source), target.as_str()))
        }
        Secret::File { .. } | Secret::AgentSocket { .. } | Secret::Env { .. } => None,
    })
}

fn ssh(
    subject: &Subject<'_>,
    gate: &Gate,
    name: &str,
    upstream: &SshUpstream,
    known_hosts: &Path,
) -> Outcome {
    let SshUpstream { user, host, port, path, known_hosts: _, key } = upstream;
    let quoted = |path: &Path| shell(&path.display().to_string());
    let mut options = vec![
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null"
            .to_owned(),
        format!("-o UserKnownHostsFile={} -o {CONNECT} -p {port}", quoted(known_hosts)),
    ];
    match key {
        SshKey::IdentityFile(target) => match source(subject, gate, target) {
            Some((file, _)) if file.is_file() => {
                options.push(format!("-o IdentitiesOnly=yes -o IdentityAgent=none -i {}", quoted(&file)));
            }
            _ => return Err(format!("the key of `{name}` is not there")),
        },
        SshKey::Agent(_) => {}
    }
    let address = gate.extra_hosts.get(host);
    if let Some(address) = address {
        let alias = if *port == 22 { host.clone() } else { format!("[{host}]:{port}") };
        options.push(format!("-o HostName={} -o HostKeyAlias={}", shell(address), shell(&alias)));
    }
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let url = format!("{user}@{bracketed}:{path}");
    let command = git()
        .args([url.as_str(), "HEAD"])
        .env("GIT_SSH_COMMAND", options.join(" "))
        .env("GIT_SSH_VARIANT", "ssh");
    Ok(said(&command, name)
        .map(|finding| with_presented(finding, address.unwrap_or(host), *port))
        .into_iter()
        .collect())
}

/// What the upstream presents, where that isn't what the manifest says.
fn with_presented(finding: Finding, address: &str, port: u16) -> Finding {
    if finding.reason != Reason::HostKeyMismatch {
        return finding;
    }
    let scan = Command::new("ssh-keyscan").args(["-T", "10", "-p", &port.to_string(), address]).limit(LIMIT);
    let keys = scan.run().unwrap_or_default();
    let keys = String::from_utf8_lossy(&keys);
    let keys: Vec<&str> = keys.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    if keys.is_empty() {
        return finding;
    }
    let mend = format!(
        "if the host's owner confirms one of these, write it as `known_host_key`: {}",
        keys.join(", ")
    );
    finding.mend(mend)
}

fn https(
    subject: &Subject<'_>,
    gate: &Gate,
    name: &str,
    upstream: &HttpsUpstream,
    scratch: &Path,
) -> Outcome {
    let HttpsUpstream { url, credential, ca_file } = upstream;
    let mut settings = vec![
        ("credential.helper".to_owned(), String::new()),
        ("http.followRedirects".to_owned(), "false".to_owned()),
    ];
    if let Some(credential) = credential {
        let value = match &credential.source {
            SecretSource::Env(target) => gate.secrets.iter().find_map(|secret| match secret {
                Secret::Env { source, target: there } if there == target => std::env::var(source).ok(),
                _ => None,
            }),
            SecretSource::File(target) => {
                source(subject, gate, target).and_then(|(file, _)| fs::read_to_string(&file).ok())
            }
        };
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else {
            return Err(format!("the credential of `{name}` is not there"));
        };
        let pair = format!("{}:{}", credential.username, value.trim_end_matches(['\r', '\n']));
        let basic = base64::engine::general_purpose::STANDARD.encode(pair);
        settings.push(("http.extraHeader".to_owned(), format!("Authorization: Basic {basic}")));
    }
    let authority = url.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
    if let Some(address) = gate.extra_hosts.get(host) {
        settings.push(("http.curloptResolve".to_owned(), format!("{host}:{port}:{address}")));
    }
    // In the environment of a child and not among its arguments, which everybody on the machine can read.
    let mut command = git().args([url.as_str(), "HEAD"]);
    command = command.settings(settings);
    if ca_file.is_some() {
        let bundle = scratch.join(format!("{name}.pem"));
        let roots =
            openssl_probe::probe().cert_file.and_then(|file| fs::read(&file).ok()).unwrap_or_default();
        let own = gate.secrets.iter().filter_map(|secret| match secret {
            Secret::File { source, target } if target.contains("/ca/") => {
                fs::read(&subject.host_path(source)).ok()
            }
            _ => None,
        });
        let all = own.fold(roots, |all, own| [all, b"\n".to_vec(), own].concat());
        fs::write_atomic(&bundle, &all, 0o600).map_err(|error| error.to_string())?;
        command = command.env("GIT_SSL_CAINFO", bundle.display().to_string());
    }
    Ok(said(&command, name).into_iter().collect())
}

/// Asks, and reads the cause of a failure from what was said, as the gate does.
fn said(command: &Command<'_>, name: &str) -> Option<Finding> {
    let Failure { reason, text } = match command.output() {
        Ok(output) if output.status.success() => return None,
        Ok(output) => Failure::of_upstream(name, &output.stderr),
        Err(failed) => Failure::new(Reason::UpstreamDown, failed.to_string()),
    };
    Some(Finding::problem(reason, text))
}
