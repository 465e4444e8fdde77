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
mod errands;
mod layout;
#[cfg(test)]
mod tests;

use crate::{
    model::request::Request,
    sys::{
        self, byte_lock, futex,
        inherited::Kept,
        mark::{self, Marked},
        segment::Part,
    },
};
pub use codec::Answer;
pub use errands::{ErrandNumber, Errands};
pub use layout::LENGTH;
use layout::{DESKS, Mark, Memory, REQUESTS, ROOM, Set, State};
use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a process waits for whoever is at work, before it looks whether it can go to work itself.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// The bytes of the file whose locks tell whose desk is whose, far behind its end: one to claim a desk by, and one that says that
/// it is in use, which is locked when a former owner's requests are off it.
const CLAIM: libc::off_t = 1 << 40;
const IN_USE: libc::off_t = 1 << 41;

/// All desks of a store, as this process sees them.
pub struct Desks {
    memory: Memory,
    marked: Marked,
    _file: Kept,
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
    /// The memory, and a file that is kept open for the locks on its bytes. Fails if the memory is of another layout.
    pub fn open(memory: Part, file: &File, mark: mark::Mark) -> io::Result<Desks> {
        let file = Kept::new(file.try_clone()?);
        Ok(Desks {
            memory: Memory::of(memory).ok_or(io::ErrorKind::InvalidData)?,
            marked: Marked { fd: file.as_raw_fd(), mark },
            _file: file,
            own: OnceLock::new(),
            announced: AtomicBool::new(false),
        })
    }

    /// Whether the host has left the file open. If not, nothing can be known of other processes.
    pub fn is_open(&self) -> bool {
        self.marked.is_ours()
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
        let lock =
            |first, place: usize| byte_lock::try_lock(self.marked, first + place as libc::off_t).unwrap_or(false);
        let number = u64::from_ne_bytes(sys::random_bytes().ok()?) >> 8;
        let place = (0..DESKS).find(|place| lock(CLAIM, *place))?;
        self.memory.slot(place).set_mark(Mark::first(number, State::Empty));
        if !lock(IN_USE, place) {
            return None;
        }
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
        slot.set_mark(Mark::first(number, State::Empty));
        slot.fill(self.memory.next_ticket(), count, &bytes);
        slot.set_mark(Mark::first(number, State::Posted));
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

    pub fn look(&self) -> Look {
        let Some(own) = self.own() else { return Look::Lost };
        let (slot, number) = (self.memory.slot(own.place), own.number.load(Ordering::Relaxed));
        match slot.mark() {
            mark if mark.is_of(number, State::Taken) => Look::Taken,
            mark if mark.is_of(number, State::Answered) => {
                // An answer that is no answer to this question is as good as none.
                let answer = |index| slot.answer(mark, index).map_or(Answer::Unknown, Answer::of_words);
                Look::Answered((0..slot.content().0).map(answer).collect())
            }
            mark if mark.is_of(number, State::Posted) => Look::Posted { leads: slot.leads() },
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
        let number = own.number.load(Ordering::Relaxed);
        let (posted, empty) = (Mark::first(number, State::Posted), Mark::first(number, State::Empty));
        let is_back = self.memory.slot(own.place).change(posted, empty);
        if is_back {
            self.memory.remove(Set::Posted, own.place);
        }
        is_back
    }

    /// Gives up what lies there, whatever comes of it.
    pub fn abandon(&self) {
        let Some(own) = self.own() else { return };
        let number = own.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.memory.slot(own.place).set_mark(Mark::first(number, State::Empty));
        self.memory.remove(Set::Posted, own.place);
    }

    fn is_own(&self, place: usize) -> bool {
        self.own.get().and_then(|own| own.as_ref()).is_some_and(|own| own.place == place)
    }

    fn is_alive(&self, place: usize) -> bool {
        self.is_own(place) || byte_lock::is_locked(self.marked, IN_USE + place as libc::off_t)
    }
}

/// Who waits at the bell under which bit. Two desks with one bit are woken together.
fn bit(place: usize) -> u32 {
    1 << (place % u32::BITS as usize)
}

/// For fuzzing: requests that another process has left.
#[cfg(feature = "fuzzing")]
pub fn read_requests(mut bytes: &[u8]) {
    while let Some(request) = codec::decode(&mut bytes) {
        assert!(!request.ids().is_empty());
    }
}
