//! What a dss store looks like as a SQLite database, and all of its SQL.

use super::paths::PathText;
use crate::{
    model::error::{Code, Error},
    mutant,
};
use rusqlite::{Connection, config::DbConfig, ffi};
use std::path::Path;

/// "dss" and a byte of ours, in the header field that tells programs' files apart.
pub const APPLICATION_ID: u32 = 0x6473_7301;
/// The version of the tables, in SQLite's user_version. A library leaves a store of a newer version alone, and brings an
/// older one up to date.
pub const VERSION: u32 = STEPS.len() as u32;

/// What leads from each version to the next; a new store takes them all. A step that was released is never changed.
///
/// One row for each lock that is held, or whose last grant ended badly. Names are bytes, so they are blobs: comparing blobs
/// knows no locale. Times with _us are UTC microseconds. What belongs to the lease is one value (`rows.rs`), for each column
/// costs every transaction. A row with the empty owner is the trace of a lock that nobody holds.
///
/// The row with the empty id, which no lock can have, is the store's own: its token is the last one granted, its note is
/// the number of the last transaction that has changed something for other processes (`shared/combiner`). It stands in
/// the same b-tree so that a grant and its token are, in a store of a few locks, one page and one write. Versions of values are
/// tokens, too, so one row is enough to never give one twice.
const STEPS: &[&str] = &[
    "CREATE TABLE lock (
        id BLOB PRIMARY KEY,
        owner BLOB NOT NULL,
        token INTEGER NOT NULL,
        attempt BLOB NOT NULL,
        taken_us INTEGER NOT NULL,
        refreshed_us INTEGER NOT NULL,
        client TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO lock VALUES (x'', x'', 0, x'', 0, 0, '');",
    "ALTER TABLE lock ADD COLUMN lease BLOB NOT NULL DEFAULT x'';
    ALTER TABLE lock ADD COLUMN note BLOB NOT NULL DEFAULT x'';",
    "CREATE TABLE state (
        key BLOB PRIMARY KEY,
        version INTEGER NOT NULL,
        attempt BLOB NOT NULL,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;",
];

#[cfg(test)]
pub const FIRST_VERSION: &str = STEPS[0];

pub const BEGIN: &str = "BEGIN IMMEDIATE";
pub const COMMIT: &str = "COMMIT";
pub const ROLLBACK: &str = "ROLLBACK";
pub const SELECT: &str =
    "SELECT owner, token, attempt, taken_us, refreshed_us, client, lease, note FROM lock WHERE id = ?1";
pub const SCAN: &str = "SELECT owner, token, attempt, taken_us, refreshed_us, client, lease, note, id FROM lock \
     WHERE id >= ?1 ORDER BY id";
pub const INSERT: &str = "INSERT INTO lock (id, owner, token, attempt, taken_us, refreshed_us, client, lease, note) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
pub const UPDATE: &str = "UPDATE lock SET owner = ?2, token = ?3, attempt = ?4, taken_us = ?5, refreshed_us = ?6, \
     client = ?7, lease = ?8, note = ?9 WHERE id = ?1";
pub const DELETE: &str = "DELETE FROM lock WHERE id = ?1";
pub const SELECT_LAST_TOKEN: &str = "SELECT token FROM lock WHERE id = x''";
pub const UPDATE_LAST_TOKEN: &str = "UPDATE lock SET token = ?1 WHERE id = x''";
pub const SELECT_COMBINED: &str = "SELECT note FROM lock WHERE id = x''";
pub const UPDATE_OWN_ROW: &str = "UPDATE lock SET token = ?1, note = ?2 WHERE id = x''";
pub const SELECT_VALUE: &str = "SELECT version, attempt, value FROM state WHERE key = ?1";
pub const SELECT_STAMP: &str = "SELECT version, attempt FROM state WHERE key = ?1";
pub const PUT_VALUE: &str = "INSERT INTO state (key, version, attempt, value) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT DO UPDATE SET version = ?2, attempt = ?3, value = ?4";
pub const DELETE_VALUE: &str = "DELETE FROM state WHERE key = ?1";
/// The length of a value stands in front of it: SQLite reads none of its pages for that.
pub const SCAN_KEYS: &str = "SELECT key, version, length(value) FROM state WHERE key >= ?1 ORDER BY key";
pub const SELECT_VERSION: &str = "PRAGMA user_version";

