//! From SQLite's codes to ours: one table.

use super::{log, vfs::log_file::CUT_LOG};
use crate::{
    model::error::{Code, Error},
    store::contract::Fault,
};
use rusqlite::{Connection, ffi};
use std::{ffi::CStr, io};

/// What an errno means for a store that was open.
fn code_of(errno: i32) -> Code {
    match Code::of_errno(errno) {
        Code::Denied | Code::Missing => Code::Unreachable,
        code => code,
    }
}

/// What SQLite said when it could not do something.
pub struct Failure {
    extended: i32,
    /// The system's errno behind it, or 0.
    errno: i32,
    said: String,
    at_commit: bool,
}

impl Failure {
    /// The failure of the connection's latest call.
    pub fn of(sql: &Connection) -> Failure {
        // SAFETY: the handle is that of an open connection, which this thread has for itself. The message is copied
        // before the next call.
        unsafe {
            let said = CStr::from_ptr(ffi::sqlite3_errmsg(sql.handle())).to_string_lossy().into_owned();
            Failure::new(ffi::sqlite3_extended_errcode(sql.handle()), ffi::sqlite3_system_errno(sql.handle()), said)
        }
    }

    /// What rusqlite reports, with the connection that it happened on.
    pub fn on(sql: &Connection, error: &rusqlite::Error) -> Failure {
        // SAFETY: as above.
        let errno = unsafe { ffi::sqlite3_system_errno(sql.handle()) };
        Failure::new(extended_code(error), errno, error.to_string())
    }

    /// What stopped SQLite from opening a file: there is no connection to ask.
    pub fn at_open(error: &rusqlite::Error) -> Failure {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Failure::new(extended_code(error), errno, error.to_string())
    }

    fn new(extended: i32, errno: i32, said: String) -> Failure {
        // SQLite notes the errno for these two alone; with any other code it is an old one.
        let noted = matches!(extended & 0xff, ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN);
        Failure { extended, errno: if noted { errno } else { 0 }, said, at_commit: false }
    }

    /// The same, of a commit.
    pub fn at_commit(self) -> Failure {
        Failure { at_commit: true, ..self }
    }

    /// As a fault of the whole batch, in a text that names the file.
    pub fn fault(&self, path: &str) -> Fault {
        if self.errno == CUT_LOG {
            return Fault::Failed(log::lost(path));
        }
        match fault_of(self.extended, self.errno, &format!("{path}: {}", self.said)) {
            Fault::Failed(error) if self.at_commit && self.is_after_the_log() => Fault::Unknown(error),
            fault => fault,
        }
    }

    /// Whether a commit that fails so has written its end into the log already: then it is the log's index that could not
    /// be told, and whoever makes the index anew will find the commit.
    fn is_after_the_log(&self) -> bool {
        const INDEX: [i32; 5] = [
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_IOERR_SHMOPEN,
            ffi::SQLITE_IOERR_SHMLOCK,
            ffi::SQLITE_IOERR_NOMEM,
        ];
        INDEX.contains(&self.extended) || self.extended & 0xff == ffi::SQLITE_NOMEM
    }
}

fn extended_code(error: &rusqlite::Error) -> i32 {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.extended_code,
        // A value of another type than the schema says, or a row that is missing.
        _ => ffi::SQLITE_CORRUPT,
    }
}

