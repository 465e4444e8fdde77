//! The requests of this process's threads on their way into batches; what is done with them is in [`super::call`].
//!
//! A caller that finds nobody at work does its request itself, on its own thread, with no hand-off. Callers that come
//! meanwhile leave a ticket; whoever works takes all tickets that are there into one transaction, and when its own
//! request is answered, the next waiting caller goes on with the work. Where another process has the write lock, the requests
//! are delegated to it: [`super::delegate`].

use super::{lock::lock, ticket::Ticket};
use crate::{
    model::request::Request,
    shared::combiner::PublicationList,
    sys::futex::{Bell, Group},
};
use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The most requests in one transaction: a bound on how long one takes.
const BATCH_MAX: usize = 128;
/// The most bytes of values in one transaction, unless one value has more.
const BATCH_VALUES_MAX: usize = 256 << 10;

/// As many are waited for at most. More are better done in turns: while the one half waits for its flush, the other half of
/// the threads runs.
const GATHER_MOST: usize = 8;

#[derive(Default)]
pub struct Queue {
    pub(super) state: Mutex<State>,
    /// Where the one who is at work waits for others to come.
    pub(super) gathered: Bell,
}

#[derive(Default)]
pub(super) struct State {
    /// Reads wait for nobody, so they are kept apart.
    pub(super) reads: VecDeque<Arc<Ticket>>,
    pub(super) writes: VecDeque<Arc<Ticket>>,
    /// Where those wait who come now: they are likely to be answered together.
    pub(super) group_of_reads: Arc<Group>,
    pub(super) group_of_writes: Arc<Group>,
    /// Somebody is at work.
    pub(super) working: bool,
    /// It waits there for the answers of the combiner, another process.
    pub(super) delegated_to: Option<Arc<PublicationList>>,
    /// It waits for the expected number of writes.
    pub(super) gathering: bool,
    /// How many writes were answered last, or came meanwhile: about as many will come again at once.
    pub(super) expected: usize,
    /// How long the last transaction took.
    pub(super) write_takes: Duration,
    /// The store writes values in other transactions than locks.
    pub(super) sets_apart: bool,
    /// A defect was contained; every call from now on says so.
    pub(super) broken: bool,
}

impl Queue {
    pub fn new(sets_apart: bool) -> Queue {
        Queue { state: Mutex::new(State { sets_apart, ..State::default() }), ..Queue::default() }
    }

    pub fn is_broken(&self) -> bool {
        lock(&self.state).broken
    }

    pub fn put_back(&self, batch: Vec<Arc<Ticket>>) {
        let mut state = lock(&self.state);
        for ticket in batch.into_iter().rev() {
            state.of_kind(&ticket).push_front(ticket);
        }
    }

    pub fn take_writes(&self) -> Vec<Arc<Ticket>> {
        let mut state = lock(&self.state);
        let size = state.batch_size();
        if size > 0 {
            state.group_of_writes = Arc::default();
        }
        state.writes.drain(..size).collect()
    }

    pub fn has_writes(&self) -> bool {
        !lock(&self.state).writes.is_empty()
    }

    pub fn take_reads(&self) -> Vec<Arc<Ticket>> {
        let mut state = lock(&self.state);
        let size = state.reads.len().min(BATCH_MAX);
        if size > 0 {
            state.group_of_reads = Arc::default();
        }
        state.reads.drain(..size).collect()
    }

    /// Call before the answers are given.
    pub fn note_transaction(&self, count: usize, takes: Duration) {
        let mut state = lock(&self.state);
        (state.expected, state.write_takes) = ((count + state.writes.len()).min(GATHER_MOST), takes);
    }

    /// Where whoever works waits for another process; a read ends that wait.
    pub fn set_delegated_to(&self, list: Option<Arc<PublicationList>>) {
        lock(&self.state).delegated_to = list;
    }
}

impl State {
    pub(super) fn of_kind(&mut self, ticket: &Ticket) -> &mut VecDeque<Arc<Ticket>> {
        if ticket.request.is_read() { &mut self.reads } else { &mut self.writes }
    }

    /// Gives the caller's ticket its place; and whether that ends the wait of who gathers.
    pub(super) fn push(&mut self, request: Request, deadline: Instant) -> (Arc<Ticket>, bool) {
        let group = if request.is_read() { &self.group_of_reads } else { &self.group_of_writes };
        let ticket = Arc::new(Ticket::new(request, deadline, group.clone()));
        self.of_kind(&ticket).push_back(ticket.clone());
        if ticket.request.is_read() {
            self.delegated_to.iter().for_each(|list| list.wake_own());
        }
        let all_are_here = self.writes.len() >= self.expected && mem::take(&mut self.gathering);
        (ticket, all_are_here)
    }

    /// Takes the ticket out of the queue; false if its request is under way.
    pub(super) fn leave(&mut self, ticket: &Arc<Ticket>) -> bool {
        let queue = self.of_kind(ticket);
        let place = queue.iter().position(|other| Arc::ptr_eq(other, ticket));
        place.is_some_and(|place| queue.remove(place).is_some())
    }

    /// How many of the writes go into one transaction.
    pub(super) fn batch_size(&self) -> usize {
        let is_set = |ticket: &Arc<Ticket>| matches!(ticket.request, Request::Set(_));
        let (mut bytes, are_sets) = (0, self.writes.front().is_some_and(is_set));
        let fits = |ticket: &&Arc<Ticket>| {
            bytes += ticket.request.value_len();
            bytes <= BATCH_VALUES_MAX && (!self.sets_apart || is_set(ticket) == are_sets)
        };
        self.writes.iter().take(BATCH_MAX).take_while(fits).count().max(self.writes.len().min(1))
    }

    pub(super) fn next(&self) -> Option<&Arc<Ticket>> {
        self.writes.front().or(self.reads.front())
    }
}
