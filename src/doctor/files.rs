//! The secrets that the bundle takes from this machine: variables, files, and the operator's SSH agent. Their values are
//! looked at no further than whether they are there.

#![expect(clippy::unnecessary_wraps, reason = "all checks have one type")]

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use super::{Finding, Outcome, Subject};
use crate::engine::command::Command;
use crate::fs;
use crate::plan::{Mount, Secret};
use crate::policy::reason::Reason;
use crate::render::escape::shell;

/// What the sidecars of the bundle take.
fn secrets<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a Secret> {
    let egress = subject.plan.egress.iter().flat_map(|egress| &egress.secrets);
    egress.chain(subject.plan.gate.iter().flat_map(|gate| &gate.secrets))
}

pub(super) fn variables(subject: &Subject<'_>) -> Outcome {
    // Compose reads the file beside compose.yaml where its own environment has nothing.
    let beside = fs::read_if_exists(&subject.place.directory.join(".env")).ok().flatten().unwrap_or_default();
    let beside = String::from_utf8_lossy(&beside);
    let mut unset: Vec<&str> = secrets(subject)
        .filter_map(|secret| match secret {
            Secret::Env { source, .. } => Some(source.as_str()),
            Secret::File { .. } | Secret::AgentSocket { .. } => None,
        })
        .filter(|name| match std::env::var_os(name) {
            Some(value) => value.is_empty(),
            None => !is_set(&beside, name),
        })
        .collect();
    unset.dedup();
    let found = unset.into_iter().map(|name| {
        Finding::problem(Reason::CredentialUnset, format!("`{name}` is not set"))
            .mend(format!("`export {name}=...` where `docker compose up` is run, or a line in `.env` there"))
    });
    Ok(found.collect())
}

/// Whether an environment file gives a variable a value (Compose, "Syntax for environment files").
fn is_set(file: &str, name: &str) -> bool {
    value_of(file, name).is_some()
}

/// The value that an environment file gives a variable; the last one counts.
pub(super) fn value_of<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (_, value) = line.split_once(['=', ':']).filter(|(key, _)| key.trim_end() == name)?;
        let value = value.trim();
        let bare = value.trim_matches(['"', '\'']);
        (!bare.is_empty() && !value.starts_with('#')).then_some(bare)
    };
    file.lines().filter_map(value).next_back()
}

pub(super) fn files(subject: &Subject<'_>) -> Outcome {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for secret in secrets(subject) {
        let Secret::File { source, target } = secret else { continue };
        let path = subject.host_path(source);
        if seen.contains(&path) {
            continue;
        }
        // Where its container has it says what it is.
        let (key, certificate) = (target.contains("/identity/"), target.contains("/ca/"));
        findings.extend(file(&path, key, !certificate));
        seen.push(path);
    }
    for Mount { source, target: _ } in &subject.plan.agent.mounts {
        let path = subject.host_path(source);
        if fs::metadata(&path).is_err() {
            findings.push(Finding::problem(Reason::FileMissing, format!("there is no `{}`", path.display())));
        }
    }
    if let crate::plan::Image::Build(source) = &subject.plan.agent.image {
        let path = subject.host_path(source);
        if !path.is_dir() {
            findings
                .push(Finding::problem(Reason::FileMissing, format!("`{}` is no directory", path.display())));
        }
    }
    Ok(findings)
}

fn file(path: &Path, key: bool, secret: bool) -> Option<Finding> {
    let (shown, quoted) = (path.display(), shell(&path.display().to_string()));
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => {
            let what =
                format!("`{shown}` is no regular file; Compose makes a directory of a file that is missing");
            return Some(
                Finding::problem(Reason::FileMissing, what)
                    .mend(format!("`rmdir {quoted}`, and put the file there")),
            );
        }
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
            return Some(Finding::problem(Reason::FileMissing, format!("there is no `{shown}`")));
        }
        Err(error) => return Some(Finding::problem(Reason::FileUnreadable, error.to_string())),
    };
    if let Err(error) = fs::open(path) {
        let mend = format!("`chmod u+r {quoted}`, or run this as its owner");
        return Some(Finding::problem(Reason::FileUnreadable, error.to_string()).mend(mend));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if secret && mode & 0o077 != 0 {
        let what = format!("others can use `{shown}`: its mode is {mode:04o}");
        return Some(Finding::warning(Reason::FileOpen, what).mend(format!("`chmod 600 {quoted}`")));
    }
    if metadata.len() == 0 {
        return Some(Finding::problem(Reason::FileMissing, format!("`{shown}` is empty")));
    }
    (key && is_encrypted(path))
        .then(|| Finding::problem(Reason::KeyEncrypted, format!("`{shown}` has a passphrase")))
}

