//! State: values under keys, and what a write of one may rest on.

use super::{
    lock::Attempt,
    name::{LockId, StateKey},
};
use std::sync::Arc;

/// The longest value, in bytes.
pub const VALUE_MAX: usize = 1 << 20;

/// Which write a value is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Greater than that of every earlier value under the same key, also of one that was deleted. 0 where the store gives it
    /// itself, when it commits.
    pub version: u64,
    /// A retry after a lost answer recognises its own work by it.
    pub attempt: Attempt,
}

/// What stands under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    pub stamp: Stamp,
    pub bytes: Arc<[u8]>,
}

/// What has to be so in the very transaction that writes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Guard {
    /// The version of what stands there; 0: nothing does.
    pub version: Option<u64>,
    pub lock: Option<Fence>,
}

/// A lock that is held, by the grant of this token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    pub id: LockId,
    pub token: u64,
}

/// A write: a value, or None to delete what stands there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    pub key: StateKey,
    pub value: Option<Arc<[u8]>>,
    pub guard: Guard,
    pub attempt: Attempt,
    /// An earlier try of the same attempt may have been done, and others may have written since. Only what can't do their
    /// work harm is done then.
    pub in_doubt: bool,
}

/// A key in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyInfo {
    pub key: StateKey,
    pub version: u64,
    /// How many bytes the value has.
    pub len: usize,
}
