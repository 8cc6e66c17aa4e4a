//! Stdin as a lifeline: a part of the gate lives as long as the process that started it keeps its stdin open.
//!
//! `start` may not signal processes of other users, and a process that was killed can't say goodbye; the end of a pipe
//! works in both cases.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::unix::pipe::Receiver;

/// Stdin, which must be a pipe.
pub(crate) fn stdin() -> Result<Receiver> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    Receiver::from_owned_fd(stdin).context("stdin is not a pipe; this command is run by `git-gate start`")
}

/// Returns when the other side is closed.
pub(crate) async fn closed(mut from: impl AsyncRead + Unpin) {
    let mut byte = [0];
    while let Ok(1..) = from.read(&mut byte).await {}
}
