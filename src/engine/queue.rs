//! Many threads' requests become batches.
//!
//! A caller that finds nobody at work does its request itself, on its own thread, with no hand-off. Callers that come
//! meanwhile leave a ticket; whoever works takes all tickets that are there into one transaction, and when its own
//! request is answered, the next waiting caller goes on with the work.

use super::{Engine, gate::Inside, registry};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        request::{Outcome, Request},
    },
    store::Fault,
};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The most requests in one transaction: a bound on how long one takes.
const BATCH_MAX: usize = 128;

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Ticket>>,
    /// Somebody is at work.
    working: bool,
    /// A defect was contained; every call from now on says so.
    broken: bool,
}

/// One caller's request on its way.
struct Ticket {
    request: Request,
    deadline: Instant,
    progress: Mutex<Progress>,
    wake: Condvar,
}

#[derive(Default)]
struct Progress {
    outcome: Option<Outcome>,
    /// What stood in the way so far, for the text of a call that gives up.
    hindrance: Option<Error>,
    /// An earlier try may have been applied.
    in_doubt: bool,
    /// The caller sleeps, and must be woken.
    asleep: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticket {
    /// To be called with the queue locked.
    fn answer(&self, outcome: Outcome) {
        lock(&self.progress).outcome = Some(outcome);
        self.rouse();
    }

    /// To be called with the queue locked. A caller that does its own work needs no wake-up, which is a system call.
    fn rouse(&self) {
        if lock(&self.progress).asleep {
            self.wake.notify_one();
        }
    }

    fn is_answered(&self) -> bool {
        lock(&self.progress).outcome.is_some()
    }

    fn hinder(&self, error: &Error, in_doubt: bool) {
        let mut progress = lock(&self.progress);
        progress.in_doubt |= in_doubt;
        progress.hindrance = Some(error.clone());
    }

    /// The answer where the store can't do it. An earlier try that may have been applied stays unknown.
    fn fail(&self, error: &Error, engine: &Engine) -> Outcome {
        let in_doubt = lock(&self.progress).in_doubt;
        if in_doubt { self.give_up(engine) } else { Err(error.clone()) }
    }

    /// The answer of a call whose time is up.
    fn give_up(&self, engine: &Engine) -> Outcome {
        let progress = lock(&self.progress);
        let cause = progress.hindrance.as_ref().map_or("other threads' calls come first", |error| &error.text);
        let id = self.request.id();
        if progress.in_doubt {
            engine.attempts.withdraw(&self.request);
            let text = format!(
                "the outcome of a call for lock {id} is unknown ({cause}): ask dss_lock_status; a lock that this call \
                 may have taken is released with the handle's next call"
            );
            return Err(Error::new(Code::Unknown, text));
        }
        let text = format!("gave up on lock {id} when timeout_ms had passed ({cause}): try again, or allow more time");
        Err(Error::new(Code::Busy, text))
    }
}

impl Engine {
    /// Does one request, alone or together with those of other threads, and waits for its answer.
    pub fn call(&self, request: Request, deadline: Instant, inside: &mut Inside) -> Outcome {
        let ticket = Arc::new(Ticket { request, deadline, progress: Mutex::default(), wake: Condvar::new() });
        let mut state = lock(&self.queue.state);
        state.waiting.push_back(ticket.clone());
        loop {
            if let Some(outcome) = lock(&ticket.progress).outcome.take() {
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
                state.waiting.front().inspect(|next| next.rouse());
                continue;
            }
            if clock::instant() >= deadline && state.leave(&ticket) {
                return ticket.give_up(self);
            }
            state = self.wait(state, &ticket, inside)?;
        }
    }

    /// Waits for an answer, for the turn to work, or for the end of the time; one whose request is under way at that
    /// end looks again every few milliseconds, for its answer comes with that of the transaction.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        ticket: &Ticket,
        inside: &mut Inside,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let left = ticket.deadline.saturating_duration_since(clock::instant()).max(Duration::from_millis(5));
        lock(&ticket.progress).asleep = true;
        // The queue is let go before the gate is entered again: a fork that shuts the gate waits for those inside, and one
        // of them may be waiting for the queue.
        inside.outside(|| drop(ticket.wake.wait_timeout(state, left)))?;
        Ok(lock(&self.queue.state))
    }

