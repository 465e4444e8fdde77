//! The rules of the lock: what each request does to the records of its ids. Pure, and the one place that decides it for
//! every store that reads, decides and writes inside one transaction.

pub mod state;
mod take;
#[cfg(test)]
mod tests;
mod texts;

use super::{
    error::{Code, Error},
    lock::{End, Entry, Record, Tick},
    name::{LockId, Owner},
    request::{Denial, Grant, Outcome, Reply, Request},
};
use crate::mutant;

/// What the rules need to know about the time of the transaction, and the tokens it mints.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// UTC in microseconds.
    pub now_us: i64,
    /// The clock of leases.
    pub tick: Tick,
    /// The greatest token that the store has ever granted; None where the store gives grants their tokens itself, when it
    /// commits them: until then they are 0.
    pub last_token: Option<u64>,
}

impl Moment {
    /// The token of a grant made now: greater than every earlier one, and never behind the clock, so that a store
    /// made anew or restored does not go back either.
    fn mint(&mut self) -> Result<u64, Error> {
        let Some(last) = self.last_token else { return Ok(0) };
        if last != 0 && mutant::on("token_reused") {
            return Ok(last);
        }
        let next = last.saturating_add(1).max(self.now_us.max(1) as u64);
        if next > i64::MAX as u64 {
            return Err(Error::new(Code::NotAStore, "the store's token counter is used up: make a new store"));
        }
        self.last_token = Some(next);
        Ok(next)
    }
}

/// What is to be done with the record of one of the request's ids, which its place names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Put(usize, Record),
    Remove(usize),
}

/// Whether a lock is held at this moment.
enum State<'a> {
    Held(&'a Entry),
    /// A lock whose lease is over does not exist.
    Free {
        end: End,
    },
}

