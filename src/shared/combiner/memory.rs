//! The memory of a publication list: an array of words. A header has the hints that all processes
//! share; behind it stand the publication records.

use super::codec::ANSWER_WORDS;
use crate::sys::segment::Part;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of the header. Those that are written often stand in cache lines of their own.
const CLAIMED: usize = 0;
const NEXT_TICKET: usize = 8;
const ACTIVE: usize = 16;
const WAKE: usize = 24;
const MISSING: usize = 32;
const EXPECTED: usize = 40;
const FIRST_RECORD: usize = 64;

pub const RECORDS: usize = 128;
const RECORD_WORDS: usize = 128;
/// Words of a record.
const STATE: usize = 0;
const TICKET: usize = 1;
const LENGTHS: usize = 2;
const IS_NEXT: usize = 3;
const TRANSACTION: usize = 4;
const ANSWERS: usize = 8;
/// The words of an answer and its checksum.
const CHECKED_WORDS: usize = ANSWER_WORDS + 1;
/// The most requests in one record.
pub const REQUESTS: usize = 8;
const BYTES: usize = ANSWERS + REQUESTS * CHECKED_WORDS;
/// Room for requests, in bytes.
pub const ROOM: usize = (RECORD_WORDS - BYTES) * size_of::<u64>();

/// How many words of shared memory it takes.
pub const LENGTH: usize = FIRST_RECORD + RECORDS * RECORD_WORDS;

/// The phases of a record, and the next ones: Empty -> Published (its process), Published -> Empty
/// (retracted), Published -> Taken (the combiner), Taken -> Answered, Taken -> Empty (not done).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Empty,
    Published,
    Taken,
    Answered,
}

/// The state word of a record: its phase, and a sequence number by which a record that was used
/// again is never mistaken for what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateWord {
    sequence: u64,
    pub phase: Phase,
}

impl StateWord {
    pub fn new(sequence: u64, phase: Phase) -> StateWord {
        StateWord { sequence: sequence & (u64::MAX >> 2), phase }
    }

    pub fn with(self, phase: Phase) -> StateWord {
        StateWord { phase, ..self }
    }

    fn word(self) -> u64 {
        self.sequence << 2 | self.phase as u64
    }

    fn of(word: u64) -> StateWord {
        let phases = [Phase::Empty, Phase::Published, Phase::Taken, Phase::Answered];
        StateWord { sequence: word >> 2, phase: phases[(word & 3) as usize] }
    }
}

pub struct Memory(Part);

impl Memory {
    pub fn new(memory: Part) -> Memory {
        Memory(memory)
    }

    pub fn next_ticket(&self) -> u64 {
        self.0[NEXT_TICKET].fetch_add(1, Ordering::AcqRel)
    }

    /// Not 0: a combiner is active, or a process was told to become one.
    pub fn active(&self) -> &AtomicU64 {
        &self.0[ACTIVE]
    }

    /// The futex word of the processes that wait for answers. It counts the wakes.
    pub fn wake_word(&self) -> &AtomicU64 {
        &self.0[WAKE]
    }

    /// How many records the combiner still waits for.
    pub fn missing(&self) -> &AtomicU64 {
        &self.0[MISSING]
    }

    /// How many processes took part in the last transaction or asked for the next one.
    pub fn expected(&self) -> &AtomicU64 {
        &self.0[EXPECTED]
    }

    pub fn note_claimed(&self, index: usize) {
        self.0[CLAIMED].fetch_max(index as u64 + 1, Ordering::SeqCst);
    }

    pub fn record(&self, index: usize) -> Record<'_> {
        Record(&self.0[FIRST_RECORD + index * RECORD_WORDS..][..RECORD_WORDS])
    }

    /// The records in a phase, and their indexes. Those behind the last one that was ever claimed
    /// need no look.
    pub fn records_in(&self, phase: Phase) -> impl Iterator<Item = (usize, Record<'_>)> {
        let claimed = self.0[CLAIMED].load(Ordering::SeqCst).min(RECORDS as u64) as usize;
        let records = (0..claimed).map(|index| (index, self.record(index)));
        records.filter(move |(_, record)| record.state().phase == phase)
    }
}

