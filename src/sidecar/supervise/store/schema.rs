//! The tables, and what a file must be to be taken for a store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What marks a file as a store: `botl`, at its place in the header of `SQLite`'s format.
const APPLICATION: i64 = 0x626f_746c;
/// The version of the tables.
const VERSION: i64 = 1;

/// The tables as of version 1. A body is the JSON form of what the columns beside it help to find.
const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE request (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        pending INTEGER NOT NULL,
        created INTEGER NOT NULL,
        rule TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX request_open ON request (pending, seq);
    CREATE INDEX request_rule ON request (rule, seq);
    CREATE INDEX request_created ON request (created);
    CREATE TABLE granted (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        request TEXT NOT NULL REFERENCES request (id) ON DELETE CASCADE,
        in_force INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX granted_in_force ON granted (in_force, seq);
    CREATE INDEX granted_request ON granted (request);
    CREATE TABLE decision (seq INTEGER PRIMARY KEY, start INTEGER NOT NULL, line TEXT NOT NULL) STRICT;
";

/// Makes an empty store at `path`, where nothing is.
pub(super) fn create(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let transaction = db.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.execute_batch(TABLES)?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error)
}

/// Opens a store, and says what is wrong with it if anything is.
pub(super) fn open(path: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let told = |error: rusqlite::Error| error.to_string();
    let db = Connection::open_with_flags(path, flags).map_err(told)?;
    // In this order: with the lock held before the log of changes is opened, no memory is shared with other processes.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(told)?;
    db.pragma_update(None, "trusted_schema", false).map_err(told)?;
    db.pragma_update(None, "cell_size_check", true).map_err(told)?;
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(told);
    if number("application_id")? != APPLICATION {
        return Err("it is no store of bottle".to_owned());
    }
    match number("user_version")? {
        VERSION => {}
        version => {
            return Err(format!("its format has version {version}; this program reads version {VERSION}"));
        }
    }
    let check: String = db.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(told)?;
    if check != "ok" {
        return Err(check);
    }
    let mode: String =
        db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(told)?;
    if mode != "wal" {
        return Err(format!("its directory allows no write-ahead log (`journal_mode` is {mode})"));
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(told)?;
    db.pragma_update(None, "foreign_keys", true).map_err(told)?;
    Ok(db)
}
