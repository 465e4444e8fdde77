//! What all handles of one store share in this process: the store, and the queue of requests to it.

use super::{attempt::GivenUp, lock::lock, queue::Queue};
use crate::{
    clock,
    engine::gate::Inside,
    model::error::{Code, Error},
    shared::wait_queue::Waiters,
    store::{
        contract::{Fault, Remote, Store},
        news::News,
        pulse::Pulse,
    },
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a remote store is waited for when its last handle is closed.
const LAST_TRY: Duration = Duration::from_millis(800);

/// What all handles of one store share in this process.
pub struct Engine {
    pub(super) queue: Queue,
    /// Locked by whoever works on the queue, and only inside the gate, unless it is a remote one.
    pub(super) store: Mutex<Box<dyn Store>>,
    pub remote: Option<Remote>,
    pub attempts: GivenUp,
    /// There was no store before.
    pub was_made: bool,
}

impl Engine {
    pub fn new(store: Box<dyn Store>) -> Engine {
        let (remote, queue, was_made) = (store.remote(), Queue::new(store.sets_apart()), store.was_made());
        let attempts = GivenUp::new(remote.is_some());
        Engine { queue, store: Mutex::new(store), remote, attempts, was_made }
    }

    /// Does something with the store; what a remote one takes its time for keeps no fork waiting.
    pub fn with_store<T>(&self, inside: &mut Inside, work: impl FnOnce(&mut dyn Store) -> T) -> T {
        match &self.remote {
            Some(_) => inside.aside(|| work(&mut **lock(&self.store))),
            None => work(&mut **lock(&self.store)),
        }
    }

    /// Whether the store could be used at this moment.
    pub fn check(&self, deadline: Instant, inside: &mut Inside) -> Result<(), Fault> {
        self.with_store(inside, |store| store.check(deadline))
    }

    /// Those who wait for locks of the store.
    pub fn waiters(&self) -> Arc<Waiters> {
        match &self.remote {
            Some(remote) => remote.waiters.clone(),
            None => lock(&self.store).waiters(),
        }
    }

    /// Where to hear of what other processes release, if not from them.
    pub fn news(&self) -> Option<Arc<dyn News>> {
        self.remote.as_ref().map(|remote| remote.news.clone())
    }

    /// What tells whether the store has changed.
    pub fn pulse(&self) -> Option<Arc<dyn Pulse>> {
        match &self.remote {
            Some(_) => None,
            None => lock(&self.store).pulse(),
        }
    }

    /// Holds nothing that a forked child would share, or nothing that it would use.
    pub fn suspend(&self) {
        if self.remote.is_none() {
            lock(&self.store).suspend();
        }
    }

    /// Ends the engine with its last user: one try to withdraw what was given up, then the store is
    /// closed.
    pub fn close(self) {
        let withdrawals = self.attempts.pending();
        let mut store = self.store.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !withdrawals.is_empty() && !self.queue.is_broken() {
            // Whatever comes of it: nobody is left to be told, and the entry shows in the list.
            let _ = store.apply(&withdrawals.iter().collect::<Vec<_>>(), clock::instant() + LAST_TRY);
        }
    }
}

/// The code of a store that answers no more since a defect was contained in it.
pub fn broken() -> Error {
    Error::new(Code::Defect, "a defect inside libdss was contained: close the handle with dss_fini and open a new one")
}
