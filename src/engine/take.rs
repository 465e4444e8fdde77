//! Taking locks: the question to the store, and what is made of its answer. Waiting is in [`super::wait`].

use super::{
    calls::{Granted, ONCE_MORE, after_a_change, unexpected},
    gate::Inside,
    handle::{Handle, Session},
    keepalive,
    wait::{Patience, Refusal},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        name::{LockId, Note, Owner},
        request::{InTheWay, Reply, Request, Turn, Wanted},
    },
    mutant,
};
use std::{
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
            turn: Turn::Now,
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
            keepalive::start(self, inside)?;
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
            let withdrawn = session.store.call(late, deadline.max(clock::instant() + ONCE_MORE), inside);
            if let Err(error) = withdrawn {
                session.store.attempts.withdraw(&Request::Lock(wanted.clone()));
                return Err(after_a_change(error));
            }
            if clock::instant() >= deadline {
                let text = "the locks were granted, but their leases ran out before the answer came: try again, or ask for \
                            longer ones";
                return Err(Error::new(Code::Busy, text));
            }
            Arc::make_mut(wanted).attempt = session.attempts.next();
        }
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
