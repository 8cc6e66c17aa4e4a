//! The kernel's notices that a file was written (inotify(7)).
//!
//! The directories are watched and not the files, since a file is replaced by renaming another one over it. Where there
//! are no notices (a file share of Docker Desktop, too many watchers on the machine) the clock alone must do.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::grants;

/// A finished write, a rename, a removal. Not the making of a file: it is empty then.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The kernel's notices about the files.
#[derive(Debug)]
pub(crate) struct Notices {
    inotify: OwnedFd,
    /// The name of the policy file in its directory; empty where there is none.
    policy: PathBuf,
    directories: Vec<(PathBuf, Option<i32>)>,
}

impl Notices {
    /// Begins to watch a file and the directory of grants.
    pub(crate) fn open(policy: Option<&Path>, grants: Option<&Path>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let parent = policy.map(|policy| {
            let parent = policy.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        });
        let directories = parent.into_iter().chain(grants.map(Path::to_owned));
        let directories = directories.map(|directory| (directory, None)).collect();
        let policy = policy.and_then(Path::file_name).unwrap_or_default().into();
        let mut notices = Self { inotify, policy, directories };
        notices.refresh();
        Ok(notices)
    }

    /// Watches what is at the paths now: a directory may have been removed and made again. One that isn't there is no
    /// failure.
    pub(crate) fn refresh(&mut self) {
        for (directory, watched) in &mut self.directories {
            let now = inotify::add_watch(&self.inotify, directory.as_path(), EVENTS).ok();
            if let Some(before) = *watched
                && *watched != now
            {
                // It is gone already when the directory is.
                let _ = inotify::remove_watch(&self.inotify, before);
            }
            *watched = now;
        }
    }

    /// Waits until one of the files may have changed: true, or until the time is over: false.
    pub(crate) fn wait(&self, time: Duration) -> io::Result<bool> {
        let limit = Instant::now() + time;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Ok(false),
                Ok(_) if self.drain()? => return Ok(true),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes all notices that are there, and tells whether one of them matters.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut news = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    // A watch that ended because it was removed is no news.
                    news |= event.events() != ReadFlags::IGNORED && self.matters(name);
                }
                Err(Errno::AGAIN) => return Ok(news),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Without a name it is about a directory itself, or notices were lost.
    fn matters(&self, name: Option<&OsStr>) -> bool {
        name.is_none_or(|name| {
            name == self.policy || name.to_str().is_some_and(|name| grants::name(name).is_some())
        })
    }
}
