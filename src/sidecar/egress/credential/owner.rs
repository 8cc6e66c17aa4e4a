//! Files that only their owner can read, and a proxy that is none of their owners.
//!
//! A container can't know whose the operator's files will be. So it may start as root without the right to override
//! permissions: each file is opened as its owner, and then the process becomes a user who can do nothing else. What is
//! open stays readable, so that a file that is written anew is read anew. A container mounts the file itself; another
//! one under its name is not seen before the next start in any case.

use std::fs::{File, Metadata};
use std::io::Seek as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::Uid;
use rustix::process::geteuid;
use rustix::thread::set_thread_res_uid;

use crate::fs;
use crate::policy::egress::EgressPolicy;
use crate::policy::gate::SecretSource;
use crate::sidecar::{log, user};

/// What was opened, by its path.
static OPENED: OnceLock<Vec<(PathBuf, File)>> = OnceLock::new();

/// Opens the files of the policy's credentials as their owners, and becomes `user` for good, before there is another
/// thread.
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
    user::become_user(user)?;
    // Nobody else sets it.
    drop(OPENED.set(opened));
    Ok(())
}

fn open_as_owner(path: &Path) -> Result<File> {
    let owner = Uid::from_raw(fs::metadata(path)?.uid());
    // The group stays root's, which alone may look into the directory where other sidecars are in the same container.
    let act_as = |user| set_thread_res_uid(None, user, None).context("could not act as another user");
    act_as(owner)?;
    let file = fs::open_itself(path);
    act_as(Uid::ROOT)?;
    Ok(file?)
}

fn found(path: &Path) -> Option<&'static File> {
    OPENED.get()?.iter().find(|(opened, _)| opened == path).map(|(_, file)| file)
}

/// What the file at a path is now, if it was opened before.
pub(super) fn metadata(path: &Path) -> Option<std::io::Result<Metadata>> {
    found(path).map(File::metadata)
}

/// The file at a path, if it was opened before.
pub(super) fn opened(path: &Path) -> Option<std::io::Result<File>> {
    let file = found(path)?;
    let again = || {
        let mut file = file.try_clone()?;
        // The place in it is shared with the file that stays; one reads at a time.
        file.rewind()?;
        Ok(file)
    };
    Some(again())
}
