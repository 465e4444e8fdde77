//! The fence of the transactions of one open store: its session key.
//!
//! Each transaction that writes asks that the key is as this process put it last, and puts it anew. So one whose answer was lost
//! has been done if the key has moved, and the answer is what was computed before it was sent. If the key has not moved, it is
//! moved now: then what was lost can't be done any more.

use super::{
    api::{Pair, Txn},
    codec::{Keys, Stored},
    errors::Trouble,
    http::Client,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lock::Attempt,
        name::LockId,
        request::{Outcome, Reply},
    },
    mutant, sys,
};
use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

/// An attempt, and which of its ids is the first one of a part of it.
pub type Part = (Attempt, usize);

pub struct Session {
    key: Vec<u8>,
    /// The revision at which it was put last; 0: it is not there.
    modified: i64,
    /// Of the last transaction that was sent.
    number: u64,
    lost: Option<(u64, Lost)>,
    settled: Settled,
}

/// What a transaction whose answer was lost has done, if it was done.
#[derive(Default)]
pub struct Lost {
    pub answers: Vec<(Part, Outcome)>,
    pub changes: Vec<(LockId, Option<Stored>)>,
    /// Whether what it makes gets its revision as token or version.
    pub mints: bool,
}

/// A lost transaction that was done after all.
pub struct Found {
    pub revision: i64,
    pub changes: Vec<(LockId, Option<Stored>)>,
}

/// The answers of what was done and not told.
#[derive(Default)]
struct Settled {
    answers: HashMap<Part, Outcome>,
    order: VecDeque<Part>,
}

/// Who asks for them does it soon; what nobody asks for is forgotten.
const SETTLED_MOST: usize = 4096;

/// A session of a process that was killed is removed after so many days.
pub const DAYS_KEPT: i64 = 7;
const DAY_US: i64 = 86_400_000_000;

