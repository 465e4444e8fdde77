//! What a handle can do with locks, but for lists: each call becomes a request, and its answer what the caller wants to
//! know.

use super::{
    events::Event,
    gate::Inside,
    handle::{Handle, Session},
    keepalive,
    wait::Patience,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lease::Deadline,
        lock::{End, Entry},
        name::{LockId, Note, Owner},
        request::{Denial, Grant, InTheWay, Reply, Request, Wanted},
    },
    mutant,
};
use std::{
    os::fd::RawFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a caller asks of `lockv`.
pub struct Ask {
    pub ids: Vec<LockId>,
    pub owner: Owner,
    pub ttl_ms: u64,
    /// How long to wait for those who hold the locks; None: for ever.
    pub wait: Option<Duration>,
    pub note: Note,
    pub any: bool,
    pub resume: bool,
    pub keep: bool,
}

/// A lock that the caller holds.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    pub token: u64,
    /// More than 0; i64::MAX for one that never expires.
    pub left_ms: i64,
    pub resumed: bool,
    pub owner_dead: bool,
}

/// Why nothing was taken, and the code of each id.
pub struct Refusal {
    pub error: Error,
    pub codes: Vec<Code>,
}

impl Refusal {
    pub fn of_all(error: Error, count: usize) -> Refusal {
        Refusal { codes: vec![error.code; count], error }
    }
}

/// For each id, the grant or why there is none.
pub type Each = Vec<Result<Granted, Error>>;

impl Granted {
    /// None if the lease is over already.
    fn new(grant: &Grant, asked_us: i64, is_new: bool) -> Option<Granted> {
        Some(Granted {
            token: grant.token,
            left_ms: Deadline::of(asked_us, grant.ttl_ms).left_ms(clock::boot_us())?,
            resumed: is_new && grant.before == End::Resumed,
            owner_dead: is_new && grant.before.is_bad(),
        })
    }
}

impl Handle {
    /// Takes the locks: for each id what was granted, None for those that `any` has passed over.
    pub fn lockv(&self, ask: Ask, inside: &mut Inside) -> Result<Vec<Option<Granted>>, Refusal> {
        let count = ask.ids.len();
        let session = self.ready(&ask, inside).map_err(|error| Refusal::of_all(error, count))?;
        let wanted = Arc::new(Wanted {
            ids: ask.ids,
            owner: ask.owner,
            client: session.client.clone(),
            attempt: session.attempts.next(),
            ttl_ms: ask.ttl_ms,
            note: ask.note,
            any: ask.any,
            resume: ask.resume,
        });
        let taken = self.take(&session, wanted, Patience::of(ask.wait), ask.keep, inside);
        if ask.keep && taken.is_ok() {
            keepalive::look_again();
        }
        taken
    }

