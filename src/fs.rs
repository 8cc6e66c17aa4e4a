//! File access whose errors name the path.
//!
//! `clippy.toml` bans the bare functions of [`std::fs`] in favour of these: an error that says only "permission
//! denied" makes a person search for the file.

#![expect(clippy::disallowed_methods, reason = "this module is what the ban points to")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// An I/O error together with what was tried on which path.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} `{}`: {source}", path.display())]
pub struct Error {
    /// The verb and its object, such as `read`.
    pub action: &'static str,
    /// The path as it was given.
    pub path: PathBuf,
    /// What the operating system answered.
    pub source: io::Error,
}

fn wrap<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error { action, path: path.to_owned(), source })
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    wrap("read", path, std::fs::read(path))
}

/// Reads a whole file as UTF-8.
pub fn read_to_string(path: &Path) -> Result<String, Error> {
    wrap("read", path, std::fs::read_to_string(path))
}

/// Reads a whole file, or gives `None` where there is none.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => wrap("read", path, Err(error)),
    }
}

/// What is done when the path names a symbolic link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Links {
    /// The file that it leads to is read.
    Followed,
    /// It is an error.
    Refused,
}

/// Reads a regular file of at most `limit` bytes. Anything else is an error and never waited for: a pipe has no end, a
/// device may have effects.
#[cfg(unix)]
pub fn read_regular(path: &Path, limit: u64, links: Links) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    use rustix::fs::OFlags;

    let read = || -> io::Result<Vec<u8>> {
        let no_follow = if links == Links::Refused { OFlags::NOFOLLOW } else { OFlags::empty() };
        // The flags are small numbers; the conversion can't fail.
        let flags = i32::try_from((OFlags::NONBLOCK | no_follow).bits()).unwrap_or_default();
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| {
            let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            if is_link && links == Links::Refused { io::Error::other("it is a symbolic link") } else { error }
        })?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        // The file may grow while it is read; what counts is what was read.
        let mut bytes =
            Vec::with_capacity(usize::try_from(metadata.len().min(limit) + 1).unwrap_or_default());
        if file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
            return Err(io::Error::other(format!("it is larger than {limit} bytes")));
        }
        Ok(bytes)
    };
    wrap("read", path, read())
}

/// Opens a file to append to it, made with these permission bits if there is none. A symbolic link is an error.
#[cfg(unix)]
pub fn append(path: &Path, mode: u32) -> Result<File, Error> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened =
        File::options().create(true).read(true).append(true).mode(mode).custom_flags(flags).open(path);
    wrap("open", path, opened)
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, Error> {
    wrap("open", path, File::open(path))
}

/// Opens a file for reading, without following a symbolic link to it and without waiting for a writer of a pipe.
#[cfg(unix)]
pub fn open_itself(path: &Path) -> Result<File, Error> {
    use std::os::unix::fs::OpenOptionsExt as _;

    use rustix::fs::OFlags;

    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    wrap("open", path, File::options().read(true).custom_flags(flags).open(path))
}

/// Opens a file to lock it, made empty if there is none.
pub fn open_lock(path: &Path) -> Result<File, Error> {
    wrap("open", path, File::options().create(true).truncate(false).read(true).write(true).open(path))
}

/// Makes a directory and its parents.
pub fn create_dir_all(path: &Path) -> Result<(), Error> {
    wrap("create the directory", path, std::fs::create_dir_all(path))
}

/// Lets every user list a directory and reach what is in it, whatever the umask was when it was made.
pub fn open_for_others(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let open = || -> io::Result<()> {
            let mut permissions = std::fs::metadata(path)?.permissions();
            let mode = permissions.mode();
            if mode & 0o055 != 0o055 {
                permissions.set_mode(mode | 0o055);
                std::fs::set_permissions(path, permissions)?;
            }
            Ok(())
        };
        wrap("change the mode of", path, open())?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether anything is at a path, a symbolic link itself included.
pub fn is_there(path: &Path) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => wrap("look at", path, Err(error)),
    }
}

/// Looks at what a path names, following symbolic links.
pub fn metadata(path: &Path) -> Result<std::fs::Metadata, Error> {
    wrap("look at", path, std::fs::metadata(path))
}

/// The absolute path of what a path names, with every symbolic link followed.
pub fn canonicalize(path: &Path) -> Result<PathBuf, Error> {
    wrap("resolve", path, std::fs::canonicalize(path))
}

/// Where a path leads, as far as it is there: every symbolic link in that part followed.
pub fn led_to(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|there| {
        let real = canonicalize(there).ok()?;
        let rest = path.strip_prefix(there).ok()?;
        Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
    });
    found.unwrap_or_else(|| path.to_owned())
}

/// Removes a file.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    wrap("remove", path, std::fs::remove_file(path))
}

/// Has a directory's entries on the disk: what was made, renamed or removed in it.
pub fn sync_directory(path: &Path) -> Result<(), Error> {
    wrap("write", path, File::open(path).and_then(|directory| directory.sync_all()))
}

/// Renames a file or directory.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    wrap("rename", from, std::fs::rename(from, to))
}

/// Removes a directory and everything below it.
pub fn remove_dir_all(path: &Path) -> Result<(), Error> {
    wrap("remove the directory", path, std::fs::remove_dir_all(path))
}

/// The names of what is in a directory, sorted.
pub fn file_names(path: &Path) -> Result<Vec<OsString>, Error> {
    let list = || -> io::Result<Vec<OsString>> {
        let mut names =
            std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    wrap("list the directory", path, list())
}

/// The paths of all files below a directory; symbolic links are not followed.
pub fn walk(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        for name in file_names(&directory)? {
            let path = directory.join(name);
            if wrap("look at", &path, std::fs::symlink_metadata(&path))?.is_dir() {
                pending.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Makes a file where nothing is, and has it on the disk. Of several who do so at a time one succeeds; for the others it
/// is an error of the kind [`io::ErrorKind::AlreadyExists`].
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    wrap("write", path, write()).and_then(|()| path.parent().map_or(Ok(()), sync_directory))
}

/// Writes a file beside its place and renames it there where nothing is: whatever is at the path stays, a symbolic link that
/// leads nowhere too.
#[cfg(unix)]
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    create_new(&beside, bytes)?;
    let renamed = renameat_with(CWD, &beside, CWD, path, RenameFlags::NOREPLACE);
    wrap("write", path, renamed.map_err(io::Error::from)).inspect_err(|_| {
        // The rename's own error is the one to report; a left-over temporary file is harmless.
        drop(std::fs::remove_file(&beside));
    })
}

/// Writes a file beside its place and renames it there, so that a crash leaves the old file or the new one, never half
/// of one. `mode` holds the permission bits on Unix.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
            options.mode(mode);
            let mut file = options.open(&beside)?;
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
        }
        #[cfg(not(unix))]
        {
            let _ = mode;
            options.open(&beside)?.write_all(bytes)?;
        }
        std::fs::rename(&beside, path)
    };
    wrap("write", path, write()).inspect_err(|_| {
        // The write's own error is the one to report; a left-over temporary file is harmless.
        drop(std::fs::remove_file(&beside));
    })
}
