//! A call is a value: what was asked, and what is answered.

use super::{
    error::Error,
    lock::{Attempt, End, Entry},
    name::{LockId, Note, Owner, StateKey},
    state::{Setting, Value},
};
use std::sync::Arc;

/// What a caller wants to hold. `client` (host:pid:program) is shown to people and decides nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// 1 to 64 ids, no two of them equal.
    pub ids: Vec<LockId>,
    pub owner: Owner,
    pub client: Arc<str>,
    pub attempt: Attempt,
    /// 0: the locks never expire.
    pub ttl_ms: u64,
    pub note: Note,
    /// One of the ids, and not all of them.
    pub any: bool,
    /// Live locks of the same owner are taken over.
    pub resume: bool,
    pub turn: Turn,
}

/// How a request for locks stands to those who wait for them in a queue that the store itself keeps, where it has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Turn {
    /// It takes what is free.
    Now,
    /// It leaves them to those who wait.
    Behind,
    /// It waits itself, under this name.
    Waits(InQueue),
}

impl Turn {
    /// The place of one that waits.
    pub fn waits(self) -> Option<InQueue> {
        match self {
            Turn::Waits(place) => Some(place),
            _ => None,
        }
    }
}

/// A place in the store's own queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InQueue {
    /// The address of its doorbell.
    pub name: [u8; 16],
    /// Those who came before go first.
    pub in_turn: bool,
    /// Those who came later leave its locks alone, also where it can't have them all yet.
    pub keeps: bool,
}

/// One call, or the engine's own withdrawal of one.
///
/// Lists of tokens are as long as the ids; a token of 0 is not compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Take the locks: all or none of them, or one.
    Lock(Arc<Wanted>),
    /// Say what [`Request::Lock`] would answer now, and change nothing but the caller's place in the store's own queue.
    Peek(Arc<Wanted>),
    /// Make the entries' timestamps newer and start their leases anew; without an owner, whoever holds them.
    Refresh { ids: Vec<LockId>, owner: Option<Owner>, tokens: Vec<u64>, attempt: Attempt },
    /// Release the locks; without an owner, whoever holds them: that is by force. With `seen_us`, only those that were not
    /// refreshed since then.
    Unlock { ids: Vec<LockId>, owner: Option<Owner>, tokens: Vec<u64>, seen_us: Vec<i64>, attempt: Attempt },
    /// Give the lock to another owner, with a new token.
    Transfer { id: LockId, from: Option<Owner>, token: u64, to: Owner, client: Arc<str>, attempt: Attempt },
    /// Say who holds the lock and since when.
    Status { id: LockId },
    /// Release the locks that this very attempt took: its caller was told that the outcome is unknown.
    Withdraw { ids: Vec<LockId>, attempt: Attempt },
    /// Give up the place of this name in the store's own queue.
    Leave { ids: Vec<LockId>, name: [u8; 16] },
    /// Say what stands under the key.
    Get { key: StateKey },
    /// Write or delete what stands under a key, if its guard holds.
    Set(Arc<Setting>),
}

impl Request {
    /// The locks that it is about: of a write of state, the one that guards it.
    pub fn ids(&self) -> &[LockId] {
        match self {
            Request::Lock(wanted) | Request::Peek(wanted) => &wanted.ids,
            Request::Refresh { ids, .. }
            | Request::Unlock { ids, .. }
            | Request::Withdraw { ids, .. }
            | Request::Leave { ids, .. } => ids,
            Request::Transfer { id, .. } | Request::Status { id } => std::slice::from_ref(id),
            Request::Set(setting) => setting.guard.lock.as_ref().map_or(&[], |fence| std::slice::from_ref(&fence.id)),
            Request::Get { .. } => &[],
        }
    }

    /// Whether the request can't change any lock or value.
    pub fn is_read(&self) -> bool {
        matches!(self, Request::Status { .. } | Request::Peek(_) | Request::Leave { .. } | Request::Get { .. })
    }

    /// The same as asked again by one who does not know whether it was done, where that makes a difference.
    pub fn in_doubt(&self) -> Request {
        match self {
            Request::Set(setting) => Request::Set(Arc::new(Setting { in_doubt: true, ..Setting::clone(setting) })),
            other => other.clone(),
        }
    }

    /// How many bytes of a value it writes.
    pub fn value_len(&self) -> usize {
        match self {
            Request::Set(setting) => setting.value.as_ref().map_or(0, |value| value.len()),
            _ => 0,
        }
    }

    /// What a store that lost its answer recognises it by.
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Request::Lock(wanted) => Some(wanted.attempt),
            Request::Refresh { attempt, .. } | Request::Unlock { attempt, .. } | Request::Transfer { attempt, .. } => {
                Some(*attempt)
            }
            Request::Set(setting) => Some(setting.attempt),
            Request::Peek(_)
            | Request::Status { .. }
            | Request::Withdraw { .. }
            | Request::Leave { .. }
            | Request::Get { .. } => None,
        }
    }

    /// Whether somebody who waits for one of the ids may have them when this is done.
    pub fn releases(&self) -> bool {
        matches!(self, Request::Unlock { .. } | Request::Withdraw { .. })
    }
}

/// A lock as it was granted or refreshed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    pub token: u64,
    pub ttl_ms: u64,
    /// How the grant before this one ended, where this one is new.
    pub before: End,
}

/// Why nothing was taken: who is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InTheWay {
    /// A bit for each id that is held, the lowest for the first.
    pub which: u64,
    /// When leases alone would let the request through, in microseconds from now; None where only an unlock can.
    pub free_in_us: Option<u64>,
    pub error: Error,
}

/// Why one id of several was not refreshed or released.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    pub error: Error,
    /// How the lock that the caller meant came to its end, as far as the store knows.
    pub end: End,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A grant for each id that was taken: all of them, or with `any` one.
    Granted(Vec<Option<Grant>>),
    Refused(InTheWay),
    /// For each id of a refresh or an unlock; what an unlock grants is the lock that ended.
    Each(Vec<Result<Grant, Denial>>),
    Status(Entry),
    /// The attempt holds nothing (any more), or the place in the queue is given up.
    Withdrawn,
    Got(Value),
    /// It is written, with this version; 0 for what was deleted.
    Set {
        version: u64,
    },
    /// Nothing is written: the version is another one than the guard's; 0 where nothing stands.
    Outdated {
        version: u64,
        error: Error,
    },
}

pub type Outcome = Result<Reply, Error>;
