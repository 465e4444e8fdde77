//! How processes share transactions: each has a desk, in memory that all processes of a store see, and lays requests on it
//! while another process has the write lock. Whoever has the lock does the requests that lie on desks together with its own,
//! in one transaction and one flush, and puts the answers there.
//!
//! Nothing here grants a lock: that is the transaction's. So the memory needs no lock either, and whoever is killed or
//! stopped anywhere in here costs others [`PATIENCE`], and nothing else:
//!
//! - A desk belongs to the process that has a lock on a byte of the file, which the kernel gives up when it ends. What lies
//!   on the desk of a process that has ended is not done.
//! - Who was to do requests and is gone, or does not say so, was either in a transaction, which is as if it had never been,
//!   or had committed it and owes the answers. The next one with the write lock sees desks that are still *taken*, and does
//!   what lies on them again: a lock knows the attempt that took it, a refresh may be done twice, and of unlocks the store
//!   itself keeps which ones the last transaction has done for others ([`Errands::unlocked`]).
//! - All else is hints: that somebody is at work, who shall go next, how many to wait for. A process whose answer does not
//!   come goes to work itself.

mod codec;
mod layout;
#[cfg(test)]
mod tests;

use crate::{
    clock,
    model::{
        lock::End,
        request::{Grant, Outcome, Request},
    },
    sys::{self, byte_lock, futex, inherited::Kept, mapping::Mapping},
};
pub use codec::Answer;
pub use layout::LENGTH;
use layout::{DESKS, Mark, Memory, REQUESTS, ROOM, Set, Slot, State};
use std::{
    fs::File,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    time::{Duration, Instant},
};

/// How long a process waits for whoever is at work, before it looks whether it can go to work itself.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// The bytes of the file whose locks tell whose desk is whose; far behind its end.
const FIRST_BYTE: libc::off_t = 1 << 40;

/// All desks of a store, as this process sees them.
pub struct Desks {
    memory: Memory,
    file: Kept,
    /// This process's own, from its first use.
    own: OnceLock<Option<Own>>,
    /// This process has said that it is about to go to work.
    announced: AtomicBool,
}

struct Own {
    place: usize,
    /// The number of what lies on it, or lay there last.
    number: AtomicU64,
}

/// What a process finds on its own desk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// Nobody has begun with it; with `leads`, this process shall go to work.
    Posted {
        leads: bool,
    },
    Taken,
    Answered(Vec<Answer>),
    /// Somebody has written over it: it may have been done or not.
    Lost,
}

impl Desks {
    /// None if the memory is of another layout.
    pub fn of(mapping: Mapping, file: File) -> Option<Desks> {
        Some(Desks {
            memory: Memory::of(mapping)?,
            file: Kept::new(file),
            own: OnceLock::new(),
            announced: AtomicBool::new(false),
        })
    }

    /// Whether another process is at work, or about to be, as far as it is known.
    fn somebody_works(&self) -> bool {
        self.memory.at_work().load(Ordering::SeqCst) != 0
    }

    /// Of those who come when nobody is at work, one goes to work, and the others need not try for the write lock. True for
    /// that one: it is to ask the store at once.
    pub fn announce_work(&self) -> bool {
        let is_first = self.memory.at_work().compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if is_first {
            self.announced.store(true, Ordering::SeqCst);
        }
        is_first
    }

    /// Takes a free desk. A number that starts at random is never that of what a former owner left there.
    fn claim(&self) -> Option<Own> {
        let free = |place: &usize| byte_lock::try_lock(&self.file, FIRST_BYTE + *place as libc::off_t).unwrap_or(false);
        let place = (0..DESKS).find(free)?;
        let number = u64::from_ne_bytes(sys::random_bytes().ok()?) >> 8;
        self.memory.slot(place).set_mark(Mark { number, state: State::Empty });
        Some(Own { place, number: AtomicU64::new(number) })
    }

    fn own(&self) -> Option<&Own> {
        self.own.get_or_init(|| self.claim()).as_ref()
    }

    /// Lays requests on this process's desk, as many as it has room for, in their order. 0 of them: whoever works next shall
    /// tell this process when it is its turn. None if there is no desk to be had.
    pub fn post(&self, requests: &[&Request]) -> Option<usize> {
        let own = self.own()?;
        let (mut bytes, mut count) = (Vec::new(), 0);
        for request in requests.iter().take(REQUESTS) {
            let Some(encoded) = codec::encode(request).filter(|more| bytes.len() + more.len() <= ROOM) else { break };
            bytes.extend_from_slice(&encoded);
            count += 1;
        }
        let slot = self.memory.slot(own.place);
        let number = own.number.fetch_add(1, Ordering::Relaxed) + 1;
        // Whatever lay there is over, for whoever may still have it in hand.
        slot.set_mark(Mark { number, state: State::Empty });
        slot.fill(self.memory.next_ticket(), count, &bytes);
        slot.set_mark(Mark { number, state: State::Posted });
        self.memory.insert(Set::Posted, own.place);
        self.arrive();
        // Who ended its work at this very moment may not have seen this desk.
        if !self.somebody_works() {
            slot.set_leads(true);
        }
        Some(count)
    }