impl<'a> State<'a> {
    fn of(record: &'a Option<Record>, tick: Tick) -> State<'a> {
        match record {
            Some(Record::Entry(entry)) if entry.is_live(tick) || mutant::on("lease_endless") => State::Held(entry),
            Some(Record::Entry(_)) => State::Free { end: End::Expired },
            Some(Record::Trace { end, .. }) => State::Free { end: *end },
            None => State::Free { end: End::Unlocked },
        }
    }
}

/// Decides one request about locks against the records of its ids, given in the same order. A request that fails changes nothing.
pub fn decide(request: &Request, records: &[Option<Record>], moment: &mut Moment) -> (Vec<Change>, Outcome) {
    let tick = moment.tick;
    let states = || records.iter().map(|record| State::of(record, tick)).collect::<Vec<_>>();
    match request {
        Request::Lock(wanted) => take::take(wanted, &states(), moment),
        Request::Peek(wanted) => (Vec::new(), take::take(wanted, &states(), &mut moment.clone()).1),
        Request::Refresh { ids, owner, tokens, .. } => {
            each(ids, tokens, &states(), |place, id, token, state| refresh(place, id, owner, token, state, moment))
        }
        Request::Unlock { ids, owner, tokens, seen_us, .. } => {
            each(ids, tokens, &states(), |place, id, token, state| {
                unlock(place, id, owner, token, seen_us.get(place).copied(), state)
            })
        }
        Request::Transfer { .. } => or_nothing(transfer(request, State::of(&records[0], tick), moment)),
        Request::Status { id } => match State::of(&records[0], tick) {
            State::Held(entry) => (Vec::new(), Ok(Reply::Status(entry.clone()))),
            State::Free { end } => (Vec::new(), Err(texts::absent(id, end))),
        },
        Request::Leave { .. } => (Vec::new(), Ok(Reply::Withdrawn)),
        Request::Get { .. } | Request::Set(_) => {
            let text = "a value was taken for a lock: please report this";
            (Vec::new(), Err(Error::new(Code::Defect, text)))
        }
        Request::Withdraw { attempt, .. } => {
            // Also one whose lease is over: nobody knew of it, so nobody is told that it ended badly.
            let changes = records.iter().enumerate().filter_map(|(place, record)| match record {
                Some(Record::Entry(entry)) if entry.attempt == *attempt || mutant::on("attempt_ignored") => {
                    Some(undo(place, entry))
                }
                _ => None,
            });
            (changes.collect(), Ok(Reply::Withdrawn))
        }
    }
}

fn or_nothing(decided: Result<(Change, Reply), Error>) -> (Vec<Change>, Outcome) {
    match decided {
        Ok((change, reply)) => (vec![change], Ok(reply)),
        Err(error) => (Vec::new(), Err(error)),
    }
}

/// Decides each id alone: as many as possible are done.
fn each(
    ids: &[LockId],
    tokens: &[u64],
    states: &[State<'_>],
    mut one: impl FnMut(usize, &LockId, u64, &State<'_>) -> Result<(Change, Grant), Denial>,
) -> (Vec<Change>, Outcome) {
    let mut changes = Vec::with_capacity(ids.len());
    let mut results = Vec::with_capacity(ids.len());
    for (place, (id, state)) in ids.iter().zip(states).enumerate() {
        let decided = one(place, id, tokens.get(place).copied().unwrap_or(0), state);
        results.push(decided.map(|(change, grant)| {
            changes.push(change);
            grant
        }));
    }
    (changes, Ok(Reply::Each(results)))
}

/// The entry, if it is the one that the caller means.
fn meant<'a>(id: &LockId, owner: &Option<Owner>, token: u64, state: &State<'a>) -> Result<&'a Entry, Denial> {
    match state {
        State::Free { end } => Err(Denial { error: texts::absent(id, *end), end: *end }),
        State::Held(entry) => match owner {
            Some(owner) if entry.owner != *owner && !mutant::on("owner_ignored") => {
                Err(Denial { error: texts::foreign(id, owner, entry), end: entry.before })
            }
            _ if token != 0 && entry.token != token && !mutant::on("token_ignored") => {
                Err(Denial { error: texts::stale(id, token, entry), end: entry.before })
            }
            _ => Ok(entry),
        },
    }
}

fn refresh(
    place: usize,
    id: &LockId,
    owner: &Option<Owner>,
    token: u64,
    state: &State<'_>,
    moment: &Moment,
) -> Result<(Change, Grant), Denial> {
    let entry = meant(id, owner, token, state)?;
    let entry = Entry { refreshed_us: newer(entry, moment), leased: moment.tick, ..entry.clone() };
    let grant = grant_of(&entry);
    Ok((Change::Put(place, Record::Entry(entry)), grant))
}

/// Strictly newer, also within one microsecond and after the clock was set back.
fn newer(entry: &Entry, moment: &Moment) -> i64 {
    moment.now_us.max(entry.refreshed_us.saturating_add(1))
}

fn unlock(
    place: usize,
    id: &LockId,
    owner: &Option<Owner>,
    token: u64,
    seen_us: Option<i64>,
    state: &State<'_>,
) -> Result<(Change, Grant), Denial> {
    let entry = meant(id, owner, token, state)?;
    if seen_us.is_some_and(|seen_us| entry.refreshed_us != seen_us) {
        return Err(Denial { error: texts::alive(id, entry), end: entry.before });
    }
    let change = match owner {
        Some(_) => Change::Remove(place),
        None => Change::Put(place, Record::Trace { token: entry.token, end: End::Forced }),
    };
    Ok((change, grant_of(entry)))
}

/// Takes back a grant that nobody knows of. Whoever was told of a bad end before it was made must still be told.
fn undo(place: usize, entry: &Entry) -> Change {
    match entry.before {
        End::Unlocked | End::Transferred => Change::Remove(place),
        End::Resumed => Change::Put(place, Record::Trace { token: entry.token, end: End::Forced }),
        end => Change::Put(place, Record::Trace { token: entry.token, end }),
    }
}

fn transfer(request: &Request, state: State<'_>, moment: &mut Moment) -> Result<(Change, Reply), Error> {
    let Request::Transfer { id, from, token, to, client, attempt } = request else {
        return Err(Error::new(Code::Defect, "a transfer was asked for by another request: please report this"));
    };
    let entry = match state {
        // A retry after a lost answer finds its own work.
        State::Held(entry) if entry.attempt == *attempt => entry.clone(),
        state => {
            let entry = meant(id, from, *token, &state).map_err(|denial| denial.error)?;
            Entry {
                owner: to.clone(),
                token: moment.mint()?,
                attempt: *attempt,
                taken_us: moment.now_us,
                refreshed_us: newer(entry, moment),
                leased: moment.tick,
                before: End::Transferred,
                client: client.clone(),
                ttl_ms: entry.ttl_ms,
                note: entry.note.clone(),
            }
        }
    };
    let reply = Reply::Granted(vec![Some(grant_of(&entry))]);
    Ok((Change::Put(0, Record::Entry(entry)), reply))
}

fn grant_of(entry: &Entry) -> Grant {
    Grant { token: entry.token, ttl_ms: entry.ttl_ms, before: entry.before }
}
