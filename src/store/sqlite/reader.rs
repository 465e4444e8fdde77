//! Lists of locks and of keys, read in pages from one snapshot.
//!
//! Each has a connection of its own, so that it holds up no writer: in WAL mode a reader's snapshot stays as it is while others
//! write. This connection only reads. It is opened after the store's writing connection and closed before it, for SQLite
//! keeps the locks of the file with the first one; and where a process forks, it is closed with it.

use super::{
    descriptors::{self, Identity},
    errors::Failure,
    paths::{PathText, side_file},
    place::Place,
    rows, schema,
    statement::{Row, Statement, Value},
    vfs,
};
use crate::{
    clock::LeaseClock,
    model::{
        error::{Code, Error},
        lock::{Record, Tick},
        name::{LockId, StateKey},
        state::KeyInfo,
    },
    mutant,
    store::contract::{Fault, Found, PAGE_ITEMS, PAGE_LOOKS, Pages, Scan},
};
use rusqlite::Connection as Sql;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

/// An open snapshot.
struct Reader {
    /// Before `sql`, so that it is dropped first.
    statement: Statement,
    sql: Sql,
    /// The statement stands on a row that was not read yet.
    stands: bool,
}

type Slot = Arc<Mutex<Option<Reader>>>;

fn locked(slot: &Slot) -> MutexGuard<'_, Option<Reader>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lists that are being read from a store.
#[derive(Default)]
pub struct Readers(Vec<Weak<Mutex<Option<Reader>>>>);

impl Readers {
    /// Cuts all of them short.
    pub fn close(&mut self) {
        self.0.drain(..).filter_map(|reader| reader.upgrade()).for_each(|slot| drop(locked(&slot).take()));
    }

    /// Begins a snapshot of the locks. The moment was read before, so that no lease is taken for over that was refreshed
    /// meanwhile.
    pub fn locks(
        &mut self,
        place: &Place,
        log: Identity,
        scan: &Scan,
        clock: LeaseClock,
        tick: Tick,
        now_us: i64,
    ) -> Result<Box<dyn Pages<Found>>, Fault> {
        let open = self.open(place, log, schema::SCAN, scan.begin().0)?;
        Ok(Box::new(Locks { open, scan: scan.clone(), clock, tick, now_us }))
    }

    /// Begins a snapshot of the keys that begin so.
    pub fn keys(&mut self, place: &Place, log: Identity, prefix: &[u8]) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        Ok(Box::new(Keys { open: self.open(place, log, schema::SCAN_KEYS, prefix)?, prefix: prefix.into() }))
    }

    /// With the log that the writing connection has: SQLite opens the file that has its name now.
    fn open(&mut self, place: &Place, log: Identity, text: &str, from: &[u8]) -> Result<Open, Fault> {
        let path = place.path.shown();
        let reader = begin(place, &path, text, from)?;
        if vfs::log_and_index(&reader.sql).is_some_and(|(own, _)| own.identity != log) {
            place.moved(&side_file(&place.path, "-wal")).map_err(Fault::Failed)?;
        }
        let slot = Arc::new(Mutex::new(Some(reader)));
        self.0.retain(|reader| reader.strong_count() > 0);
        self.0.push(Arc::downgrade(&slot));
        Ok(Open { slot, path })
    }
}

fn begin(place: &Place, path: &str, text: &str, from: &[u8]) -> Result<Reader, Fault> {
    let sql = vfs::connect(&place.path).map_err(|error| Failure::at_open(&error).fault(path))?;
    schema::configure_reader(&sql).map_err(|error| Failure::on(&sql, &error).fault(path))?;
    Reader::begin(sql, text, from).map_err(|failure| failure.fault(path))
}

impl Reader {
    #[allow(unsafe_code)]
    fn begin(sql: Sql, text: &str, from: &[u8]) -> Result<Reader, Failure> {
        // SAFETY: the statement stands before the connection in the struct that has both; an error drops it here first.
        let mut statement = unsafe { Statement::prepare(&sql, text) }?;
        statement.begin(&sql, &[Value::Copied(from)])?;
        let stands = statement.step(&sql)?;
        Ok(Reader { statement, sql, stands })
    }

    /// What `read` makes of the next row; None at the end.
    fn next<T>(&mut self, read: impl FnOnce(&Row) -> T) -> Result<Option<T>, Failure> {
        if !self.stands {
            return Ok(None);
        }
        let found = self.statement.read(read);
        self.stands = self.statement.step(&self.sql)?;
        Ok(Some(found))
    }
}

