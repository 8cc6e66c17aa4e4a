//! Sends an accepted push to the upstream.
//!
//! By URL, not by the remote's name, which would have git try to move refs in the quarantine and report deletions
//! wrongly. All refs or none (`--atomic`), and each only if the upstream has it where the judgement assumed it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::super::judge::Accepted;
use super::super::message::Failure;
use super::super::ssh;
use super::super::upstream::{self, LIMITS};
use super::pre_receive::say;
use crate::policy::gate::Repository;
use crate::policy::reason::Reason;
use crate::process::{self, Group, Limits, RunError};
use crate::sidecar::text;

/// Forwards the refs, and tells the agent what the upstream says about it.
pub(super) fn forward(
    name: &str,
    repository: &Repository,
    directory: &Path,
    accepted: &[Accepted],
) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::inside)?;
    let mut command = Command::new("git");
    command.current_dir(directory);
    upstream::adorn(&mut command, name, repository);
    command.args([
        "push",
        "--porcelain",
        "--progress",
        "--atomic",
        "--no-verify",
        "--no-signed",
        "--no-follow-tags",
    ]);
    command.arg("--recurse-submodules=no");
    for Accepted { name, expected, .. } in accepted {
        // An empty expectation means that the upstream must not have the ref.
        let expected = expected.as_ref().map(ToString::to_string).unwrap_or_default();
        command.arg(joined(&[b"--force-with-lease=", name, b":", expected.as_bytes()]));
    }
    command.arg("--").arg(upstream::url(repository));
    for Accepted { name, new, .. } in accepted {
        let new = new.as_ref().map(ToString::to_string).unwrap_or_default();
        command.arg(joined(&[new.as_bytes(), b":", name]));
    }
    // The hook's own group: whoever cuts the connection off ends the push as well.
    let output = match runtime.block_on(process::run(command, limits()?, Group::Callers)) {
        Ok(output) => output,
        Err(error @ RunError::Start { .. }) => return Err(Failure::inside(error)),
        Err(RunError::TooSlow { after, stderr, .. }) => {
            pass_on(&stderr);
            let text = format!(
                "{name}: the upstream did not answer for {} s; fetch to see what it has",
                after.as_secs()
            );
            return Err(Failure::new(Reason::UpstreamDown, text));
        }
    };
    pass_on(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    Err(rejected(name, &output.stdout).unwrap_or_else(|| Failure::of_upstream(name, &output.stderr)))
}

fn limits() -> Result<Limits, Failure> {
    let text = ssh::environment(LIMITS).map_err(Failure::inside)?;
    let mut numbers = text.split(' ').map(|number| number.parse().map(Duration::from_secs));
    match (numbers.next(), numbers.next()) {
        (Some(Ok(total)), Some(Ok(stall))) => Ok(Limits { total, stall }),
        _ => Err(Failure::inside(format!("{LIMITS} is not two numbers"))),
    }
}

fn joined(parts: &[&[u8]]) -> OsString {
    OsStr::from_bytes(&parts.concat()).to_owned()
}

/// Shows the agent what the upstream's own hooks print.
fn pass_on(stderr: &[u8]) {
    for line in stderr.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = String::from_utf8_lossy(line);
        let Some(text) = line.strip_prefix("remote: ") else {
            continue;
        };
        let text = text.trim_end().trim_end_matches("\u{1b}[K").trim_end();
        if !text.is_empty() && !is_progress(text) {
            say(&format!("bottle: upstream: {text}"));
        }
    }
}

fn is_progress(text: &str) -> bool {
    text.contains("% (") || text.starts_with("Total ")
}

/// Reads from the machine-readable report why the upstream did not take the refs; none if it tells nothing.
fn rejected(name: &str, report: &[u8]) -> Option<Failure> {
    let report = String::from_utf8_lossy(report);
    let mut reason = None;
    let mut said = Vec::new();
    for line in report.lines() {
        let Some(rest) = line.strip_prefix("!\t") else {
            continue;
        };
        let (refs, summary) = rest.split_once('\t').unwrap_or((rest, ""));
        let target = refs.rsplit_once(':').map_or(refs, |(_, target)| target);
        if summary.contains("atomic push failed") || summary.contains("atomic transaction failed") {
            continue;
        }
        let moved = ["stale info", "fetch first", "non-fast-forward", "already exists", "needs force"];
        let moved = moved.iter().any(|word| summary.starts_with("[rejected]") && summary.contains(word))
            || summary.contains("failed to update ref")
            || summary.contains("cannot lock ref");
        let this = if moved { Reason::UpstreamMoved } else { Reason::UpstreamRefused };
        // A ref that moved explains the refusal of the others.
        if reason != Some(Reason::UpstreamMoved) {
            reason = Some(this);
        }
        said.push(format!("{target} {summary}"));
    }
    Some(Failure::new(reason?, format!("{name}: {}", text::neutral(said.join("; ").as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::rejected;
    use crate::policy::reason::Reason;

    #[test]
    fn the_upstreams_report_gives_the_reason() {
        let moved = b"To x\n!\tabc:refs/heads/a\t[rejected] (stale info)\n!\tabc:refs/heads/b\t[rejected] (atomic push failed)\nDone\n";
        let failure = rejected("app", moved).unwrap();
        assert_eq!(failure.reason, Reason::UpstreamMoved);
        assert_eq!(failure.text, "app: refs/heads/a [rejected] (stale info)");
        let declined = b"!\tabc:refs/heads/a\t[remote rejected] (pre-receive hook declined)\n";
        assert_eq!(rejected("app", declined).unwrap().reason, Reason::UpstreamRefused);
        assert!(rejected("app", b"To x\n").is_none());
    }
}
