//! What a handle can do with locks that are held, and with events: each call becomes a request, and its answer what the
//! caller wants to know. Taking locks is in [`super::take`], lists are in [`super::list`].

use super::{
    events::Event,
    gate::Inside,
    handle::{self, Handle, Session},
    keepalive,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lease::Deadline,
        lock::{End, Entry},
        name::{LockId, Owner},
        request::{Denial, Grant, Reply, Request},
    },
    mutant,
};
use std::{
    os::fd::RawFd,
    time::{Duration, Instant},
};

/// A lock that the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    pub token: u64,
    /// More than 0; i64::MAX for one that never expires.
    pub left_ms: i64,
    pub resumed: bool,
    pub owner_dead: bool,
}

/// How long is left for what has to follow an answer that came when the call's time was up.
pub(super) const ONCE_MORE: Duration = Duration::from_millis(500);

/// For each id, the grant or why there is none.
pub type Each = Vec<Result<Granted, Error>>;

impl Granted {
    /// None if the lease is over already.
    pub(super) fn new(grant: &Grant, asked_us: i64, is_new: bool) -> Option<Granted> {
        Some(Granted {
            token: grant.token,
            left_ms: Deadline::of(asked_us, grant.ttl_ms).left_ms(clock::boot_us())?,
            resumed: is_new && grant.before == End::Resumed,
            owner_dead: is_new && grant.before.is_bad(),
        })
    }
}

/// Closes a handle: calls that are under way in other threads end as they would, but those that wait for a lock end at once.
pub fn close(number: usize, inside: &mut Inside) -> Result<(), Error> {
    handle::close(number, inside);
    keepalive::stop_if_unused(inside)
}

impl Handle {
    pub fn refreshv(
        &self,
        ids: Vec<LockId>,
        owner: Owner,
        tokens: Vec<u64>,
        inside: &mut Inside,
    ) -> Result<Each, Error> {
        let deadline = clock::instant() + self.timeout;
        let session = self.session(deadline, inside)?;
        self.renew(&session, &ids, &owner, &tokens, deadline, inside)
    }

    /// Refreshes the locks. A lease that was over before the answer came is asked for anew, since in the store it may still run:
    /// at least once, for who was stopped meanwhile finds no time left.
    fn renew(
        &self,
        session: &Session,
        ids: &[LockId],
        owner: &Owner,
        tokens: &[u64],
        deadline: Instant,
        inside: &mut Inside,
    ) -> Result<Each, Error> {
        let mut each = refresh_once(session, ids, owner, tokens, deadline, inside)?;
        let last = deadline.max(clock::instant() + ONCE_MORE);
        while each.iter().any(|result| matches!(result, Ok(None))) && clock::instant() < last {
            each = refresh_once(session, ids, owner, tokens, last, inside).map_err(after_a_change)?;
        }
        let in_time = |(result, id): (Result<Option<Granted>, Error>, &LockId)| result?.ok_or_else(|| late(id));
        Ok(each.into_iter().zip(ids).map(in_time).collect())
    }

    pub fn unlockv(
        &self,
        ids: Vec<LockId>,
        owner: Option<Owner>,
        tokens: Vec<u64>,
        inside: &mut Inside,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let results = self.release(&session, ids, owner, tokens, Vec::new(), inside)?;
        Ok(results.into_iter().map(|result| result.map(drop).map_err(|denial| denial.error)).collect())
    }

    /// Releases the locks, and notes that this handle holds them no more.
    pub(super) fn release(
        &self,
        session: &Session,
        ids: Vec<LockId>,
        owner: Option<Owner>,
        tokens: Vec<u64>,
        seen_us: Vec<i64>,
        inside: &mut Inside,
    ) -> Result<Vec<Result<Grant, Denial>>, Error> {
        let meant = meant(session, &ids, &tokens);
        let attempt = session.attempts.next();
        let request = Request::Unlock { ids: ids.clone(), owner: owner.clone(), tokens, seen_us, attempt };
        let end = |inside: &mut Inside| {
            let results = each(session, request, clock::instant() + self.timeout, inside)?;
            let mut holdings = session.holdings();
            ids.iter().zip(meant).zip(&results).for_each(|((id, token), result)| match result {
                Ok(grant) => holdings.released(id, grant),
                Err(denial) => holdings.denied(id, owner.as_ref(), token, denial),
            });
            drop(holdings);
            Ok(results)
        };
        self.ending(session, &ids, end, inside)
    }

