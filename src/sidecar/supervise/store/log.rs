//! The log of decisions, from the table to the file.
//!
//! A line is made in the transaction of its decision, and appended to the file after: so the file may lag behind the
//! table, and is completed from it, but it is never ahead. The table keeps the youngest lines only.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};

use super::super::decisions::{self, GENESIS};
use super::super::refused::Refused;
use super::{Decision, failed, unreliable};
use crate::fs;

/// How many lines the table keeps at least; twice as many at most.
const KEPT: i64 = 500;

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// The youngest line.
    pub(super) head: Option<Head>,
    /// The bytes of the file.
    written: u64,
    pub(super) kept: i64,
}

/// Where the log goes on.
#[derive(Clone, Debug)]
pub(super) struct Head {
    seq: i64,
    hash: String,
    /// The bytes of the file with this line.
    end: u64,
}

/// A line of the table.
struct Row {
    seq: i64,
    start: u64,
    line: String,
}

impl Row {
    fn end(&self) -> u64 {
        self.start + self.line.len() as u64
    }
}

impl Log {
    /// Opens the file and completes it.
    ///
    /// # Errors
    ///
    /// It is not the beginning of what the store knows: it was changed, or the store has lost decisions.
    pub(super) fn open(path: &Path, db: &Connection) -> Result<Self, String> {
        let file = fs::append(path, 0o600).map_err(|error| error.to_string())?;
        let size = file.metadata().map_err(|error| unreliable(path, error))?.len();
        let mut rows = rows(db, 0)?;
        if let Some(first) = rows.first().map(|row| row.start).filter(|first| size == 0 && *first > 0) {
            // Somebody has put the file aside: a new one begins with the oldest line that is still here.
            let moved = i64::try_from(first).unwrap_or(i64::MAX);
            db.execute("UPDATE decision SET start = start - ?1", [moved])
                .map_err(|error| error.to_string())?;
            for row in &mut rows {
                row.start -= first;
            }
        }
        let start = rows.first().map_or(0, |row| row.start);
        if size < start {
            return Err(unreliable(
                path,
                format!("it ends after {size} bytes, within decisions that the store no longer has"),
            ));
        }
        let mut tail = vec![0; usize::try_from(size - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut tail, start).map_err(|error| unreliable(path, error))?;
        let known = rows.iter().flat_map(|row| row.line.bytes());
        let same = tail.iter().zip(known).take_while(|(have, want)| *have == want).count();
        let written = start + same as u64;
        let rest = tail.get(same..).unwrap_or_default();
        if !rest.is_empty() {
            // A machine that lost its power may leave zeros where the last line should be.
            if rest.iter().any(|byte| *byte != 0) {
                let problem = match rows.iter().find(|row| row.end() > written) {
                    Some(row) => format!("decision {} is not the one of the store", row.seq),
                    None => "it has decisions that the store has lost".to_owned(),
                };
                return Err(unreliable(path, problem));
            }
            file.set_len(written).map_err(|error| unreliable(path, error))?;
        }
        let head = match rows.last() {
            Some(row) => {
                let hash = decisions::hash_of(&row.line).ok_or_else(|| {
                    unreliable(path, format!("decision {} of the store has no hash", row.seq))
                })?;
                Some(Head { seq: row.seq, hash: hash.to_owned(), end: row.end() })
            }
            None => None,
        };
        let mut log = Self { path: path.to_owned(), file, head, written, kept: KEPT };
        log.complete(db)?;
        Ok(log)
    }

    /// Adds the line of a decision to the transaction, and gives what the head is when that is committed.
    pub(super) fn add(&self, transaction: &Transaction<'_>, decision: &Decision) -> Result<Head, Refused> {
        let (seq, prev, start) = match &self.head {
            Some(head) => (head.seq + 1, head.hash.as_str(), head.end),
            None => (1, GENESIS, 0),
        };
        let (line, hash) = decisions::line(seq, prev, decision)?;
        let query = "INSERT INTO decision (seq, start, line) VALUES (?1, ?2, ?3)";
        let at = i64::try_from(start).map_err(failed)?;
        transaction.execute(query, params![seq, at, line]).map_err(failed)?;
        Ok(Head { seq, hash, end: start + line.len() as u64 })
    }

    /// Appends to the file what it lacks, and has it on the disk.
    pub(super) fn complete(&mut self, db: &Connection) -> Result<(), String> {
        let Some(head) = self.head.clone().filter(|head| head.end > self.written) else { return Ok(()) };
        for row in rows(db, self.written)? {
            let have = usize::try_from(self.written.saturating_sub(row.start)).unwrap_or(usize::MAX);
            let rest = row.line.as_bytes().get(have..).unwrap_or_default();
            if let Err(error) = self.file.write_all(rest) {
                // A part of it may be there.
                self.written = self.file.metadata().map_or(self.written, |metadata| metadata.len());
                return Err(format!("could not write `{}`: {error}", self.path.display()));
            }
            self.written = row.end();
        }
        self.file
            .sync_data()
            .map_err(|error| format!("could not write `{}`: {error}", self.path.display()))?;
        if head.seq % self.kept == 0 {
            db.execute("DELETE FROM decision WHERE seq <= ?1", [head.seq - self.kept])
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// The lines of the table that end after so many bytes of the file.
fn rows(db: &Connection, after: u64) -> Result<Vec<Row>, String> {
    let read = || -> rusqlite::Result<Vec<Row>> {
        let mut query = db.prepare(
            "SELECT seq, start, line FROM decision WHERE start + octet_length(line) > ?1 ORDER BY seq",
        )?;
        let rows = query.query_map([i64::try_from(after).unwrap_or(i64::MAX)], |row| {
            let start: i64 = row.get(1)?;
            Ok(Row { seq: row.get(0)?, start: u64::try_from(start).unwrap_or(0), line: row.get(2)? })
        })?;
        rows.collect()
    };
    read().map_err(|error| error.to_string())
}
