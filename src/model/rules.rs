//! The rules of the lock: what each request does to an entry. Pure, and the one place that decides it for every
//! store that reads, decides and writes inside one transaction.

use super::{
    error::{Code, Error, Shown},
    name::{LockId, Owner},
    request::{Entry, Outcome, Reply, Request},
};
use std::time::{Duration, UNIX_EPOCH};

/// What the rules need to know about the time of the transaction.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// UTC in microseconds.
    pub now_us: i64,
    /// The greatest token that the store has ever granted.
    pub last_token: u64,
}

impl Moment {
    /// The token of a grant made now: greater than every earlier one, and never behind the clock, so that a store
    /// made anew or restored does not go back either.
    fn next_token(&self) -> Result<u64, Error> {
        let next = self.last_token.saturating_add(1).max(self.now_us.max(1) as u64);
        if next > i64::MAX as u64 {
            return Err(Error::new(Code::NotAStore, "the store's token counter is used up: make a new store"));
        }
        Ok(next)
    }
}

/// What is to be done with the entry of the request's lock id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Keep,
    Put(Entry),
    Remove,
}

/// Decides one request against the current entry of its lock id.
pub fn decide(request: &Request, current: Option<Entry>, moment: &Moment) -> (Change, Outcome) {
    let refuse = |error: Error| (Change::Keep, Err(error));
    match (request, current) {
        (Request::Lock { owner, client, attempt, .. }, None) => match moment.next_token() {
            Ok(token) => {
                let (taken_us, refreshed_us) = (moment.now_us, moment.now_us);
                let (owner, client, attempt) = (owner.clone(), client.clone(), *attempt);
                let entry = Entry { owner, token, attempt, taken_us, refreshed_us, client };
                (Change::Put(entry), Ok(Reply::Granted { token }))
            }
            Err(error) => refuse(error),
        },
        // A retry after a lost answer finds its own lock.
        (Request::Lock { attempt, .. }, Some(entry)) if entry.attempt == *attempt => {
            (Change::Keep, Ok(Reply::Granted { token: entry.token }))
        }
        (Request::Lock { id, .. }, Some(entry)) => refuse(held(id, &entry)),
        (Request::Refresh { id, owner }, Some(entry)) if entry.owner != *owner => refuse(foreign(id, owner, &entry)),
        (Request::Refresh { .. }, Some(mut entry)) => {
            // Strictly newer, also within one microsecond and after the clock was set back.
            entry.refreshed_us = moment.now_us.max(entry.refreshed_us.saturating_add(1));
            let refreshed_us = entry.refreshed_us;
            (Change::Put(entry), Ok(Reply::Refreshed { refreshed_us }))
        }
        (Request::Unlock { id, owner: Some(owner) }, Some(entry)) if entry.owner != *owner => {
            refuse(foreign(id, owner, &entry))
        }
        (Request::Unlock { .. }, Some(_)) => (Change::Remove, Ok(Reply::Released)),
        (Request::Status { .. }, Some(entry)) => (Change::Keep, Ok(Reply::Status(entry))),
        (Request::Refresh { id, .. } | Request::Unlock { id, .. } | Request::Status { id }, None) => refuse(absent(id)),
        (Request::Withdraw { attempt, .. }, Some(entry)) if entry.attempt == *attempt => {
            (Change::Remove, Ok(Reply::Withdrawn))
        }
        (Request::Withdraw { .. }, _) => (Change::Keep, Ok(Reply::Withdrawn)),
    }
}

fn held(id: &LockId, entry: &Entry) -> Error {
    let text = format!(
        "lock {id} is held by {}: try again after its dss_unlock; if that owner is gone for good, dss_unlock with \
         owner NULL removes the lock",
        holder(entry)
    );
    Error::new(Code::Held, text)
}

fn foreign(id: &LockId, owner: &Owner, entry: &Entry) -> Error {
    let text = format!(
        "lock {id} is not {owner}'s: it is held by {}; dss_unlock with owner NULL removes it whoever holds it",
        holder(entry)
    );
    Error::new(Code::Denied, text)
}

fn absent(id: &LockId) -> Error {
    Error::new(
        Code::NoLock,
        format!("there is no lock {id}: it was never taken, or was unlocked; take it with dss_lock"),
    )
}

/// The last microsecond that has a date of four digits: a damaged file may hold any number.
const LAST_US: i64 = 253_402_300_799_999_999;

