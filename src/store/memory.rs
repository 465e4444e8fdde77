//! `memory:`, the store of one process: the rules applied to a map. Every other store must answer as this one does.

use super::{
    Fault, PAGE_LOCKS, PAGE_LOOKS, Pages, Scan, Snapshot, Store,
    desks::Desks,
    pulse::{Counter, Pulse},
    waiters::Waiters,
};
use crate::{
    clock::{self, LeaseClock},
    model::{
        error::Error,
        lock::{Entry, Record, Tick},
        name::LockId,
        request::{Outcome, Request},
        rules::{Change, Moment, decide},
    },
};
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

pub struct Memory {
    table: Arc<Mutex<Table>>,
    clock: LeaseClock,
    waiters: Arc<Waiters>,
    changes: Arc<Counter>,
}

#[derive(Default)]
struct Table {
    records: BTreeMap<LockId, Record>,
    last_token: u64,
    /// Those who read a snapshot: each is given what it would have read before it is changed.
    readers: Vec<Weak<Mutex<Kept>>>,
}

/// The records of a snapshot that were changed since; None for one that was not there.
type Kept = BTreeMap<LockId, Option<Record>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            table: Arc::default(),
            clock: LeaseClock::of_host(),
            waiters: Arc::new(Waiters::of_process()),
            changes: Arc::default(),
        }
    }
}

impl Table {
    fn apply(&mut self, request: &Request, tick: Tick) -> Outcome {
        let records: Vec<_> = request.ids().iter().map(|id| self.records.get(id).cloned()).collect();
        let mut moment = Moment { now_us: clock::now_us(), tick, last_token: Some(self.last_token) };
        let (changes, outcome) = decide(request, &records, &mut moment);
        if !request.is_read() {
            self.last_token = moment.last_token.unwrap_or(self.last_token);
        }
        for change in changes {
            let place = match &change {
                Change::Put(place, _) | Change::Remove(place) => *place,
            };
            let id = &request.ids()[place];
            let before = match change {
                Change::Put(_, record) => self.records.insert(id.clone(), record),
                Change::Remove(_) => self.records.remove(id),
            };
            self.keep(id, before);
        }
        outcome
    }

    fn keep(&mut self, id: &LockId, before: Option<Record>) {
        self.readers.retain(|reader| {
            let Some(kept) = reader.upgrade() else { return false };
            locked(&kept).entry(id.clone()).or_insert_with(|| before.clone());
            true
        });
    }
}

impl Store for Memory {
    fn apply(&mut self, batch: &[&Request], _: Instant) -> Result<Vec<Outcome>, Fault> {
        let mut table = locked(&self.table);
        let outcomes = batch.iter().map(|request| table.apply(request, self.clock.now())).collect();
        if batch.iter().any(|request| !request.is_read()) {
            self.changes.count();
        }
        Ok(outcomes)
    }

    fn list(&mut self, scan: &Scan, _: Instant) -> Result<Snapshot, Fault> {
        let mut table = locked(&self.table);
        let (now_us, tick, kept) = (clock::now_us(), self.clock.now(), Arc::default());
        table.readers.push(Arc::downgrade(&kept));
        let (id, inclusive) = scan.begin();
        let from = LockId::new(id)
            .map_or(Bound::Unbounded, |id| if inclusive { Bound::Included(id) } else { Bound::Excluded(id) });
        let last_token = table.last_token;
        let pages = Listing { table: self.table.clone(), kept, scan: scan.clone(), from, now_us, tick };
        Ok(Snapshot { now_us, tick, last_token, pages: Box::new(pages) })
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.waiters.clone()
    }

    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        Some(self.changes.clone())
    }

    /// The entries belong to this process: a child that inherits them is told so, and makes its own store.
    fn desks(&mut self) -> Option<Arc<Desks>> {
        None
    }

    fn suspend(&mut self) {}

    fn check(&mut self, _: Instant) -> Result<(), Fault> {
        Ok(())
    }
}

struct Listing {
    table: Arc<Mutex<Table>>,
    kept: Arc<Mutex<Kept>>,
    scan: Scan,
    /// Where the next page begins.
    from: Bound<LockId>,
    now_us: i64,
    tick: Tick,
}

impl Pages for Listing {
    fn next(&mut self, _: Instant) -> Result<Option<Vec<(LockId, Entry)>>, Error> {
        let table = locked(&self.table);
        let mut kept = locked(&self.kept);
        let mut page = Vec::new();
        for _ in 0..PAGE_LOOKS {
            let Some((id, record)) = next_of(&table.records, &kept, &self.from) else {
                return Ok(if page.is_empty() { None } else { Some(page) });
            };
            if self.scan.filter.is_beyond(&id) {
                return Ok(if page.is_empty() { None } else { Some(page) });
            }
            self.from = Bound::Excluded(id.clone());
            if let Some(Record::Entry(entry)) = record
                && self.scan.shows(&id, &entry, self.tick, self.now_us)
            {
                page.push((id, entry));
                if page.len() == PAGE_LOCKS {
                    break;
                }
            }
        }
        if let Bound::Excluded(last) = &self.from {
            *kept = kept.split_off(last);
        }
        Ok(Some(page))
    }
}

/// The next record as the snapshot has it: what was kept of it, or what is there.
fn next_of(records: &BTreeMap<LockId, Record>, kept: &Kept, from: &Bound<LockId>) -> Option<(LockId, Option<Record>)> {
    let range = (from.as_ref(), Bound::Unbounded);
    let there = records.range::<LockId, _>(range).next();
    let before = kept.range::<LockId, _>(range).next();
    match (there, before) {
        (Some((id, record)), None) => Some((id.clone(), Some(record.clone()))),
        (Some((id, record)), Some((other, _))) if id < other => Some((id.clone(), Some(record.clone()))),
        (_, Some((id, record))) => Some((id.clone(), record.clone())),
        (None, None) => None,
    }
}
