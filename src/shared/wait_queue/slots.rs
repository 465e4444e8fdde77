//! The memory of the queue: an array of words. A header has the next ticket and a bit for each slot that is in use; a slot
//! has a waiter's ticket, a sign of life, the address of its doorbell, and the hashes of up to [`IDS_IN_SLOT`] lock ids. A
//! waiter of more ids takes several slots.

use crate::{
    clock,
    model::name::LockId,
    sys::{doorbell::Address, segment::Part},
};
use std::{
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const NEXT_TICKET: usize = 0;
/// How long a waiter sleeps at most before it sees by itself whether the store has changed.
pub const RECHECK: Duration = Duration::from_millis(220);

const IN_USE: usize = 8;
pub const SLOTS: usize = 512;
const FIRST_SLOT: usize = 64;
const SLOT_WORDS: usize = 16;
/// The words of a slot: its ticket (0: not filled), whether it was woken since it looked last, the sign of life, when it
/// began to wait and whether for all of several, two of the address; then the hashes, two in a word.
const TICKET: usize = 0;
const WOKEN: usize = 1;
const STAMP: usize = 2;
const SINCE: usize = 3;
const ADDRESS: usize = 4;
const HASHES: usize = 6;
pub const IDS_IN_SLOT: usize = 2 * (SLOT_WORDS - HASHES);

/// A waiter that gave no sign of life for so long is stopped or gone, and not counted on.
pub const LIVELY_MS: u64 = 3 * RECHECK.as_millis() as u64;
/// After so long its slots are given to others. One that comes back enters anew.
pub const GONE_MS: u64 = 10_000;

/// How many words of shared memory it takes.
pub const LENGTH: usize = FIRST_SLOT + SLOTS * SLOT_WORDS;

enum Words {
    OfProcess(Box<[AtomicU64]>),
    Shared(Part),
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        match self {
            Words::OfProcess(words) => words,
            Words::Shared(part) => part,
        }
    }
}

/// The slots of all waiters of a store.
pub struct Slots(Words);

/// One slot. Whatever is read from it may be another's by the time it is used.
#[derive(Clone, Copy)]
pub struct Slot<'a> {
    words: &'a [AtomicU64],
    in_use: &'a AtomicU64,
    bit: u64,
}

/// When a waiter began to wait, and whether for all of several locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Since {
    pub began_ms: u64,
    pub many: bool,
}

/// A lock id, as short as it is compared here. Two ids with one hash wake each other's waiters now and then.
pub fn hash(id: &LockId) -> u64 {
    let long = id.number();
    ((long >> 32) ^ long) & 0xffff_ffff
}

pub fn now_ms() -> u64 {
    (clock::boot_us() / 1000) as u64
}

impl Slots {
    pub fn of_process() -> Slots {
        Slots(Words::OfProcess((0..LENGTH).map(|_| AtomicU64::new(0)).collect()))
    }

    pub fn shared(memory: Part) -> Slots {
        Slots(Words::Shared(memory))
    }

    pub fn next_ticket(&self) -> u64 {
        self.0[NEXT_TICKET].fetch_add(1, Ordering::AcqRel).wrapping_add(1).max(1)
    }

    pub fn slot(&self, place: usize) -> Slot<'_> {
        let words = &self.0[FIRST_SLOT + place * SLOT_WORDS..][..SLOT_WORDS];
        Slot { words, in_use: &self.0[IN_USE + place / 64], bit: 1 << (place % 64) }
    }

    pub fn nobody_waits(&self) -> bool {
        self.0[IN_USE..][..SLOTS / 64].iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    pub fn used(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..SLOTS).map(|place| self.slot(place)).filter(Slot::is_used)
    }

    /// Those that show signs of life. Slots of those who are gone are freed.
    pub fn lively(&self, now_ms: u64) -> impl Iterator<Item = Slot<'_>> {
        self.used().filter(move |slot| {
            let silent_ms = now_ms.abs_diff(slot.get(STAMP));
            if silent_ms > GONE_MS {
                slot.free();
            }
            silent_ms <= LIVELY_MS && slot.ticket() != 0
        })
    }

    /// Those that are in use and give no sign of life.
    pub fn silent(&self, now_ms: u64) -> impl Iterator<Item = Slot<'_>> {
        self.used().filter(move |slot| now_ms.abs_diff(slot.get(STAMP)) > LIVELY_MS)
    }

    /// A slot that was nobody's.
    pub fn claim(&self) -> Option<usize> {
        (0..SLOTS).find(|place| {
            let slot = self.slot(*place);
            !slot.is_used() && slot.in_use.fetch_or(slot.bit, Ordering::AcqRel) & slot.bit == 0
        })
    }
}

impl Slot<'_> {
    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Acquire)
    }

    fn set(&self, word: usize, value: u64) {
        self.words[word].store(value, Ordering::Release);
    }

    fn is_used(&self) -> bool {
        self.in_use.load(Ordering::Acquire) & self.bit != 0
    }

    pub fn is_of(&self, ticket: u64) -> bool {
        self.is_used() && self.ticket() == ticket
    }

    pub fn free(&self) {
        self.set(TICKET, 0);
        self.in_use.fetch_and(!self.bit, Ordering::AcqRel);
    }

    /// The ticket goes in last: until then nobody minds the rest.
    pub fn fill(&self, ticket: u64, since: Since, address: Address, ids: &[LockId]) {
        self.stamp(now_ms());
        self.clear_woken();
        self.set(SINCE, since.began_ms << 1 | u64::from(since.many));
        (0..2).for_each(|half| self.set(ADDRESS + half, address.0[half]));
        let mut hashes = ids.iter().map(hash);
        for word in HASHES..SLOT_WORDS {
            // The first one again where there are no more.
            let first = hashes.next().unwrap_or_else(|| hash(&ids[0]));
            let second = hashes.next().unwrap_or(first);
            self.set(word, second << 32 | first);
        }
        self.set(TICKET, ticket);
    }

    /// A sign of life.
    pub fn stamp(&self, now_ms: u64) {
        self.set(STAMP, now_ms);
    }

    /// Whoever was woken looks now.
    pub fn clear_woken(&self) {
        self.set(WOKEN, 0);
    }

    pub fn ticket(&self) -> u64 {
        self.get(TICKET)
    }

    pub fn since(&self) -> Since {
        let since = self.get(SINCE);
        Since { began_ms: since >> 1, many: since & 1 == 1 }
    }

    pub fn address(&self) -> Address {
        Address([ADDRESS, ADDRESS + 1].map(|half| self.get(half)))
    }

    pub fn wants(&self, hash: u64) -> bool {
        (HASHES..SLOT_WORDS).map(|word| self.get(word)).any(|two| two & 0xffff_ffff == hash || two >> 32 == hash)
    }

    pub fn was_woken(&self) -> bool {
        self.get(WOKEN) != 0
    }

    /// False if somebody else has just done so.
    pub fn mark_woken(&self) -> bool {
        self.words[WOKEN].swap(1, Ordering::AcqRel) == 0
    }

    #[cfg(test)]
    pub fn grow_older(&self, ms: u64, of_wait: bool) {
        match of_wait {
            true => self.words[SINCE].fetch_sub(ms << 1, Ordering::AcqRel),
            false => self.words[STAMP].fetch_sub(ms, Ordering::AcqRel),
        };
    }
}