/// Makes the connection one that is durable, trusts nothing in the file, and takes no time of its own.
pub fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.execute_batch(PRAGMAS)?;
    if mutant::on("no_flush") {
        connection.execute_batch("PRAGMA synchronous = OFF")?;
    }
    Ok(())
}

/// The same for a connection that reads lists. It never moves the log into the database.
pub fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch(
        "PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;",
    )
}

pub const PAGE_BYTES: usize = 1024;

/// Small pages ([`PAGE_BYTES`]), since each commit writes and sums up whole ones. A short log, since
/// SQLite walks a chain of all of a page's versions in it at each commit: with 1000 pages, its
/// default, that is a quarter of a commit's instructions.
const PRAGMAS: &str = "
    PRAGMA page_size = 1024;
    PRAGMA wal_autocheckpoint = 300;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -4096;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA synchronous = EXTRA;
";

/// Makes the tables if the file is empty or its store is of an older version, and puts the file into WAL mode. Many
/// processes may do this at once.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    if missing_steps(connection)?.is_some() {
        connection.execute_batch(BEGIN)?;
        let made = missing_steps(connection).and_then(|steps| match steps {
            Some(steps) => make(connection, steps),
            None => Ok(()),
        });
        match made {
            Ok(()) => connection.execute_batch(COMMIT)?,
            Err(error) => {
                // Where SQLite has rolled back by itself, that is refused, and is not why the store can't be made.
                let _ = connection.execute_batch(ROLLBACK);
                return Err(error);
            }
        }
    }
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        put_into_wal_mode(connection)?;
    }
    // In WAL mode, FULL flushes each commit before it is answered.
    connection.execute_batch("PRAGMA synchronous = FULL")
}

/// SQLite says which mode it has after that, and commits it after it has said so: whoever stops listening does not hear of a disk
/// that failed.
fn put_into_wal_mode(connection: &Connection) -> rusqlite::Result<()> {
    let mut pragma = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = pragma.query([])?;
    let mut mode = String::new();
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    if mode == "wal" {
        return Ok(());
    }
    let text = "the file could not be put into WAL mode".to_owned();
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), Some(text)))
}

/// What the store has not been through yet; None for one that is up to date, newer, or another program's.
fn missing_steps(connection: &Connection) -> rusqlite::Result<Option<&'static [&'static str]>> {
    let done = match application_id(connection)? {
        APPLICATION_ID => version(connection)? as usize,
        0 if is_empty(connection)? => 0,
        _ => return Ok(None),
    };
    Ok(STEPS.get(done..).filter(|steps| !steps.is_empty()))
}

/// The application id is written together with the tables and before WAL mode, so it is in the file itself.
fn make(connection: &Connection, steps: &[&str]) -> rusqlite::Result<()> {
    steps.iter().try_for_each(|step| connection.execute_batch(step))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row(SELECT_VERSION, [], |row| row.get(0))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

pub fn application_id(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA application_id", [], |row| row.get(0))
}

pub fn too_new(path: &Path, version: u32) -> Error {
    let text = format!(
        "{} was written by a newer libdss (schema {version}, this library knows {VERSION}): it was left untouched; \
         update libdss",
        path.shown()
    );
    Error::new(Code::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temp_dir::TempDir;

    /// Cargo reads the options from .cargo/config.toml, and does so silently not at all from another folder.
    #[test]
    fn sqlite_is_compiled_as_intended() {
        let sql = Connection::open_in_memory().unwrap();
        let mut select = sql.prepare("PRAGMA compile_options").unwrap();
        let options: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for wanted in ["OMIT_LOAD_EXTENSION", "OMIT_SHARED_CACHE", "DEFAULT_MEMSTATUS=0"] {
            assert!(options.iter().any(|option| option == wanted), "{wanted} in {options:?}");
        }
        assert!(
            !options.iter().any(|option| option.starts_with("ENABLE_FTS") || option == "ENABLE_RTREE"),
            "{options:?}"
        );
        assert!(rusqlite::version_number() >= 3_051_003);
    }

    #[test]
    fn the_tables_are_made_once() {
        // Another test might put our system calls in place while this connection uses SQLite's.
        super::super::vfs::install().unwrap();
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db");
        for _ in 0..2 {
            let sql = Connection::open(&path).unwrap();
            configure(&sql).unwrap();
            prepare(&sql).unwrap();
            assert_eq!(application_id(&sql).unwrap(), APPLICATION_ID);
            assert_eq!(sql.query_row("SELECT count(*) FROM lock", [], |row| row.get(0)), Ok(1));
        }
    }
}
