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

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, Error> {
    wrap("open", path, File::open(path))
}

/// Opens a file to lock it, made empty if there is none.
pub fn open_lock(path: &Path) -> Result<File, Error> {
    wrap("open", path, File::options().create(true).truncate(false).read(true).write(true).open(path))
}

/// Makes a directory and its parents.
pub fn create_dir_all(path: &Path) -> Result<(), Error> {
    wrap("create the directory", path, std::fs::create_dir_all(path))
}

/// Looks at what a path names, following symbolic links.
pub fn metadata(path: &Path) -> Result<std::fs::Metadata, Error> {
    wrap("look at", path, std::fs::metadata(path))
}

/// Removes a file.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    wrap("remove", path, std::fs::remove_file(path))
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
