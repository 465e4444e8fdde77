//! `memory:`, the store of one process: the rules applied to maps. Every other store must answer as this one does.

mod versions;

use super::{
    contract::{Fault, Found, PAGE_ITEMS, Pages, Scan, Snapshot, Store},
    pulse::{Counter, Pulse},
};
use crate::{
    clock::{self, LeaseClock},
    model::{
        error::Error,
        lock::{Record, Tick},
        name::{LockId, StateKey},
        request::{Outcome, Request},
        rules::{
            Change, Moment, decide,
            state::{self, Write},
        },
        state::{KeyInfo, Setting, Stamp, Value},
    },
    shared::wait_queue::Waiters,
};
use std::{
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use versions::{Reader, Versions};

pub struct Memory {
    table: Arc<Mutex<Table>>,
    clock: LeaseClock,
    waiters: Arc<Waiters>,
    changes: Arc<Counter>,
}

#[derive(Default)]
struct Table {
    records: Versions<LockId, Record>,
    values: Versions<StateKey, Value>,
    /// Also of what was the greatest version.
    last_token: u64,
}

fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            table: Arc::default(),
            clock: LeaseClock::of_process(),
            waiters: Arc::new(Waiters::of_process()),
            changes: Arc::default(),
        }
    }
}

impl Table {
    fn apply(&mut self, request: &Request, tick: Tick) -> Outcome {
        let mut moment = Moment { now_us: clock::now_us(), tick, last_token: Some(self.last_token) };
        let outcome = match request {
            Request::Get { key } => state::get(key, self.values.get(key).cloned()),
            Request::Set(setting) => self.set(setting, &mut moment),
            request => self.change_locks(request, &mut moment),
        };
        if !request.is_read() {
            self.last_token = moment.last_token.unwrap_or(self.last_token);
        }
        outcome
    }

    fn change_locks(&mut self, request: &Request, moment: &mut Moment) -> Outcome {
        let ids = request.ids();
        let records: Vec<_> = ids.iter().map(|id| self.records.get(id).cloned()).collect();
        let (changes, outcome) = decide(request, &records, moment);
        for change in changes {
            match change {
                Change::Put(place, record) => self.records.put(&ids[place], Some(record)),
                Change::Remove(place) => self.records.put(&ids[place], None),
            }
        }
        outcome
    }

    fn set(&mut self, setting: &Setting, moment: &mut Moment) -> Outcome {
        let lock = setting.guard.lock.as_ref().and_then(|fence| self.records.get(&fence.id).cloned());
        let stamp = self.values.get(&setting.key).map(|value| value.stamp);
        let (write, outcome) = state::set(setting, stamp, &lock, moment);
        if let Some(write) = write {
            let value = |version| {
                let bytes = setting.value.clone()?;
                Some(Value { stamp: Stamp { version, attempt: setting.attempt }, bytes })
            };
            self.values.put(
                &setting.key,
                match write {
                    Write::Put { version } => value(version),
                    Write::Remove => None,
                },
            );
        }
        outcome
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
        let (now_us, tick) = (clock::now_us(), self.clock.now());
        let (id, inclusive) = scan.begin();
        let from = LockId::new(id)
            .map_or(Bound::Unbounded, |id| if inclusive { Bound::Included(id) } else { Bound::Excluded(id) });
        let reader = Some(table.records.read(from));
        let pages = Locks { table: self.table.clone(), reader, scan: scan.clone(), now_us, tick };
        Ok(Snapshot { now_us, tick, last_token: table.last_token, pages: Box::new(pages) })
    }

    fn keys(&mut self, prefix: &[u8], _: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        let from = StateKey::new(prefix).map_or(Bound::Unbounded, Bound::Included);
        let reader = Some(locked(&self.table).values.read(from));
        Ok(Box::new(Keys { table: self.table.clone(), reader, prefix: prefix.into() }))
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.waiters.clone()
    }

    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        Some(self.changes.clone())
    }

    fn check(&mut self, _: Instant) -> Result<(), Fault> {
        Ok(())
    }
}

struct Locks {
    table: Arc<Mutex<Table>>,
    /// None at the end.
    reader: Option<Reader<LockId, Record>>,
    scan: Scan,
    now_us: i64,
    tick: Tick,
}

impl Pages<Found> for Locks {
    fn next(&mut self, _: Instant) -> Result<Option<Vec<Found>>, Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let (records, is_last) = reader.next(&locked(&self.table).records, PAGE_ITEMS);
        if is_last || records.last().is_some_and(|(id, _)| self.scan.filter.is_beyond(id)) {
            self.reader = None;
        }
        let shown = |(id, record)| match record {
            Record::Entry(entry) if self.scan.shows(&id, &entry, self.tick, self.now_us) => Some((id, entry)),
            _ => None,
        };
        Ok(Some(records.into_iter().filter_map(shown).collect()))
    }
}

struct Keys {
    table: Arc<Mutex<Table>>,
    /// None at the end.
    reader: Option<Reader<StateKey, Value>>,
    prefix: Box<[u8]>,
}

impl Pages<KeyInfo> for Keys {
    fn next(&mut self, _: Instant) -> Result<Option<Vec<KeyInfo>>, Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let (mut values, is_last) = reader.next(&locked(&self.table).values, PAGE_ITEMS);
        let count = values.len();
        values.retain(|(key, _)| key.as_bytes().starts_with(&self.prefix));
        if is_last || values.len() < count {
            self.reader = None;
        }
        let info =
            |(key, value): (StateKey, Value)| KeyInfo { key, version: value.stamp.version, len: value.bytes.len() };
        Ok(Some(values.into_iter().map(info).collect()))
    }
}
