//! Requests that the combiner, another process, runs for this one: they are published in this
//! process's record, and its threads wait for the answers. So they cost neither a transaction nor a
//! flush of their own.

use super::{engine::Engine, ticket::Ticket};
use crate::{
    clock,
    engine::gate::Inside,
    model::{
        error::{Code, Error},
        request::{Reply, Request},
    },
    shared::combiner::{Answer, PATIENCE, Progress, PublicationList, STALLED_AFTER},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long after their deadline requests are waited for that the combiner has taken.
const GRACE: Duration = Duration::from_millis(500);

/// The next step about delegated requests.
enum Next {
    Wait,
    /// This process must become the combiner.
    Combine,
    /// They are answered, or back in the queue; with `true`, after contention.
    Over(bool),
}

/// Requests in this process's publication record.
struct Delegated<'a> {
    list: &'a Arc<PublicationList>,
    batch: Vec<Arc<Ticket>>,
    published: Instant,
    /// The earliest deadline, of the batch and of the calling thread, whose own request may not be
    /// in it.
    deadline: Instant,
}

impl Engine {
    /// Publishes as many of the writes as there is room for, and waits until they are answered or
    /// are back in the queue, at most until the calling thread's deadline. True after contention.
    pub fn delegate(&self, list: &Arc<PublicationList>, deadline: Instant, inside: &mut Inside) -> Result<bool, Error> {
        let mut batch = self.queue.take_writes();
        if batch.is_empty() {
            return Ok(false);
        }
        // Withdrawals must go ahead of them, in a transaction of this process: it only asks to be
        // next.
        let needs_turn = batch.iter().any(|ticket| ticket.is_by_itself()) || !self.attempts.pending().is_empty();
        let requests: Vec<&Request> =
            if needs_turn { Vec::new() } else { batch.iter().map(|ticket| &ticket.request).collect() };
        // Without a record this process contends for the write lock.
        let Some(count) = list.publish(&requests) else { return Ok(self.apply(batch, inside)) };
        if count > 0 {
            self.queue.put_back(batch.split_off(count));
        }
        let deadline = batch.iter().map(|ticket| ticket.deadline).fold(deadline, Instant::min);
        self.queue.set_delegated_to(Some(list.clone()));
        let delegated = Delegated { list, batch, published: clock::instant(), deadline };
        let waited = self.wait_for_combiner(delegated, inside);
        self.queue.set_delegated_to(None);
        waited
    }

    fn wait_for_combiner(&self, mut delegated: Delegated<'_>, inside: &mut Inside) -> Result<bool, Error> {
        let mut checked = delegated.published;
        loop {
            // Other threads' reads do not wait for writers.
            self.do_reads(inside);
            let mut next = delegated.next(self, inside);
            if matches!(next, Next::Wait) && checked.elapsed() >= PATIENCE {
                checked = clock::instant();
                next = delegated.check_combiner();
            }
            if matches!(next, Next::Combine) {
                next = self.combine(&mut delegated, inside);
            }
            match next {
                Next::Over(hindered) => return Ok(hindered),
                _ => inside.outside(|| delegated.list.wait(PATIENCE.saturating_sub(checked.elapsed())))?,
            }
        }
    }

    /// Runs the requests in a transaction of this process, with those of others.
    fn combine(&self, delegated: &mut Delegated<'_>, inside: &mut Inside) -> Next {
        delegated.list.become_combiner();
        if delegated.list.retract() {
            return Next::Over(self.apply(std::mem::take(&mut delegated.batch), inside));
        }
        // A combiner has taken them. If it has died, a transaction of this process settles what
        // became of them.
        let _ = self.ask(&[], delegated.deadline, inside);
        Next::Wait
    }

    /// Gives the tickets their answers. Why a request was refused is found out by a read if that is
    /// enough.
    fn settle(&self, batch: Vec<Arc<Ticket>>, answers: &[Answer], inside: &mut Inside) {
        let mut again = Vec::new();
        let no_answer = std::iter::repeat(&Answer::Unknown);
        for (ticket, answer) in batch.iter().cloned().zip(answers.iter().chain(no_answer)) {
            match answer.reply_to(&ticket.request) {
                Some(reply) => {
                    self.wake_after(&[&ticket.request]);
                    ticket.answer(ticket.judge(Ok(reply), &self.attempts));
                }
                None if *answer == Answer::Unknown => {
                    let text = "the process that ran it for this one could not flush it to the disk";
                    ticket.hinder(&Error::new(Code::Io, text), true);
                    again.push(ticket);
                }
                None => match self.refusal(&ticket, inside) {
                    Some(reply) => ticket.answer(ticket.judge(Ok(reply), &self.attempts)),
                    None => {
                        ticket.leave_to_itself();
                        again.push(ticket);
                    }
                },
            }
        }
        self.queue.put_back(again);
        self.tell(&batch);
    }

    /// The entries that conflict with a lock that was refused, if they still do.
    fn refusal(&self, ticket: &Ticket, inside: &mut Inside) -> Option<Reply> {
        let Request::Lock(wanted) = &ticket.request else { return None };
        match self.ask(&[&Request::Peek(wanted.clone())], ticket.deadline, inside).ok()?.pop() {
            Some(Ok(Reply::Refused(in_the_way))) => Some(Reply::Refused(in_the_way)),
            _ => None,
        }
    }
}

impl Delegated<'_> {
    fn next(&mut self, engine: &Engine, inside: &mut Inside) -> Next {
        let late = clock::instant().checked_duration_since(self.deadline);
        match (self.list.poll(), late) {
            (Progress::Answered(answers), _) => {
                engine.settle(std::mem::take(&mut self.batch), &answers, inside);
                Next::Over(false)
            }
            (Progress::NotDone, _) => {
                engine.queue.put_back(std::mem::take(&mut self.batch));
                Next::Over(false)
            }
            // Each request is tried once, however little time it has.
            (Progress::Published { is_next: true }, _) | (Progress::Published { .. }, Some(_)) => Next::Combine,
            (Progress::Taken, Some(late)) if late > GRACE => {
                self.give_up(engine, "another process has had it in hand for too long")
            }
            (Progress::Lost, _) => self.give_up(engine, "another process has written over its publication record"),
            (Progress::Published { .. } | Progress::Taken, _) => Next::Wait,
        }
    }

    /// Call when the answer is overdue. A combiner that lives is not overtaken, but one that is
    /// stopped takes nothing.
    fn check_combiner(&self) -> Next {
        let is_stalled = || self.published.elapsed() >= STALLED_AFTER && self.list.poll() != Progress::Taken;
        if !self.list.combiner_lives() || is_stalled() { Next::Combine } else { Next::Wait }
    }

    /// It is unknown what becomes of the requests.
    fn give_up(&mut self, engine: &Engine, cause: &str) -> Next {
        engine.put_back(std::mem::take(&mut self.batch), &Error::new(Code::Busy, cause), true);
        Next::Over(false)
    }
}
