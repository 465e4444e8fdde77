//! The log and the index that a connection works with, and the agreement of all processes on which they are.
//!
//! SQLite's locks for writers are on the index of the log. Where somebody removes or replaces the log or
//! its index while processes have the store open, the next process would open other files, and each side
//! would grant the same locks. So each process holds a shared lock on one byte of the database, whose
//! number comes from the identities of the log and the index that it has open. A process that finds
//! others at another byte does not touch the store, until they have noticed and closed it.

use super::{
    beside::Beside,
    descriptors::{Descriptor, Identity},
    paths::{self, PathText, identity, side_file},
    place::Place,
    vfs,
};
use crate::{
    model::error::{Code, Error},
    mutant,
    store::contract::Fault,
    sys::{byte_lock, mark::Marked},
};
use rusqlite::Connection as Sql;
use std::{fs, io, ops::Range, path::Path};

/// What SQLite has open.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    pub log: Descriptor,
    pub index: Descriptor,
}

impl Files {
    /// Of what SQLite has opened for a connection.
    pub fn of(sql: &Sql, place: &Place) -> Result<Files, Fault> {
        let opened = vfs::log_and_index(sql).map(|(log, index)| Files { log, index });
        opened.ok_or_else(|| {
            let path = place.path.shown();
            let text = format!("{path}: SQLite has not opened a log and an index: is the store in WAL mode?");
            Fault::Failed(Error::new(Code::NotAStore, text))
        })
    }

    /// Whether the index still has a length that SQLite gives it. Memory that was cut off ends the process that uses it.
    pub fn index_is_whole(&self) -> bool {
        // One that the host has closed is found out by what comes next.
        !self.index.is_ours() || self.index.length().is_none_or(is_whole_length)
    }

    fn byte(&self) -> libc::off_t {
        byte_of(self.log.identity, self.index.identity)
    }
}

/// Far behind the end of any database, and apart from SQLite's own bytes.
const BYTES: Range<libc::off_t> = 1 << 60..(1 << 60) + (1 << 40);

/// FNV-1a (Fowler, Noll, Vo), folded into the range.
fn byte_of(log: Identity, index: Identity) -> libc::off_t {
    let bytes = [log.0, log.1, index.0, index.1].into_iter().flat_map(u64::to_le_bytes);
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    BYTES.start + (hash >> 24) as libc::off_t
}

/// SQLite makes the index longer by so many bytes at a time, and never shorter while anybody has it open
/// (WALINDEX_PGSZ in wal.c).
const INDEX_PIECE: u64 = 32 << 10;

fn is_whole_length(length: u64) -> bool {
    (length > 0 && length.is_multiple_of(INDEX_PIECE)) || mutant::on("short_index")
}

/// Whether nobody has cut the index short: SQLite would fill it up with zeros, and not see what is in the log.
fn is_whole(index: &Path) -> bool {
    fs::metadata(index).is_ok_and(|found| is_whole_length(found.len()))
}

/// This process's part of the agreement, until it is dropped.
pub struct Agreement {
    file: Beside,
    marked: Marked,
    path: String,
}

impl Agreement {
    /// To be asked before SQLite opens the log and the index under their names: whether those who have the
    /// store open have the files that are there now.
    pub fn seek(place: &Place) -> Result<Agreement, Fault> {
        let failed = |error: io::Error| Fault::Failed(paths::at(&place.path, "can't be opened", &error));
        let file = Beside::open(&place.path, libc::O_RDWR).map_err(failed)?;
        let marked = file.descriptor().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?.marked;
        let agreement = Agreement { file, marked, path: place.path.shown() };
        let [log, index] = ["-wal", "-shm"].map(|suffix| identity(&side_file(&place.path, suffix)));
        let byte = log.zip(index).map_or(BYTES.start, |(log, index)| byte_of(log, index));
        agreement.check(byte, log.is_some() && index.is_some() && is_whole(&side_file(&place.path, "-shm")))?;
        Ok(agreement)
    }

    /// Joins the others with the files that SQLite has opened.
    pub fn join(&self, files: &Files) -> Result<(), Fault> {
        let byte = files.byte();
        let shared = byte_lock::try_share(self.marked, byte);
        shared.map_err(|error| self.failed(&error))?;
        self.check(byte, true)
    }

    /// Whether nobody holds another byte, or any byte if the files of this one are not there.
    fn check(&self, byte: libc::off_t, is_agreed: bool) -> Result<(), Fault> {
        if mutant::on("agreement") {
            return Ok(());
        }
        let first_other = if is_agreed { byte + 1 } else { byte };
        for (start, end) in [(BYTES.start, byte), (first_other, BYTES.end)] {
            let any = start < end
                && byte_lock::others_have(self.marked, start, end - start).map_err(|error| self.failed(&error))?;
            if any {
                return Err(self.refused());
            }
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Fault {
        self.file.is_ours();
        Fault::Failed(Error::new(Code::Io, format!("{}: a lock could not be had: {error}", self.path)))
    }

    fn refused(&self) -> Fault {
        let text = format!(
            "{0}-wal or {0}-shm was removed or replaced while other processes have the store open: it can be opened when each \
             of them has noticed that in its next call, or has ended",
            self.path
        );
        Fault::Busy(Error::new(Code::Moved, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_have_another_byte() {
        let byte = byte_of((1, 2), (1, 3));
        assert!(BYTES.contains(&byte));
        for (log, index) in [((1, 3), (1, 2)), ((1, 2), (1, 4)), ((2, 2), (1, 3))] {
            let other = byte_of(log, index);
            assert!(other != byte && BYTES.contains(&other));
        }
    }
}
