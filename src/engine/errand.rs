//! Requests that another process does: while it has the write lock, this one leaves its requests for it, waits for the answers,
//! and pays neither for a transaction nor for a flush of its own.

use super::{Engine, gate::Inside, pause::Pause, ticket::Ticket};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        request::{Reply, Request},
    },
    store::{
        contract::Fault,
        desks::{Answer, Desks, Look, PATIENCE},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long after their time is up requests are waited for that another process has in hand.
const GRACE: Duration = Duration::from_millis(500);

/// What is to be done next about requests that were left.
enum Next {
    Wait,
    /// Nobody does them: this process has to.
    Work,
    /// They are answered, or back in the queue; with `true`, after somebody was in the way.
    Over(bool),
}

/// Requests that lie on this process's desk.
struct Left<'a> {
    desks: &'a Arc<Desks>,
    batch: Vec<Arc<Ticket>>,
    /// There is nothing on the desk but the wish to have a turn.
    for_a_turn: bool,
    /// This process has been to work itself: that somebody is at work is a hint, which one who was killed leaves behind.
    was_tried: bool,
    /// That of the call whose thread waits here; its own request need not be among these.
    deadline: Instant,
}

impl Engine {
    /// Leaves as many of the writes as there is room for, and waits until they are answered or are to be asked for anew, for no
    /// longer than the caller's own call may take. True if somebody was in the way.
    pub fn leave_for_others(&self, desks: &Arc<Desks>, deadline: Instant, inside: &mut Inside) -> Result<bool, Error> {
        let mut batch = self.queue.take_writes();
        if batch.is_empty() {
            return Ok(false);
        }
        // What was given up has to go ahead of them, in a transaction of this process.
        let needs_turn = batch.iter().any(|ticket| ticket.is_by_itself()) || !self.attempts.pending().is_empty();
        let requests: Vec<&Request> =
            if needs_turn { Vec::new() } else { batch.iter().map(|ticket| &ticket.request).collect() };
        // Without a desk (there are more processes than desks) this one contends for the write lock.
        let Some(count) = desks.post(&requests) else { return Ok(self.apply(batch, inside)) };
        if count > 0 {
            self.queue.put_back(batch.split_off(count));
        }
        self.queue.stands_at(Some(desks.clone()));
        let waited =
            self.wait_for_others(Left { desks, batch, for_a_turn: count == 0, was_tried: false, deadline }, inside);
        self.queue.stands_at(None);
        waited
    }

    fn wait_for_others(&self, mut left: Left<'_>, inside: &mut Inside) -> Result<bool, Error> {
        let (mut pause, mut tried) = (Pause::new(), clock::instant());
        loop {
            // Other threads' reads do not wait for writers.
            self.do_reads(inside);
            let next = match left.next(self, inside) {
                Next::Work => {
                    left.was_tried = true;
                    self.go_to_work(&mut left, inside)
                }
                next => next,
            };
            match next {
                Next::Over(hindered) => return Ok(hindered),
                Next::Work => inside.outside(|| pause.sleep(left.deadline()))?,
                // Whoever is at work does not answer: it may be gone.
                Next::Wait if tried.elapsed() >= PATIENCE => {
                    tried = clock::instant();
                    if let Next::Over(hindered) = self.go_to_work(&mut left, inside) {
                        return Ok(hindered);
                    }
                }
                Next::Wait => inside.outside(|| left.desks.wait(PATIENCE.saturating_sub(tried.elapsed())))?,
            }
        }
    }

