//! What others have left on their desks, in the hands of the process that is at work.

use super::{
    Desks, bit,
    codec::{self, Answer},
    layout::{DESKS, Mark, Memory, Set, Slot, State},
};
use crate::{
    clock,
    model::{
        lock::End,
        request::{Grant, Outcome, Request},
    },
    sys::futex,
};
use std::{
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
    time::Instant,
};

/// What others have left for whoever has the write lock, in the hands of this process. If it is dropped before it is
/// answered, it is as if it had never been taken.
pub struct Errands {
    desks: Option<Arc<Desks>>,
    /// It has to say when it is done.
    works: bool,
    taken: Vec<Errand>,
}

/// A desk's requests.
struct Errand {
    place: usize,
    mark: Mark,
    ticket: u64,
    requests: Vec<Request>,
    answers: Vec<Option<Answer>>,
    /// Somebody else has had it in hand before, and perhaps done it.
    is_owed: bool,
}

/// Names one request of one desk for ever.
pub type ErrandNumber = u64;

fn number_of(mark: Mark, index: usize) -> ErrandNumber {
    mark.number << 4 | index as u64
}

impl Errands {
    pub fn of(desks: Option<Arc<Desks>>) -> Errands {
        let works = desks.as_ref().is_some_and(|desks| desks.announced.swap(false, Ordering::SeqCst));
        Errands { desks, works, taken: Vec::new() }
    }

    /// To be said when the write lock is won: others lay their requests on their desks from now on.
    pub fn begin(&mut self) {
        if let Some(desks) = &self.desks {
            self.works = true;
            desks.memory.at_work().store(1, Ordering::SeqCst);
        }
    }

    /// Whether there is more to take. Those who took part in the last transaction are about to come again: they are waited
    /// for, but not beyond that time.
    pub fn are_more(&self, until: Instant) -> bool {
        let Some(desks) = &self.desks else { return false };
        let memory = &desks.memory;
        let expected = memory.expected().load(Ordering::SeqCst).min(DESKS as u64);
        loop {
            let here = waiting(memory).filter(|(_, place)| !desks.is_own(*place)).count() as u64;
            let missing = expected.saturating_sub(1 + self.taken.len() as u64 + here);
            let left = until.saturating_duration_since(clock::instant());
            if missing == 0 || left.is_zero() {
                memory.awaited().store(0, Ordering::SeqCst);
                return here > 0;
            }
            memory.awaited().store(missing, Ordering::SeqCst);
            if waiting(memory).filter(|(_, place)| !desks.is_own(*place)).count() as u64 == here {
                futex::wait_shared(memory.awaited(), missing, u32::MAX, left);
            }
        }
    }

    /// Whether a process before has left its work without giving the answers.
    pub fn some_are_owed(&self) -> bool {
        self.desks.iter().any(|desks| desks.memory.members(Set::Taken).next().is_some())
    }

    /// To be said once, before [`Errands::take`]: takes over what a process before has left. `unlocked` are the unlocks that
    /// the last transaction which did some for others has done, and the tokens of their locks.
    pub fn take_owed(&mut self, unlocked: &[(ErrandNumber, u64)]) {
        let Some(desks) = &self.desks else { return };
        for place in desks.memory.members(Set::Taken) {
            let Some(owed) = errand(desks, place, State::Taken, unlocked) else { continue };
            if !desks.is_alive(place) {
                forget_dead(desks, place, Set::Taken, State::Taken);
                continue;
            }
            // From now on whoever owed them comes too late.
            let mark = owed.mark.next_round();
            if desks.memory.slot(place).change(owed.mark, mark) {
                self.taken.push(Errand { mark, is_owed: true, ..owed });
            }
        }
    }

    /// Takes what lies on the desks, those first who came first; false if there was nothing to take.
    pub fn take(&mut self, most: usize) -> bool {
        let Some(desks) = &self.desks else { return false };
        let before = self.taken.len();
        let mut room = most.saturating_sub(self.taken.iter().map(|errand| errand.requests.len()).sum());
        let mut posted: Vec<Errand> =
            desks.memory.members(Set::Posted).filter_map(|place| errand(desks, place, State::Posted, &[])).collect();
        posted.sort_unstable_by_key(|errand| errand.ticket);
        for errand in posted {
            if !desks.is_alive(errand.place) {
                forget_dead(desks, errand.place, Set::Posted, State::Posted);
                continue;
            }
            if errand.requests.is_empty() || errand.requests.len() > room {
                continue;
            }
            desks.memory.insert(Set::Taken, errand.place);
            let mark = Mark { state: State::Taken, ..errand.mark };
            if desks.memory.slot(errand.place).change(errand.mark, mark) {
                desks.memory.remove(Set::Posted, errand.place);
                room -= errand.requests.len();
                self.taken.push(Errand { mark, ..errand });
            } else {
                desks.memory.remove(Set::Taken, errand.place);
            }
        }
        self.taken.len() > before
    }