impl Session {
    pub fn new(keys: &Keys) -> Result<Session, Error> {
        let random = || {
            let bytes = sys::random_bytes();
            bytes.map_err(|error| Error::new(Code::Io, format!("the kernel gives no random numbers: {error}")))
        };
        let name = format!("{:016x}{:016x}", u64::from_ne_bytes(random()?), u64::from_ne_bytes(random()?));
        let (key, settled) = (keys.session(name.as_bytes()), Settled::default());
        Ok(Session { key, modified: 0, number: 0, lost: None, settled })
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn is_there(&self) -> bool {
        self.modified != 0
    }

    /// Makes the transaction one of this session.
    pub fn fence(&mut self, txn: &mut Txn) {
        self.number += 1;
        if !mutant::on("late_requests") {
            txn.if_modified(&self.key, self.modified);
        }
        txn.put(&self.key, format!("{} {}", today(), self.number).as_bytes(), 0);
    }

    /// The fenced transaction was done.
    pub fn done(&mut self, revision: i64) {
        self.modified = revision;
    }

    /// Its answer was lost.
    pub fn lose(&mut self, lost: Lost) {
        self.lost = Some((self.number, lost));
    }

    /// What the key turned out to be, in a transaction that was not done. False if that is no news.
    pub fn see(&mut self, found: Option<&Pair>) -> bool {
        let modified = found.map_or(0, |pair| pair.modified);
        std::mem::replace(&mut self.modified, modified) != modified
    }

    /// Finds out what became of a transaction whose answer was lost: tells if it was done. If not, it can't be any more.
    pub fn settle(&mut self, client: &Client, deadline: Instant) -> Result<Option<Found>, Error> {
        let Some((number, lost)) = self.lost.take() else { return Ok(None) };
        let moved = loop {
            let mut txn = Txn::default();
            self.fence(&mut txn);
            txn.else_get(&self.key);
            match client.write(&txn, deadline) {
                Ok(answer) if answer.succeeded => {
                    self.modified = answer.revision;
                    break None;
                }
                Ok(answer) => {
                    let pair = answer.found.first().and_then(|pairs| pairs.first());
                    self.see(pair);
                    let was_done =
                        |pair: &&Pair| number_of(&pair.value) == Some(number) && !mutant::on("answer_forgotten");
                    break pair.filter(was_done).map(|pair| pair.modified);
                }
                Err(Trouble::Lost(_)) if clock::instant() < deadline => {}
                Err(trouble) => {
                    self.lost = Some((number, lost));
                    return Err(trouble.error());
                }
            }
        };
        Ok(moved.map(|revision| {
            for (part, outcome) in lost.answers {
                self.keep(part, if lost.mints { filled(outcome, revision) } else { outcome });
            }
            Found { revision, changes: lost.changes }
        }))
    }

    /// Keeps the answer of what was done, until it is asked for again.
    pub fn keep(&mut self, part: Part, outcome: Outcome) {
        let settled = &mut self.settled;
        if settled.answers.insert(part, outcome).is_none() {
            settled.order.push_back(part);
        }
        if settled.order.len() > SETTLED_MOST {
            settled.order.pop_front().iter().for_each(|part| drop(settled.answers.remove(part)));
        }
    }

    /// The answer of what was done before.
    pub fn settled(&self, part: Option<Part>) -> Option<Outcome> {
        if self.settled.answers.is_empty() {
            return None;
        }
        self.settled.answers.get(&part?).cloned()
    }

    /// The answer was given.
    pub fn told(&mut self, part: Option<Part>) {
        if !self.settled.answers.is_empty()
            && let Some(part) = part
            && self.settled.answers.remove(&part).is_some()
        {
            self.settled.order.retain(|other| *other != part);
        }
    }
}

/// The answer of a transaction with the tokens and the version that it gave.
pub fn filled(mut outcome: Outcome, revision: i64) -> Outcome {
    let fill = |token: &mut u64| {
        if *token == 0 {
            *token = revision as u64;
        }
    };
    match &mut outcome {
        Ok(Reply::Granted(grants)) => grants.iter_mut().flatten().for_each(|grant| fill(&mut grant.token)),
        Ok(Reply::Each(results)) => results.iter_mut().flatten().for_each(|grant| fill(&mut grant.token)),
        Ok(Reply::Status(entry)) => fill(&mut entry.token),
        Ok(Reply::Set { version }) => fill(version),
        _ => {}
    }
    outcome
}

fn number_of(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.split_once(' ')?.1.parse().ok()
}

/// Whether the session was last used so long ago that its process must be gone.
pub fn is_old(value: &[u8]) -> bool {
    let day = std::str::from_utf8(value).ok().and_then(|text| text.split_once(' ')?.0.parse::<i64>().ok());
    day.is_some_and(|day| day + DAYS_KEPT < today())
}

fn today() -> i64 {
    clock::now_us().div_euclid(DAY_US)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{lock::End, request::Grant};

    #[test]
    fn sessions_tell_their_day_and_number() {
        let value = format!("{} 17", today());
        assert_eq!(number_of(value.as_bytes()), Some(17));
        assert!(!is_old(value.as_bytes()) && !is_old(b"nonsense") && is_old(b"19000 1"));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut session = Session::new(&Keys::new("p")).unwrap();
        let part = |number: usize| (Attempt([0; 16]), number);
        (0..=SETTLED_MOST).for_each(|number| session.keep(part(number), Ok(Reply::Withdrawn)));
        assert!(session.settled(Some(part(0))).is_none() && session.settled(Some(part(1))).is_some());
        session.told(Some(part(1)));
        assert!(session.settled(Some(part(1))).is_none() && session.settled(None).is_none());
    }

    #[test]
    fn tokens_are_filled_in_once() {
        let grant = |token| Some(Grant { token, ttl_ms: 0, before: End::Unlocked });
        let outcome = filled(Ok(Reply::Granted(vec![grant(0), None, grant(5)])), 9);
        assert_eq!(outcome, Ok(Reply::Granted(vec![grant(9), None, grant(5)])));
        assert_eq!(filled(Ok(Reply::Set { version: 0 }), 9), Ok(Reply::Set { version: 9 }));
    }
}
