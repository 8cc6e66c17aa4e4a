//! A file that is put aside when it is full: `audit.jsonl` is the youngest, then `audit.jsonl.1` and so on.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Readers;
use super::queue::Target;
use crate::fs;

/// The most bytes of one file.
pub(crate) const MAX_BYTES: u64 = 16 << 20;
/// How many files are kept, the youngest included.
const FILES: u32 = 4;

/// The file.
#[derive(Debug)]
pub(crate) struct Rotated {
    path: PathBuf,
    readers: Readers,
    max_bytes: u64,
    file: File,
    size: u64,
    /// Whether what was there ends within a line: an earlier process was killed.
    torn: bool,
}

impl Rotated {
    pub(crate) fn open(path: PathBuf, readers: Readers, max_bytes: u64) -> Result<Self, fs::Error> {
        let file = fs::append(&path, readers.mode())?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let mut last = [b'\n'];
        let torn = size > 0 && file.read_exact_at(&mut last, size - 1).is_ok() && last != [b'\n'];
        Ok(Self { path, readers, max_bytes, file, size, torn })
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }

    /// Makes room for a new file. The new one is made first: if that fails, nothing has moved.
    fn rotate(&mut self) -> Result<(), fs::Error> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let file = fs::append(&beside, self.readers.mode())?;
        for number in (1..FILES - 1).rev() {
            move_if_there(&self.aside(number), &self.aside(number + 1))?;
        }
        move_if_there(&self.path, &self.aside(1))?;
        fs::rename(&beside, &self.path)?;
        (self.file, self.size, self.torn) = (file, 0, false);
        Ok(())
    }
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), fs::Error> {
    match fs::rename(from, to) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Target for Rotated {
    fn begin(&mut self, bytes: usize) -> io::Result<()> {
        if self.size > 0 && self.size + bytes as u64 > self.max_bytes {
            self.rotate().map_err(io::Error::other)?;
        }
        if self.torn {
            self.size += self.file.write(b"\n")? as u64;
            self.torn = false;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::{Readers, Rotated, Target as _};
    use crate::fs;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut file = Rotated::open(path.clone(), Readers::Owner, 10).unwrap();
        for number in 0..7 {
            file.begin(8).unwrap();
            assert_eq!(file.write(format!("line {number}\n").as_bytes()).unwrap(), 7);
        }
        let names = fs::file_names(dir.path()).unwrap();
        assert_eq!(names, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"]);
        let youngest_first: Vec<_> =
            names.iter().map(|name| fs::read_to_string(&dir.path().join(name)).unwrap()).collect();
        assert_eq!(youngest_first, ["line 6\n", "line 5\n", "line 4\n", "line 3\n"]);
    }

    #[test]
    fn a_line_that_was_cut_short_by_a_kill_does_not_swallow_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        fs::write_atomic(&path, b"{\"whole\":1}\n{\"half", 0o600).unwrap();
        let mut file = Rotated::open(path.clone(), Readers::Owner, 1000).unwrap();
        file.begin(4).unwrap();
        file.write(b"{}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"whole\":1}\n{\"half\n{}\n");
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(Rotated::open(path, Readers::Owner, 1000).is_err());
    }
}
