//! The engine: from requests to answers. It hands batches to a store, tries again where somebody is in the way, and
//! keeps a fork from happening in the middle. It does not know which store it has.

mod attempt;
mod calls;
mod errand;
pub mod events;
pub mod gate;
pub mod handle;
mod holdings;
mod keepalive;
pub mod list;
mod pause;
mod queue;
mod registry;
mod take;
mod ticket;
mod wait;

use crate::store::{Fault, Store, pulse::Pulse, waiters::Waiters};
use attempt::GivenUp;
pub use calls::Granted;
use queue::Queue;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub use take::{Ask, Refusal};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all handles of one store share in this process.
pub struct Engine {
    queue: Queue,
    /// Locked by whoever works on the queue, and only inside the gate.
    store: Mutex<Box<dyn Store>>,
    attempts: GivenUp,
}

impl Engine {
    fn new(store: Box<dyn Store>) -> Engine {
        Engine { queue: Queue::default(), store: Mutex::new(store), attempts: GivenUp::default() }
    }

    /// Whether the store could be used at this moment.
    fn check(&self) -> Result<(), Fault> {
        lock(&self.store).check()
    }

    /// Those who wait for locks of the store.
    fn waiters(&self) -> Arc<Waiters> {
        lock(&self.store).waiters()
    }

    /// What tells whether the store has changed.
    fn pulse(&self) -> Option<Arc<dyn Pulse>> {
        lock(&self.store).pulse()
    }

    /// Holds nothing that a forked child would share.
    fn suspend(&self) {
        lock(&self.store).suspend();
    }

    /// Ends the engine with its last user: one try to withdraw what was given up, then the store is closed.
    fn close(self) {
        let withdrawals = self.attempts.pending();
        let mut store = self.store.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !withdrawals.is_empty() && !self.queue.is_broken() {
            // Whatever comes of it: nobody is left to be told, and the entry shows in the list.
            let _ = store.apply(&withdrawals.iter().collect::<Vec<_>>());
        }
    }
}

#[cfg(test)]
mod tests;