/// The publication record of a process.
#[derive(Clone, Copy)]
pub struct Record<'a>(&'a [AtomicU64]);

impl Record<'_> {
    pub fn state(&self) -> StateWord {
        StateWord::of(self.0[STATE].load(Ordering::SeqCst))
    }

    pub fn set_state(&self, state: StateWord) {
        self.0[STATE].store(state.word(), Ordering::SeqCst);
    }

    /// False if the record is not in that state any more.
    pub fn change(&self, from: StateWord, phase: Phase) -> bool {
        let to = from.with(phase).word();
        self.0[STATE].compare_exchange(from.word(), to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    pub fn ticket(&self) -> u64 {
        self.0[TICKET].load(Ordering::Relaxed)
    }

    /// Whether its process was told to become the combiner.
    pub fn is_next(&self) -> bool {
        self.0[IS_NEXT].load(Ordering::SeqCst) != 0
    }

    pub fn set_next(&self, is_next: bool) {
        self.0[IS_NEXT].store(is_next.into(), Ordering::SeqCst);
    }

    /// The transaction that its requests were taken into.
    pub fn transaction(&self) -> u64 {
        self.0[TRANSACTION].load(Ordering::Relaxed)
    }

    /// Call before the state becomes [`Phase::Taken`].
    pub fn set_transaction(&self, number: u64) {
        self.0[TRANSACTION].store(number, Ordering::Relaxed);
    }

    /// Call before the state becomes [`Phase::Published`].
    pub fn set_requests(&self, ticket: u64, count: usize, bytes: &[u8]) {
        self.0[TICKET].store(ticket, Ordering::Relaxed);
        self.0[LENGTHS].store((bytes.len() as u64) << 32 | count as u64, Ordering::Relaxed);
        self.set_next(false);
        for (word, chunk) in self.0[BYTES..].iter().zip(bytes.chunks(size_of::<u64>())) {
            let mut padded = [0; size_of::<u64>()];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
    }

    pub fn request_count(&self) -> usize {
        ((self.0[LENGTHS].load(Ordering::Relaxed) & 0xffff_ffff) as usize).min(REQUESTS)
    }

    /// The bytes of its requests. They are valid if the state is the same before and after.
    pub fn request_bytes(&self) -> Vec<u8> {
        let length = (self.0[LENGTHS].load(Ordering::Relaxed) >> 32) as usize;
        let words = self.0[BYTES..].iter().take(length.div_ceil(size_of::<u64>()));
        let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    fn answer_words(&self, index: usize) -> &[AtomicU64] {
        &self.0[ANSWERS + index * CHECKED_WORDS..][..CHECKED_WORDS]
    }

    /// The answer to one of the requests that were published with this state.
    pub fn set_answer(&self, state: StateWord, index: usize, words: [u64; ANSWER_WORDS]) {
        let places = self.answer_words(index);
        let checksum = checksum(state, index, words);
        let words = words.into_iter().chain([checksum]);
        places.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
    }

    /// None if the words are not an answer to this request: a process that had lost the combiner's
    /// lock, or that is none of ours, has written there.
    pub fn answer(&self, state: StateWord, index: usize) -> Option<[u64; ANSWER_WORDS]> {
        let places = self.answer_words(index);
        let words = std::array::from_fn(|word| places[word].load(Ordering::Relaxed));
        (places[ANSWER_WORDS].load(Ordering::Relaxed) == checksum(state, index, words)).then_some(words)
    }
}

fn checksum(state: StateWord, index: usize, words: [u64; ANSWER_WORDS]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    words.into_iter().fold(mix(state.sequence, index as u64), mix)
}