    pub fn transfer(
        &self,
        id: LockId,
        from: Option<Owner>,
        token: u64,
        to: Owner,
        inside: &mut Inside,
    ) -> Result<Granted, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let ids = [id.clone()];
        let (client, attempt) = (session.client.clone(), session.attempts.next());
        let request = Request::Transfer { id: id.clone(), from, token, to: to.clone(), client, attempt };
        self.ending(
            &session,
            &ids,
            |inside| {
                let asked_us = clock::boot_us();
                let deadline = clock::instant() + self.timeout;
                let grant = match session.store.call(request, deadline, inside)? {
                    Reply::Granted(grants) => grants.into_iter().flatten().next().ok_or_else(|| late(&id))?,
                    other => return Err(unexpected(&other)),
                };
                session.holdings().granted(&id, &to, &grant, asked_us, false);
                match Granted::new(&grant, asked_us, false) {
                    Some(in_time) => Ok(in_time),
                    None if mutant::on("late_transfer") => Err(Error::new(Code::NoLock, "its lease ran out")),
                    // It is done, and others may have seen it: to say now that there was no such lock would be wrong.
                    None => {
                        let renewed = self.renew(&session, &ids, &to, &[grant.token], deadline, inside)?.remove(0);
                        renewed.map_err(after_a_change)
                    }
                }
            },
            inside,
        )
    }

    pub fn status(&self, id: LockId, inside: &mut Inside) -> Result<Entry, Error> {
        let deadline = clock::instant() + self.timeout;
        let session = self.session(deadline, inside)?;
        match session.store.call(Request::Status { id }, deadline, inside)? {
            Reply::Status(entry) => Ok(entry),
            other => Err(unexpected(&other)),
        }
    }

    /// How long a grant that this handle made or refreshed is still in time, without asking the store.
    pub fn left_ms(&self, id: &LockId, token: u64, _inside: &Inside) -> Result<i64, Error> {
        let holdings = self.holdings();
        holdings.left_ms(id, token, clock::boot_us()).ok_or_else(|| {
            if let Err(stays) = self.check_process() {
                return Error::new(Code::NoLock, stays.text);
            }
            if let Some(inherited) = holdings.inherited_error(id, token) {
                return inherited;
            }
            let text = format!(
                "this handle holds no lock {id} with that token in time: its lease is over, it was lost, or another handle \
                 took it; stop using what it protects"
            );
            Error::new(Code::NoLock, text)
        })
    }

    pub fn event_fd(&self, _inside: &Inside) -> Result<RawFd, Error> {
        self.check_process()?;
        self.holdings().events.fd()
    }

    pub fn next_event(&self, _inside: &Inside) -> Result<Option<Event>, Error> {
        self.check_process()?;
        Ok(self.holdings().events.pop())
    }

    /// Does what may end locks of this handle, so that their end is not taken for a loss.
    pub(super) fn ending<T>(
        &self,
        session: &Session,
        ids: &[LockId],
        end: impl FnOnce(&mut Inside) -> T,
        inside: &mut Inside,
    ) -> T {
        if ids.is_empty() || !session.holdings().keeps_any() {
            return end(inside);
        }
        session.holdings().begin_ending(ids);
        let result = end(inside);
        session.holdings().end_ended(ids);
        keepalive::look_again();
        result
    }
}

/// The tokens of the grants that a call is about: those that it names, else those that this handle knows.
fn meant(session: &Session, ids: &[LockId], tokens: &[u64]) -> Vec<u64> {
    let mut meant = session.holdings().tokens(ids);
    meant.iter_mut().zip(tokens).filter(|(_, named)| **named != 0).for_each(|(meant, named)| *meant = *named);
    meant
}

fn each(
    session: &Session,
    request: Request,
    deadline: Instant,
    inside: &mut Inside,
) -> Result<Vec<Result<Grant, Denial>>, Error> {
    match session.store.call(request, deadline, inside)? {
        Reply::Each(results) => Ok(results),
        other => Err(unexpected(&other)),
    }
}

/// Refreshes the locks; None for one whose lease was over before the answer came.
fn refresh_once(
    session: &Session,
    ids: &[LockId],
    owner: &Owner,
    tokens: &[u64],
    deadline: Instant,
    inside: &mut Inside,
) -> Result<Vec<Result<Option<Granted>, Error>>, Error> {
    let (meant, asked_us) = (meant(session, ids, tokens), clock::boot_us());
    let (owner_of, tokens, attempt) = (Some(owner.clone()), tokens.to_vec(), session.attempts.next());
    let request = Request::Refresh { ids: ids.to_vec(), owner: owner_of, tokens, attempt };
    let results = each(session, request, deadline, inside)?;
    let mut holdings = session.holdings();
    let note = |((id, token), result): ((&LockId, u64), Result<Grant, Denial>)| {
        match &result {
            Ok(grant) => holdings.refreshed(id, owner, grant, asked_us),
            Err(denial) => holdings.denied(id, Some(owner), token, denial),
        }
        result.map(|grant| Granted::new(&grant, asked_us, false)).map_err(|denial| denial.error)
    };
    Ok(ids.iter().zip(meant).zip(results).map(note).collect())
}

/// What was asked was done, but the lease ran out before the answer came.
fn late(id: &LockId) -> Error {
    let text = format!("the lease of lock {id} ran out before the answer came: take it anew, or ask for a longer one");
    Error::new(Code::Unknown, text)
}

/// An error of a second request, where the first one has changed something.
pub(super) fn after_a_change(error: Error) -> Error {
    Error::new(Code::Unknown, format!("done, but its answer came too late, and then: {}", error.text))
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Defect, format!("the store gave an answer to another question ({reply:?}): please report this"))
}
