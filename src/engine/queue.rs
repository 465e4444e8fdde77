//! Many threads' requests become batches.
//!
//! A caller that finds nobody at work does its request itself, on its own thread, with no hand-off. Callers that come
//! meanwhile leave a ticket; whoever works takes all tickets that are there into one transaction, and when its own
//! request is answered, the next waiting caller goes on with the work. Where another process has the write lock, the requests
//! are delegated to it: [`super::delegate`].

mod work;

use super::{Engine, gate::Inside, lock, registry, ticket::Ticket};
use crate::{
    clock,
    model::{
        error::Error,
        request::{Outcome, Request},
    },
    shared::combiner::PublicationList,
    store::contract::Fault,
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
    state: Mutex<State>,
    /// Where the one who is at work waits for others to come.
    gathered: Bell,
}

#[derive(Default)]
struct State {
    /// Reads wait for nobody, so they are kept apart.
    reads: VecDeque<Arc<Ticket>>,
    writes: VecDeque<Arc<Ticket>>,
    /// Where those wait who come now: they are likely to be answered together.
    group_of_reads: Arc<Group>,
    group_of_writes: Arc<Group>,
    /// Somebody is at work.
    working: bool,
    /// It waits there for the answers of the combiner, another process.
    delegated_to: Option<Arc<PublicationList>>,
    /// It waits for the expected number of writes.
    gathering: bool,
    /// How many writes were answered last, or came meanwhile: about as many will come again at once.
    expected: usize,
    /// How long the last transaction took.
    write_takes: Duration,
    /// The store writes values in other transactions than locks.
    sets_apart: bool,
    /// A defect was contained; every call from now on says so.
    broken: bool,
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

    fn has_writes(&self) -> bool {
        !lock(&self.state).writes.is_empty()
    }

    fn take_reads(&self) -> Vec<Arc<Ticket>> {
        let mut state = lock(&self.state);
        let size = state.reads.len().min(BATCH_MAX);
        if size > 0 {
            state.group_of_reads = Arc::default();
        }
        state.reads.drain(..size).collect()
    }

    /// Call before the answers are given.
    fn note_transaction(&self, count: usize, takes: Duration) {
        let mut state = lock(&self.state);
        (state.expected, state.write_takes) = ((count + state.writes.len()).min(GATHER_MOST), takes);
    }

    /// Where whoever works waits for another process; a read ends that wait.
    pub fn set_delegated_to(&self, list: Option<Arc<PublicationList>>) {
        lock(&self.state).delegated_to = list;
    }
}

impl State {
    fn of_kind(&mut self, ticket: &Ticket) -> &mut VecDeque<Arc<Ticket>> {
        if ticket.request.is_read() { &mut self.reads } else { &mut self.writes }
    }

    /// Gives the caller's ticket its place; and whether that ends the wait of who gathers.
    fn push(&mut self, request: Request, deadline: Instant) -> (Arc<Ticket>, bool) {
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
    fn leave(&mut self, ticket: &Arc<Ticket>) -> bool {
        let queue = self.of_kind(ticket);
        let place = queue.iter().position(|other| Arc::ptr_eq(other, ticket));
        place.is_some_and(|place| queue.remove(place).is_some())
    }

    /// How many of the writes go into one transaction.
    fn batch_size(&self) -> usize {
        let is_set = |ticket: &Arc<Ticket>| matches!(ticket.request, Request::Set(_));
        let (mut bytes, are_sets) = (0, self.writes.front().is_some_and(is_set));
        let fits = |ticket: &&Arc<Ticket>| {
            bytes += ticket.request.value_len();
            bytes <= BATCH_VALUES_MAX && (!self.sets_apart || is_set(ticket) == are_sets)
        };
        self.writes.iter().take(BATCH_MAX).take_while(fits).count().max(self.writes.len().min(1))
    }

    fn next(&self) -> Option<&Arc<Ticket>> {
        self.writes.front().or(self.reads.front())
    }
}

impl Engine {
    /// Whether a defect was contained, after which nothing is answered any more.
    pub fn is_broken(&self) -> bool {
        self.queue.is_broken()
    }

