//! Looking at the repository, with git itself.
//!
//! Nothing here runs what the repository brings: git gets neither its hooks nor its file-system monitor, and no package
//! manager is started in it (see [`super::own`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::over_ssh::{self, Target};
use super::{Args, Decisions};
use crate::engine::command::Command;
use crate::fs;
use crate::init::git::{self, Way};
use crate::init::text::shortened;
use crate::init::{Access, Repository, name_of};
use crate::manifest::diagnostic::list;
use crate::manifest::values::HostPath;

/// How long a program may take that has nothing to wait for.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// The most remotes that are looked at.
const MAX_REMOTES: usize = 100;

/// Where the manifest is written for.
#[derive(Debug)]
pub(super) struct Place {
    /// The root of the repository, or the working directory.
    pub(super) top: PathBuf,
    /// Whether it is a repository.
    is_repository: bool,
    /// The files, relative to the root.
    pub(super) files: Vec<String>,
    /// The user's home directory.
    pub(super) home: Option<PathBuf>,
}

fn git(directory: &Path, arguments: &[&str]) -> Command<'static> {
    Command::new("git")
        .args(["-c", "core.fsmonitor=false"])
        .args(arguments.iter().copied())
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .directory(directory)
        .limit(LIMIT)
}

/// What git prints, without the line's end; nothing where it says no.
fn said(directory: &Path, arguments: &[&str]) -> Option<String> {
    let bytes = git(directory, arguments).run().ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
}

impl Place {
    pub(super) fn new(here: &Path, decisions: &mut Decisions) -> Self {
        let home = super::super::source::absolute("HOME");
        let top = match git(here, &["rev-parse", "--show-toplevel"]).run() {
            Ok(bytes) => String::from_utf8(bytes).ok().map(|text| PathBuf::from(text.trim_end_matches('\n'))),
            Err(failed) => {
                let said = failed.to_string();
                // Another cause than the usual one is worth a line: an owner that git doesn't trust, a git that isn't there.
                if !said.contains("not a git repository") {
                    decisions.add(format!("repository: none that git reads: {}", shortened(&said)));
                }
                None
            }
        };
        let Some(top) = top.filter(|top| top.is_absolute()) else {
            let names = fs::file_names(here).unwrap_or_default();
            let files = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            return Self { top: here.to_owned(), is_repository: false, files, home };
        };
        let listed = git(&top, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).run();
        let listed = listed.unwrap_or_default();
        let files = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        let files = files.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        if top != here {
            decisions.add("place: below the root of the repository; commands find a bottle.yaml in directories above, too");
        }
        Self { top, is_repository: true, files, home }
    }

    /// A path as programs print it, with `~` for the home directory.
    pub(super) fn host_path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.top.join(text),
        }
    }

    /// The same as the manifest writes it.
    pub(super) fn written(&self, path: &Path) -> Option<HostPath> {
        let below = self.home.as_deref().and_then(|home| path.strip_prefix(home).ok());
        match below {
            Some(rest) => format!("~/{}", rest.to_str()?).parse().ok(),
            None => path.to_str()?.parse().ok(),
        }
    }
}

/// Whether a program of this name is on the search path.
pub(super) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.is_absolute() && directory.join(program).is_file())
}

/// The repository, where there is one that the gate can go to.
///
/// # Errors
///
/// A remote that was named and isn't there, or several and no reason to take one.
pub(super) fn repository(
    place: &Place,
    args: &Args,
    decisions: &mut Decisions,
) -> Result<Option<Repository>> {
    if args.no_repository {
        decisions.add("repository: none: you want none");
        return Ok(None);
    }
    if !place.is_repository {
        decisions.add("repository: none: this is no git repository; the agent gets an empty workspace");
        return Ok(None);
    }
    let remotes = said(&place.top, &["remote"]).unwrap_or_default();
    let remotes: Vec<String> = remotes
        .lines()
        .filter(|name| !name.is_empty() && !name.starts_with('-'))
        .take(MAX_REMOTES)
        .map(str::to_owned)
        .collect();
    let branch = said(&place.top, &["symbolic-ref", "--quiet", "--short", "HEAD"]);
    let tracked =
        branch.and_then(|branch| said(&place.top, &["config", "--get", &format!("branch.{branch}.remote")]));
    let (remote, why) = match &args.remote {
        Some(named) if remotes.contains(named) => (named.clone(), "you named it"),
        Some(named) => bail!(
            "there is no remote `{named}`\nhint: {}",
            crate::manifest::diagnostic::suggest(named, remotes.iter().map(String::as_str))
        ),
        None if remotes.is_empty() => {
            decisions.add("repository: none: it has no remote; the agent gets an empty workspace");
            return Ok(None);
        }
        None => match git::choose(&remotes, tracked.as_deref()) {
            Some(chosen) => chosen,
            None => bail!(
                "there are several remotes, and none is `origin`\nhint: name one with `--remote`: {}",
                list(remotes.iter().map(String::as_str))
            ),
        },
    };
    decisions.add(format!("remote: `{}`: {why}", shortened(&remote)));
    let others: Vec<String> =
        remotes.iter().filter(|other| **other != remote).map(|other| shortened(other)).collect();
    if !others.is_empty() {
        decisions.add(format!("remotes left out: {}", list(others.iter().map(String::as_str))));
    }
    // Not `git config`: this one knows `url.….insteadOf`.
    let url = said(&place.top, &["remote", "get-url", "--", &remote]).unwrap_or_default();
    let push = said(&place.top, &["remote", "get-url", "--push", "--", &remote]);
    if push.is_some_and(|push| push != url) {
        decisions.add(format!(
            "push URL: left out: `{}` has another one for pushes, and a gate has one upstream",
            shortened(&remote)
        ));
    }
    let git::Remote { way, dropped } = match git::remote(&url) {
        Ok(remote) => remote,
        Err(why) => {
            decisions.add(format!("repository: none: of `{}`, {why}", shortened(&remote)));
            return Ok(None);
        }
    };
    if dropped {
        decisions.add(format!("left out: a user, password or query in the URL of `{}`", shortened(&remote)));
    }
    let reached = match way {
        Way::Https(upstream) => {
            decisions.add(format!("upstream: `{upstream}`"));
            let variable = args.token_env.clone();
            decisions.add(format!(
                "credential: from the environment variable `{}`, whose value was not read",
                variable.as_str()
            ));
            Some((upstream, Access::Https(variable)))
        }
        Way::Ssh { user, host, port, path } => {
            over_ssh::reach(place, args, &Target { user, host, port, path }, decisions)
        }
    };
    let Some((upstream, access)) = reached else { return Ok(None) };
    let last = upstream.repository().rsplit('/').next().unwrap_or_default().to_owned();
    let Some(name) = name_of(&last).or_else(|| "app".parse().ok()) else { return Ok(None) };
    let head = format!("refs/remotes/{remote}/HEAD");
    let default_branch = said(&place.top, &["symbolic-ref", "--quiet", &head])
        .and_then(|name| Some(name.strip_prefix(&format!("refs/remotes/{remote}/"))?.to_owned()));
    match &default_branch {
        Some(branch) => decisions.add(format!(
            "push: branches below `agent/`; `{}` is the default branch, and stays closed",
            shortened(branch)
        )),
        None => decisions
            .add("push: branches below `agent/`; the default branch isn't known here, and stays closed"),
    }
    Ok(Some(Repository { name, remote, upstream, access, default_branch }))
}
