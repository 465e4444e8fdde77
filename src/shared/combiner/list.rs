//! The publication list, as one process sees it: its own record, and the locks by which processes
//! know of each other.

use super::{
    codec::{self, Answer},
    memory::{Memory, Phase, RECORDS, REQUESTS, ROOM, StateWord},
};
use crate::{
    model::request::Request,
    sys::{
        self, byte_lock, futex,
        inherited::Kept,
        mark::{Mark, Marked},
        segment::Part,
    },
};
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

/// How long a process waits for an answer before it checks whether the combiner lives.
pub const PATIENCE: Duration = Duration::from_millis(5);
/// After this time a combiner that lives and has not taken a request is taken for stopped, and the
/// process runs a transaction of its own.
pub const STALLED_AFTER: Duration = Duration::from_millis(50);

/// Bytes of the side file, far behind its end. For each record one that claims it, and one that is
/// locked once the requests of a former process are gone from it; and the combiner's lock.
const CLAIM: libc::off_t = 1 << 40;
const IN_USE: libc::off_t = 1 << 41;
const COMBINER: libc::off_t = 1 << 39;

/// The publication records of all processes of a store.
pub struct PublicationList {
    pub(super) memory: Memory,
    marked: Marked,
    _file: Kept,
    /// This process's record, from its first use.
    own: OnceLock<Option<Own>>,
    /// This process has said that it becomes the combiner.
    pub(super) announced: AtomicBool,
    /// Numbers the transactions of this process. The first is random, so that no two are alike.
    next_transaction: AtomicU64,
}

struct Own {
    index: usize,
    /// Numbers what is published in it.
    sequence: AtomicU64,
}

/// How far the requests in this process's record are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// No combiner has taken them; with `is_next`, this process is to become the combiner.
    Published {
        is_next: bool,
    },
    Taken,
    Answered(Vec<Answer>),
    /// They were taken, and nothing of them has happened.
    NotDone,
    /// Something else stands in the record: they may have been done or not.
    Lost,
}

fn random_number() -> io::Result<u64> {
    Ok(u64::from_ne_bytes(sys::random_bytes()?))
}

impl PublicationList {
    /// The memory, and a file that stays open for the locks on its bytes.
    pub fn open(memory: Part, file: &File, mark: Mark) -> io::Result<PublicationList> {
        let file = Kept::new(file.try_clone()?);
        Ok(PublicationList {
            memory: Memory::new(memory),
            marked: Marked { fd: file.as_raw_fd(), mark },
            _file: file,
            own: OnceLock::new(),
            announced: AtomicBool::new(false),
            next_transaction: AtomicU64::new(random_number()?),
        })
    }

    /// Whether the host has left the file open. If not, nothing can be known of other processes.
    pub fn is_open(&self) -> bool {
        self.marked.is_ours()
    }

    pub(super) fn next_transaction(&self) -> u64 {
        self.next_transaction.fetch_add(1, Ordering::Relaxed)
    }

    /// Elects one of the processes that find no combiner active; true for that one, which must ask
    /// the store at once.
    pub fn try_become_combiner(&self) -> bool {
        let is_first = self.memory.active().compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if is_first {
            self.announced.store(true, Ordering::SeqCst);
        }
        is_first
    }

    /// The same, for a process that is next or has waited too long.
    pub fn become_combiner(&self) {
        self.memory.active().store(1, Ordering::SeqCst);
        self.announced.store(true, Ordering::SeqCst);
    }

    /// False if another process holds the combiner's lock.
    pub(super) fn try_lock(&self) -> bool {
        byte_lock::try_lock(self.marked, COMBINER).unwrap_or(false)
    }

    pub(super) fn unlock(&self) {
        byte_lock::unlock(self.marked, COMBINER);
    }

    /// Whether another process holds the combiner's lock, even if it is stopped.
    pub fn combiner_lives(&self) -> bool {
        byte_lock::is_locked(self.marked, COMBINER)
    }

