//! Whoever works: batch after batch is taken to the store, and who left it is told.

use super::{
    engine::{Engine, broken},
    lock::lock,
    pause::Pause,
    queue::State,
    ticket::Ticket,
};
use crate::{
    clock,
    engine::gate::Inside,
    model::{
        error::Error,
        request::{Outcome, Request},
    },
    shared::combiner::PublicationList,
    store::contract::Fault,
};
use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

impl Engine {
    /// Applies batch after batch until the caller's own request is answered.
    pub(super) fn work_until_answered(&self, own: &Arc<Ticket>, inside: &mut Inside) -> Result<(), Error> {
        let mut pause = Pause::new();
        while !own.is_answered() {
            let mut hindered = self.do_reads(inside);
            // Who only reads does not stay for others' writes.
            if own.is_answered() {
                break;
            }
            hindered |= self.do_writes(own, inside)?;
            self.expire();
            if hindered && !own.is_answered() {
                inside.outside(|| pause.sleep(own.deadline))?;
            }
        }
        Ok(())
    }

    pub fn do_reads(&self, inside: &mut Inside) -> bool {
        self.apply(self.queue.take_reads(), inside)
    }

    /// Does the writes that are there, or delegates them to the combiner, another process; true if somebody was in the way.
    fn do_writes(&self, own: &Arc<Ticket>, inside: &mut Inside) -> Result<bool, Error> {
        if !self.queue.has_writes() {
            return Ok(false);
        }
        self.gather(own, inside)?;
        let batch = self.queue.take_writes();
        let Some(list) = self.publications() else { return Ok(self.apply(batch, inside)) };
        if batch.is_empty() || !list.try_become_combiner() {
            self.queue.put_back(batch);
        } else if !self.apply(batch, inside) {
            return Ok(false);
        }
        self.delegate(&list, own.deadline, inside)
    }

    /// Threads whose calls were answered together come again at about the same time. Those that are still on their way are
    /// waited for, but no longer than half of what a transaction of their own would take.
    fn gather(&self, own: &Arc<Ticket>, inside: &mut Inside) -> Result<(), Error> {
        const WORTH_A_WAIT: Duration = Duration::from_micros(20);
        const LONGEST: Duration = Duration::from_micros(200);
        let mut state = lock(&self.queue.state);
        let patience = (state.write_takes / 2).min(LONGEST);
        if own.request.is_read() || state.writes.len() >= state.expected || patience < WORTH_A_WAIT {
            return Ok(());
        }
        state.gathering = true;
        drop(state);
        inside.outside(|| self.queue.gathered.wait(patience))?;
        lock(&self.queue.state).gathering = false;
        Ok(())
    }

    /// Applies one batch and answers its tickets, or puts them back; true if somebody was in the way.
    pub fn apply(&self, batch: Vec<Arc<Ticket>>, inside: &mut Inside) -> bool {
        let Some(deadline) = batch.iter().map(|ticket| ticket.deadline).min() else { return false };
        let own_work = self.attempts.pending();
        let requests: Vec<&Request> =
            own_work.iter().chain(batch.iter().map(|ticket| ticket.asked(&self.attempts))).collect();
        let begun = clock::instant();
        match self.ask(&requests, deadline, inside) {
            Ok(outcomes) => {
                self.attempts.done(&own_work);
                if !batch[0].request.is_read() {
                    self.queue.note_transaction(batch.len(), begun.elapsed());
                }
                let answers = outcomes.into_iter().skip(own_work.len());
                batch
                    .iter()
                    .zip(answers)
                    .for_each(|(ticket, outcome)| ticket.answer(ticket.judge(outcome, &self.attempts)));
                self.tell(&batch);
            }
            Err(Fault::Failed(error)) => {
                // The one in the batch that had the least time has used it up; the others still have some.
                let now = clock::instant();
                let (late, in_time): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|ticket| now < deadline || ticket.deadline <= now);
                self.fail(&late, &error);
                return !in_time.is_empty() && self.put_back(in_time, &error, false);
            }
            Err(Fault::Busy(error)) => return self.put_back(batch, &error, false),
            Err(Fault::Unknown(error)) => return self.put_back(batch, &error, true),
        }
        false
    }

    pub fn fail(&self, batch: &[Arc<Ticket>], error: &Error) {
        batch.iter().for_each(|ticket| ticket.answer(ticket.fail(error, &self.attempts)));
        self.tell(batch);
    }

    /// Wakes those whose tickets were answered. Those of one batch mostly are of one group, or of a few.
    pub fn tell(&self, answered: &[Arc<Ticket>]) {
        answered
            .chunk_by(|one, next| Arc::ptr_eq(&one.group, &next.group))
            .for_each(|of_one_group| of_one_group[0].group.wake(i32::MAX));
    }

    pub fn put_back(&self, batch: Vec<Arc<Ticket>>, error: &Error, in_doubt: bool) -> bool {
        batch.iter().for_each(|ticket| ticket.hinder(error, in_doubt));
        self.queue.put_back(batch);
        true
    }

    /// Asks the store, and wakes those who wait for what was released. A defect in there is contained: the engine answers
    /// nothing from then on.
    pub fn ask(&self, requests: &[&Request], deadline: Instant, inside: &mut Inside) -> Result<Vec<Outcome>, Fault> {
        let asked = catch_unwind(AssertUnwindSafe(|| {
            let outcomes = self.with_store(inside, |store| store.apply(requests, deadline))?;
            self.wake_after(requests);
            Ok(outcomes)
        }));
        asked.unwrap_or_else(|_panic| {
            self.break_down();
            Err(Fault::Failed(broken()))
        })
    }

    pub(super) fn publications(&self) -> Option<Arc<PublicationList>> {
        if self.remote.is_some() { None } else { lock(&self.store).publications() }
    }

    /// To be said when what the requests released can be seen.
    pub fn wake_after(&self, requests: &[&Request]) {
        let mut releases = requests.iter().filter(|request| request.releases()).peekable();
        if releases.peek().is_some() {
            let waiters = self.waiters();
            releases.for_each(|request| waiters.wake(request.ids()));
        }
    }

    fn break_down(&self) {
        let mut state = lock(&self.queue.state);
        state.broken = true;
        let mut waiting = mem::take(&mut state.reads);
        waiting.append(&mut state.writes);
        drop(state);
        waiting.iter().for_each(|ticket| ticket.answer(Err(broken())));
        self.tell(waiting.make_contiguous());
        // The store holds nothing any more, so that a new handle can open it anew.
        let _ = catch_unwind(AssertUnwindSafe(|| self.suspend()));
    }

    /// Answers the waiting tickets whose time is up.
    fn expire(&self) {
        let now = clock::instant();
        let mut state = lock(&self.queue.state);
        let mut late = Vec::new();
        let State { reads, writes, .. } = &mut *state;
        for queue in [reads, writes] {
            late.extend(queue.iter().filter(|ticket| ticket.deadline <= now).cloned());
            queue.retain(|ticket| ticket.deadline > now);
        }
        drop(state);
        late.iter().for_each(|ticket| ticket.answer(ticket.give_up(&self.attempts)));
        self.tell(&late);
    }
}