fn fault_of(extended: i32, errno: i32, said: &str) -> Fault {
    let failed = |code: Code, cure: &str| Fault::Failed(Error::new(code, format!("{said}; {cure}")));
    match (extended, extended & 0xff) {
        (_, ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL) => {
            Fault::Busy(Error::new(Code::Busy, format!("{said}; SQLite could not get a lock on the file")))
        }
        // The flush of a commit: what it wrote may be on the disk or not.
        (ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC, _) => {
            let text = format!("{said}; the disk did not confirm a flush: look at the kernel's log");
            Fault::Unknown(Error::new(if errno == 0 { Code::Io } else { code_of(errno) }, text))
        }
        (ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS, _)
        | (_, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) => {
            failed(Code::NotAStore, "the file is damaged: restore it, or move it away to start anew")
        }
        (ffi::SQLITE_READONLY_DBMOVED, _) => failed(Code::Moved, "close the handle and open it again"),
        (ffi::SQLITE_IOERR_NOMEM, _) | (_, ffi::SQLITE_NOMEM) => failed(Code::NoMemory, "free some memory"),
        (_, ffi::SQLITE_FULL) => failed(Code::NoSpace, "make room on the file system"),
        (_, ffi::SQLITE_IOERR) if errno == libc::EFBIG => {
            failed(Code::Io, "raise the limit of file sizes (RLIMIT_FSIZE)")
        }
        (_, ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_AUTH | ffi::SQLITE_READONLY) => {
            let code = match (errno, extended & 0xff) {
                (0, ffi::SQLITE_IOERR) => Code::Io,
                (0, ffi::SQLITE_READONLY) => Code::ReadOnly,
                (0, _) => Code::Unreachable,
                (errno, _) => code_of(errno),
            };
            let system = io::Error::from_raw_os_error(errno);
            failed(
                code,
                &if errno == 0 { "see that the file and its folder can be written".into() } else { system.to_string() },
            )
        }
        // No such table, or one of another shape: somebody changed the schema.
        (_, ffi::SQLITE_ERROR | ffi::SQLITE_SCHEMA | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH) => {
            failed(Code::NotAStore, "the file's tables are not those of a dss store: restore it")
        }
        _ => failed(Code::Defect, "this is a defect in libdss: please report it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(extended: i32, errno: i32) -> Code {
        match fault_of(extended, errno, "x.db") {
            Fault::Failed(error) | Fault::Busy(error) | Fault::Unknown(error) => error.code,
        }
    }

    #[test]
    fn codes_are_mapped() {
        assert_eq!(code(ffi::SQLITE_FULL, 0), Code::NoSpace);
        assert_eq!(code(ffi::SQLITE_IOERR_WRITE, libc::EDQUOT), Code::Quota);
        assert_eq!(code(ffi::SQLITE_IOERR_WRITE, libc::EFBIG), Code::Io);
        assert_eq!(code(ffi::SQLITE_IOERR_READ, libc::EIO), Code::Io);
        assert_eq!(code(ffi::SQLITE_CANTOPEN, libc::EMFILE), Code::TooManyFiles);
        assert_eq!(code(ffi::SQLITE_CANTOPEN, libc::EACCES), Code::Unreachable);
        assert_eq!(code(ffi::SQLITE_READONLY, 0), Code::ReadOnly);
        assert_eq!(code(ffi::SQLITE_CORRUPT, 0), Code::NotAStore);
        assert_eq!(code(ffi::SQLITE_MISUSE, 0), Code::Defect);
        assert!(matches!(fault_of(ffi::SQLITE_BUSY_RECOVERY, 0, ""), Fault::Busy(_)));
        assert!(matches!(fault_of(ffi::SQLITE_IOERR_FSYNC, libc::EIO, ""), Fault::Unknown(_)));
    }

    /// A commit that is in the log but not in its index was called "nothing changed", and came back when another process
    /// made the index anew.
    #[test]
    fn a_commit_that_reached_the_log_is_in_doubt() {
        let failure = |code| Failure::new(code, libc::ENOSPC, "no room".into());
        for code in [ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_NOMEM, ffi::SQLITE_NOMEM] {
            assert!(matches!(failure(code).at_commit().fault("x.db"), Fault::Unknown(_)));
            assert!(matches!(failure(code).fault("x.db"), Fault::Failed(_)));
        }
        assert!(matches!(failure(ffi::SQLITE_FULL).at_commit().fault("x.db"), Fault::Failed(_)));
    }
}
