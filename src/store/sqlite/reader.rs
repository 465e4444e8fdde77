//! A list of locks, read in pages from one snapshot.
//!
//! It has a connection of its own, so that it holds up no writer: in WAL mode a reader's snapshot stays as it is while others
//! write. This connection only reads. It is opened after the store's writing connection and closed before it, for SQLite
//! keeps the locks of the file with the first one; and where a process forks, it is closed with it.

use super::{
    errors::Failure,
    place::{PathText, Place},
    rows, schema,
    statement::{Row, Statement, Value},
};
use crate::{
    model::{
        error::{Code, Error},
        lock::{Entry, Record, Tick},
        name::LockId,
    },
    mutant,
    store::{Fault, PAGE_LOCKS, PAGE_LOOKS, Pages, Scan},
};
use rusqlite::{Connection as Sql, OpenFlags};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
    time::Instant,
};

/// An open snapshot.
struct Reader {
    /// Before `sql`, so that it is dropped first.
    statement: Statement,
    sql: Sql,
    /// The row on which the statement stands, read ahead; None at the end.
    ahead: Option<Found>,
}

/// A row's id and record; None for the store's own row, and for what is no lock.
type Found = Option<(LockId, Record)>;
type Slot = Arc<Mutex<Option<Reader>>>;

fn locked(slot: &Slot) -> MutexGuard<'_, Option<Reader>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lists that are being read from a store.
#[derive(Default)]
pub struct Readers(Vec<Weak<Mutex<Option<Reader>>>>);

impl Readers {
    /// Whether no list is open, so that the process's locks on the file are those of one connection.
    pub fn is_empty(&mut self) -> bool {
        self.0.retain(|reader| match reader.upgrade().as_ref().map(|slot| slot.try_lock()) {
            None => false,
            // Its page is just being read.
            Some(Err(TryLockError::WouldBlock)) => true,
            Some(Err(TryLockError::Poisoned(slot))) => slot.get_ref().is_some(),
            Some(Ok(slot)) => slot.is_some(),
        });
        self.0.is_empty()
    }

    /// Cuts all of them short.
    pub fn close(&mut self) {
        self.0.drain(..).filter_map(|reader| reader.upgrade()).for_each(|slot| drop(locked(&slot).take()));
    }

    /// Begins a snapshot. The moment was read before, so that no lease is taken for over that was refreshed meanwhile.
    pub fn open(&mut self, place: &Place, scan: &Scan, tick: Tick, now_us: i64) -> Result<Box<dyn Pages>, Fault> {
        let path = place.path.shown();
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let sql = Sql::open_with_flags(&place.path, flags).map_err(|error| Failure::at_open(&error).fault(&path))?;
        schema::configure_reader(&sql).map_err(|error| Failure::on(&sql, &error).fault(&path))?;
        let reader = Reader::begin(sql, scan.begin().0, &path)?;
        let slot = Arc::new(Mutex::new(Some(reader)));
        self.0.push(Arc::downgrade(&slot));
        Ok(Box::new(Listing { slot, path, scan: scan.clone(), tick, now_us }))
    }
}

impl Reader {
    #[allow(unsafe_code)]
    fn begin(sql: Sql, from: &[u8], path: &str) -> Result<Reader, Fault> {
        let failed = |failure: Failure| failure.fault(path);
        // SAFETY: the statement stands before the connection in the struct that has both; an error drops it here first.
        let mut statement = unsafe { Statement::prepare(&sql, schema::SCAN) }.map_err(failed)?;
        statement.begin(&sql, &[Value::Copied(from)]).map_err(failed)?;
        let ahead = statement.next(&sql, found).map_err(failed)?;
        let ahead = ahead.transpose().map_err(|cause| Fault::Failed(damaged(path, &cause)))?;
        Ok(Reader { statement, sql, ahead })
    }
}

fn found(row: &Row) -> Result<Found, String> {
    match LockId::new(row.bytes(rows::ID)) {
        Ok(id) => rows::record_of(row).map(|record| Some((id, record))),
        Err(_) => Ok(None),
    }
}

struct Listing {
    slot: Slot,
    path: String,
    scan: Scan,
    tick: Tick,
    now_us: i64,
}

impl Pages for Listing {
    fn next(&mut self, _: Instant) -> Result<Option<Vec<(LockId, Entry)>>, Error> {
        let mut slot = locked(&self.slot);
        let Some(reader) = slot.as_mut() else {
            if mutant::on("cut_list") {
                return Ok(None);
            }
            return Err(Error::new(
                Code::Interrupted,
                "the list was cut short, by a fork(2) of this process or a failure of the file: start it again",
            ));
        };
        let mut page = Vec::new();
        for _ in 0..PAGE_LOOKS {
            let Some(row) = reader.ahead.take() else {
                return Ok(if page.is_empty() { None } else { Some(page) });
            };
            let next =
                reader.statement.next(&reader.sql, found).map_err(|failure| error_of(failure.fault(&self.path)))?;
            reader.ahead = next.transpose().map_err(|cause| damaged(&self.path, &cause))?;
            let Some((id, record)) = row else { continue };
            if self.scan.filter.is_beyond(&id) {
                reader.ahead = None;
                continue;
            }
            if let Record::Entry(entry) = record
                && self.scan.after.as_ref() != Some(&id)
                && self.scan.shows(&id, &entry, self.tick, self.now_us)
            {
                page.push((id, entry));
                if page.len() == PAGE_LOCKS {
                    break;
                }
            }
        }
        Ok(Some(page))
    }
}

impl Drop for Listing {
    /// Under the slot's lock: whoever finds it empty finds the connection closed.
    fn drop(&mut self) {
        drop(locked(&self.slot).take());
    }
}

fn damaged(path: &str, cause: &str) -> Error {
    Error::new(Code::NotAStore, format!("{path}: a lock's row is damaged: {cause}; restore the file"))
}

fn error_of(fault: Fault) -> Error {
    match fault {
        Fault::Busy(error) | Fault::Failed(error) | Fault::Unknown(error) => error,
    }
}