    /// Tells who is at work that one of those it waits for is here.
    fn arrive(&self) {
        let fewer = |awaited: u64| awaited.checked_sub(1);
        let awaited = self.memory.awaited();
        if awaited.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer) == Ok(1) {
            futex::wake_shared(awaited, u32::MAX);
        }
    }

    fn posted_mark(&self, own: &Own, state: State) -> Mark {
        Mark { number: own.number.load(Ordering::Relaxed), state }
    }

    pub fn look(&self) -> Look {
        let Some(own) = self.own() else { return Look::Lost };
        let slot = self.memory.slot(own.place);
        match slot.mark() {
            mark if mark == self.posted_mark(own, State::Taken) => Look::Taken,
            mark if mark == self.posted_mark(own, State::Answered) => {
                let answers = (0..slot.content().0).map(|index| Answer::of_words(slot.answer(index)));
                Look::Answered(answers.collect())
            }
            mark if mark == self.posted_mark(own, State::Posted) => Look::Posted { leads: slot.leads() },
            _ => Look::Lost,
        }
    }

    /// Waits until there may be something new to see, for at most that long.
    pub fn wait(&self, longest: Duration) {
        let Some(own) = self.own() else { return };
        let seen = self.memory.bell().load(Ordering::SeqCst);
        let before = self.look();
        if matches!(before, Look::Posted { leads: false } | Look::Taken) {
            futex::wait_shared(self.memory.bell(), seen, bit(own.place), longest);
        }
    }

    /// To be said before this process goes to work because nobody else seems to: the sets are hints, which can be lost with
    /// whoever was at work.
    pub fn insist(&self) {
        let Some(own) = self.own() else { return };
        match self.look() {
            Look::Posted { .. } => self.memory.insert(Set::Posted, own.place),
            Look::Taken => self.memory.insert(Set::Taken, own.place),
            Look::Answered(_) | Look::Lost => {}
        }
    }

    /// Ends a wait of this process.
    pub fn ring(&self) {
        self.own().iter().for_each(|own| self.wake(bit(own.place)));
    }

    fn wake(&self, bits: u32) {
        if bits != 0 {
            self.memory.bell().fetch_add(1, Ordering::SeqCst);
            futex::wake_shared(self.memory.bell(), bits);
        }
    }

    /// Takes back what nobody has begun with. False if somebody has.
    pub fn recall(&self) -> bool {
        let Some(own) = self.own() else { return true };
        let is_back = self.memory.slot(own.place).change(self.posted_mark(own, State::Posted), State::Empty);
        if is_back {
            self.memory.remove(Set::Posted, own.place);
        }
        is_back
    }

    /// Gives up what lies there, whatever comes of it.
    pub fn abandon(&self) {
        let Some(own) = self.own() else { return };
        let number = own.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.memory.slot(own.place).set_mark(Mark { number, state: State::Empty });
        self.memory.remove(Set::Posted, own.place);
    }

    fn is_own(&self, place: usize) -> bool {
        self.own.get().and_then(|own| own.as_ref()).is_some_and(|own| own.place == place)
    }

    fn is_alive(&self, place: usize) -> bool {
        self.is_own(place) || byte_lock::is_locked(&self.file, FIRST_BYTE + place as libc::off_t)
    }
}

/// Who waits at the bell under which bit. Two desks with one bit are woken together.
fn bit(place: usize) -> u32 {
    1 << (place % u32::BITS as usize)
}

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
        let owed = desks.memory.members(Set::Taken).filter_map(|place| errand(desks, place, State::Taken, unlocked));
        self.taken.extend(owed.filter(|errand| desks.is_alive(errand.place)));
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
            if errand.requests.is_empty() || errand.requests.len() > room || !desks.is_alive(errand.place) {
                continue;
            }
            desks.memory.insert(Set::Taken, errand.place);
            if desks.memory.slot(errand.place).change(errand.mark, State::Taken) {
                desks.memory.remove(Set::Posted, errand.place);
                room -= errand.requests.len();
                self.taken.push(Errand { mark: Mark { state: State::Taken, ..errand.mark }, ..errand });
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
                errand
                    .answers
                    .iter()
                    .enumerate()
                    .for_each(|(index, answer)| slot.set_answer(index, what(*answer).words()));
                slot.change(errand.mark, State::Answered);
            }
            desks.memory.remove(Set::Taken, errand.place);
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
        if let Some((next, place)) = waiting(memory).min_by_key(|(slot, _)| slot.ticket()) {
            memory.at_work().store(1, Ordering::SeqCst);
            next.set_leads(true);
            bits |= bit(place);
        }
        desks.wake(bits);
    }
}

impl Drop for Errands {
    /// What was taken and not answered lies there again, as if nothing had been.
    fn drop(&mut self) {
        let Some(desks) = &self.desks else { return };
        for errand in self.taken.drain(..) {
            let slot = desks.memory.slot(errand.place);
            desks.memory.insert(Set::Posted, errand.place);
            slot.change(errand.mark, State::Posted);
            desks.memory.remove(Set::Taken, errand.place);
        }
        self.hand_on(1, 0);
    }
}

/// The desks on which requests lie that nobody has begun with, and their places.
fn waiting(memory: &Memory) -> impl Iterator<Item = (Slot<'_>, usize)> {
    let posted = memory.members(Set::Posted).map(|place| (memory.slot(place), place));
    posted.filter(|(slot, _)| slot.mark().state == State::Posted)
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
    (requests.len() == count).then_some(Errand { place, mark, ticket, requests, answers })
}

impl Desks {
    /// The file as memory, and the file itself, kept open for its locks.
    pub fn open(file: &File, begin: usize) -> io::Result<Desks> {
        let mapping = Mapping::of(file, begin, LENGTH)?;
        Desks::of(mapping, file.try_clone()?).ok_or(io::ErrorKind::InvalidData.into())
    }
}
