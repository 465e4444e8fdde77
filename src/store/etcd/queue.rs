//! The store's own queue of those who wait: hints alone, which decide nothing but who goes first.
//!
//! A waiter has a key for each of its locks, made when it begins to wait and gone some seconds after its last sign. The older
//! key goes first.

use super::{
    Table,
    api::{OPERATIONS_MAX, Pair, Txn},
    codec::{self, Keys},
    errors::Trouble,
    leases,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        name::LockId,
        request::{InQueue, InTheWay, Outcome, Reply, Request, Turn, Wanted},
        rules::Change,
    },
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// The places of this process's waiters.
#[derive(Default)]
pub struct Queue {
    /// What their keys live with, and when it was started anew.
    lease: Option<(i64, Instant)>,
    places: HashMap<[u8; 16], Place>,
}

struct Place {
    /// The revision at which its keys were made.
    made: i64,
    keeps: bool,
}

/// Of requests for more locks, only those that they would get are looked at.
const LOOKS_MOST: usize = 16;
const TTL_S: u64 = 3;
const KEPT_EACH: Duration = Duration::from_millis(1000);

/// A look at those who wait for a lock, as part of a transaction.
#[derive(Clone, Debug)]
pub struct Check {
    /// Whose.
    pub piece: usize,
    pub id: LockId,
    /// The name and the revision of the waiter itself, if it is one.
    own: Option<([u8; 16], i64)>,
}

impl Check {
    /// Reads the oldest waiter; false if there was no room.
    pub fn look(&self, keys: &Keys, txn: &mut Txn) -> bool {
        let key = keys.waiters(&self.id);
        txn.get_oldest(&key, &codec::end_of(&key))
    }

    /// Makes it a condition that nobody goes first; false if there was no room.
    pub fn ask(&self, keys: &Keys, txn: &mut Txn) -> bool {
        let key = keys.waiters(&self.id);
        let end = codec::end_of(&key);
        let has_room = match self.own {
            Some((_, made)) => txn.if_none_older(&key, &end, made),
            None => txn.if_none(&key, &end),
        };
        has_room && txn.else_get_oldest(&key, &end)
    }

    /// Whether the oldest waiter has to be let through first.
    pub fn is_behind(&self, keys: &Keys, oldest: Option<&Pair>) -> bool {
        oldest.is_some_and(|oldest| {
            let is_other =
                self.own.is_none_or(|(name, made)| oldest.created < made && oldest.key != keys.waiter(&self.id, name));
            is_other && oldest.value == b"1"
        })
    }
}

impl Queue {
    /// Whether it is of a waiter whose turn it may not be yet.
    pub fn asks_first(&self, request: &Request) -> bool {
        let Request::Lock(wanted) = request else { return false };
        let Turn::Waits(InQueue { name, in_turn: true, .. }) = wanted.turn else { return false };
        wanted.ids.len() <= LOOKS_MOST && self.places.contains_key(&name)
    }

    /// The looks at the queue that belong to a look at the locks of the request: so who is not next sends nothing else.
    pub fn looks(&self, piece: usize, request: &Request) -> Vec<Check> {
        let Request::Lock(wanted) = request else { return Vec::new() };
        if wanted.ids.len() > LOOKS_MOST {
            return Vec::new();
        }
        self.checks(piece, request, &Ok(Reply::Granted(vec![Some(NO_GRANT); wanted.ids.len()])))
    }

    /// What has to hold for a request that would get its locks.
    pub fn checks(&self, piece: usize, request: &Request, outcome: &Outcome) -> Vec<Check> {
        let (Request::Lock(wanted), Ok(Reply::Granted(grants))) = (request, outcome) else { return Vec::new() };
        let own = match wanted.turn {
            Turn::Now => return Vec::new(),
            Turn::Behind => None,
            Turn::Waits(InQueue { name, in_turn: true, .. }) => match self.places.get(&name) {
                Some(place) => Some((name, place.made)),
                None => return Vec::new(),
            },
            Turn::Waits(_) => return Vec::new(),
        };
        let taken = wanted.ids.iter().zip(grants).filter(|(_, grant)| grant.is_some());
        taken.map(|(id, _)| Check { piece, id: id.clone(), own }).collect()
    }

