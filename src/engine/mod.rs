//! The engine: from requests to answers. It hands batches to a store, tries again where somebody is in the way, and
//! keeps a fork from happening in the middle. It does not know which store it has.

mod attempt;
mod calls;
pub mod default_store;
mod delegate;
pub mod events;
pub mod gate;
pub mod handle;
mod holdings;
mod keepalive;
pub mod list;
mod pause;
mod queue;
mod registry;
pub mod state;
mod take;
mod ticket;
mod wait;

use crate::{
    clock,
    shared::wait_queue::Waiters,
    store::{
        contract::{Fault, Remote, Store},
        news::News,
        pulse::Pulse,
    },
};
use attempt::GivenUp;
pub use calls::Granted;
use gate::Inside;
use queue::Queue;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
pub use take::{Ask, Refusal};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a remote store is waited for when its last handle is closed.
const LAST_TRY: Duration = Duration::from_millis(800);

/// What all handles of one store share in this process.
pub struct Engine {
    queue: Queue,
    /// Locked by whoever works on the queue, and only inside the gate, unless it is a remote one.
    store: Mutex<Box<dyn Store>>,
    remote: Option<Remote>,
    attempts: GivenUp,
    /// There was no store before.
    was_made: bool,
}

impl Engine {
    fn new(store: Box<dyn Store>) -> Engine {
        let (remote, queue, was_made) = (store.remote(), Queue::new(store.sets_apart()), store.was_made());
        Engine { queue, store: Mutex::new(store), remote, attempts: GivenUp::default(), was_made }
    }

    /// Does something with the store; what a remote one takes its time for keeps no fork waiting.
    fn with_store<T>(&self, inside: &mut Inside, work: impl FnOnce(&mut dyn Store) -> T) -> T {
        match &self.remote {
            Some(_) => inside.aside(|| work(&mut **lock(&self.store))),
            None => work(&mut **lock(&self.store)),
        }
    }

    /// Whether the store could be used at this moment.
    fn check(&self, deadline: Instant, inside: &mut Inside) -> Result<(), Fault> {
        self.with_store(inside, |store| store.check(deadline))
    }

    /// Those who wait for locks of the store.
    fn waiters(&self) -> Arc<Waiters> {
        match &self.remote {
            Some(remote) => remote.waiters.clone(),
            None => lock(&self.store).waiters(),
        }
    }

    /// Where to hear of what other processes release, if not from them.
    fn news(&self) -> Option<Arc<dyn News>> {
        self.remote.as_ref().map(|remote| remote.news.clone())
    }

    /// What tells whether the store has changed.
    fn pulse(&self) -> Option<Arc<dyn Pulse>> {
        match &self.remote {
            Some(_) => None,
            None => lock(&self.store).pulse(),
        }
    }

    /// Holds nothing that a forked child would share, or nothing that it would use.
    fn suspend(&self) {
        if self.remote.is_none() {
            lock(&self.store).suspend();
        }
    }

    /// Ends the engine with its last user: one try to withdraw what was given up, then the store is closed.
    fn close(self) {
        let withdrawals = self.attempts.pending();
        let mut store = self.store.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !withdrawals.is_empty() && !self.queue.is_broken() {
            // Whatever comes of it: nobody is left to be told, and the entry shows in the list.
            let _ = store.apply(&withdrawals.iter().collect::<Vec<_>>(), clock::instant() + LAST_TRY);
        }
    }
}

#[cfg(test)]
mod tests;