    /// The session of a call that takes locks, and the thread that keeps them.
    fn ready(&self, ask: &Ask, inside: &mut Inside) -> Result<Arc<Session>, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        if ask.keep {
            keepalive::start(inside)?;
        }
        Ok(session)
    }

    /// Asks the store once for the locks. The answer comes in time, or the locks are given back and asked for anew.
    pub(super) fn try_to_take(
        &self,
        session: &Session,
        wanted: &mut Arc<Wanted>,
        keep: bool,
        inside: &mut Inside,
    ) -> Result<Result<Vec<Option<Granted>>, InTheWay>, Error> {
        let deadline = clock::instant() + self.timeout;
        loop {
            let asked = wanted.clone();
            // A resume may end a lock of this very handle, which is no loss to tell.
            let ends: &[LockId] = if wanted.resume { &asked.ids } else { &[] };
            let ask = |inside: &mut Inside| ask_once(session, &asked, keep, deadline, inside);
            let granted = match self.ending(session, ends, ask, inside)? {
                Ok(granted) => granted,
                Err(in_the_way) => return Ok(Err(in_the_way)),
            };
            if let Some(in_time) = granted {
                return Ok(Ok(in_time));
            }
            let late = Request::Withdraw { ids: wanted.ids.clone(), attempt: wanted.attempt };
            session.store.call(late, deadline, inside)?;
            if clock::instant() >= deadline {
                let text = "the locks were granted, but their leases ran out before the answer came: try again, or ask for \
                            longer ones";
                return Err(Error::new(Code::Busy, text));
            }
            Arc::make_mut(wanted).attempt = session.attempts.next();
        }
    }

    pub fn refreshv(
        &self,
        ids: Vec<LockId>,
        owner: Owner,
        tokens: Vec<u64>,
        inside: &mut Inside,
    ) -> Result<Each, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let asked_us = clock::boot_us();
        let request = Request::Refresh { ids: ids.clone(), owner: Some(owner.clone()), tokens: tokens.clone() };
        let results = self.each(&session, request, inside)?;
        let mut holdings = session.holdings();
        let named = ids.iter().zip(tokens.iter().copied().chain(std::iter::repeat(0)));
        Ok(named
            .zip(results)
            .map(|((id, token), result)| {
                match &result {
                    Ok(grant) => holdings.refreshed(id, &owner, grant, asked_us),
                    Err(denial) => holdings.denied(id, Some(&owner), token, denial),
                }
                let grant = result.map_err(|denial| denial.error)?;
                Granted::new(&grant, asked_us, false).ok_or_else(|| late(id))
            })
            .collect())
    }

    pub fn unlockv(
        &self,
        ids: Vec<LockId>,
        owner: Option<Owner>,
        tokens: Vec<u64>,
        inside: &mut Inside,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let results = self.release(&session, ids, owner, tokens, inside)?;
        Ok(results.into_iter().map(|result| result.map(drop).map_err(|denial| denial.error)).collect())
    }

    /// Releases the locks, and notes that this handle holds them no more.
    pub(super) fn release(
        &self,
        session: &Session,
        ids: Vec<LockId>,
        owner: Option<Owner>,
        tokens: Vec<u64>,
        inside: &mut Inside,
    ) -> Result<Vec<Result<Grant, Denial>>, Error> {
        let request = Request::Unlock { ids: ids.clone(), owner: owner.clone(), tokens: tokens.clone() };
        let end = |inside: &mut Inside| {
            let results = self.each(session, request, inside)?;
            let mut holdings = session.holdings();
            let named = ids.iter().zip(tokens.iter().copied().chain(std::iter::repeat(0)));
            named.zip(&results).for_each(|((id, token), result)| match result {
                Ok(_) => holdings.released(id),
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
                let grant = match session.store.call(request, clock::instant() + self.timeout, inside)? {
                    Reply::Granted(grants) => grants.into_iter().flatten().next().ok_or_else(|| late(&id))?,
                    other => return Err(unexpected(&other)),
                };
                session.holdings().granted(&id, &to, &grant, asked_us, false);
                Granted::new(&grant, asked_us, false).ok_or_else(|| late(&id))
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
        let left =
            self.session_of_process().and_then(|session| session.holdings().left_ms(id, token, clock::boot_us()));
        left.ok_or_else(|| {
            let text = format!(
                "this handle holds no lock {id} with that token in time: its lease is over, it was lost, or another handle \
                 took it; stop using what it protects"
            );
            Error::new(Code::NoLock, text)
        })
    }

    pub fn event_fd(&self, inside: &mut Inside) -> Result<RawFd, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        session.holdings().events.fd()
    }

    pub fn next_event(&self, _inside: &Inside) -> Option<Event> {
        self.session_of_process().and_then(|session| session.holdings().events.pop())
    }

    pub(super) fn each(
        &self,
        session: &Session,
        request: Request,
        inside: &mut Inside,
    ) -> Result<Vec<Result<Grant, Denial>>, Error> {
        match session.store.call(request, clock::instant() + self.timeout, inside)? {
            Reply::Each(results) => Ok(results),
            other => Err(unexpected(&other)),
        }
    }

    /// Does what may end locks of this handle, so that their end is not taken for a loss.
    fn ending<T>(
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

/// None if the leases were over before the answer came.
type InTime = Option<Vec<Option<Granted>>>;

fn ask_once(
    session: &Session,
    wanted: &Arc<Wanted>,
    keep: bool,
    deadline: Instant,
    inside: &mut Inside,
) -> Result<Result<InTime, InTheWay>, Error> {
    let asked_us = clock::boot_us();
    let grants = match session.store.call(Request::Lock(wanted.clone()), deadline, inside)? {
        Reply::Granted(grants) => grants,
        Reply::Refused(in_the_way) => return Ok(Err(in_the_way)),
        other => return Err(unexpected(&other)),
    };
    let mut granted = Vec::with_capacity(grants.len());
    for grant in &grants {
        match grant.as_ref().map(|grant| Granted::new(grant, asked_us, true)) {
            Some(None) if !mutant::on("late_grant") => return Ok(Ok(None)),
            in_time => granted.push(in_time.flatten()),
        }
    }
    let mut holdings = session.holdings();
    for (id, grant) in wanted.ids.iter().zip(&grants) {
        grant.iter().for_each(|grant| holdings.granted(id, &wanted.owner, grant, asked_us, keep));
    }
    Ok(Ok(Some(granted)))
}

fn late(id: &LockId) -> Error {
    Error::new(Code::NoLock, format!("there is no lock {id} any more: its lease ran out before the answer came"))
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Defect, format!("the store gave an answer to another question ({reply:?}): please report this"))
}
