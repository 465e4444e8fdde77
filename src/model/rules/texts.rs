//! What the rules say when they refuse: which lock, who holds it, since when, and what to do.

use crate::model::{
    error::{Code, Error, Shown},
    lock::{End, Entry},
    name::{LockId, Owner},
};
use std::time::{Duration, UNIX_EPOCH};

pub fn held(holders: &[(&LockId, &Entry)], any: bool) -> Error {
    let Some((id, entry)) = holders.first() else {
        return Error::new(Code::Held, "the lock is held");
    };
    let others = match (holders.len() - 1, any) {
        (0, _) => String::new(),
        (more, true) => format!(", and so are the {more} others"),
        (more, false) => format!(", and {more} more of the locks asked for are held too"),
    };
    let cure = match entry.ttl_ms {
        0 => {
            "try again when it is unlocked; if that owner is gone for good, remove the lock: `dss unlock --force`, or \
             dss_unlock with owner NULL"
        }
        _ => "try again when it is unlocked, or when its lease has run out",
    };
    Error::new(Code::Held, format!("lock {id} is held by {}{others}: {cure}", holder(entry)))
}

pub fn foreign(id: &LockId, owner: &Owner, entry: &Entry) -> Error {
    let text = format!(
        "lock {id} is not {owner}'s: it is held by {}; whoever believed to hold it has lost it and must stop",
        holder(entry)
    );
    Error::new(Code::Denied, text)
}

pub fn stale(id: &LockId, token: u64, entry: &Entry) -> Error {
    let text = format!(
        "token {token} of lock {id} is not the current one, which is {}, held by {}: whoever had the old token has lost \
         the lock and must stop",
        entry.token,
        holder(entry)
    );
    Error::new(Code::Stale, text)
}

pub fn over(id: &LockId, token: u64, end: End) -> Error {
    let text = format!(
        "lock {id} is not held with token {token} any more: {}; whoever had that token has lost the lock and must stop",
        how(end)
    );
    Error::new(Code::Stale, text)
}

pub fn alive(id: &LockId, entry: &Entry) -> Error {
    Error::new(Code::Stale, format!("lock {id} was refreshed meanwhile: it is held by {}", holder(entry)))
}

pub fn absent(id: &LockId, end: End) -> Error {
    Error::new(Code::NoLock, format!("there is no lock {id}: {}; take it first", how(end)))
}

fn how(end: End) -> &'static str {
    match end {
        End::Expired => "its lease ran out",
        End::Forced => "it was removed by force",
        End::Unlocked | End::Transferred | End::Resumed => "it was never taken, or was unlocked",
    }
}

/// The last microsecond that has a date of four digits: a damaged file may hold any number.
const LAST_US: i64 = 253_402_300_799_999_999;

fn holder(entry: &Entry) -> String {
    let since = UNIX_EPOCH + Duration::from_micros(entry.taken_us.clamp(0, LAST_US) as u64);
    let client = Shown(entry.client.as_bytes());
    let note = match entry.note.as_bytes() {
        b"" => String::new(),
        note => format!(", note \"{}\"", Shown(note)),
    };
    format!("{} ({client}{note}) since {}", entry.owner, humantime::format_rfc3339_micros(since))
}
