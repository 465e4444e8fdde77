//! The sequential rules: what one operation does to one name if nothing else happens meanwhile. They are written from the
//! contract, not from the library's own rules.

use super::{ACCES, Answer, Call, EXIST, NOENT, NOLCK, Op, STALE};

/// The number of a grant or a value whose token or version nobody was told: the operation's own, beyond all that a store gives.
const UNTOLD: u64 = 1 << 63;

/// A lock that is held, or a key under which something stands: its content (the owner; the value) and the number of that
/// (the token; the version).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    pub content: u64,
    pub number: u64,
}

/// The state of a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct State {
    pub entry: Option<Entry>,
    /// The greatest number that anybody was told: later ones are greater.
    pub last: u64,
}

impl State {
    fn number(&self) -> u64 {
        self.entry.map_or(0, |entry| entry.number)
    }
}

/// The state after the operation of this place in its history, if in this state it can be answered as it was.
///
/// One whose answer is unknown has no answer to compare; where it would change nothing, it need not have happened.
pub fn step(state: State, place: usize, op: &Op) -> Option<State> {
    match (op.call, op.answer) {
        (Call::Lock { .. }, Answer::Failed(EXIST)) => state.entry.map(|_| state),
        (Call::Lock { owner }, answer) => match state.entry {
            None => granted(state, owner, answer, place),
            Some(_) => None,
        },
        (Call::Unlock { owner, token }, answer) => match (meant(state, owner, token), answer) {
            (Ok(()), Answer::Done | Answer::Unknown) => Some(State { entry: None, ..state }),
            (found, answer) => refused(state, found, answer),
        },
        (Call::Refresh { owner, token }, answer) => match (meant(state, Some(owner), token), answer) {
            (Ok(()), Answer::Done) => Some(state),
            (found, answer) => refused(state, found, answer),
        },
        (Call::Transfer { from, token, to }, answer) => match meant(state, from, token) {
            Ok(()) => granted(state, to, answer, place),
            found => refused(state, found, answer),
        },
        (Call::Status, Answer::Owner(owner)) => (state.entry?.content == owner).then_some(state),
        (Call::Status, Answer::Failed(NOLCK)) => state.entry.is_none().then_some(state),
        (Call::Withdraw { of }, Answer::Unknown) => {
            (state.number() == untold(of)).then_some(State { entry: None, ..state })
        }
        (Call::Get, Answer::Value { value, version }) => match state.entry {
            Some(entry) if entry.content == value => seen(state, version),
            _ => None,
        },
        (Call::Get, Answer::Failed(NOENT)) => state.entry.is_none().then_some(state),
        (Call::Set { value, guard, .. }, answer) => set(state, value, guard, answer, place),
        _ => None,
    }
}

fn untold(place: usize) -> u64 {
    UNTOLD + place as u64
}

/// The entry with a new number: greater than all before, if it is known.
fn put(state: State, content: u64, number: Option<u64>, place: usize) -> Option<State> {
    match number {
        Some(number) if number <= state.last => None,
        Some(number) => Some(State { entry: Some(Entry { content, number }), last: number }),
        None => Some(State { entry: Some(Entry { content, number: untold(place) }), ..state }),
    }
}

fn granted(state: State, owner: u64, answer: Answer, place: usize) -> Option<State> {
    match answer {
        Answer::Granted(token) => put(state, owner, token, place),
        Answer::Unknown => put(state, owner, None, place),
        _ => None,
    }
}

/// Whether the lock is the one that the caller means. A token that nobody was told is nobody's to name.
fn meant(state: State, owner: Option<u64>, token: u64) -> Result<(), i32> {
    match state.entry {
        None => Err(NOLCK),
        Some(entry) if owner.is_some_and(|owner| owner != entry.content) => Err(ACCES),
        Some(entry) if token != 0 && token != entry.number => Err(STALE),
        Some(_) => Ok(()),
    }
}

/// A failure is answered as it was found, and changes nothing.
fn refused(state: State, found: Result<(), i32>, answer: Answer) -> Option<State> {
    match (found, answer) {
        (Err(rc), Answer::Failed(told)) if rc == told => Some(state),
        _ => None,
    }
}

/// A look at the version of what stands there, which may be the first that tells it.
fn seen(state: State, version: u64) -> Option<State> {
    let entry = state.entry?;
    match entry.number {
        number if number == version => Some(state),
        number if number >= UNTOLD && version > state.last => {
            Some(State { entry: Some(Entry { number: version, ..entry }), last: version })
        }
        _ => None,
    }
}

fn set(state: State, value: Option<u64>, guard: Option<u64>, answer: Answer, place: usize) -> Option<State> {
    let is_expected = guard.is_none_or(|guard| guard == state.number());
    match (answer, value) {
        (Answer::Outdated(_), _) if is_expected => None,
        (Answer::Outdated(0), _) => state.entry.is_none().then_some(state),
        (Answer::Outdated(version), _) => seen(state, version).filter(|_| guard != Some(version)),
        _ if !is_expected => None,
        (Answer::Written(version), Some(value)) => put(state, value, Some(version), place),
        (Answer::Unknown, Some(value)) => put(state, value, None, place),
        (Answer::Done | Answer::Unknown, None) => state.entry.map(|_| State { entry: None, ..state }),
        (Answer::Failed(NOENT), None) => state.entry.is_none().then_some(state),
        _ => None,
    }
}