/// Whether a private key has a passphrase: then it can't be read with an empty one (ssh-keygen(1)).
pub(crate) fn is_encrypted(path: &Path) -> bool {
    let path = path.display().to_string();
    let failed = Command::new("ssh-keygen").args(["-y", "-P", "", "-f", &path]).env("LC_ALL", "C").run();
    failed.is_err_and(|failed| failed.to_string().contains("passphrase"))
}

pub(super) fn agent(subject: &Subject<'_>) -> Outcome {
    if !secrets(subject).any(|secret| matches!(secret, Secret::AgentSocket { .. })) {
        return Ok(Vec::new());
    }
    let unusable = |what: String| Ok(vec![Finding::problem(Reason::AgentUnusable, what)]);
    let Some(socket) = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) else {
        return unusable("`SSH_AUTH_SOCK` is not set".to_owned());
    };
    let socket = Path::new(&socket);
    if !fs::metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return unusable(format!("`SSH_AUTH_SOCK` names `{}`, which is no socket", socket.display()));
    }
    // ssh-add(1): 1 without a key, 2 without an agent.
    match Command::new("ssh-add").args(["-l"]).output() {
        Ok(output) if output.status.success() => Ok(Vec::new()),
        Ok(output) if output.status.code() == Some(1) => unusable("the SSH agent holds no key".to_owned()),
        Ok(_) => unusable(format!("no SSH agent answers at `{}`", socket.display())),
        Err(failed) => Err(failed.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::{file, is_set};
    use crate::policy::reason::Reason;

    fn reason(path: &Path, key: bool) -> Option<Reason> {
        file(path, key, true).map(|finding| finding.reason)
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_is_missing_empty_open_or_none_is_told() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("token");
        assert_eq!(reason(&path, false), Some(Reason::FileMissing));
        assert_eq!(reason(root.path(), false), Some(Reason::FileMissing));
        crate::fs::write_atomic(&path, b"", 0o600).unwrap();
        assert_eq!(reason(&path, false), Some(Reason::FileMissing));
        crate::fs::write_atomic(&path, b"secret", 0o600).unwrap();
        assert_eq!(reason(&path, false), None);
        mode(&path, 0o640);
        let finding = file(&path, false, true).unwrap();
        assert_eq!(finding.reason, Reason::FileOpen);
        assert!(finding.what.ends_with("its mode is 0640"), "{}", finding.what);
        assert_eq!(reason(&path.join("below"), false), Some(Reason::FileUnreadable));
        // A certificate is for everybody.
        assert_eq!(file(&path, false, false), None);
    }

    #[test]
    fn a_variable_may_stand_in_the_file_beside_the_compose_file() {
        let file = "# TOKEN=commented\nOTHER=1\nexport KEY='secret'\nEMPTY=\nQUOTED=\"\"\n TOKENS = x\n";
        for (name, set) in [
            ("OTHER", true),
            ("KEY", true),
            ("TOKENS", true),
            ("TOKEN", false),
            ("EMPTY", false),
            ("QUOTED", false),
        ] {
            assert_eq!(is_set(file, name), set, "{name}");
        }
    }

    #[test]
    fn a_key_with_a_passphrase_is_told_and_one_without_is_not() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str, passphrase: &str| {
            let path = root.path().join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
                .arg(&path)
                .status()
                .unwrap();
            assert!(made.success());
            path
        };
        assert_eq!(reason(&make("open", ""), true), None);
        assert_eq!(reason(&make("closed", "correct horse"), true), Some(Reason::KeyEncrypted));
    }
}
