//! What a server has answered.

use super::{
    errors::{self, SqlState, Trouble},
    libpq::{self, Libpq, PgResult},
};
use std::{
    ffi::{CStr, c_char, c_int},
    slice,
};

/// A result with rows.
pub struct Rows {
    libpq: &'static Libpq,
    result: *mut PgResult,
}

impl Rows {
    /// The result is there, and the caller's to give.
    pub fn of(libpq: &'static Libpq, result: *mut PgResult) -> Rows {
        Rows { libpq, result }
    }

    /// Whether it has rows, or why there are none.
    pub fn check(&self, place: &str) -> Result<bool, Trouble> {
        // SAFETY: the result is there.
        match unsafe { (self.libpq.PQresultStatus)(self.result) } {
            libpq::TUPLES_OK => Ok(true),
            libpq::COMMAND_OK | libpq::EMPTY_QUERY => Ok(false),
            _ => match (self.field(libpq::DIAG_SQLSTATE), self.field(libpq::DIAG_MESSAGE_PRIMARY)) {
                (Some(state), text) => {
                    let state = SqlState::of(state.as_bytes());
                    Err(Trouble::Refused { state, text: format!("{place}: {}", text.unwrap_or_default()) })
                }
                (None, text) => Err(Trouble::Lost(errors::lost(&text.unwrap_or_default(), place))),
            },
        }
    }

    fn field(&self, code: c_int) -> Option<String> {
        // SAFETY: the result is there; the string lives as long, and is copied.
        unsafe {
            let text = (self.libpq.PQresultErrorField)(self.result, code);
            (!text.is_null()).then(|| string(text))
        }
    }

    pub fn len(&self) -> usize {
        // SAFETY: the result is there.
        unsafe { (self.libpq.PQntuples)(self.result) as usize }
    }

    /// None for NULL, and where there is no such row or column.
    pub fn bytes(&self, row: usize, column: usize) -> Option<&[u8]> {
        let (r, c) = (row as c_int, column as c_int);
        // SAFETY: the row and the column are there; the bytes live as long as the result.
        unsafe {
            let is_there = row < self.len() && c < (self.libpq.PQnfields)(self.result);
            if !is_there || (self.libpq.PQgetisnull)(self.result, r, c) != 0 {
                return None;
            }
            let length = (self.libpq.PQgetlength)(self.result, r, c) as usize;
            Some(slice::from_raw_parts((self.libpq.PQgetvalue)(self.result, r, c).cast(), length))
        }
    }

    pub fn text(&self, row: usize, column: usize) -> &str {
        self.bytes(row, column).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: ours, and given back once.
        unsafe { (self.libpq.PQclear)(self.result) };
    }
}

/// # Safety
/// NULL, or a string that ends with NUL.
pub unsafe fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim_end().to_owned()
}
