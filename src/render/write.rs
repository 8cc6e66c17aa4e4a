//! Writing a bundle beside compose.yaml, and comparing it with what is there.
//!
//! A file that bottle did not write is never overwritten, and one that bottle wrote and no longer renders is removed.
//! Whose a file is, its first lines say ([`super::MARK`]): the mark travels with a clone of the repository, and no
//! separate record can be out of step with the files.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::workspace::{ENVIRONMENT, OVERRIDE};
use super::{Bundle, COMPOSE, DIRECTORY, Ground, MARK, compose_of, devcontainer};
use crate::fs;

/// Where bundles go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The directory of compose.yaml.
    pub directory: PathBuf,
    /// The name of each bundle's compose file there; `None` where it goes to standard output instead.
    pub compose: ComposeName,
    /// Whether editors get a file by which they open the agent's container.
    pub devcontainer: bool,
    /// The Linux binary that the sidecars' images are built from.
    pub binary: PathBuf,
}

/// What a bundle's compose file is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ComposeName {
    /// `compose.yaml`.
    Single,
    /// `compose.<slug>.yaml`.
    PerAgent,
    /// It is printed and not written.
    Printed,
}

/// Why a bundle was not written. Nothing has been changed where it is not an I/O error.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The place is taken by somebody else's file.
    #[error("`{}` is not a file that bottle wrote\nhint: move it away, or render into another directory with `-o DIR`", .0.display())]
    Foreign(PathBuf),
    /// A directory on the way is a link, so the file would land elsewhere.
    #[error("`{}` is a symbolic link, so what is written below it would land elsewhere\nhint: replace it with a directory", .0.display())]
    Link(PathBuf),
    /// A file is a link, and replacing it would lose it.
    #[error("`{}` is a symbolic link, not a file that bottle wrote\nhint: remove it, or render into another directory with `-o DIR`", .0.display())]
    LinkedFile(PathBuf),
    /// The file for the containers is no program for Linux.
    #[error("`{}` is not a Linux program, which the containers need\nhint: name one with `--linux-binary PATH`", .0.display())]
    NotLinux(PathBuf),
    /// The mounted directory is not there.
    #[error("`{}` is to be the workspace, and is no directory\nhint: make it, or change `mount` in bottle.yaml", .0.display())]
    NoWorkspace(PathBuf),
    /// What is in the place of a repository leads to one elsewhere.
    #[error("`{}` is no directory: this working tree or submodule has its repository elsewhere, where the agent's container has none\nhint: mount the main working tree, or let the agent have a clone: `workspace: {{ clone: … }}`", .0.display())]
    Worktree(PathBuf),
    /// What is to be closed to the agent is a link, which the agent could replace.
    #[error("`{}` is a symbolic link in the mounted workspace, where the agent could lead it elsewhere\nhint: put the file or directory itself there", .0.display())]
    Leads(PathBuf),
    /// What is to be closed to the agent is in the mounted directory, and not by its name.
    #[error("`{}` is in the mounted workspace by another name, so that the agent could change it\nhint: name the file, the mounted directory and the bundle's without symbolic links", .0.display())]
    Elsewhere(PathBuf),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] fs::Error),
}

/// How the files on disk differ from a bundle.
#[derive(Debug, Default)]
pub struct Drift {
    /// A unified diff from what is on disk to what would be written; empty where nothing differs.
    pub diff: String,
}

/// The most of a file that is looked at for the mark.
const HEAD: usize = 256;

/// Where the binary for the containers goes, below the directory of compose.yaml.
const BINARY: &str = ".bottle/docker/bin/bottle";

/// Writes bundles.
///
/// # Errors
///
/// A foreign file or a link in the way, or an I/O error.
pub fn write(bundles: &[Bundle], target: &Target) -> Result<(), WriteError> {
    let files = files(bundles, target);
    // Everything is looked at before anything is changed.
    let mut changed = Vec::new();
    let mut walked = BTreeSet::new();
    for (path, text, executable) in &files {
        refuse_links(&target.directory, path, &mut walked)?;
        let path = target.directory.join(path);
        let metadata = path.symlink_metadata().ok();
        if metadata.as_ref().is_some_and(Metadata::is_symlink) {
            return Err(WriteError::LinkedFile(path));
        }
        let mode = if *executable { 0o755 } else { 0o644 };
        match fs::read_if_exists(&path)? {
            Some(bytes) if bytes == text.as_bytes() && is_usable(metadata.as_ref(), mode) => {}
            Some(bytes) if !is_ours(&bytes) => return Err(WriteError::Foreign(path)),
            _ => changed.push((path, text, mode)),
        }
    }
    for bundle in bundles {
        bundle.ground.iter().try_for_each(look_at)?;
    }
    let binary = Binary::look(target, &mut walked)?;
    let stale = stale(bundles, target, &files)?;
    let mut made: BTreeSet<PathBuf> = BTreeSet::new();
    for (path, text, mode) in changed {
        if let Some(parent) = path.parent()
            && made.insert(parent.to_owned())
        {
            fs::create_dir_all(parent)?;
        }
        fs::write_atomic(&path, text.as_bytes(), mode)?;
    }
    for directory in bundles.iter().flat_map(|bundle| &bundle.mounted) {
        fs::open_for_others(&target.directory.join(directory))?;
    }
    binary.copy()?;
    for path in stale {
        fs::remove_file(&path)?;
    }
    bundles.iter().filter_map(|bundle| bundle.ground.as_ref()).try_for_each(make)
}