    /// Applies batch after batch until the caller's own request is answered.
    fn work_until_answered(&self, own: &Ticket, inside: &mut Inside) -> Result<(), Error> {
        let mut pause = Pause::new();
        while !own.is_answered() {
            let (reads, writes) = lock(&self.queue.state).take_batch();
            let hindered = [reads, writes].map(|batch| self.apply(batch)).contains(&true);
            self.expire();
            if hindered && !own.is_answered() {
                inside.outside(|| pause.sleep(own.deadline))?;
            }
        }
        Ok(())
    }

    /// Applies one batch and answers its tickets, or puts them back; true if somebody was in the way.
    fn apply(&self, batch: Vec<Arc<Ticket>>) -> bool {
        if batch.is_empty() {
            return false;
        }
        let own_work = self.attempts.pending();
        let requests: Vec<&Request> = own_work.iter().chain(batch.iter().map(|ticket| &ticket.request)).collect();
        let applied = catch_unwind(AssertUnwindSafe(|| lock(&self.store).apply(&requests)));
        match applied {
            Ok(Ok(outcomes)) => {
                self.attempts.done(&own_work);
                self.answer(&batch, outcomes.into_iter().skip(own_work.len()));
            }
            Ok(Err(Fault::Failed(error))) => {
                let outcomes: Vec<Outcome> = batch.iter().map(|ticket| ticket.fail(&error, self)).collect();
                self.answer(&batch, outcomes.into_iter());
            }
            Ok(Err(Fault::Busy(error))) => return self.put_back(batch, &error, false),
            Ok(Err(Fault::Unknown(error))) => return self.put_back(batch, &error, true),
            Err(_panic) => {
                lock(&self.queue.state).broken = true;
                self.answer(&batch, batch.iter().map(|_| Err(registry::broken())));
            }
        }
        false
    }

    /// With the queue locked: a caller looks for its answer and begins to wait under that lock, and misses no wake-up.
    fn answer(&self, batch: &[Arc<Ticket>], outcomes: impl Iterator<Item = Outcome>) {
        let _state = lock(&self.queue.state);
        batch.iter().zip(outcomes).for_each(|(ticket, outcome)| ticket.answer(outcome));
    }

    fn put_back(&self, batch: Vec<Arc<Ticket>>, error: &Error, in_doubt: bool) -> bool {
        batch.iter().for_each(|ticket| ticket.hinder(error, in_doubt));
        let mut state = lock(&self.queue.state);
        batch.into_iter().rev().for_each(|ticket| state.waiting.push_front(ticket));
        true
    }

    /// Answers the waiting tickets whose time is up.
    fn expire(&self) {
        let now = clock::instant();
        let mut state = lock(&self.queue.state);
        state.waiting.retain(|ticket| {
            let late = ticket.deadline <= now;
            if late {
                ticket.answer(ticket.give_up(self));
            }
            !late
        });
    }
}

impl State {
    /// Takes what waits, up to the size of a batch: reads, which wait for nobody, apart from writes.
    fn take_batch(&mut self) -> (Vec<Arc<Ticket>>, Vec<Arc<Ticket>>) {
        let size = self.waiting.len().min(BATCH_MAX);
        self.waiting.drain(..size).partition(|ticket| ticket.request.is_read())
    }

    /// Takes the ticket out of the queue; false if its request is under way.
    fn leave(&mut self, ticket: &Arc<Ticket>) -> bool {
        let place = self.waiting.iter().position(|other| Arc::ptr_eq(other, ticket));
        place.is_some_and(|place| self.waiting.remove(place).is_some())
    }
}

/// Growing pauses between tries; the one place where the library sleeps.
pub struct Pause {
    next: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_micros(500);

    pub fn new() -> Pause {
        Pause { next: Self::FIRST }
    }

    /// Sleeps for a while, but not beyond the deadline. The length differs from caller to caller, so that processes
    /// that met once do not meet again.
    pub fn sleep(&mut self, deadline: Instant) {
        let now = clock::instant();
        let left = deadline.saturating_duration_since(now);
        let mix = u64::from(std::process::id()) ^ (clock::now_us() as u64);
        let share = mix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let length = self.next.mul_f64(0.5 + share as f64 / 256.0);
        thread::sleep(length.min(left));
        self.next = (self.next * 2).min(Self::LONGEST);
    }
}
