//! The memory of the desks: an array of words. A header has the hints that all share; behind it stand the desks, with a
//! word of state, what was asked, as bytes, and room for the answers.

use super::codec::ANSWER_WORDS;
use crate::sys::segment::Part;
use std::sync::atomic::{AtomicU64, Ordering};

const LAYOUT: u64 = 3;
/// Words of the header. Those that are written often stand in cache lines of their own.
const LAYOUT_WORD: usize = 0;
const NEXT_TICKET: usize = 8;
const AT_WORK: usize = 16;
const BELL: usize = 24;
const AWAITED: usize = 32;
const EXPECTED: usize = 40;
const POSTED: usize = 48;
const TAKEN: usize = 50;
const FIRST_DESK: usize = 64;

pub const DESKS: usize = 128;
const DESK_WORDS: usize = 128;
/// Words of a desk.
const STATE: usize = 0;
const TICKET: usize = 1;
const COUNT: usize = 2;
const LEADS: usize = 3;
const ANSWERS: usize = 8;
/// The most requests on one desk.
pub const REQUESTS: usize = 8;
const BYTES: usize = ANSWERS + REQUESTS * (ANSWER_WORDS + 1);
/// Room for requests, in bytes.
pub const ROOM: usize = (DESK_WORDS - BYTES) * size_of::<u64>();

/// How many words of shared memory it takes.
pub const LENGTH: usize = FIRST_DESK + DESKS * DESK_WORDS;

/// What is to be said of a desk. It stands in one word with the number of what lies on it, so that a desk which was used
/// again is never taken for what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Empty,
    /// Requests lie on it.
    Posted,
    /// Somebody is doing them, in a transaction.
    Taken,
    /// The answers lie on it.
    Answered,
}

impl State {
    fn of(word: u64) -> State {
        [State::Empty, State::Posted, State::Taken, State::Answered][(word & 3) as usize]
    }
}

/// The state of a desk and the number of what lies on it; and how often somebody has taken it over from one who owed the
/// answers, so that the two are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub number: u64,
    pub round: u8,
    pub state: State,
}

const ROUNDS: u64 = 64;

impl Mark {
    fn word(self) -> u64 {
        self.number << 8 | (u64::from(self.round) % ROUNDS) << 2 | self.state as u64
    }

    fn of(word: u64) -> Mark {
        Mark { number: word >> 8, round: (word >> 2 & (ROUNDS - 1)) as u8, state: State::of(word) }
    }

    /// The first mark of what gets this number.
    pub fn first(number: u64, state: State) -> Mark {
        Mark { number: number & (u64::MAX >> 8), round: 0, state }
    }

    /// That of who takes it over.
    pub fn next_round(self) -> Mark {
        Mark { round: ((u64::from(self.round) + 1) % ROUNDS) as u8, ..self }
    }

    /// Whether it is the same question in the same state, whoever has it in hand.
    pub fn is_of(self, number: u64, state: State) -> bool {
        self.number == number & (u64::MAX >> 8) && self.state == state
    }
}

pub struct Memory(Part);

/// A set of desks.
#[derive(Clone, Copy)]
pub enum Set {
    Posted,
    Taken,
}

impl Memory {
    /// None if the memory is of another layout.
    pub fn of(memory: Part) -> Option<Memory> {
        let found = memory[LAYOUT_WORD].compare_exchange(0, LAYOUT, Ordering::AcqRel, Ordering::Acquire);
        matches!(found, Ok(_) | Err(LAYOUT)).then_some(Memory(memory))
    }

    pub fn next_ticket(&self) -> u64 {
        self.0[NEXT_TICKET].fetch_add(1, Ordering::AcqRel)
    }

    /// Not 0: somebody has the store's write lock, or was told to take it.
    pub fn at_work(&self) -> &AtomicU64 {
        &self.0[AT_WORK]
    }

    /// Counts rings; those whose answers are there, and others, wait at it.
    pub fn bell(&self) -> &AtomicU64 {
        &self.0[BELL]
    }

    /// How many desks who works still waits for.
    pub fn awaited(&self) -> &AtomicU64 {
        &self.0[AWAITED]
    }

    /// How many processes took part in the last transaction or asked for the next one.
    pub fn expected(&self) -> &AtomicU64 {
        &self.0[EXPECTED]
    }

    fn set_word(&self, set: Set, place: usize) -> (&AtomicU64, u64) {
        let first = match set {
            Set::Posted => POSTED,
            Set::Taken => TAKEN,
        };
        (&self.0[first + place / 64], 1 << (place % 64))
    }

    pub fn insert(&self, set: Set, place: usize) {
        let (word, bit) = self.set_word(set, place);
        word.fetch_or(bit, Ordering::SeqCst);
    }

    pub fn remove(&self, set: Set, place: usize) {
        let (word, bit) = self.set_word(set, place);
        word.fetch_and(!bit, Ordering::SeqCst);
    }

