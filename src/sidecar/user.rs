//! From root to a user who can do nothing else.

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Gid, Uid};
use rustix::process::geteuid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Becomes `user`, with the group of the same number and no other, for good. Called before there is another thread: each
/// has its own credentials in the kernel, and takes over those of the one that starts it.
///
/// # Errors
///
/// This is not root, or the kernel refuses.
pub(super) fn become_user(user: u32) -> Result<()> {
    ensure!(geteuid().is_root(), "only root can become the user {user}");
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    let failed = "could not give up the rights of root";
    set_thread_groups(&[]).context(failed)?;
    set_thread_res_gid(group, group, group).context(failed)?;
    // From root to another in all three: the kernel takes every capability (capabilities(7)).
    set_thread_res_uid(user, user, user).context(failed)?;
    ensure!(set_thread_res_uid(None, Uid::ROOT, None).is_err(), "{failed}: root can be had back");
    Ok(())
}
