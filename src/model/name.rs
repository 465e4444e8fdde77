//! Names: what a lock id and an owner may be. The limits stand here and nowhere else.

use super::error::{Code, Error, Shown};
use std::fmt;

/// The longest lock id, in bytes.
pub const LOCK_ID_MAX: usize = 2048;
/// The longest owner, in bytes.
pub const OWNER_MAX: usize = 256;

/// What a lock is called: 1 to [`LOCK_ID_MAX`] bytes, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(Box<[u8]>);

/// Who holds a lock: 1 to [`OWNER_MAX`] bytes, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Box<[u8]>);

impl LockId {
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        checked("lock_id", bytes, LOCK_ID_MAX).map(LockId)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Owner {
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        checked("lock_owner", bytes, OWNER_MAX).map(Owner)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn checked(what: &str, bytes: &[u8], max: usize) -> Result<Box<[u8]>, Error> {
    if bytes.is_empty() {
        return Err(Error::new(Code::Invalid, format!("{what} is empty: give a name of 1 to {max} bytes")));
    }
    if bytes.len() > max {
        return Err(Error::new(Code::TooLong, format!("{what} is longer than {max} bytes: give a shorter name")));
    }
    Ok(bytes.into())
}

impl fmt::Display for LockId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", Shown(&self.0))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\"", Shown(&self.0))
    }
}

impl fmt::Debug for LockId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        assert!(LockId::new(&[b'x'; LOCK_ID_MAX]).is_ok());
        assert_eq!(LockId::new(&[b'x'; LOCK_ID_MAX + 1]).unwrap_err().code, Code::TooLong);
        assert_eq!(LockId::new(b"").unwrap_err().code, Code::Invalid);
        assert!(Owner::new(&[b'x'; OWNER_MAX]).is_ok());
        assert_eq!(Owner::new(&[b'x'; OWNER_MAX + 1]).unwrap_err().code, Code::TooLong);
        assert_eq!(Owner::new(b"").unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn names_are_bytes() {
        assert_ne!(LockId::new(b"A").unwrap(), LockId::new(b"a").unwrap());
        assert_eq!(LockId::new(b"\xff'; --").unwrap().to_string(), "\"\\xff'; --\"");
    }
}
