//! What this process believes of the locks, and what it would make of them.

use super::{
    api::Pair,
    codec::{self, Stored},
    values::Target,
};
use crate::model::{
    error::Error,
    lock::{Entry, Record, Tick},
    name::LockId,
};
use std::collections::HashMap;

/// What was seen of a lock last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub stored: Option<Stored>,
    /// The revision at which its key was put last; 0: it is not there.
    pub modified: i64,
    /// Whether the lease of the entry runs; None where nobody has looked. One that is over never runs again.
    pub alive: Option<bool>,
    /// Why nothing can be said of it.
    pub bad: Option<Error>,
}

impl Seen {
    /// From what a read has found under the key.
    pub fn of(id: &LockId, found: Option<&Pair>) -> Seen {
        let Some(pair) = found else { return Seen::default() };
        let seen = Seen { modified: pair.modified, ..Seen::default() };
        match codec::decode(id, &pair.value, pair.modified) {
            Ok(stored) => Seen { stored: Some(stored), ..seen },
            Err(error) => Seen { bad: Some(error), ..seen },
        }
    }

    pub fn lease(&self) -> i64 {
        self.stored.as_ref().map_or(0, |stored| stored.lease)
    }

    /// Whether it has to be looked up whether its lease runs.
    pub fn is_open(&self) -> bool {
        self.lease() != 0 && self.alive.is_none()
    }
}

/// The record as the rules want it: an entry whose etcd lease runs was leased just now, any other one long ago.
pub fn record_of(stored: &Stored, alive: bool, tick: Tick) -> Record {
    match &stored.record {
        Record::Entry(entry) if stored.lease != 0 => {
            let over = i64::try_from(entry.ttl_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
            let us = if alive { tick.us } else { tick.us.saturating_sub(over) };
            Record::Entry(Entry { leased: Tick { us, ..tick }, ..entry.clone() })
        }
        record => record.clone(),
    }
}

/// What was seen last of some locks: a guess at what they are.
#[derive(Default)]
pub struct Cache(HashMap<LockId, Seen>);

const CACHED_MOST: usize = 8192;

impl Cache {
    pub fn get(&self, id: &LockId) -> Option<&Seen> {
        self.0.get(id)
    }

    /// What is not there needs no place: it is the guess where nothing is known.
    pub fn put(&mut self, id: &LockId, seen: Seen) {
        if seen.modified == 0 || seen.bad.is_some() {
            self.0.remove(id);
            return;
        }
        if self.0.len() >= CACHED_MOST && !self.0.contains_key(id) {
            self.0.clear();
        }
        self.0.insert(id.clone(), seen);
    }

    /// What a transaction of this process has made of it, at that revision.
    pub fn changed(&mut self, id: &LockId, stored: Option<Stored>, revision: i64) {
        let Some(mut stored) = stored else {
            self.0.remove(id);
            return;
        };
        stored.fill(revision);
        let alive = (stored.lease != 0).then_some(true);
        self.put(id, Seen { stored: Some(stored), modified: revision, alive, bad: None });
    }
}

/// The locks that a transaction looks at, and the value that it writes, if it is for one.
#[derive(Default)]
pub struct Slots {
    places: HashMap<LockId, usize>,
    slots: Vec<Slot>,
    pub target: Option<Target>,
    /// What is believed was read at one moment, and not guessed.
    pub fresh: bool,
}

pub struct Slot {
    pub id: LockId,
    pub seen: Seen,
    /// What the transaction would make of it.
    now: Option<Option<Stored>>,
}

impl Slots {
    pub fn add(&mut self, id: &LockId, cache: &Cache) {
        if !self.places.contains_key(id) {
            self.places.insert(id.clone(), self.slots.len());
            let seen = cache.get(id).cloned().unwrap_or_default();
            self.slots.push(Slot { id: id.clone(), seen, now: None });
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn get(&self, id: &LockId) -> &Slot {
        &self.slots[self.places[id]]
    }

    /// What stands there now, for the requests that follow.
    pub fn set(&mut self, id: &LockId, stored: Option<Stored>) {
        let place = self.places[id];
        self.slots[place].now = Some(stored);
    }

    /// Forgets what was decided.
    pub fn reset(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.now = None);
    }

    /// The leases that entries are believed to live with, each once.
    pub fn leases(&self, alive: impl Fn(Option<bool>) -> bool) -> Vec<i64> {
        let named = self.slots.iter().filter(|slot| slot.seen.lease() != 0 && alive(slot.seen.alive));
        let mut leases: Vec<i64> = named.map(|slot| slot.seen.lease()).collect();
        leases.sort_unstable();
        leases.dedup();
        leases
    }

    pub fn mark(&mut self, lease: i64, alive: bool) {
        self.slots.iter_mut().filter(|slot| slot.seen.lease() == lease).for_each(|slot| slot.seen.alive = Some(alive));
    }

    /// Believes that the leases run of which nobody knows.
    pub fn suppose_alive(&mut self) {
        self.slots.iter_mut().filter(|slot| slot.seen.is_open()).for_each(|slot| slot.seen.alive = Some(true));
    }

    /// Whether any lease has to be looked up.
    pub fn are_open(&self) -> bool {
        self.slots.iter().any(|slot| slot.seen.is_open())
    }
}

impl Slot {
    pub fn current(&self) -> Option<&Stored> {
        self.now.as_ref().unwrap_or(&self.seen.stored).as_ref()
    }

    pub fn record(&self, tick: Tick) -> Option<Record> {
        let is_new = self.now.is_some();
        self.current().map(|stored| record_of(stored, is_new || self.seen.alive == Some(true), tick))
    }

    /// What has to be written, if anything.
    pub fn change(&self) -> Option<&Option<Stored>> {
        self.now.as_ref().filter(|now| **now != self.seen.stored)
    }
}
