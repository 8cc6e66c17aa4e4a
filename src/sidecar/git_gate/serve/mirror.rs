//! One bare mirror on disk: made, configured, fetched into, repaired.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::super::message::Failure;
use super::super::upstream::{self, Surroundings, config_quote};
use super::super::{log, message};
use super::advertisement;
use super::refs::{Head, Refs};
use crate::fs;
use crate::policy::gate::{Repository, Upstream};
use crate::policy::reason::Reason;
use crate::process::{self, Group, Limits, Output, RunError};

/// How long a git command may take that stays on this machine.
const LOCAL: Limits = Limits { total: Duration::from_mins(10), stall: Duration::from_mins(10) };
/// From this number of packs on a mirror is repacked.
const MANY_PACKS: usize = 40;

/// A mirror and what it needs to be kept.
#[derive(Debug)]
pub(super) struct Mirror {
    /// The repository's name.
    pub(super) name: String,
    /// Its policy; none for the health check's own repository.
    pub(super) repository: Option<Repository>,
    /// The bare repository.
    pub(super) directory: PathBuf,
    /// The directory with the hooks.
    pub(super) hooks: PathBuf,
    /// What the children's environment is made from.
    pub(super) surroundings: Surroundings,
}

impl Mirror {
    fn git(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.directory).env_clear().envs(self.surroundings.environment());
        if let Some(repository) = &self.repository {
            upstream::adorn(&mut command, &self.name, repository);
        }
        command
    }

    async fn local(&self, args: &[&OsStr]) -> Result<Output, Failure> {
        let mut command = self.git();
        command.args(args);
        let output = process::run(command, LOCAL, Group::Own).await.map_err(Failure::inside)?;
        if output.status.success() {
            return Ok(output);
        }
        let what = args.iter().take(2).map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let said = message::essence(&output.stderr);
        Err(Failure::inside(format!("{}: git {what} failed: {said}", self.name)))
    }

    async fn local_words(&self, args: &[&str]) -> Result<Output, Failure> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        self.local(&args).await
    }

    /// Makes the mirror usable after whatever happened to the process before: made if missing, its configuration
    /// written anew, left-overs of killed processes removed, and made anew if its refs name missing objects.
    pub(super) async fn prepare(&self) -> Result<(), Failure> {
        if !self.directory.join("HEAD").is_file() || !self.directory.join("objects").is_dir() {
            self.set_aside()?;
            return self.create(false).await;
        }
        remove_leftovers(&self.directory, true)?;
        let sha256 = match self.local_words(&["rev-parse", "--show-object-format"]).await {
            Ok(output) => output.stdout.starts_with(b"sha256"),
            Err(failure) => return self.anew(&failure.text, false).await,
        };
        self.configure(sha256)?;
        match self.local_words(&["for-each-ref", "--format=%(objecttype)"]).await {
            Ok(_) => Ok(()),
            Err(failure) => self.anew(&failure.text, sha256).await,
        }
    }

    /// Whether the mirror's objects have the long names of SHA-256.
    pub(super) fn is_sha256(&self) -> Result<bool, Failure> {
        let config = fs::read_to_string(&self.directory.join("config")).map_err(Failure::inside)?;
        Ok(config.contains("objectFormat = sha256"))
    }

    /// Moves what is there aside and makes an empty mirror.
    pub(super) async fn anew(&self, why: &str, sha256: bool) -> Result<(), Failure> {
        log::line("mirror", &format!("{}: made anew: {why}", self.name));
        self.set_aside()?;
        self.create(sha256).await
    }

    fn set_aside(&self) -> Result<(), Failure> {
        if !self.directory.exists() {
            return Ok(());
        }
        // One broken mirror is kept for a person to look at; an older one makes room.
        let aside = self.directory.with_extension("broken");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(Failure::inside)?;
        }
        fs::rename(&self.directory, &aside).map_err(Failure::inside)
    }

    async fn create(&self, sha256: bool) -> Result<(), Failure> {
        fs::create_dir_all(&self.directory).map_err(Failure::inside)?;
        let format = if sha256 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        self.local_words(&["init", "--quiet", "--bare", "--initial-branch=main", "--template=", &format])
            .await?;
        self.configure(sha256)
    }

    /// Writes the whole configuration, so that nothing of an older policy stays.
    fn configure(&self, sha256: bool) -> Result<(), Failure> {
        let hooks = config_quote(&self.hooks.display().to_string());
        let version = u8::from(sha256);
        let mut text = format!(
            "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = true\n\
             \tlogAllRefUpdates = false\n\thooksPath = {hooks}\n"
        );
        if sha256 {
            text.push_str("[extensions]\n\tobjectFormat = sha256\n");
        }
        if let Some(repository) = &self.repository {
            let url = config_quote(&upstream::url(repository));
            // Twice the limit of the policy: what lies between gets a reason, what is beyond is cut off.
            let most = repository.max_pack_bytes.saturating_mul(2);
            let rest = format!(
                "[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs/*:refs/*\n\tmirror = true\n\
                 [receive]\n\tmaxInputSize = {most}\n\tfsckObjects = true\n\tadvertisePushOptions = true\n\
                 \tshallowUpdate = false\n\tautogc = false\n\tdenyDeleteCurrent = ignore\n\
                 [uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
            );
            text.push_str(&rest);
        }
        fs::write_atomic(&self.directory.join("config"), text.as_bytes(), 0o644).map_err(Failure::inside)
    }

    /// Fills the health check's repository with one commit without content.
    pub(super) async fn fill_health(&self) -> Result<(), Failure> {
        let tree = self.local_words(&["hash-object", "-w", "-t", "tree", "--stdin"]).await?;
        let tree = String::from_utf8_lossy(&tree.stdout).trim().to_owned();
        let who = ["-c", "user.name=bottle", "-c", "user.email=bottle@localhost"];
        let mut words = who.to_vec();
        words.extend(["commit-tree", "-m", "health", &tree]);
        let commit = self.local_words(&words).await?;
        let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
        self.local_words(&["update-ref", "refs/heads/health", &commit]).await?;
        self.local_words(&["symbolic-ref", "HEAD", "refs/heads/health"]).await.map(drop)
    }

    /// The mirror's own refs.
    pub(super) async fn refs(&self) -> Result<Refs, Failure> {
        let output = self.local_words(&["for-each-ref", "--format=%(objectname)%09%(refname)"]).await?;
        let mut refs = Refs::parse(&output.stdout).map_err(Failure::inside)?;
        let head = fs::read(&self.directory.join("HEAD")).map_err(Failure::inside)?;
        let head = head.trim_ascii();
        refs.head = match head.strip_prefix(b"ref: ") {
            Some(target) => Head::On(target.to_vec()),
            None => Head::At(String::from_utf8_lossy(head).into_owned()),
        };
        Ok(refs)
    }

    /// The upstream's refs.
    pub(super) async fn upstream_refs(&self, limit: Duration) -> Result<Refs, Failure> {
        if matches!(self.repository.as_ref().map(|repository| &repository.upstream), Some(Upstream::Ssh(_))) {
            return advertisement::ask(&self.surroundings.run, &self.name, limit).await;
        }
        let mut command = self.git();
        command.args(["ls-remote", "--symref", "--", &self.url()?]);
        let limits = Limits { total: limit, stall: limit };
        let output = self.finish(process::run(command, limits, Group::Own).await)?;
        Refs::parse(&output.stdout).map_err(Failure::inside)
    }

    /// Fetches everything, and puts HEAD where the upstream has it.
    pub(super) async fn fetch(&self, head: &Head) -> Result<(), Failure> {
        let mut command = self.git();
        command.args([
            "fetch",
            "--prune",
            "--no-tags",
            "--atomic",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
        ]);
        command.args(["--progress", "--", &self.url()?, "+refs/*:refs/*"]);
        self.finish(process::run(command, self.surroundings.limits, Group::Own).await)?;
        match head {
            Head::Untold => Ok(()),
            Head::At(commit) => {
                self.local_words(&["update-ref", "--no-deref", "HEAD", commit]).await.map(drop)
            }
            Head::On(branch) => {
                use std::os::unix::ffi::OsStrExt as _;
                let args = [OsStr::new("symbolic-ref"), OsStr::new("HEAD"), OsStr::from_bytes(branch)];
                self.local(&args).await.map(drop)
            }
        }
    }

    /// Whether every ref reaches all its objects; slow, for when a fetch failed for no reason of the upstream's.
    pub(super) async fn is_whole(&self) -> bool {
        self.local_words(&["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]).await.is_ok()
    }

    /// Merges packs when there are many. Objects that nothing reaches stay; they may be asked for by a running fetch.
    pub(super) async fn maintain(&self) {
        let packs = fs::file_names(&self.directory.join("objects").join("pack"));
        let packs = packs
            .map(|names| names.iter().filter(|name| name.as_encoded_bytes().ends_with(b".pack")).count());
        let result = match packs {
            Ok(count) if count < MANY_PACKS => return,
            Ok(_) => match self.local_words(&["repack", "--quiet", "-d", "--geometric=2"]).await {
                Ok(_) => self.local_words(&["pack-refs", "--all"]).await.map(drop),
                Err(failure) => Err(failure),
            },
            Err(error) => Err(Failure::inside(error)),
        };
        match result {
            Ok(()) => log::line("mirror", &format!("{}: repacked", self.name)),
            Err(failure) => log::line("mirror", &failure.text),
        }
    }

    /// Removes locks that a killed process left; the caller holds the mirror's lock.
    pub(super) fn unlock(&self) -> Result<(), Failure> {
        remove_leftovers(&self.directory, false)
    }

    fn url(&self) -> Result<String, Failure> {
        let repository = self.repository.as_ref();
        repository.map(upstream::url).ok_or_else(|| Failure::inside(format!("{} has no upstream", self.name)))
    }

    fn finish(&self, result: Result<Output, RunError>) -> Result<Output, Failure> {
        match result {
            Ok(output) if output.status.success() => {
                let said = message::essence(&output.stderr);
                if !said.is_empty() {
                    log::line("mirror", &format!("{}: {said}", self.name));
                }
                Ok(output)
            }
            Ok(output) => Err(Failure::of_upstream(&self.name, &output.stderr)),
            Err(error @ RunError::Start { .. }) => Err(Failure::inside(error)),
            Err(RunError::TooSlow { after, stderr, .. }) => {
                let said = message::essence(&stderr);
                let text = format!("{}: the upstream did not answer for {} s", self.name, after.as_secs());
                let text = if said.is_empty() { text } else { format!("{text}: {said}") };
                Err(Failure::new(Reason::UpstreamDown, text))
            }
        }
    }
}

/// Removes what killed processes of git left: locks, and (`all`) objects that were still coming in.
fn remove_leftovers(directory: &Path, all: bool) -> Result<(), Failure> {
    let lock = |name: &OsStr| name.as_encoded_bytes().ends_with(b".lock");
    let half = |name: &OsStr| name.as_encoded_bytes().starts_with(b"tmp_");
    for path in fs::walk(&directory.join("refs")).map_err(Failure::inside)? {
        if path.file_name().is_some_and(lock) {
            fs::remove_file(&path).map_err(Failure::inside)?;
        }
    }
    for name in fs::file_names(directory).map_err(Failure::inside)?.iter().filter(|name| lock(name)) {
        fs::remove_file(&directory.join(name)).map_err(Failure::inside)?;
    }
    let objects = directory.join("objects");
    let deep = if all { fs::file_names(&objects).map_err(Failure::inside)? } else { Vec::new() };
    for name in &deep {
        let path = objects.join(name);
        if name.as_encoded_bytes().starts_with(b"tmp_objdir-") {
            fs::remove_dir_all(&path).map_err(Failure::inside)?;
        } else if path.is_dir() {
            for inner in
                fs::file_names(&path).map_err(Failure::inside)?.iter().filter(|name| half(name) || lock(name))
            {
                fs::remove_file(&path.join(inner)).map_err(Failure::inside)?;
            }
        }
    }
    Ok(())
}
