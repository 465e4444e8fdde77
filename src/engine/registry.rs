//! Which stores are open in this process: one engine for each, however many handles use it.
//!
//! Entered only from inside the gate.

use super::{
    commit::{engine::Engine, pause::Pause},
    gate::{self, Inside},
};
use crate::{
    clock,
    model::error::Error,
    store::{
        contract::{Fault, Missing},
        open::{Key, Place},
    },
};
use once_cell::sync::OnceCell;
use std::{
    collections::BTreeMap,
    mem,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

type Slot = Arc<OnceCell<Engine>>;

static OPEN: Mutex<BTreeMap<Key, Slot>> = Mutex::new(BTreeMap::new());

fn open_stores() -> MutexGuard<'static, BTreeMap<Key, Slot>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One use of an open store. The last one closes it.
pub struct Shared {
    key: Key,
    /// None only while it is dropped.
    slot: Option<Slot>,
    generation: u64,
}

/// Opens the store at this place, or joins those who have it open.
pub fn open(place: &Place, missing: Missing, deadline: Instant, inside: &mut Inside) -> Result<Shared, Error> {
    let shared = Shared::join(place.key());
    let mut pause = Pause::new();
    loop {
        let slot = shared.slot();
        let opened = match slot.get() {
            Some(engine) => engine.check(deadline, inside),
            None if place.is_remote() => inside.aside(|| open_slot(slot, place, missing, deadline)),
            None => open_slot(slot, place, missing, deadline),
        };
        match opened {
            Ok(()) => return Ok(shared),
            Err(Fault::Failed(error) | Fault::Unknown(error)) => return Err(error),
            Err(Fault::Busy(error)) if clock::instant() >= deadline => return Err(error),
            Err(Fault::Busy(_)) => inside.outside(|| pause.sleep(deadline))?,
        }
    }
}

fn open_slot(slot: &OnceCell<Engine>, place: &Place, missing: Missing, deadline: Instant) -> Result<(), Fault> {
    slot.get_or_try_init(|| place.open(missing, deadline).map(Engine::new)).map(drop)
}

impl Shared {
    fn join(key: Key) -> Shared {
        let mut open = open_stores();
        let slot = open.entry(key.clone()).or_default();
        if slot.get().is_some_and(Engine::is_broken) {
            // Those who have it open keep it; it has closed its store.
            *slot = Slot::default();
        }
        Shared { key, slot: Some(slot.clone()), generation: gate::generation() }
    }

    fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("there is a slot until the drop")
    }

    /// Whether this process opened it, and not one that it was forked from.
    pub fn is_ours(&self) -> bool {
        self.generation == gate::generation()
    }
}

impl Deref for Shared {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.slot().get().expect("open() gives out engines that were made")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        // All of it is done under the table's lock: of two last users one sees that it is the last, and two connections of
        // one process to one file do not overlap.
        let mut open = open_stores();
        let Some(mut slot) = self.slot.take() else { return };
        let listed = open.get(&self.key).is_some_and(|listed| Arc::ptr_eq(listed, &slot));
        if listed && Arc::strong_count(&slot) == 2 {
            open.remove(&self.key);
        }
        let engine = Arc::get_mut(&mut slot).and_then(OnceCell::take);
        if self.key.is_remote() {
            // It may take its time, and may meet another connection.
            drop(open);
        }
        engine.into_iter().for_each(Engine::close);
        drop(slot);
    }
}

/// Before a fork: nothing stays open. The next call opens it again.
pub fn suspend_all() {
    open_stores().values().filter_map(|slot| slot.get()).for_each(Engine::suspend);
}

/// In a forked child: what the parent had open is not ours. It was closed before the fork, so only memory is given back; but a
/// connection to a server stays its parent's, perhaps in the middle of something, and is never touched here.
pub fn drop_inherited() {
    let inherited = mem::take(&mut *open_stores());
    inherited.iter().filter(|(key, _)| key.is_remote()).for_each(|(_, slot)| mem::forget(slot.clone()));
}
