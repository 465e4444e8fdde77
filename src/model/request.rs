//! A call is a value: what was asked, and what is answered.

use super::{
    error::Error,
    name::{LockId, Owner},
};

/// 128 bits that name one attempt of one call. They are stored with the entry that the attempt makes, so that a
/// retry after a lost answer recognises its own work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attempt(pub [u8; 16]);

/// One call, or the engine's own withdrawal of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Take the lock. `client` (host:pid:program) is shown to people and decides nothing.
    Lock { id: LockId, owner: Owner, client: Box<str>, attempt: Attempt },
    /// Make the entry's timestamp newer.
    Refresh { id: LockId, owner: Owner },
    /// Release the lock; without an owner, whoever holds it.
    Unlock { id: LockId, owner: Option<Owner> },
    /// Say who holds the lock and since when.
    Status { id: LockId },
    /// Release the lock if this very attempt took it: its caller was told that the outcome is unknown.
    Withdraw { id: LockId, attempt: Attempt },
}

impl Request {
    pub fn id(&self) -> &LockId {
        match self {
            Request::Lock { id, .. }
            | Request::Refresh { id, .. }
            | Request::Unlock { id, .. }
            | Request::Status { id }
            | Request::Withdraw { id, .. } => id,
        }
    }

    /// Whether the request can't change anything.
    pub fn is_read(&self) -> bool {
        matches!(self, Request::Status { .. })
    }
}

/// A held lock, as the store keeps it. Times are UTC in microseconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub owner: Owner,
    /// The fence: greater than that of every earlier grant of this lock id.
    pub token: u64,
    pub attempt: Attempt,
    pub taken_us: i64,
    pub refreshed_us: i64,
    pub client: Box<str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Granted {
        token: u64,
    },
    Refreshed {
        refreshed_us: i64,
    },
    Released,
    Status(Entry),
    /// The attempt holds nothing (any more).
    Withdrawn,
}

pub type Outcome = Result<Reply, Error>;