    /// Does one request, alone or together with those of other threads, and waits for its answer.
    pub fn call(&self, request: Request, deadline: Instant, inside: &mut Inside) -> Outcome {
        let hindrance = match self.call_alone(&request, deadline, inside) {
            Some(Ok(outcome)) => return outcome,
            Some(Err(hindrance)) => Some(hindrance),
            None => None,
        };
        let mut state = lock(&self.queue.state);
        let (ticket, all_are_here) = state.push(request, deadline);
        if let Some((error, in_doubt)) = hindrance {
            ticket.hinder(&error, in_doubt);
        }
        if all_are_here {
            self.queue.gathered.ring();
        }
        loop {
            let seen = ticket.group.seen();
            if let Some(outcome) = ticket.take_outcome() {
                return outcome;
            }
            if state.broken {
                return Err(registry::broken());
            }
            if !state.working {
                state.working = true;
                drop(state);
                // An error means that this is a forked child: the engine is its parent's and must not be touched.
                self.work_until_answered(&ticket, inside)?;
                state = lock(&self.queue.state);
                state.working = false;
                if let Some(next) = state.next() {
                    next.group.wake(1);
                }
                continue;
            }
            if clock::instant() >= deadline && state.leave(&ticket) {
                return ticket.give_up(self);
            }
            drop(state);
            self.wait(&ticket, seen, inside)?;
            if let Some(outcome) = ticket.take_outcome() {
                return outcome;
            }
            state = lock(&self.queue.state);
        }
    }

    /// Does the request without a ticket, if there is nobody else: None if there is. Or says what stood in the way, and whether
    /// the request may have been done.
    fn call_alone(
        &self,
        request: &Request,
        deadline: Instant,
        inside: &mut Inside,
    ) -> Option<Result<Outcome, (Error, bool)>> {
        let mut state = lock(&self.queue.state);
        let is_idle = !state.working && !state.broken && state.next().is_none();
        if !is_idle || (!request.is_read() && state.expected > 1) || self.attempts.are_pending() {
            return None;
        }
        state.working = true;
        drop(state);
        let may_work = || self.publications().is_none_or(|list| list.try_become_combiner());
        let asked = if request.is_read() || may_work() { Some(self.ask(&[request], deadline, inside)) } else { None };
        let mut state = lock(&self.queue.state);
        state.working = false;
        if let Some(group) = state.next().map(|next| next.group.clone()) {
            state.expected = state.writes.len() + 1;
            group.wake(1);
        }
        drop(state);
        match asked? {
            Ok(mut outcomes) => outcomes.pop().map(Ok),
            Err(Fault::Failed(error)) => Some(Ok(Err(error))),
            Err(Fault::Busy(error)) => Some(Err((error, false))),
            Err(Fault::Unknown(error)) => Some(Err((error, true))),
        }
    }

    /// Waits for an answer, for the turn to work, or for the end of the time; one whose request is under way at that end looks
    /// again every few milliseconds, for its answer comes with that of the transaction. No lock of ours is held meanwhile: a
    /// signal handler may fork here. Where signals are watched they have to wait for the end of this, so it is short.
    fn wait(&self, ticket: &Ticket, seen: u32, inside: &mut Inside) -> Result<(), Error> {
        const SHORT: Duration = Duration::from_millis(5);
        // The one who was woken to work may have left instead, as its time was up.
        const LONG: Duration = Duration::from_millis(20);
        let left = ticket.deadline.saturating_duration_since(clock::instant()).clamp(SHORT, LONG);
        let left = if inside.watches_signals() { SHORT } else { left };
        inside.outside(|| ticket.group.wait(seen, left))
    }
}
