//! The SQLite store: the processes of one host share one file.

#[allow(unsafe_code)]
mod beside;
mod connection;
#[allow(unsafe_code)]
mod descriptors;
#[allow(unsafe_code)]
pub mod errors;
pub mod examine;
mod files;
mod header;
mod log;
mod mount;
mod network;
mod opening;
mod paths;
pub mod place;
mod pulse;
mod reader;
mod rows;
mod schema;
#[allow(unsafe_code)]
mod statement;
#[allow(unsafe_code)]
mod statements;
mod stop;
#[allow(unsafe_code)]
mod system_calls;
mod values;
#[allow(unsafe_code)]
mod vfs;
mod wait_file;
mod watch;

use super::{
    contract::{Fault, Pages, Scan, Snapshot, Store},
    pulse::Pulse,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        request::{Outcome, Request},
        state::KeyInfo,
    },
    mutant,
    shared::{
        combiner::{Combining, PublicationList},
        wait_queue::Waiters,
    },
};
use connection::Connection;
use paths::PathText;
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
    /// What a connection that was given up has left in doubt: see [`Connection::token_before_doubt`].
    token_before_doubt: Option<u64>,
}

/// How often the files are opened anew in one call before that counts as "busy".
const REOPENINGS: u32 = 8;

impl Sqlite {
    pub fn open(place: Place) -> Result<Sqlite, Fault> {
        let wait_file = WaitFile::open(&place);
        let mut store = Sqlite {
            place,
            readers: Readers::default(),
            connection: None,
            wait_file,
            in_doubt: false,
            token_before_doubt: None,
            was_made: false,
        };
        store.was_made = store.with_files(|store| Ok(store.connection()?.has_made_store))?;
        Ok(store)
    }

    fn connection(&mut self) -> Result<&mut Connection, Fault> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            gone => {
                self.place.check().map_err(Fault::Failed)?;
                let connection = gone.insert(Connection::open(&self.place)?);
                connection.take_over_doubt(self.token_before_doubt.take());
                Ok(connection)
            }
        }
    }

    /// Does something with the store's files. If the host has closed descriptors of these, the files are opened anew, and what
    /// was not done for that reason is done again.
    fn with_files<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        descriptors::take_lost();
        for _ in 0..REOPENINGS {
            let result = work(self);
            if !descriptors::take_lost() {
                self.drop_if_damaged(&result);
                return result;
            }
            self.abandon_files();
            // The close of what is lost finds that again.
            descriptors::take_lost();
            if matches!(result, Ok(_) | Err(Fault::Unknown(_))) {
                return result;
            }
        }
        let text = "something in this process closes the descriptors of the store as often as they are opened";
        Err(Fault::Busy(Error::new(Code::Busy, format!("{}: {text}", self.place.path.shown()))))
    }

    /// Gives up what is open, without a look at it. What it has locked is unlocked by that.
    fn abandon_files(&mut self) {
        self.readers.close();
        self.wait_file.look_again();
        if let Some(connection) = self.connection.take() {
            self.token_before_doubt = connection.token_before_doubt();
            connection.close_quickly();
        }
    }

    /// After a failure of the disk or of the file, nothing that SQLite remembers is relied on.
    fn drop_if_damaged<T>(&mut self, result: &Result<T, Fault>) {
        let Err(Fault::Failed(error)) = result else { return };
        let damaged = [Code::Io, Code::NotAStore, Code::Unreachable, Code::NoMemory, Code::Defect];
        if error.code == Code::Moved && self.place.check().is_ok() {
            self.let_go();
        } else if damaged.contains(&error.code) || error.code == Code::Moved {
            self.readers.close();
            self.connection = None;
        }
    }

    /// Closes what is open and leaves the side files as they are. A log that has lost its name stays open until all of it is
    /// in the database.
    fn let_go(&mut self) {
        self.readers.close();
        self.connection = self.connection.take().and_then(Connection::let_go);
    }

    fn do_batch(&mut self, batch: &[&Request]) -> Result<Vec<Outcome>, Fault> {
        let in_doubt = self.in_doubt;
        if !in_doubt && !batch.is_empty() && batch.iter().all(|request| request.is_read()) {
            return self.connection().map_err(after_init)?.read(batch);
        }
        let mut combining = Combining::new(self.wait_file.publications());
        if batch.is_empty() && !in_doubt && !combining.has_lock() {
            return Ok(Vec::new());
        }
        let result = self.connection().map_err(after_init)?.write(batch, in_doubt, &mut combining);
        match &result {
            Ok(_) => {
                self.in_doubt = false;
                if !combining.is_empty() {
                    mutant::die_now_and_then(["dies_unanswered", "combined_forgotten"]);
                }
                combining.answer();
            }
            // The connection stays: it knows that the transaction did not happen, and the next one writes over it.
            Err(Fault::Unknown(_)) => {
                self.in_doubt = true;
                combining.answer_unknown();
            }
            // The requests of others have not happened.
            Err(_) => drop(combining),
        }
        result
    }
}

