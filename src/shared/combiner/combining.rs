//! The requests of other processes, in the hands of the combiner.

use super::{
    codec::{self, Answer},
    list::{PublicationList, wake_bit},
    memory::{Phase, RECORDS, Record, StateWord},
};
use crate::{
    clock,
    model::request::{Outcome, Request},
    sys::futex,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// What a transaction needs to run the requests of other processes, too. If it is dropped before
/// [`Combining::answer`], none of them has happened.
pub struct Combining {
    list: Option<Arc<PublicationList>>,
    /// This process holds the combiner's lock.
    has_lock: bool,
    /// This process has said that it becomes the combiner.
    announced: bool,
    /// The transaction has begun.
    began: bool,
    /// The number of this transaction.
    transaction: u64,
    taken: Vec<Taken>,
}

/// The requests of a record.
struct Taken {
    index: usize,
    state: StateWord,
    requests: Vec<Request>,
    answers: Vec<Option<Answer>>,
}

impl Combining {
    /// Call before the transaction begins. The lock is taken only where other processes have shown
    /// up.
    pub fn new(list: Option<Arc<PublicationList>>) -> Combining {
        let (mut announced, mut has_lock, mut transaction) = (false, false, 0);
        if let Some(list) = &list {
            announced = list.announced.swap(false, Ordering::SeqCst);
            has_lock = has_company(list) && list.try_lock();
            transaction = list.next_transaction();
        }
        Combining { list, has_lock, announced, began: false, transaction, taken: Vec::new() }
    }

    /// The list, if this process may take what is in it.
    fn list(&self) -> Option<&Arc<PublicationList>> {
        self.list.as_ref().filter(|_| self.has_lock)
    }

    pub fn has_lock(&self) -> bool {
        self.has_lock
    }

    /// Call when the transaction has begun: other processes publish their requests from now on.
    pub fn begin(&mut self) {
        if let Some(list) = &self.list {
            self.began = true;
            list.memory.active().store(1, Ordering::SeqCst);
        }
    }

    /// Whether a combiner has died and left requests without answers.
    pub fn is_recovery_due(&self) -> bool {
        self.list().is_some_and(|list| list.memory.records_in(Phase::Taken).next().is_some())
    }

    /// Settles the requests that a dead combiner has left. `committed` is the number of the last
    /// transaction with requests of others that the store has: their answers were written before
    /// its commit. All others have not happened.
    pub fn recover(&self, committed: Option<u64>) {
        let Some(list) = self.list() else { return };
        let mut wake_bits = 0;
        for (index, record) in list.memory.records_in(Phase::Taken) {
            let happened = committed == Some(record.transaction());
            record.change(record.state().with(Phase::Taken), if happened { Phase::Answered } else { Phase::Empty });
            wake_bits |= wake_bit(index);
        }
        list.wake(wake_bits);
    }

    /// Waits for the processes that took part in the last transaction, for they are about to come
    /// again, but not beyond that time. True if there is something to take.
    pub fn wait_for_more(&self, until: Instant) -> bool {
        let Some(list) = self.list() else { return false };
        let memory = &list.memory;
        let count_published = || published_by_others(list).count() as u64;
        let expected = memory.expected().load(Ordering::SeqCst).min(RECORDS as u64);
        loop {
            let published = count_published();
            let missing = expected.saturating_sub(1 + self.taken.len() as u64 + published);
            let left = until.saturating_duration_since(clock::instant());
            if missing == 0 || left.is_zero() {
                memory.missing().store(0, Ordering::SeqCst);
                return published > 0;
            }
            memory.missing().store(missing, Ordering::SeqCst);
            if count_published() == published {
                futex::wait_shared(memory.missing(), missing, u32::MAX, left);
            }
        }
    }

    /// Takes the requests of others, at most so many in all, in the order in which they were
    /// published. False if there are none.
    pub fn take(&mut self, most: usize) -> bool {
        let Some(list) = self.list().cloned() else { return false };
        let before = self.taken.len();
        let mut room = most.saturating_sub(self.taken.iter().map(|taken| taken.requests.len()).sum());
        let mut published: Vec<_> = published_by_others(&list).collect();
        published.sort_unstable_by_key(|(_, record)| record.ticket());
        for (index, record) in published {
            let state = record.state().with(Phase::Published);
            if !list.is_alive(index) {
                record.change(state, Phase::Empty);
                continue;
            }
            let Some(requests) = requests_of(record).filter(|requests| (1..=room).contains(&requests.len())) else {
                continue;
            };
            record.set_transaction(self.transaction);
            if record.change(state, Phase::Taken) {
                room -= requests.len();
                let answers = vec![None; requests.len()];
                self.taken.push(Taken { index, state: state.with(Phase::Taken), requests, answers });
            }
        }
        self.taken.len() > before
    }

    /// Runs each request that has no answer yet.
    pub fn run_each<E>(&mut self, mut run: impl FnMut(&Request) -> Result<Outcome, E>) -> Result<(), E> {
        for taken in &mut self.taken {
            for (request, answer) in taken.requests.iter().zip(&mut taken.answers) {
                if answer.is_none() {
                    *answer = Some(Answer::of(&run(request)?));
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn requests(&self) -> Vec<&Request> {
        self.taken.iter().flat_map(|taken| &taken.requests).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Call before the commit: writes the answers, which count from [`Combining::answer`] on, or
    /// from a recovery. Returns the number that must be committed with them, if any of the requests
    /// has changed something.
    pub fn write_answers(&self) -> Option<u64> {
        self.write(|answer| answer.unwrap_or(Answer::Refused));
        let mut answers = self.taken.iter().flat_map(|taken| &taken.answers);
        answers.any(|answer| matches!(answer, Some(Answer::Done(_)))).then_some(self.transaction)
    }

    fn write(&self, answer_of: impl Fn(Option<Answer>) -> Answer) {
        let Some(list) = self.list() else { return };
        for taken in &self.taken {
            let record = list.memory.record(taken.index);
            // A process that has lost the lock, since its host has closed the file, leaves records
            // that are another's alone.
            if record.state() != taken.state {
                continue;
            }
            for (index, answer) in taken.answers.iter().enumerate() {
                record.set_answer(taken.state, index, answer_of(*answer).words());
            }
        }
    }

    /// The transaction is committed.
    pub fn answer(mut self) {
        self.end(Phase::Answered);
    }

    /// It is unknown whether the transaction is committed.
    pub fn answer_unknown(mut self) {
        self.write(|_| Answer::Unknown);
        self.end(Phase::Answered);
    }

    fn end(&mut self, phase: Phase) {
        let Some(list) = self.list.take() else { return };
        let mut wake_bits = 0;
        let took_part = 1 + self.taken.len() + list.memory.records_in(Phase::Published).count();
        for taken in &self.taken {
            list.memory.record(taken.index).change(taken.state, phase);
            wake_bits |= wake_bit(taken.index);
        }
        if self.has_lock {
            list.unlock();
        }
        if self.began {
            list.memory.expected().store(took_part as u64, Ordering::SeqCst);
        }
        if self.began || self.announced {
            list.memory.active().store(0, Ordering::SeqCst);
        }
        if self.began {
            wake_bits |= name_next(&list);
        }
        list.wake(wake_bits);
    }
}

impl Drop for Combining {
    fn drop(&mut self) {
        self.end(Phase::Empty);
    }
}

/// Tells the process that has waited longest to become the next combiner, and returns its futex
/// bit. One that was told before and did not come is stopped, or dead.
fn name_next(list: &PublicationList) -> u32 {
    let waiting = list.memory.records_in(Phase::Published).filter(|(_, record)| !record.is_next());
    let Some((index, record)) = waiting.min_by_key(|(_, record)| record.ticket()) else { return 0 };
    list.memory.active().store(1, Ordering::SeqCst);
    record.set_next(true);
    wake_bit(index)
}

/// Whether other processes use the list, as far as it shows.
fn has_company(list: &PublicationList) -> bool {
    let shows = |phase| list.memory.records_in(phase).next().is_some();
    list.memory.expected().load(Ordering::SeqCst) > 1 || shows(Phase::Published) || shows(Phase::Taken)
}

fn published_by_others(list: &PublicationList) -> impl Iterator<Item = (usize, Record<'_>)> {
    list.memory.records_in(Phase::Published).filter(|(index, _)| !list.is_own(*index))
}

/// None for bytes that are no requests: their process runs them itself.
fn requests_of(record: Record<'_>) -> Option<Vec<Request>> {
    let (count, bytes) = (record.request_count(), record.request_bytes());
    let mut bytes = &bytes[..];
    let requests: Vec<Request> = (0..count).map_while(|_| codec::decode(&mut bytes)).collect();
    (requests.len() == count).then_some(requests)
}
