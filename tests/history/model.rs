//! The sequential rules: what one operation does to one name if nothing else happens meanwhile. They are written from the
//! contract, not from the library's own rules.

use super::{ACCES, Answer, Call, EXIST, Lease, NEVER, NOENT, NOLCK, Op, STALE};

/// The number of a grant or a value whose token or version nobody was told: the operation's own, beyond all that a store gives.
const UNTOLD: u64 = 1 << 63;

/// A lock that is held, or a key under which something stands: its content (the owner; the value) and the number of that
/// (the token; the version).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    pub content: u64,
    pub number: u64,
    pub lease: Lease,
    /// When the lease may be over, and when it must be.
    pub may_end: u64,
    pub must_end: u64,
}

impl Entry {
    fn endless(content: u64, number: u64) -> Entry {
        Entry { content, number, lease: Lease::ENDLESS, may_end: NEVER, must_end: NEVER }
    }

    /// The lease begins anew with this operation: not before it was called, and not after it has returned.
    fn begun_by(self, op: &Op) -> Entry {
        let Lease { at_least, at_most } = self.lease;
        let may_end = op.called.saturating_add(at_least);
        Entry { may_end, must_end: op.returned.saturating_add(at_most), ..self }
    }
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

    fn empty(self) -> State {
        State { entry: None, ..self }
    }

    /// Whether this may still be the state when the operation is done: no lease has certainly ended before.
    fn lasts_until(&self, op: &Op) -> bool {
        self.entry.is_none_or(|entry| op.called <= entry.must_end)
    }

    /// The state in which the lease has ended before the operation is done, if it can have.
    fn ended_before(self, op: &Op) -> Option<State> {
        self.entry.filter(|entry| entry.may_end < op.returned).map(|_| self.empty())
    }
}

/// The states after the operation of this place in its history, if in this state it can be answered as it was: the lease that
/// stands there may end just before.
pub fn steps(state: State, place: usize, op: &Op) -> impl Iterator<Item = State> {
    let states = [Some(state).filter(|state| state.lasts_until(op)), state.ended_before(op)];
    states.into_iter().flatten().filter_map(move |state| step(state, place, op))
}

/// Whether the operation can be done in this state and changes nothing of it.
pub fn only_looks(state: State, place: usize, op: &Op) -> bool {
    state.lasts_until(op) && step(state, place, op) == Some(state)
}

/// One whose answer is unknown has no answer to compare; where it would change nothing, it need not have happened.
fn step(state: State, place: usize, op: &Op) -> Option<State> {
    match (op.call, op.answer) {
        (Call::Lock { .. }, Answer::Failed(EXIST)) => state.entry.map(|_| state),
        (Call::Lock { owner, lease }, _) => match state.entry {
            None => granted(state, Entry { lease, ..Entry::endless(owner, 0) }, op, place),
            Some(_) => None,
        },
        (Call::Unlock { owner, token }, answer) => match (meant(state, owner, token), answer) {
            (Ok(_), Answer::Done | Answer::Unknown) => Some(state.empty()),
            (found, answer) => refused(state, found, answer),
        },
        (Call::Refresh { owner, token }, answer) => match (meant(state, Some(owner), token), answer) {
            (Ok(entry), Answer::Done | Answer::Unknown) => {
                Some(State { entry: Some(entry.begun_by(op)), ..state }).filter(|after| op.is_done() || *after != state)
            }
            (found, answer) => refused(state, found, answer),
        },
        (Call::Transfer { from, token, to }, answer) => match meant(state, from, token) {
            Ok(entry) => granted(state, Entry { content: to, ..entry }, op, place),
            found => refused(state, found, answer),
        },
        (Call::Status, Answer::Owner(owner)) => (state.entry?.content == owner).then_some(state),
        (Call::Status, Answer::Failed(NOLCK)) => state.entry.is_none().then_some(state),
        (Call::Withdraw { of }, Answer::Unknown) => (state.number() == untold(of)).then(|| state.empty()),
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
fn put(state: State, entry: Entry, number: Option<u64>, place: usize) -> Option<State> {
    match number {
        Some(number) if number <= state.last => None,
        Some(number) => Some(State { entry: Some(Entry { number, ..entry }), last: number }),
        None => Some(State { entry: Some(Entry { number: untold(place), ..entry }), ..state }),
    }
}

fn granted(state: State, entry: Entry, op: &Op, place: usize) -> Option<State> {
    match op.answer {
        Answer::Granted(token) => put(state, entry.begun_by(op), token, place),
        Answer::Unknown => put(state, entry.begun_by(op), None, place),
        _ => None,
    }
}

/// Whether the lock is the one that the caller means. A token that nobody was told is nobody's to name.
fn meant(state: State, owner: Option<u64>, token: u64) -> Result<Entry, i32> {
    match state.entry {
        None => Err(NOLCK),
        Some(entry) if owner.is_some_and(|owner| owner != entry.content) => Err(ACCES),
        Some(entry) if token != 0 && token != entry.number => Err(STALE),
        Some(entry) => Ok(entry),
    }
}

/// A failure is answered as it was found, and changes nothing.
fn refused(state: State, found: Result<Entry, i32>, answer: Answer) -> Option<State> {
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
        (Answer::Written(version), Some(value)) => put(state, Entry::endless(value, 0), Some(version), place),
        (Answer::Unknown, Some(value)) => put(state, Entry::endless(value, 0), None, place),
        (Answer::Done | Answer::Unknown, None) => state.entry.map(|_| state.empty()),
        (Answer::Failed(NOENT), None) => state.entry.is_none().then_some(state),
        _ => None,
    }
}