impl Store for Sqlite {
    fn apply(&mut self, batch: &[&Request], _: Instant) -> Result<Vec<Outcome>, Fault> {
        self.with_files(|store| store.do_batch(batch))
    }

    fn check(&mut self, _: Instant) -> Result<(), Fault> {
        self.with_files(|store| store.connection()?.check())
    }

    fn list(&mut self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        if self.in_doubt {
            self.apply(&[], deadline)?;
        }
        self.with_files(|store| {
            let connection = store.connection().map_err(after_init)?;
            let last_token = connection.look_at_last_token()?;
            let (lease_clock, log) = (connection.clock(), connection.log());
            let (now_us, tick) = (clock::now_us(), lease_clock.now());
            let pages = store.readers.locks(&store.place, log, scan, lease_clock, tick, now_us).map_err(after_init)?;
            Ok(Snapshot { now_us, tick, last_token, pages })
        })
    }

    fn keys(&mut self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        if self.in_doubt {
            self.apply(&[], deadline)?;
        }
        self.with_files(|store| {
            let connection = store.connection().map_err(after_init)?;
            connection.check()?;
            let log = connection.log();
            store.readers.keys(&store.place, log, prefix).map_err(after_init)
        })
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.wait_file.waiters()
    }

    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        let connection = self.connection.as_mut()?;
        Some(connection.pulse(&self.place)?)
    }

    fn publications(&mut self) -> Option<Arc<PublicationList>> {
        self.wait_file.publications()
    }

    fn was_made(&self) -> bool {
        self.was_made
    }

    fn suspend(&mut self) {
        self.let_go();
        // Nothing may stay open, whatever becomes of it.
        self.connection.take().into_iter().for_each(Connection::close_quickly);
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.readers.close();
        // Else SQLite moves the log into the database and removes it, if nobody else has the store open.
        if self.connection.as_mut().is_some_and(|connection| !connection.files_are_in_place()) {
            self.let_go();
        }
        self.connection.take().into_iter().for_each(drop);
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
    use temp_dir::TempDir;

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
        let folder = TempDir::new().unwrap();
        let mut store = Sqlite::open(Place::find(&folder.path().join("x.db"), 0o600).unwrap()).unwrap();
        store.in_doubt = true;
        let get = Request::Get { key: StateKey::new(b"where").unwrap() };
        let outcome = store.apply(&[&get], Instant::now()).unwrap().remove(0);
        assert_eq!(outcome.unwrap_err().code, Code::Missing);
        assert!(!store.in_doubt);
    }

    /// A process that only lists kept its connection to an index that was removed, and so kept all others out.
    #[test]
    fn a_list_finds_that_the_index_was_removed_and_the_next_one_opens_it_anew() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db");
        let mut store = Sqlite::open(Place::find(&path, 0o600).unwrap()).unwrap();
        std::fs::remove_file(paths::side_file(&path, "-shm")).unwrap();
        let mut list = || store.list(&Scan::default(), Instant::now()).map(drop);
        assert!(matches!(list(), Err(Fault::Failed(error)) if error.code == Code::Moved));
        list().unwrap();
    }

    #[test]
    fn a_store_of_the_first_version_is_brought_up_to_date() {
        let folder = TempDir::new().unwrap();
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