/// What would make a mounted workspace unsafe or keep it from starting.
pub(crate) fn look_at(ground: &Ground) -> Result<(), WriteError> {
    let Ground { directory, closed, compose, elsewhere } = ground;
    if !directory.is_dir() {
        return Err(WriteError::NoWorkspace(directory.clone()));
    }
    let real = fs::led_to(directory);
    if let Some(path) = elsewhere.iter().find(|path| fs::led_to(path).starts_with(&real)) {
        return Err(WriteError::Elsewhere(path.clone()));
    }
    let git = directory.join(".git");
    let beside = compose.iter().map(|(bundle, _)| format!("{bundle}/{ENVIRONMENT}"));
    for path in closed.iter().cloned().chain(beside).chain([".git".to_owned()]) {
        let mut place = directory.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            place.push(part);
            if place.is_symlink() {
                return Err(WriteError::Leads(place));
            }
        }
    }
    if git.exists() && !git.is_dir() {
        return Err(WriteError::Worktree(git));
    }
    Ok(())
}

/// Makes what a mounted workspace needs on the host, where it is missing: the engine would make it as root's.
fn make(ground: &Ground) -> Result<(), WriteError> {
    let Ground { directory, closed: _, compose, elsewhere: _ } = ground;
    for name in [".git", ".devcontainer"] {
        fs::create_dir_all(&directory.join(name))?;
    }
    let Some((own, compose)) = compose else { return Ok(()) };
    let bundle = directory.join(own);
    let mine = "# Made by bottle, and yours from now on";
    let environment = format!("{mine}: variables for Compose. The agent finds this file empty.\n");
    let texts = if own.is_empty() {
        let files = "# Compose reads these files, and none that the agent makes beside them.";
        vec![
            (ENVIRONMENT, format!("{environment}{files}\nCOMPOSE_FILE={compose}\n")),
            (
                OVERRIDE,
                format!(
                    "{mine}; Compose reads it where COMPOSE_FILE in {ENVIRONMENT} names it.\nservices: {{}}\n"
                ),
            ),
        ]
    } else {
        vec![(ENVIRONMENT, environment)]
    };
    for (name, text) in texts {
        let path = bundle.join(name);
        if !fs::is_there(&path)? {
            fs::write_new(&path, text.as_bytes())?;
        }
    }
    Ok(())
}

/// Compares bundles with what is on disk.
///
/// # Errors
///
/// A file that can't be read.
pub fn check(bundles: &[Bundle], target: &Target) -> Result<Drift, WriteError> {
    let mut drift = Drift::default();
    let files = files(bundles, target);
    for (path, text, executable) in &files {
        let on_disk = fs::read_if_exists(&target.directory.join(path))?;
        let before = on_disk.as_deref().map(String::from_utf8_lossy);
        let mode = if *executable { 0o755 } else { 0o644 };
        if before.as_deref() == Some(&**text) {
            let metadata = target.directory.join(path).metadata().ok();
            if !has_mode(metadata.as_ref(), mode) {
                // Writing to a string can't fail.
                let _ = writeln!(drift.diff, "--- a/{path}\n+++ b/{path}\n(the mode should be {mode:o})");
            }
            continue;
        }
        let diff = TextDiff::from_lines(before.as_deref().unwrap_or(""), &**text);
        let old = if before.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() };
        drift.diff.push_str(&diff.unified_diff().header(&old, &format!("b/{path}")).to_string());
    }
    for path in stale(bundles, target, &files)? {
        let shown = path.strip_prefix(&target.directory).unwrap_or(&path).display().to_string();
        let bytes = fs::read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        let diff = TextDiff::from_lines(text.as_ref(), "");
        drift.diff.push_str(&diff.unified_diff().header(&format!("a/{shown}"), "/dev/null").to_string());
    }
    Ok(drift)
}

/// All files of all bundles, each path once: what bundles share is the same in each.
fn files<'a>(bundles: &'a [Bundle], target: &Target) -> Vec<(String, Cow<'a, str>, bool)> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for bundle in bundles {
        let compose = match target.compose {
            ComposeName::Single => Some(COMPOSE.to_owned()),
            ComposeName::PerAgent => Some(compose_of(&bundle.slug)),
            ComposeName::Printed => None,
        };
        files.extend(compose.map(|name| (name, Cow::from(&bundle.compose), false)));
        for (path, file) in &bundle.files {
            if seen.insert(path.as_str()) {
                files.push((path.clone(), Cow::from(&file.text), file.executable));
            }
        }
        if target.devcontainer {
            let (path, text) = devcontainer::file(&bundle.slug, target.compose, bundle.ground.is_some());
            files.push((path, text.into(), false));
        }
    }
    files
}