    /// Does each request that is not done yet.
    pub fn do_each<E>(&mut self, mut one: impl FnMut(&Request) -> Result<Outcome, E>) -> Result<(), E> {
        for errand in &mut self.taken {
            for (request, answer) in errand.requests.iter().zip(&mut errand.answers) {
                if answer.is_none() {
                    *answer = Some(Answer::of(&one(request)?));
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn requests(&self) -> Vec<&Request> {
        self.taken.iter().flat_map(|errand| &errand.requests).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// The unlocks among what was done, to be kept in the same transaction: an unlock can't be told from one that was
    /// done before.
    pub fn unlocked(&self) -> Vec<(ErrandNumber, u64)> {
        let unlock = |errand: &Errand, index: usize| match (&errand.requests[index], errand.answers[index]) {
            (Request::Unlock { .. }, Some(Answer::Done(grant))) => Some((number_of(errand.mark, index), grant.token)),
            _ => None,
        };
        self.taken
            .iter()
            .flat_map(|errand| (0..errand.requests.len()).filter_map(|index| unlock(errand, index)))
            .collect()
    }

    /// The transaction is committed: gives the answers.
    pub fn answer(mut self) {
        self.give(|answer| answer.unwrap_or(Answer::Refused));
    }

    /// Nobody knows what became of the transaction.
    pub fn all_unknown(mut self) {
        self.give(|_| Answer::Unknown);
    }

    fn give(&mut self, what: impl Fn(Option<Answer>) -> Answer) {
        let Some(desks) = &self.desks else { return };
        let (mut bits, took_part) = (0, 1 + self.taken.len() + waiting(&desks.memory).count());
        for errand in &self.taken {
            let slot = desks.memory.slot(errand.place);
            if slot.mark() == errand.mark {
                let answers = errand.answers.iter().map(|answer| what(*answer).words());
                answers.enumerate().for_each(|(index, words)| slot.set_answer(errand.mark, index, words));
                slot.change(errand.mark, Mark { state: State::Answered, ..errand.mark });
            }
            desks.memory.remove(Set::Taken, errand.place);
            if slot.mark().state == State::Taken {
                // It is another's already.
                desks.memory.insert(Set::Taken, errand.place);
            }
            bits |= bit(errand.place);
        }
        self.taken.clear();
        self.hand_on(took_part, bits);
    }

    /// Ends the work. Of those who have come meanwhile the first is told to go to work.
    fn hand_on(&mut self, took_part: usize, mut bits: u32) {
        let Some(desks) = self.desks.as_ref().filter(|_| self.works) else { return };
        self.works = false;
        let memory = &desks.memory;
        memory.expected().store(took_part as u64, Ordering::SeqCst);
        memory.at_work().store(0, Ordering::SeqCst);
        // Who was told before and did not come is stopped, or dead.
        let next = waiting(memory).filter(|(slot, _)| !slot.leads());
        if let Some((next, place)) = next.min_by_key(|(slot, _)| slot.ticket()) {
            memory.at_work().store(1, Ordering::SeqCst);
            next.set_leads(true);
            bits |= bit(place);
        }
        desks.wake(bits);
    }
}

impl Drop for Errands {
    /// What was taken and not answered lies there again, as if nothing had been. What was owed before is owed again.
    fn drop(&mut self) {
        let Some(desks) = &self.desks else { return };
        for errand in self.taken.drain(..).filter(|errand| !errand.is_owed) {
            let slot = desks.memory.slot(errand.place);
            desks.memory.insert(Set::Posted, errand.place);
            slot.change(errand.mark, Mark { state: State::Posted, ..errand.mark });
            desks.memory.remove(Set::Taken, errand.place);
            if slot.mark().state == State::Taken {
                desks.memory.insert(Set::Taken, errand.place);
            }
        }
        self.hand_on(1, 0);
    }
}

/// The desks on which requests lie that nobody has begun with, and their places.
fn waiting(memory: &Memory) -> impl Iterator<Item = (Slot<'_>, usize)> {
    let posted = memory.members(Set::Posted).map(|place| (memory.slot(place), place));
    posted.filter(|(slot, _)| slot.mark().state == State::Posted)
}

/// Takes the desk of a process that has ended out of a set; that of a new process stays.
fn forget_dead(desks: &Desks, place: usize, set: Set, state: State) {
    desks.memory.remove(set, place);
    if desks.is_alive(place) && desks.memory.slot(place).mark().state == state {
        desks.memory.insert(set, place);
    }
}

/// What lies on a desk that is in that state. Bytes that are no requests are not done, and their process goes to work itself.
fn errand(desks: &Desks, place: usize, state: State, unlocked: &[(ErrandNumber, u64)]) -> Option<Errand> {
    let slot = desks.memory.slot(place);
    let mark = slot.mark();
    let (count, bytes) = slot.content();
    let ticket = slot.ticket();
    fence(Ordering::Acquire);
    if mark.state != state || slot.mark() != mark {
        let set = if state == State::Taken { Set::Taken } else { Set::Posted };
        desks.memory.remove(set, place);
        if slot.mark().state == state {
            desks.memory.insert(set, place);
        }
        return None;
    }
    let mut bytes = &bytes[..];
    let requests: Vec<Request> = (0..count).map_while(|_| codec::decode(&mut bytes)).collect();
    let done = |index: usize| {
        let number = number_of(mark, index);
        let (_, token) = unlocked.iter().find(|(done, _)| *done == number)?;
        Some(Answer::Done(Grant { token: *token, ttl_ms: 0, before: End::Unlocked }))
    };
    let answers = (0..requests.len()).map(done).collect();
    (requests.len() == count).then_some(Errand { place, mark, ticket, requests, answers, is_owed: false })
}