fn holder(entry: &Entry) -> String {
    let since = UNIX_EPOCH + Duration::from_micros(entry.taken_us.clamp(0, LAST_US) as u64);
    let client = Shown(entry.client.as_bytes());
    format!("{} ({client}) since {}", entry.owner, humantime::format_rfc3339_micros(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Attempt;

    const NOW: Moment = Moment { now_us: 1_000_000, last_token: 7 };

    fn id() -> LockId {
        LockId::new(b"drive3").unwrap()
    }

    fn owner(name: &str) -> Owner {
        Owner::new(name.as_bytes()).unwrap()
    }

    fn lock(by: &str, attempt: u8) -> Request {
        Request::Lock { id: id(), owner: owner(by), client: "host:1:test".into(), attempt: Attempt([attempt; 16]) }
    }

    fn entry(by: &str, attempt: u8) -> Entry {
        match decide(&lock(by, attempt), None, &NOW) {
            (Change::Put(entry), Ok(Reply::Granted { .. })) => entry,
            other => panic!("not granted: {other:?}"),
        }
    }

    fn code(request: &Request, current: Option<Entry>) -> Option<Code> {
        let (change, outcome) = decide(request, current, &NOW);
        assert!(outcome.is_ok() || change == Change::Keep, "a call that fails changes nothing");
        outcome.err().map(|error| error.code)
    }

    #[test]
    fn the_table_of_the_four_calls() {
        let refresh = Request::Refresh { id: id(), owner: owner("a") };
        let unlock = Request::Unlock { id: id(), owner: Some(owner("a")) };
        let forced = Request::Unlock { id: id(), owner: None };
        let status = Request::Status { id: id() };
        let rows: [(&Request, [Option<Code>; 3]); 5] = [
            (&lock("a", 1), [None, Some(Code::Held), Some(Code::Held)]),
            (&refresh, [Some(Code::NoLock), None, Some(Code::Denied)]),
            (&unlock, [Some(Code::NoLock), None, Some(Code::Denied)]),
            (&forced, [Some(Code::NoLock), None, None]),
            (&status, [Some(Code::NoLock), None, None]),
        ];
        for (request, want) in rows {
            assert_eq!(
                [code(request, None), code(request, Some(entry("a", 2))), code(request, Some(entry("b", 3)))],
                want
            );
        }
    }

    /// A file whose bytes were damaged held a date in the year 294247, of which no text could be made.
    #[test]
    fn any_number_is_told_as_a_date() {
        for taken_us in [i64::MIN, -1, i64::MAX] {
            let entry = Entry { taken_us, ..entry("b", 1) };
            assert_eq!(code(&lock("a", 2), Some(entry)), Some(Code::Held));
        }
    }

    /// The name of a process is its own choice, and stands in the log of whoever meets its locks.
    #[test]
    fn a_client_can_write_no_escapes_into_a_text() {
        let entry = Entry { client: "host:1:a\n\x1b[31m".into(), ..entry("b", 1) };
        let (_, outcome) = decide(&lock("a", 2), Some(entry), &NOW);
        assert!(!outcome.unwrap_err().text.contains(char::is_control));
    }

    #[test]
    fn a_retry_recognises_its_own_lock() {
        let mine = entry("a", 1);
        let (change, outcome) = decide(&lock("a", 1), Some(mine.clone()), &NOW);
        assert_eq!((change, outcome), (Change::Keep, Ok(Reply::Granted { token: mine.token })));
    }

    #[test]
    fn a_withdrawal_removes_its_own_attempt_only() {
        let withdraw = Request::Withdraw { id: id(), attempt: Attempt([1; 16]) };
        assert_eq!(decide(&withdraw, Some(entry("a", 1)), &NOW).0, Change::Remove);
        assert_eq!(decide(&withdraw, Some(entry("a", 2)), &NOW).0, Change::Keep);
        assert_eq!(decide(&withdraw, None, &NOW), (Change::Keep, Ok(Reply::Withdrawn)));
    }

    #[test]
    fn a_refresh_is_strictly_newer_after_the_clock_went_back() {
        let old = Entry { refreshed_us: 5_000_000, ..entry("a", 1) };
        let refresh = Request::Refresh { id: id(), owner: owner("a") };
        let (_, outcome) = decide(&refresh, Some(old), &NOW);
        assert_eq!(outcome, Ok(Reply::Refreshed { refreshed_us: 5_000_001 }));
    }

    #[test]
    fn tokens_follow_the_clock_and_never_go_back() {
        assert_eq!(NOW.next_token().unwrap(), 1_000_000);
        assert_eq!(Moment { now_us: -5, last_token: 0 }.next_token().unwrap(), 1);
        assert_eq!(Moment { now_us: 3, last_token: 9 }.next_token().unwrap(), 10);
        let last = Moment { now_us: 3, last_token: i64::MAX as u64 };
        assert_eq!(last.next_token().unwrap_err().code, Code::NotAStore);
    }
}
