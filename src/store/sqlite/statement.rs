//! Statements that are prepared once and run many times.
//!
//! rusqlite's own statements borrow the connection, so they can't be kept beside it, and its cache looks each one up by
//! its text: about a sixth of the instructions of a lock and its unlock. This is the small part of it that is needed.

use super::errors::Failure;
use rusqlite::{Connection as Sql, ffi};
use std::{ffi::c_int, ptr, slice};

/// A prepared statement. It must be dropped before its connection.
pub struct Statement {
    raw: *mut ffi::sqlite3_stmt,
}

// SAFETY: SQLite lets a statement move between threads; it is used by one at a time, since running it takes `&mut`.
unsafe impl Send for Statement {}

/// What a statement's parameter is set to.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Used where it is: it must live until the statement is reset.
    Blob(&'a [u8]),
    /// A blob that SQLite copies.
    Copied(&'a [u8]),
    Text(&'a str),
    Integer(i64),
}

/// The row on which a statement stands.
pub struct Row {
    raw: *mut ffi::sqlite3_stmt,
}

/// For a statement whose rows say nothing.
pub fn drop_row(_: &Row) {}

impl Statement {
    /// # Safety
    /// The statement is dropped before the connection.
    pub unsafe fn prepare(sql: &Sql, text: &str) -> Result<Statement, Failure> {
        let mut raw = ptr::null_mut();
        let length = c_int::try_from(text.len()).expect("our SQL is short");
        // SAFETY: the connection is open; the text is as long as said; `raw` is written.
        let rc = unsafe {
            let (text, flags) = (text.as_ptr().cast(), ffi::SQLITE_PREPARE_PERSISTENT);
            ffi::sqlite3_prepare_v3(sql.handle(), text, length, flags, &mut raw, ptr::null_mut())
        };
        if rc != ffi::SQLITE_OK {
            return Err(Failure::of(sql));
        }
        Ok(Statement { raw })
    }

    /// Runs the statement with these parameters. Gives what `read` makes of the first row, or None if there is none.
    pub fn run<T>(
        &mut self,
        sql: &Sql,
        values: &[Value<'_>],
        read: impl FnOnce(&Row) -> T,
    ) -> Result<Option<T>, Failure> {
        let result = match self.bind(values) {
            // SAFETY: the statement is prepared.
            ffi::SQLITE_OK => match unsafe { ffi::sqlite3_step(self.raw) } {
                ffi::SQLITE_ROW => Ok(Some(read(&Row { raw: self.raw }))),
                ffi::SQLITE_DONE => Ok(None),
                _ => Err(Failure::of(sql)),
            },
            _ => Err(Failure::of(sql)),
        };
        // SAFETY: the statement is prepared. What reset returns is the error that step gave before.
        unsafe { ffi::sqlite3_reset(self.raw) };
        result
    }

    /// Begins anew with these parameters, to be read row by row. They must not be borrowed ones: [`Value::Copied`].
    pub fn begin(&mut self, sql: &Sql, values: &[Value<'_>]) -> Result<(), Failure> {
        debug_assert!(values.iter().all(|value| matches!(value, Value::Copied(_) | Value::Integer(_))));
        // SAFETY: the statement is prepared.
        unsafe { ffi::sqlite3_reset(self.raw) };
        if self.bind(values) == ffi::SQLITE_OK { Ok(()) } else { Err(Failure::of(sql)) }
    }

    /// Goes to the next row; false at the end. Until then a snapshot stays open.
    pub fn step(&mut self, sql: &Sql) -> Result<bool, Failure> {
        // SAFETY: the statement is prepared.
        match unsafe { ffi::sqlite3_step(self.raw) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            _ => Err(Failure::of(sql)),
        }
    }

    /// What `read` makes of the row to which [`Self::step`] has gone.
    pub fn read<T>(&mut self, read: impl FnOnce(&Row) -> T) -> T {
        read(&Row { raw: self.raw })
    }

    /// Blobs and texts are not copied: they live until the statement is reset, at the end of `run`.
    fn bind(&mut self, values: &[Value<'_>]) -> c_int {
        for (place, value) in (1..).zip(values) {
            // SAFETY: pointers and lengths are those of borrowed slices. SQLite checks the place.
            let rc = unsafe {
                match *value {
                    Value::Blob(bytes) => ffi::sqlite3_bind_blob64(
                        self.raw,
                        place,
                        bytes.as_ptr().cast(),
                        bytes.len() as u64,
                        ffi::SQLITE_STATIC(),
                    ),
                    Value::Copied(bytes) => ffi::sqlite3_bind_blob64(
                        self.raw,
                        place,
                        bytes.as_ptr().cast(),
                        bytes.len() as u64,
                        ffi::SQLITE_TRANSIENT(),
                    ),
                    Value::Text(text) => {
                        let (bytes, utf8) = (text.as_ptr().cast(), ffi::SQLITE_UTF8 as u8);
                        ffi::sqlite3_bind_text64(self.raw, place, bytes, text.len() as u64, ffi::SQLITE_STATIC(), utf8)
                    }
                    Value::Integer(number) => ffi::sqlite3_bind_int64(self.raw, place, number),
                }
            };
            if rc != ffi::SQLITE_OK {
                return rc;
            }
        }
        ffi::SQLITE_OK
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: prepared, and finalised once, before the connection is closed.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}

impl Row {
    pub fn integer(&self, column: c_int) -> i64 {
        // SAFETY: the statement stands on a row; a column that is not there reads as 0.
        unsafe { ffi::sqlite3_column_int64(self.raw, column) }
    }

    /// The bytes of a blob or text, valid while the row is read.
    pub fn bytes(&self, column: c_int) -> &[u8] {
        // SAFETY: the statement stands on a row; SQLite keeps the bytes until it moves on, which takes `&mut Statement`,
        // and a Row does not outlive `run`. An empty value has a NULL pointer.
        unsafe {
            let bytes = ffi::sqlite3_column_blob(self.raw, column).cast::<u8>();
            let length = ffi::sqlite3_column_bytes(self.raw, column);
            if bytes.is_null() { &[] } else { slice::from_raw_parts(bytes, length as usize) }
        }
    }
}
