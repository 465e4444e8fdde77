//! Names: what a lock id and an owner may be. The limits stand here and nowhere else. Copies share their bytes.

use super::error::{Code, Error, Shown};
use std::{fmt, sync::Arc};

/// The longest lock id, in bytes.
pub const LOCK_ID_MAX: usize = 2048;
/// The longest key of a value, in bytes.
pub const KEY_MAX: usize = 2048;
/// The longest owner, in bytes.
pub const OWNER_MAX: usize = 256;
/// The longest note, in bytes.
pub const NOTE_MAX: usize = 1024;
/// The most lock ids in one call.
pub const IDS_MAX: usize = 64;

/// What a lock is called: 1 to [`LOCK_ID_MAX`] bytes, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(Arc<[u8]>);

/// Who holds a lock: 1 to [`OWNER_MAX`] bytes, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Arc<[u8]>);

/// What a value is kept under: 1 to [`KEY_MAX`] bytes, compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(Arc<[u8]>);

/// What a caller leaves with a lock for people to read: up to [`NOTE_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Note(Arc<[u8]>);

impl Note {
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > NOTE_MAX {
            let text = format!("note is longer than {NOTE_MAX} bytes: give a shorter one");
            return Err(Error::new(Code::TooLong, text));
        }
        // Most locks have none, and that needs no memory.
        Ok(if bytes.is_empty() { Note::default() } else { Note(bytes.into()) })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Refuses none, too many, and the same one twice.
pub fn check_ids(ids: &[LockId]) -> Result<(), Error> {
    let mut sorted: Vec<&LockId> = ids.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::new(Code::Invalid, format!("lock_ids names {} twice: name each lock once", pair[0]))),
        None => check_count(ids.len()),
    }
}

pub fn check_count(count: usize) -> Result<(), Error> {
    match count {
        0 => Err(Error::new(Code::Invalid, format!("count is 0: name 1 to {IDS_MAX} locks"))),
        1..=IDS_MAX => Ok(()),
        _ => Err(Error::new(Code::TooMany, format!("count is {count}: name at most {IDS_MAX} locks in one call"))),
    }
}

/// FNV-1a: a number that is the same in every process and version.
fn number_of(name: &[u8]) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    name.iter().fold(START, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

impl StateKey {
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        checked("key", bytes, KEY_MAX).map(StateKey)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same in every process and version.
    pub fn number(&self) -> u64 {
        number_of(&self.0)
    }
}

impl LockId {
    /// The same in every process and version.
    pub fn number(&self) -> u64 {
        number_of(&self.0)
    }

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

fn checked(what: &str, bytes: &[u8], max: usize) -> Result<Arc<[u8]>, Error> {
    if bytes.is_empty() {
        return Err(Error::new(Code::Invalid, format!("{what} is empty: give a name of 1 to {max} bytes")));
    }
    if bytes.len() > max {
        return Err(Error::new(Code::TooLong, format!("{what} is longer than {max} bytes: give a shorter name")));
    }
    Ok(bytes.into())
}

/// In texts names stand in quotes, also those that are no UTF-8.
macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "\"{}\"", Shown(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
    )*};
}

shown!(LockId, Owner, StateKey);

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
        assert!(StateKey::new(&[b'x'; KEY_MAX]).is_ok());
        assert_eq!(StateKey::new(&[b'x'; KEY_MAX + 1]).unwrap_err().code, Code::TooLong);
        assert_eq!(StateKey::new(b"").unwrap_err().code, Code::Invalid);
        assert!(Note::new(&[b'x'; NOTE_MAX]).is_ok() && Note::new(b"").is_ok());
        assert_eq!(Note::new(&[b'x'; NOTE_MAX + 1]).unwrap_err().code, Code::TooLong);
    }

    #[test]
    fn lists_of_ids_are_checked() {
        let ids = |count: u8| (0..count).map(|number| LockId::new(&[b'x', number]).unwrap()).collect::<Vec<_>>();
        assert!(check_ids(&ids(1)).is_ok() && check_ids(&ids(64)).is_ok());
        assert_eq!(check_ids(&ids(0)).unwrap_err().code, Code::Invalid);
        assert_eq!(check_ids(&ids(65)).unwrap_err().code, Code::TooMany);
        assert_eq!(check_ids(&[ids(3), ids(1)].concat()).unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn names_are_bytes() {
        assert_ne!(LockId::new(b"A").unwrap(), LockId::new(b"a").unwrap());
        assert_eq!(LockId::new(b"\xff'; --").unwrap().to_string(), "\"\\xff'; --\"");
    }
}