    /// Those waiters have what they waited for, and their keys are gone, or go with the lease.
    pub fn served(&mut self, served: &[(Vec<LockId>, [u8; 16])]) {
        self.places.retain(|name, _| served.iter().all(|(_, other)| other != name));
    }
}

impl Table {
    /// Gives the waiters their places, or keeps them. Of all that begin together, in as few transactions as possible: at a server
    /// that is slow, one for each would use up the time of all.
    pub fn take_places(&mut self, waiters: &[(&[LockId], InQueue)], deadline: Instant) -> Result<(), Trouble> {
        if waiters.is_empty() {
            return Ok(());
        }
        let lease = self.waiting_lease(deadline)?;
        let mut made: HashMap<[u8; 16], (i64, bool)> = HashMap::new();
        let is_new =
            |waits: &InQueue| self.queue.places.get(&waits.name).is_none_or(|known| known.keeps != waits.keeps);
        let comers = waiters.iter().filter(|(_, waits)| is_new(waits));
        let keys: Vec<_> = comers.flat_map(|(ids, waits)| ids.iter().map(move |id| (id, waits))).collect();
        for keys in keys.chunks(OPERATIONS_MAX) {
            let mut txn = Txn::default();
            for (id, waits) in keys {
                txn.put(&self.keys.waiter(id, waits.name), if waits.keeps { b"1" } else { b"0" }, lease);
            }
            match self.client.read(&txn, deadline) {
                Ok(answer) => made.extend(keys.iter().map(|(_, waits)| (waits.name, (answer.revision, waits.keeps)))),
                Err(Trouble::Refused(refusal)) if refusal.is_no_lease() => {
                    self.forget_places();
                    return Ok(());
                }
                Err(trouble) => return Err(trouble),
            }
        }
        for (name, (revision, keeps)) in made {
            // Who has one stands where it stood.
            self.queue.places.entry(name).or_insert(Place { made: revision, keeps }).keeps = keeps;
        }
        Ok(())
    }

    fn forget_places(&mut self) {
        self.queue.lease = None;
        self.queue.places.clear();
    }

    /// The lease of the waiters' keys. One that has run out has taken them along.
    fn waiting_lease(&mut self, deadline: Instant) -> Result<i64, Trouble> {
        let now = clock::instant();
        if let Some((id, kept)) = self.queue.lease {
            if now < kept + KEPT_EACH {
                return Ok(id);
            }
            if self.client.keep_alive(id, deadline)?.is_some() {
                self.queue.lease = Some((id, now));
                return Ok(id);
            }
            self.forget_places();
        }
        let lease = self.client.grant(leases::random_id()?, TTL_S, deadline)?;
        self.queue.lease = Some((lease.id, now));
        Ok(lease.id)
    }

    /// Whether older waiters go first, so that a look which finds the locks free has to say otherwise.
    pub fn others_first(
        &mut self,
        wanted: &Wanted,
        outcome: &Outcome,
        deadline: Instant,
    ) -> Result<Option<InTheWay>, Trouble> {
        let request = Request::Lock(Arc::new(wanted.clone()));
        let checks = match wanted.any {
            // Any of those that are free would do: so all of them are looked at.
            true => self.queue.checks(0, &request, &Ok(Reply::Granted(vec![Some(NO_GRANT); wanted.ids.len()]))),
            false => self.queue.checks(0, &request, outcome),
        };
        if checks.is_empty() {
            return Ok(None);
        }
        let mut txn = Txn::default();
        checks.iter().for_each(|check| {
            check.look(&self.keys, &mut txn);
        });
        let answer = self.client.read(&txn, deadline)?;
        let behind =
            checks.iter().zip(&answer.found).filter(|(check, pairs)| check.is_behind(&self.keys, pairs.first()));
        let blocked: HashSet<LockId> = behind.map(|(check, _)| check.id.clone()).collect();
        let stands_back = if wanted.any { blocked.len() == checks.len() } else { !blocked.is_empty() };
        Ok(stands_back.then(|| refusal(&wanted.ids, &blocked)))
    }