    pub fn members(&self, set: Set) -> impl Iterator<Item = usize> {
        let words = [0, 1].map(|half| self.set_word(set, half * 64).0.load(Ordering::SeqCst));
        (0..2).flat_map(move |half| {
            let mut word = words[half];
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(half * 64 + bit)
            })
        })
    }

    pub fn slot(&self, place: usize) -> Slot<'_> {
        Slot(&self.0[FIRST_DESK + place * DESK_WORDS..][..DESK_WORDS])
    }
}

/// The memory of one desk.
#[derive(Clone, Copy)]
pub struct Slot<'a>(&'a [AtomicU64]);

impl Slot<'_> {
    pub fn mark(&self) -> Mark {
        Mark::of(self.0[STATE].load(Ordering::SeqCst))
    }

    pub fn set_mark(&self, mark: Mark) {
        self.0[STATE].store(mark.word(), Ordering::SeqCst);
    }

    /// False if it is not as it was any more.
    pub fn change(&self, from: Mark, to: Mark) -> bool {
        self.0[STATE].compare_exchange(from.word(), to.word(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    pub fn ticket(&self) -> u64 {
        self.0[TICKET].load(Ordering::Relaxed)
    }

    /// Whether its owner was told to go to work.
    pub fn leads(&self) -> bool {
        self.0[LEADS].load(Ordering::SeqCst) != 0
    }

    pub fn set_leads(&self, leads: bool) {
        self.0[LEADS].store(leads.into(), Ordering::SeqCst);
    }

    /// Puts requests on it; the mark says so afterwards.
    pub fn fill(&self, ticket: u64, count: usize, bytes: &[u8]) {
        self.0[TICKET].store(ticket, Ordering::Relaxed);
        self.0[COUNT].store((bytes.len() as u64) << 32 | count as u64, Ordering::Relaxed);
        self.set_leads(false);
        for (word, chunk) in self.0[BYTES..].iter().zip(bytes.chunks(size_of::<u64>())) {
            let mut padded = [0; size_of::<u64>()];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
    }

    /// How many requests lie on it, and their bytes; nonsense if the mark changes meanwhile.
    pub fn content(&self) -> (usize, Vec<u8>) {
        let lengths = self.0[COUNT].load(Ordering::Relaxed);
        let (count, length) = ((lengths & 0xffff_ffff) as usize, (lengths >> 32) as usize);
        let words = self.0[BYTES..].iter().take(length.div_ceil(size_of::<u64>()));
        let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        (count.min(REQUESTS), bytes)
    }

    /// The answer to one request of what had this mark when it was taken, if it is still in its writer's hand.
    pub fn set_answer(&self, taken: Mark, index: usize, words: [u64; ANSWER_WORDS]) {
        loop {
            let seen = self.seen_answer(index);
            if self.mark() != taken || self.replace_answer(seen, taken, index, words) {
                return;
            }
        }
    }

    pub fn seen_answer(&self, index: usize) -> Sealed {
        std::array::from_fn(|word| self.answer_word(index, word).load(Ordering::Acquire))
    }

    /// False if somebody else wrote there since it was seen. So who is stopped between its look at the mark and this, while
    /// another takes the desk over, changes nothing afterwards: no two writers ever write the same word.
    pub fn replace_answer(&self, seen: Sealed, taken: Mark, index: usize, words: [u64; ANSWER_WORDS]) -> bool {
        let replace = |word: usize, value: u64| {
            let place = self.answer_word(index, word);
            place.compare_exchange(seen[word], value, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        sealed(taken, index, words).into_iter().enumerate().all(|(word, value)| replace(word, value))
    }

    /// None if it is nonsense.
    pub fn answer(&self, answered: Mark, index: usize) -> Option<[u64; ANSWER_WORDS]> {
        let seen = self.seen_answer(index);
        let words = std::array::from_fn(|word| seen[word] ^ mask(answered, index, word));
        (seen == sealed(answered, index, words)).then_some(words)
    }

    fn answer_word(&self, index: usize, word: usize) -> &AtomicU64 {
        &self.0[ANSWERS + index * (ANSWER_WORDS + 1) + word]
    }
}

/// An answer as it is stored: its words, unlike those of any other question or round even where the answers are alike, and
/// a seal that ties them to each other.
pub type Sealed = [u64; ANSWER_WORDS + 1];

fn sealed(mark: Mark, index: usize, words: [u64; ANSWER_WORDS]) -> Sealed {
    let seal = words.into_iter().fold(mask(mark, index, ANSWER_WORDS), mixed);
    std::array::from_fn(|word| words.get(word).map_or(seal, |value| value ^ mask(mark, index, word)))
}

fn mask(mark: Mark, index: usize, word: usize) -> u64 {
    [mark.number, u64::from(mark.round), (index << 8 | word) as u64].into_iter().fold(MIX, mixed)
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(MIX).rotate_left(29)
}
