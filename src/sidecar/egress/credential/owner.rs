//! Files that only their owner can read, and a proxy that is none of their owners.
//!
//! A container can't know whose the operator's files will be. So it may start as root without the right to override
//! permissions: each file is opened as its owner, and then the process becomes a user who can do nothing else. What is
//! open stays readable, so that a file that is written anew is read anew. A container mounts the file itself; another
//! one under its name is not seen before the next start in any case.

use std::fs::File;
use std::io::Seek as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{fs::Gid, fs::Uid};

use crate::fs;
use crate::policy::egress::EgressPolicy;
use crate::policy::gate::SecretSource;
use crate::sidecar::log;

/// What was opened, by its path.
static OPENED: OnceLock<Vec<(PathBuf, File)>> = OnceLock::new();

/// Opens the files of the policy's credentials as their owners, and becomes `user` for good. Called before there is
/// another thread: each has its own credentials in the kernel, and takes over those of the one that starts it.
///
/// # Errors
///
/// This is not root, or the kernel refuses. A file that can't be opened is no error, as it may be mended.
pub(in crate::sidecar::egress) fn become_user(user: u32, policy: &EgressPolicy) -> Result<()> {
    ensure!(geteuid().is_root(), "only root can become the user {user}");
    let mut opened = Vec::new();
    for credential in policy.credentials.values() {
        let SecretSource::File(path) = &credential.secret else { continue };
        match open_as_owner(path.as_ref()) {
            Ok(file) => opened.push((PathBuf::from(path), file)),
            Err(error) => log::line("egress", &format!("{error:#}")),
        }
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    let failed = "could not give up the rights of root";
    set_thread_groups(&[]).context(failed)?;
    set_thread_res_gid(group, group, group).context(failed)?;
    // From root to another in all three: the kernel takes every capability (capabilities(7)).
    set_thread_res_uid(user, user, user).context(failed)?;
    ensure!(set_thread_res_uid(None, Uid::ROOT, None).is_err(), "{failed}: root can be had back");
    // Nobody else sets it.
    drop(OPENED.set(opened));
    Ok(())
}

fn open_as_owner(path: &Path) -> Result<File> {
    let owner = Uid::from_raw(fs::metadata(path)?.uid());
    let act_as = |user| set_thread_res_uid(None, user, None).context("could not act as another user");
    act_as(owner)?;
    let file = fs::open_itself(path);
    act_as(Uid::ROOT)?;
    Ok(file?)
}

/// The file at a path, if it was opened before.
pub(super) fn opened(path: &Path) -> Option<std::io::Result<File>> {
    let (_, file) = OPENED.get()?.iter().find(|(opened, _)| opened == path)?;
    let again = || {
        let mut file = file.try_clone()?;
        // The place in it is shared with the file that stays; one reads at a time.
        file.rewind()?;
        Ok(file)
    };
    Some(again())
}