    /// Gives up places.
    pub fn leave(&mut self, waiters: &[(&[LockId], [u8; 16])], deadline: Instant) -> Result<(), Trouble> {
        self.queue.places.retain(|place, _| waiters.iter().all(|(_, name)| name != place));
        let keys: Vec<_> = waiters.iter().flat_map(|(ids, name)| ids.iter().map(move |id| (id, *name))).collect();
        for keys in keys.chunks(OPERATIONS_MAX) {
            let mut txn = Txn::default();
            keys.iter().for_each(|(id, name)| {
                txn.delete(&self.keys.waiter(id, *name));
            });
            self.client.read(&txn, deadline)?;
        }
        Ok(())
    }

    pub fn close_queue(&mut self, deadline: Instant) {
        let lease = self.queue.lease.take();
        lease.iter().for_each(|(id, _)| leases::revoke(&self.client, *id, deadline));
    }
}

const NO_GRANT: crate::model::request::Grant =
    crate::model::request::Grant { token: 0, ttl_ms: 0, before: crate::model::lock::End::Unlocked };

/// Which of its ids a request may have, in view of those that it has to leave to others.
pub enum Choice {
    All,
    /// A request for some of them, and their places.
    Some(Request, Vec<usize>),
    None,
}

/// Who is content with any of several takes one that nobody else waits for.
pub fn without(request: &Request, blocked: &HashSet<LockId>) -> Choice {
    let Request::Lock(wanted) = request else { return Choice::All };
    if !wanted.any || blocked.is_empty() {
        return Choice::All;
    }
    let places: Vec<usize> = (0..wanted.ids.len()).filter(|place| !blocked.contains(&wanted.ids[*place])).collect();
    if places.is_empty() {
        return Choice::None;
    }
    let ids = places.iter().map(|place| wanted.ids[*place].clone()).collect();
    Choice::Some(Request::Lock(Arc::new(Wanted { ids, ..(**wanted).clone() })), places)
}

/// What was decided of some ids, told of all.
pub fn widen((changes, outcome): (Vec<Change>, Outcome), places: &[usize], count: usize) -> (Vec<Change>, Outcome) {
    let changes = changes.into_iter().map(|change| match change {
        Change::Put(place, record) => Change::Put(places[place], record),
        Change::Remove(place) => Change::Remove(places[place]),
    });
    let outcome = outcome.map(|reply| match reply {
        Reply::Granted(grants) => {
            let mut all = vec![None; count];
            places.iter().zip(grants).for_each(|(place, grant)| all[*place] = grant);
            Reply::Granted(all)
        }
        Reply::Refused(found) => {
            let which =
                (0..places.len()).filter(|bit| found.which >> bit & 1 == 1).fold(0, |all, bit| all | 1 << places[bit]);
            Reply::Refused(InTheWay { which, ..found })
        }
        other => other,
    });
    (changes.collect(), outcome)
}

/// The answer to a request for all of its locks, of which others wait for some, and longer.
pub fn stands_back(request: &Request, outcome: &Outcome, blocked: Option<&HashSet<LockId>>) -> Option<InTheWay> {
    let (Request::Lock(wanted), Ok(Reply::Granted(_)), Some(blocked)) = (request, outcome, blocked) else {
        return None;
    };
    let has_to = !wanted.any && !blocked.is_empty();
    has_to.then(|| refusal(&wanted.ids, blocked))
}

/// With no locks named, all are left to others.
pub fn refusal(ids: &[LockId], blocked: &HashSet<LockId>) -> InTheWay {
    let is_blocked = |id: &LockId| blocked.is_empty() || blocked.contains(id);
    let which = ids.iter().enumerate().filter(|(_, id)| is_blocked(id)).fold(0, |all, (bit, _)| all | 1 << bit);
    let text = "others wait for it longer: call with wait_ms to stand behind them";
    InTheWay { which, free_in_us: None, error: Error::new(Code::Held, text) }
}

/// A waiter that has its locks.
pub fn served(request: &Request, outcome: &Outcome) -> Option<(Vec<LockId>, [u8; 16])> {
    match (request, outcome) {
        (Request::Lock(wanted), Ok(Reply::Granted(_))) => {
            wanted.turn.waits().map(|waits| (wanted.ids.clone(), waits.name))
        }
        _ => None,
    }
}