/// A list that is being read.
struct Open {
    slot: Slot,
    path: String,
}

impl Open {
    /// What `read` makes of rows, until `take` has enough of it; true if there are more.
    fn rows<T>(
        &self,
        read: impl Fn(&Row) -> Result<T, String>,
        mut take: impl FnMut(T) -> Next,
    ) -> Result<bool, Error> {
        let mut slot = locked(&self.slot);
        let Some(reader) = slot.as_mut() else {
            if mutant::on("cut_list") {
                return Ok(false);
            }
            return Err(cut_short());
        };
        descriptors::take_lost();
        for _ in 0..PAGE_LOOKS {
            let row = reader.next(&read);
            if descriptors::take_lost() {
                slot.take();
                return Err(cut_short());
            }
            let row = row.map_err(|failure| error_of(failure.fault(&self.path)))?;
            let Some(row) = row else { return Ok(false) };
            match take(row.map_err(|cause| damaged(&self.path, &cause))?) {
                Next::More => {}
                Next::Enough => return Ok(true),
                Next::End => {
                    reader.stands = false;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn cut_short() -> Error {
    let text = "the list was cut short, by a fork(2) of this process, by code in it that closed the store's descriptors, or by \
                a failure of the file: start it again";
    Error::new(Code::Interrupted, text)
}

/// What is wanted after a row.
enum Next {
    More,
    /// The page is full.
    Enough,
    /// Nothing behind it is of use.
    End,
}

impl Next {
    fn after<T>(page: &[T]) -> Next {
        if page.len() < PAGE_ITEMS { Next::More } else { Next::Enough }
    }
}

impl Drop for Open {
    /// Under the slot's lock: whoever finds it empty finds the connection closed.
    fn drop(&mut self) {
        drop(locked(&self.slot).take());
    }
}

struct Locks {
    open: Open,
    scan: Scan,
    clock: LeaseClock,
    tick: Tick,
    now_us: i64,
}

impl Pages<Found> for Locks {
    fn next(&mut self, _: Instant) -> Result<Option<Vec<Found>>, Error> {
        let mut page = Vec::new();
        let are_more = self.open.rows(
            |row| lock_of(row, &self.clock),
            |row| {
                let Some((id, record)) = row else { return Next::More };
                if self.scan.filter.is_beyond(&id) {
                    return Next::End;
                }
                if let Record::Entry(entry) = record
                    && self.scan.after.as_ref() != Some(&id)
                    && self.scan.shows(&id, &entry, self.tick, self.now_us)
                {
                    page.push((id, entry));
                }
                Next::after(&page)
            },
        )?;
        Ok((are_more || !page.is_empty()).then_some(page))
    }
}

/// A row's id and record; None for the store's own row, and for what is no lock.
fn lock_of(row: &Row, clock: &LeaseClock) -> Result<Option<(LockId, Record)>, String> {
    match LockId::new(row.bytes(rows::ID)) {
        Ok(id) => rows::record_of(row, clock).map(|record| Some((id, record))),
        Err(_) => Ok(None),
    }
}

struct Keys {
    open: Open,
    prefix: Box<[u8]>,
}

impl Pages<KeyInfo> for Keys {
    fn next(&mut self, _: Instant) -> Result<Option<Vec<KeyInfo>>, Error> {
        let mut page = Vec::new();
        let are_more = self.open.rows(key_of, |info| {
            if !info.key.as_bytes().starts_with(&self.prefix) {
                return Next::End;
            }
            page.push(info);
            Next::after(&page)
        })?;
        Ok((are_more || !page.is_empty()).then_some(page))
    }
}

fn key_of(row: &Row) -> Result<KeyInfo, String> {
    let key = StateKey::new(row.bytes(0)).map_err(|error| error.text)?;
    Ok(KeyInfo { key, version: row.integer(1) as u64, len: row.integer(2) as usize })
}

fn damaged(path: &str, cause: &str) -> Error {
    Error::new(Code::NotAStore, format!("{path}: a row is damaged: {cause}; restore the file"))
}

fn error_of(fault: Fault) -> Error {
    match fault {
        Fault::Busy(error) | Fault::Failed(error) | Fault::Unknown(error) => error,
    }
}
