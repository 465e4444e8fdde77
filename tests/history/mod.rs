//! Histories: what processes asked of a store and were answered, with the times of both, and whether that can have been.
//!
//! A history is looked at name by name (a lock id, or a key). `search.rs` decides whether there is one order of its operations
//! that respects real time and in which each answer is what the sequential rules of `model.rs` give. An operation without an
//! answer may have happened at any time after its call, or never; so may the end of a lease, from its time on. `order.rs` looks at the same history in ways that need no
//! search. `brute.rs` decides by trying everything, which only short histories allow; the search is compared with it.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod brute;
pub mod model;
pub mod order;
pub mod record;
pub mod search;

pub const NOLCK: i32 = -libc::ENOLCK;
pub const EXIST: i32 = -libc::EEXIST;
pub const ACCES: i32 = -libc::EACCES;
pub const STALE: i32 = -libc::ESTALE;
pub const AGAIN: i32 = -libc::EAGAIN;
pub const NOENT: i32 = -libc::ENOENT;

/// The time of an answer that never came.
pub const NEVER: u64 = u64::MAX;

/// How long a lock lasts that nobody ends or refreshes: its store decides when it is over, within these bounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    pub at_least: u64,
    pub at_most: u64,
}

impl Lease {
    /// Of a lock without ttl.
    pub const ENDLESS: Lease = Lease { at_least: NEVER, at_most: NEVER };
}

/// What was asked of one name. Owners and values are numbers; a token of 0 is not compared, an owner of None is by force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Lock {
        owner: u64,
        lease: Lease,
    },
    Unlock {
        owner: Option<u64>,
        token: u64,
    },
    Refresh {
        owner: u64,
        token: u64,
    },
    Transfer {
        from: Option<u64>,
        token: u64,
        to: u64,
    },
    Status,
    /// What the library does by itself after it gave up a call that may have taken the lock: the operation of this number.
    Withdraw {
        of: usize,
    },
    Get,
    /// None deletes. The guard is a version, 0 for a key under which nothing may stand; the fence a lock and its token.
    Set {
        value: Option<u64>,
        guard: Option<u64>,
        fence: Option<(u32, u64)>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nobody knows: its process was killed, or it got -EINPROGRESS.
    Unknown,
    Done,
    /// With the new token; None where the call does not tell it.
    Granted(Option<u64>),
    Owner(u64),
    Value {
        value: u64,
        version: u64,
    },
    /// The value was written, with this version.
    Written(u64),
    /// The version is another one, this.
    Outdated(u64),
    Failed(i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    pub call: Call,
    pub answer: Answer,
    pub called: u64,
    /// [`NEVER`] with [`Answer::Unknown`], and only with it.
    pub returned: u64,
}

impl Op {
    /// The token of a grant, if it is known.
    pub fn token(&self) -> Option<u64> {
        match (self.call, self.answer) {
            (Call::Lock { .. } | Call::Transfer { .. }, Answer::Granted(token)) => token,
            _ => None,
        }
    }

    /// Who has the lock when this has been done, if it is one that grants.
    pub fn grantee(&self) -> Option<u64> {
        match self.call {
            Call::Lock { owner, .. } => Some(owner),
            Call::Transfer { to, .. } => Some(to),
            _ => None,
        }
    }

    pub fn is_unknown(&self) -> bool {
        self.answer == Answer::Unknown
    }

    pub fn is_done(&self) -> bool {
        self.may_be_done() && !self.is_unknown()
    }

    /// Whether it was done, or may have been.
    pub fn may_be_done(&self) -> bool {
        !matches!(self.answer, Answer::Failed(_) | Answer::Outdated(_))
    }
}
