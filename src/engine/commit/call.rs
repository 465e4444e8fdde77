//! A thread's call: it runs its request itself, or leaves it in the queue and waits for its answer.

use super::{
    engine::{Engine, broken},
    lock::lock,
    ticket::Ticket,
};
use crate::{
    clock,
    engine::gate::Inside,
    model::{
        error::Error,
        request::{Outcome, Request},
    },
    store::contract::Fault,
};
use std::time::{Duration, Instant};

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
                return Err(broken());
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
                return ticket.give_up(&self.attempts);
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