    /// Does what lies on all desks, this process's among them. [`Next::Work`] if somebody is in the way.
    fn go_to_work(&self, left: &mut Left<'_>, inside: &mut Inside) -> Next {
        left.desks.announce_work();
        if left.for_a_turn {
            return self.do_itself(left, inside);
        }
        left.desks.insist();
        match self.ask(&[], left.deadline, inside) {
            // It was not among what was done: it is unreadable, or there is too much.
            Ok(_) if matches!(left.desks.look(), Look::Posted { .. }) => self.do_itself(left, inside),
            Ok(_) | Err(Fault::Unknown(_)) => Next::Wait,
            Err(Fault::Busy(error)) => {
                left.batch.iter().for_each(|ticket| ticket.hinder(&error, false));
                Next::Work
            }
            Err(Fault::Failed(error)) if left.desks.recall() => {
                self.fail(&left.batch, &error);
                Next::Over(false)
            }
            Err(Fault::Failed(_)) => Next::Work,
        }
    }

    /// Does what was left in a transaction of this process, unless somebody has begun with it.
    fn do_itself(&self, left: &mut Left<'_>, inside: &mut Inside) -> Next {
        match left.desks.recall() {
            true => Next::Over(self.apply(std::mem::take(&mut left.batch), inside)),
            false => Next::Wait,
        }
    }

    /// Gives the tickets the answers that lay on the desk. What was refused is found out by a look if that is enough.
    fn settle(&self, batch: Vec<Arc<Ticket>>, answers: &[Answer], inside: &mut Inside) {
        let mut again = Vec::new();
        let no_answer = std::iter::repeat(&Answer::Unknown);
        for (ticket, answer) in batch.iter().cloned().zip(answers.iter().chain(no_answer)) {
            match answer.reply_to(&ticket.request) {
                Some(reply) => {
                    self.wake_after(&[&ticket.request]);
                    ticket.answer(ticket.judge(Ok(reply), self));
                }
                None if *answer == Answer::Unknown => {
                    let text = "the process that did it for this one could not flush it to the disk";
                    ticket.hinder(&Error::new(Code::Io, text), true);
                    again.push(ticket);
                }
                None => match self.refusal(&ticket, inside) {
                    Some(reply) => ticket.answer(ticket.judge(Ok(reply), self)),
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

    /// Who is in the way of a lock that was refused, if that is still so.
    fn refusal(&self, ticket: &Ticket, inside: &mut Inside) -> Option<Reply> {
        let Request::Lock(wanted) = &ticket.request else { return None };
        match self.ask(&[&Request::Peek(wanted.clone())], ticket.deadline, inside).ok()?.pop() {
            Some(Ok(Reply::Refused(in_the_way))) => Some(Reply::Refused(in_the_way)),
            _ => None,
        }
    }
}

impl Left<'_> {
    /// Nobody knows what becomes of the requests: they are asked for again.
    fn give_up(&mut self, engine: &Engine, cause: &str) -> Next {
        self.desks.abandon();
        engine.put_back(std::mem::take(&mut self.batch), &Error::new(Code::Busy, cause), true);
        Next::Over(false)
    }

    fn deadline(&self) -> Instant {
        self.batch.iter().map(|ticket| ticket.deadline).fold(self.deadline, Instant::min)
    }

    fn next(&mut self, engine: &Engine, inside: &mut Inside) -> Next {
        let look = self.desks.look();
        let late = clock::instant().checked_duration_since(self.deadline());
        match (look, late) {
            (Look::Answered(answers), _) => {
                engine.settle(std::mem::take(&mut self.batch), &answers, inside);
                Next::Over(false)
            }
            (Look::Posted { .. }, Some(_)) if !self.was_tried => Next::Work,
            // Those whose time is up leave the queue, the others are left anew.
            (Look::Posted { .. }, Some(_)) if self.desks.recall() => {
                engine.queue.put_back(std::mem::take(&mut self.batch));
                Next::Over(false)
            }
            (Look::Taken, Some(late)) if late > GRACE => {
                self.give_up(engine, "another process has had it in hand for too long")
            }
            (Look::Lost, _) => {
                self.give_up(engine, "somebody has written over what the processes leave for each other")
            }
            (Look::Posted { leads: true }, None) => Next::Work,
            _ => Next::Wait,
        }
    }
}
