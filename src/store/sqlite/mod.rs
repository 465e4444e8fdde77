//! The SQLite store: the processes of one host share one file.

mod connection;
#[allow(unsafe_code)]
pub mod errors;
pub mod examine;
#[allow(unsafe_code)]
mod file_locks;
mod header;
#[allow(unsafe_code)]
mod log_writes;
mod mount;
mod network;
mod opening;
pub mod place;
mod pulse;
mod reader;
mod rows;
mod schema;
#[allow(unsafe_code)]
mod statement;
#[allow(unsafe_code)]
mod statements;
mod values;
#[allow(unsafe_code)]
mod vfs;
mod wait_file;
mod watch;

use super::{
    Fault, Pages, Scan, Snapshot, Store,
    desks::{Desks, Errands},
    pulse::Pulse,
    waiters::Waiters,
};
use crate::{
    clock,
    model::{
        error::Code,
        request::{Outcome, Request},
        state::KeyInfo,
    },
    mutant,
};
use connection::Connection;
use place::Place;
use reader::Readers;
use std::{sync::Arc, time::Instant};
use wait_file::WaitFile;

/// A store's file, and the connection to it while there is one.
pub struct Sqlite {
    place: Place,
    /// Before the connection, so that they are closed first.
    readers: Readers,
    connection: Option<Connection>,
    wait_file: WaitFile,
    /// A flush failed. What is in the file may not be on the disk, and no answer may rest on it until a transaction
    /// has written and flushed again: a second flush that succeeds proves nothing about the first one's data.
    in_doubt: bool,
    was_made: bool,
}

impl Sqlite {
    pub fn open(place: Place) -> Result<Sqlite, Fault> {
        let connection = Connection::open(&place)?;
        let (was_made, connection) = (connection.has_made_store, Some(connection));
        let wait_file = WaitFile::open(&place);
        Ok(Sqlite { place, readers: Readers::default(), connection, wait_file, in_doubt: false, was_made })
    }

    fn connection(&mut self) -> Result<&mut Connection, Fault> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            gone => {
                self.place.check().map_err(Fault::Failed)?;
                Ok(gone.insert(Connection::open(&self.place)?))
            }
        }
    }

    /// After a failure of the disk or of the file, nothing that SQLite remembers is relied on.
    fn drop_if_damaged(&mut self, result: &Result<Vec<Outcome>, Fault>) {
        let Err(Fault::Failed(error)) = result else { return };
        let damaged = [Code::Io, Code::NotAStore, Code::Moved, Code::Unreachable, Code::NoMemory, Code::Defect];
        if damaged.contains(&error.code) {
            self.readers.close();
            self.connection = None;
        }
    }
}

impl Store for Sqlite {
    fn apply(&mut self, batch: &[&Request], _: Instant) -> Result<Vec<Outcome>, Fault> {
        let (in_doubt, alone) = (self.in_doubt, self.readers.is_empty() || mutant::on("joined_alone"));
        if !in_doubt && !batch.is_empty() && batch.iter().all(|request| request.is_read()) {
            let result = self.connection().map_err(after_init)?.read(batch, alone);
            self.drop_if_damaged(&result);
            return result;
        }
        let mut errands = Errands::of(self.wait_file.desks());
        let result = self.connection().map_err(after_init)?.write(batch, in_doubt, alone, &mut errands);
        match &result {
            Ok(_) => {
                self.in_doubt = false;
                if !errands.is_empty() {
                    mutant::die_now_and_then(["dies_owing", "unlocks_forgotten"]);
                }
                errands.answer();
            }
            // The connection stays: it knows that the transaction did not happen, and the next one writes over it.
            Err(Fault::Unknown(_)) => {
                self.in_doubt = true;
                errands.all_unknown();
            }
            Err(_) => {
                drop(errands);
                self.drop_if_damaged(&result);
            }
        }
        result
    }

    fn check(&mut self, _: Instant) -> Result<(), Fault> {
        self.connection()?.check()
    }

    fn list(&mut self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        if self.in_doubt {
            self.apply(&[], deadline)?;
        }
        let connection = self.connection().map_err(after_init)?;
        let last_token = connection.look_at_last_token()?;
        let lease_clock = connection.clock();
        let (now_us, tick) = (clock::now_us(), lease_clock.now());
        let pages = self.readers.locks(&self.place, scan, lease_clock, tick, now_us).map_err(after_init)?;
        Ok(Snapshot { now_us, tick, last_token, pages })
    }

    fn keys(&mut self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        if self.in_doubt {
            self.apply(&[], deadline)?;
        }
        self.connection().map_err(after_init)?.check()?;
        self.readers.keys(&self.place, prefix).map_err(after_init)
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.wait_file.waiters()
    }

    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        let connection = self.connection.as_mut()?;
        Some(connection.pulse(&self.place)?)
    }

    fn desks(&mut self) -> Option<Arc<Desks>> {
        self.wait_file.desks()
    }

    fn was_made(&self) -> bool {
        self.was_made
    }

    fn suspend(&mut self) {
        self.readers.close();
        if let Some(connection) = self.connection.take() {
            connection.close_quickly();
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.readers.close();
        self.connection = None;
        self.wait_file.remove();
    }
}

/// The store was open once: what would be a refusal at init is a store out of reach now.
fn after_init(fault: Fault) -> Fault {
    match fault {
        Fault::Failed(error) => Fault::Failed(error.after_init()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        name::{LockId, Owner, StateKey},
        request::Reply,
    };

    /// A store of the first version, with a lock that is held.
    fn first_version(path: &std::path::Path) {
        // Another test might put our system calls in place while this connection uses SQLite's.
        vfs::install().unwrap();
        let sql = rusqlite::Connection::open(path).unwrap();
        sql.execute_batch(schema::FIRST_VERSION).unwrap();
        sql.execute("INSERT INTO lock VALUES (x'6472697665', x'616e6e', 7, zeroblob(16), 5, 6, 'host:1:old')", [])
            .unwrap();
        sql.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
        sql.pragma_update(None, "user_version", 1).unwrap();
        sql.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    }

    /// A flush had failed, and the next dss_get said that a defect was contained: what is asked after such a failure goes with a
    /// transaction that writes, and there values were taken for locks.
    #[test]
    fn a_value_can_be_read_after_a_flush_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Sqlite::open(Place::find(&folder.path().join("x.db"), 0o600).unwrap()).unwrap();
        store.in_doubt = true;
        let get = Request::Get { key: StateKey::new(b"where").unwrap() };
        let outcome = store.apply(&[&get], Instant::now()).unwrap().remove(0);
        assert_eq!(outcome.unwrap_err().code, Code::Missing);
        assert!(!store.in_doubt);
    }

    #[test]
    fn a_store_of_the_first_version_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        first_version(&path);
        for _ in 0..2 {
            let mut store = Sqlite::open(Place::find(&path, 0o600).unwrap()).unwrap();
            let status = Request::Status { id: LockId::new(b"drive").unwrap() };
            let Ok(Reply::Status(entry)) = store.apply(&[&status], Instant::now()).unwrap().remove(0) else { panic!() };
            assert_eq!((entry.owner, entry.token, entry.ttl_ms), (Owner::new(b"ann").unwrap(), 7, 0));
            assert_eq!((entry.taken_us, entry.refreshed_us, entry.note.as_bytes()), (5, 6, &b""[..]));
        }
        let version = rusqlite::Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0));
        assert_eq!(version, Ok(schema::VERSION));
    }
}