    /// Claims a free record. Its sequence numbers start at random, so they are not those of a
    /// former process.
    fn claim(&self) -> Option<Own> {
        let lock =
            |first, index: usize| byte_lock::try_lock(self.marked, first + index as libc::off_t).unwrap_or(false);
        let sequence = random_number().ok()?;
        let index = (0..RECORDS).find(|index| lock(CLAIM, *index))?;
        self.memory.record(index).set_state(StateWord::new(sequence, Phase::Empty));
        self.memory.note_claimed(index);
        lock(IN_USE, index).then(|| Own { index, sequence: AtomicU64::new(sequence) })
    }

    fn own(&self) -> Option<&Own> {
        self.own.get_or_init(|| self.claim()).as_ref()
    }

    /// The state word of what was published last, in a phase.
    fn published(own: &Own, phase: Phase) -> StateWord {
        StateWord::new(own.sequence.load(Ordering::Relaxed), phase)
    }

    /// Publishes as many of the requests as the record has room for, in their order, and returns
    /// how many. Without requests the process only asks to be the next combiner. None if there is
    /// no free record.
    pub fn publish(&self, requests: &[&Request]) -> Option<usize> {
        let own = self.own()?;
        let record = self.memory.record(own.index);
        let (mut bytes, mut count) = (Vec::new(), 0);
        for request in requests.iter().take(REQUESTS) {
            let Some(encoded) = codec::encode(request).filter(|more| bytes.len() + more.len() <= ROOM) else { break };
            bytes.extend_from_slice(&encoded);
            count += 1;
        }
        let sequence = own.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        record.set_state(StateWord::new(sequence, Phase::Empty));
        record.set_requests(self.memory.next_ticket(), count, &bytes);
        record.set_state(StateWord::new(sequence, Phase::Published));
        self.count_arrival();
        // A combiner that ends at this moment may not have seen this record.
        if self.memory.active().load(Ordering::SeqCst) == 0 {
            record.set_next(true);
        }
        Some(count)
    }

    /// Wakes the combiner if this is the last record that it waits for.
    fn count_arrival(&self) {
        let missing = self.memory.missing();
        if missing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |missing| missing.checked_sub(1)) == Ok(1) {
            futex::wake_shared(missing, u32::MAX);
        }
    }

    pub fn poll(&self) -> Progress {
        let Some(own) = self.own() else { return Progress::Lost };
        let record = self.memory.record(own.index);
        let state = record.state();
        match state.phase {
            phase if state != Self::published(own, phase) => Progress::Lost,
            Phase::Empty => Progress::NotDone,
            Phase::Published => Progress::Published { is_next: record.is_next() },
            Phase::Taken => Progress::Taken,
            Phase::Answered => {
                let answer = |index| record.answer(state, index).map_or(Answer::Unknown, Answer::of_words);
                Progress::Answered((0..record.request_count()).map(answer).collect())
            }
        }
    }

    /// Waits until there may be progress, for at most that long.
    pub fn wait(&self, longest: Duration) {
        let Some(own) = self.own() else { return };
        let seen = self.memory.wake_word().load(Ordering::SeqCst);
        if matches!(self.poll(), Progress::Published { is_next: false } | Progress::Taken) {
            futex::wait_shared(self.memory.wake_word(), seen, wake_bit(own.index), longest);
        }
    }

    /// Ends a wait of this process.
    pub fn wake_own(&self) {
        self.own().iter().for_each(|own| self.wake(wake_bit(own.index)));
    }

    pub(super) fn wake(&self, bits: u32) {
        if bits != 0 {
            self.memory.wake_word().fetch_add(1, Ordering::SeqCst);
            futex::wake_shared(self.memory.wake_word(), bits);
        }
    }

    /// Takes back what no combiner has taken. False if one has.
    pub fn retract(&self) -> bool {
        let Some(own) = self.own() else { return true };
        self.memory.record(own.index).change(Self::published(own, Phase::Published), Phase::Empty)
    }

    pub(super) fn is_own(&self, index: usize) -> bool {
        self.own.get().and_then(Option::as_ref).is_some_and(|own| own.index == index)
    }

    pub(super) fn is_alive(&self, index: usize) -> bool {
        self.is_own(index) || byte_lock::is_locked(self.marked, IN_USE + index as libc::off_t)
    }
}

/// The futex bit by which a process is woken. Two records with one bit are woken together.
pub(super) fn wake_bit(index: usize) -> u32 {
    1 << (index % u32::BITS as usize)
}