/// Whether a file's first lines say that bottle wrote it.
pub(crate) fn is_ours(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(bytes.get(..HEAD.min(bytes.len())).unwrap_or_default()).into_owned();
    // JSON has no comments: there it is a member called `#`. JSONC has.
    let is_comment =
        |line: &str| line.starts_with('#') || line.starts_with("  \"#\": ") || line.starts_with("// ");
    head.lines().take(3).any(|line| is_comment(line) && line.contains(MARK))
}

#[cfg(unix)]
fn has_mode(metadata: Option<&Metadata>, mode: u32) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    // git keeps only whether a file is executable.
    metadata.is_some_and(|metadata| metadata.permissions().mode() & 0o100 == mode & 0o100)
}

/// Whether the users of the containers can read a file too, which one of a clone with a strict umask they can't.
#[cfg(unix)]
fn is_usable(metadata: Option<&Metadata>, mode: u32) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    has_mode(metadata, mode)
        && metadata.is_some_and(|metadata| metadata.permissions().mode() & 0o044 == 0o044)
}

#[cfg(not(unix))]
fn is_usable(metadata: Option<&Metadata>, mode: u32) -> bool {
    has_mode(metadata, mode)
}

#[cfg(not(unix))]
fn has_mode(_: Option<&Metadata>, _: u32) -> bool {
    true
}

/// Refuses a link among the directories that bottle itself makes: in somebody's clone it could lead anywhere. Those in
/// `walked` have been looked at for another file.
fn refuse_links<'a>(
    directory: &Path,
    path: &'a str,
    walked: &mut BTreeSet<&'a str>,
) -> Result<(), WriteError> {
    for (end, _) in path.match_indices('/') {
        let part = path.get(..end).unwrap_or_default();
        if walked.insert(part) {
            let part = directory.join(part);
            if part.is_symlink() {
                return Err(WriteError::Link(part));
            }
        }
    }
    Ok(())
}

/// The files below the rendered agents' directories that bottle wrote and no longer renders.
fn stale(
    bundles: &[Bundle],
    target: &Target,
    files: &[(String, Cow<'_, str>, bool)],
) -> Result<Vec<PathBuf>, WriteError> {
    let current: BTreeSet<PathBuf> = files.iter().map(|(path, ..)| target.directory.join(path)).collect();
    let mut stale = Vec::new();
    for bundle in bundles {
        let own = target.directory.join(DIRECTORY).join(&bundle.slug);
        let mut directories = vec![own];
        while let Some(directory) = directories.pop() {
            if directory.is_symlink() {
                continue;
            }
            for (path, metadata) in entries(&directory)? {
                if metadata.is_dir() {
                    directories.push(path);
                } else if metadata.is_file() && !current.contains(&path) && is_ours(&fs::read(&path)?) {
                    stale.push(path);
                }
            }
        }
    }
    stale.sort();
    Ok(stale)
}

fn entries(directory: &Path) -> Result<Vec<(PathBuf, Metadata)>, WriteError> {
    let failed = |source| fs::Error { action: "list", path: directory.to_owned(), source };
    let list = match std::fs::read_dir(directory) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error).into()),
    };
    let mut entries = Vec::new();
    for entry in list {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), entry.metadata().map_err(failed)?));
    }
    Ok(entries)
}

/// The binary for the containers: its source, and its place where that has to be written.
struct Binary {
    source: PathBuf,
    destination: Option<(PathBuf, Metadata)>,
}

impl Binary {
    /// Looks whether the copy is current: the same length and time of modification, as `make` and `rsync` judge.
    fn look(target: &Target, walked: &mut BTreeSet<&str>) -> Result<Self, WriteError> {
        use io::Read as _;
        let source = target.binary.clone();
        let failed = |source_error| fs::Error { action: "read", path: source.clone(), source: source_error };
        let mut file = fs::open(&source)?;
        let metadata = file.metadata().map_err(failed)?;
        let mut magic = [0; 4];
        if !metadata.is_file() || file.read_exact(&mut magic).is_err() || &magic != b"\x7fELF" {
            return Err(WriteError::NotLinux(source));
        }
        refuse_links(&target.directory, BINARY, walked)?;
        let path = target.directory.join(BINARY);
        let current = path.symlink_metadata().is_ok_and(|there| {
            there.is_file()
                && there.len() == metadata.len()
                && there.modified().ok() == metadata.modified().ok()
        });
        Ok(Self { source, destination: (!current).then_some((path, metadata)) })
    }

    fn copy(self) -> Result<(), WriteError> {
        let Some((path, metadata)) = self.destination else { return Ok(()) };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write_atomic(&path, &fs::read(&self.source)?, 0o755)?;
        let failed = |source| fs::Error { action: "set the time of", path: path.clone(), source };
        if let Ok(modified) = metadata.modified() {
            fs::open(&path)?.set_modified(modified).map_err(failed)?;
        }
        Ok(())
    }
}
