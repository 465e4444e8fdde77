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
        request::{Outcome, Reply, Request},
    },
    store::Fault,
    sys::futex::Bell,
};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    bell: Bell,
}

#[derive(Default)]
struct Progress {
    outcome: Option<Outcome>,
    /// What stood in the way so far, for the text of a call that gives up.
    hindrance: Option<Error>,
    /// An earlier try may have been applied.
    in_doubt: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticket {
    fn answer(&self, outcome: Outcome) {
        lock(&self.progress).outcome = Some(outcome);
        self.bell.ring();
    }

    fn is_answered(&self) -> bool {
        lock(&self.progress).outcome.is_some()
    }

    fn hinder(&self, error: &Error, in_doubt: bool) {
        let mut progress = lock(&self.progress);
        progress.in_doubt |= in_doubt;
        progress.hindrance = Some(error.clone());
    }

    /// The store's answer, seen in the light of an earlier try that may have been applied: a lock that is gone may be gone
    /// by this very call.
    fn judge(&self, outcome: Outcome, engine: &Engine) -> Outcome {
        let in_doubt = lock(&self.progress).in_doubt;
        let gone = |error: &Error| matches!(error.code, Code::NoLock | Code::Denied | Code::Stale);
        match outcome {
            Ok(Reply::Each(mut results)) if in_doubt => {
                for denial in results.iter_mut().filter_map(|result| result.as_mut().err()) {
                    if gone(&denial.error) {
                        denial.error = self.unknown(engine);
                    }
                }
                Ok(Reply::Each(results))
            }
            Err(error) if in_doubt && matches!(self.request, Request::Transfer { .. }) && gone(&error) => {
                Err(self.unknown(engine))
            }
            outcome => outcome,
        }
    }

    /// The answer where the store can't do it. An earlier try that may have been applied stays unknown.
    fn fail(&self, error: &Error, engine: &Engine) -> Outcome {
        let in_doubt = lock(&self.progress).in_doubt;
        if in_doubt { self.give_up(engine) } else { Err(error.clone()) }
    }

    /// The answer of a call whose time is up.
    fn give_up(&self, engine: &Engine) -> Outcome {
        if lock(&self.progress).in_doubt {
            return Err(self.unknown(engine));
        }
        let text = format!(
            "gave up on {} when timeout_ms had passed ({}): try again, or allow more time",
            self.subject(),
            self.cause()
        );
        Err(Error::new(Code::Busy, text))
    }

    /// What is said of a call that may have been applied; a lock that it may have taken is given back.
    fn unknown(&self, engine: &Engine) -> Error {
        engine.attempts.withdraw(&self.request);
        let text = format!(
            "the outcome of a call for {} is unknown ({}): a lock that it may have taken is released with the next call, so \
             take it again; after another call ask dss_lock_status",
            self.subject(),
            self.cause()
        );
        Error::new(Code::Unknown, text)
    }

    fn cause(&self) -> String {
        let progress = lock(&self.progress);
        progress.hindrance.as_ref().map_or("other threads' calls come first".into(), |error| error.text.clone())
    }

    fn subject(&self) -> String {
        match self.request.ids() {
            [] => "no lock".into(),
            [id] => format!("lock {id}"),
            [id, others @ ..] => format!("lock {id} and {} more", others.len()),
        }
    }
}

impl Queue {
    pub fn is_broken(&self) -> bool {
        lock(&self.state).broken
    }
}

impl Engine {
    /// Whether a defect was contained, after which nothing is answered any more.
    pub fn is_broken(&self) -> bool {
        self.queue.is_broken()
    }

    /// Does one request, alone or together with those of other threads, and waits for its answer.
    pub fn call(&self, request: Request, deadline: Instant, inside: &mut Inside) -> Outcome {
        let ticket = Arc::new(Ticket { request, deadline, progress: Mutex::default(), bell: Bell::default() });
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
                state.waiting.front().inspect(|next| next.bell.ring());
                continue;
            }
            if clock::instant() >= deadline && state.leave(&ticket) {
                return ticket.give_up(self);
            }
            drop(state);
            wait(&ticket, inside)?;
            state = lock(&self.queue.state);
        }
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
        let applied = catch_unwind(AssertUnwindSafe(|| self.apply_and_wake(&requests)));
        match applied {
            Ok(Ok(outcomes)) => {
                self.attempts.done(&own_work);
                let answers = outcomes.into_iter().skip(own_work.len());
                batch.iter().zip(answers).for_each(|(ticket, outcome)| ticket.answer(ticket.judge(outcome, self)));
            }
            Ok(Err(Fault::Failed(error))) => {
                batch.iter().for_each(|ticket| ticket.answer(ticket.fail(&error, self)));
            }
            Ok(Err(Fault::Busy(error))) => return self.put_back(batch, &error, false),
            Ok(Err(Fault::Unknown(error))) => return self.put_back(batch, &error, true),
            Err(_panic) => {
                let mut state = lock(&self.queue.state);
                state.broken = true;
                let all = batch.iter().chain(&state.waiting);
                all.for_each(|ticket| ticket.answer(Err(registry::broken())));
                state.waiting.clear();
                drop(state);
                // The store holds nothing any more, so that a new handle can open it anew.
                let _ = catch_unwind(AssertUnwindSafe(|| self.suspend()));
            }
        }
        false
    }

    /// Whoever waits for what was released is woken when it can be seen.
    fn apply_and_wake(&self, requests: &[&Request]) -> Result<Vec<Outcome>, Fault> {
        let mut store = lock(&self.store);
        let outcomes = store.apply(requests)?;
        let mut releases = requests.iter().filter(|request| request.releases()).peekable();
        if releases.peek().is_some() {
            let waiters = store.waiters();
            drop(store);
            releases.for_each(|request| waiters.wake(request.ids()));
        }
        Ok(outcomes)
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

/// Waits for an answer, for the turn to work, or for the end of the time; one whose request is under way at that end looks
/// again every few milliseconds, for its answer comes with that of the transaction. No lock of ours is held meanwhile: a
/// signal handler may fork here. Where signals are watched they have to wait for the end of this, so it is short.
fn wait(ticket: &Ticket, inside: &mut Inside) -> Result<(), Error> {
    const SHORT: Duration = Duration::from_millis(5);
    let left = ticket.deadline.saturating_duration_since(clock::instant()).max(SHORT);
    let left = if inside.watches_signals() { SHORT } else { left };
    inside.outside(|| ticket.bell.wait(left))
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

/// Growing pauses between tries: how the engine waits for somebody who is in the way.
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
