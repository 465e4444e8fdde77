//! Reads what c_tests/history/worker.c recorded (record.h there), and judges it name by name.

use super::{
    AGAIN, Answer, Call, Lease, NEVER, NOENT, Op,
    order::{fences_hold, holds_exclude, numbers_grow},
    search::{Fault, check},
};
use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

pub const LOCKS: u32 = 3;
pub const KEYS: u32 = 2;

/// How many worlds the search may keep.
const LIMIT: usize = 1_000_000;

const HEAD_BYTES: usize = 64;
const RECORD_BYTES: usize = 104;
const CALLED: u32 = 1;
const RETURNED: u32 = 2;

/// How far the clock of a store may be from ours after a second or two: of servers it is another one, which is set.
const CLOCKS_DIFFER_NS: u64 = 2_000_000;

const TIMEDOUT: i32 = -libc::ETIMEDOUT;
const CANCELED: i32 = -libc::ECANCELED;
const BUSY: i32 = -libc::EBUSY;
const NOTCONN: i32 = -libc::ENOTCONN;
const INPROGRESS: i32 = -libc::EINPROGRESS;
const IO: i32 = -libc::EIO;
const NOSPC: i32 = -libc::ENOSPC;
const IDRM: i32 = -libc::EIDRM;
const UCLEAN: i32 = -libc::EUCLEAN;

/// What says nothing of a name's state, nor changes anything: the end of a wait, a failure, an id that was not in the way of
/// another one.
const TELLS_NOTHING: [i32; 8] = [TIMEDOUT, CANCELED, BUSY, NOTCONN, IO, NOSPC, IDRM, UCLEAN];

/// What the history was made of: a store that ends leases when they are over, or some time later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leases {
    Exact,
    Late,
}

/// What was recorded, sorted by name.
#[derive(Default)]
pub struct History {
    pub names: BTreeMap<u32, Vec<Op>>,
    /// How often each code was answered; `None` where no answer came.
    pub answers: BTreeMap<Option<i32>, usize>,
}

/// What a judgement covered.
#[derive(Default, Debug)]
pub struct Figures {
    pub ops: usize,
    pub unknown: usize,
    pub grants: usize,
    pub fenced: usize,
    /// The most worlds that the search kept at once.
    pub worlds: usize,
}

struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn rc(&self) -> Option<i32> {
        (self.u32(0) == RETURNED).then(|| self.u32(12) as i32)
    }

    fn lease(&self, leases: Leases) -> Lease {
        let ttl_ns = self.u64(96) * 1_000_000;
        match (ttl_ns, leases) {
            (0, _) => Lease::ENDLESS,
            (_, Leases::Exact) => Lease { at_least: ttl_ns - CLOCKS_DIFFER_NS, at_most: ttl_ns + CLOCKS_DIFFER_NS },
            (_, Leases::Late) => Lease { at_least: ttl_ns - CLOCKS_DIFFER_NS, at_most: NEVER },
        }
    }

    fn call(&self, leases: Leases) -> Call {
        let (owner, heir, token, value) = (self.u64(32), self.u64(40), self.u64(48), self.u64(56));
        let forced = Some(owner).filter(|owner| *owner != 0);
        let guard = self.u64(64).checked_sub(1);
        let fence = self.u64(72).checked_sub(1).map(|lock| (lock as u32, token));
        match self.u32(4) {
            1 => Call::Lock { owner, lease: self.lease(leases) },
            2 => Call::Unlock { owner: forced, token },
            3 => Call::Refresh { owner, token },
            4 => Call::Transfer { from: forced, token, to: heir },
            5 => Call::Status,
            6 => Call::Get,
            7 => Call::Set { value: Some(value), guard, fence },
            8 => Call::Set { value: None, guard, fence },
            other => panic!("the record has a call {other}"),
        }
    }

    fn answer(&self, call: Call) -> Answer {
        let number = self.u64(80);
        match (self.rc(), call) {
            (None | Some(INPROGRESS), _) => Answer::Unknown,
            (Some(0), Call::Lock { .. } | Call::Transfer { .. }) => {
                Answer::Granted(Some(number).filter(|token| *token != 0))
            }
            (Some(0), Call::Status) => Answer::Owner(self.u64(88)),
            (Some(0), Call::Get) => Answer::Value { value: self.u64(56), version: number },
            (Some(0), Call::Set { value: Some(_), .. }) => Answer::Written(number),
            (Some(AGAIN), _) => Answer::Outdated(number),
            (Some(0), _) => Answer::Done,
            (Some(rc), _) => Answer::Failed(rc),
        }
    }
}

impl History {
    /// Of the file, which has room for many more, only the records that were taken are read.
    pub fn read(path: &Path, leases: Leases) -> History {
        let mut history = History::default();
        let mut file = File::open(path).unwrap();
        let mut head = [0; HEAD_BYTES];
        file.read_exact(&mut head).unwrap();
        let taken = u64::from_ne_bytes(head[..8].try_into().unwrap());
        let mut bytes = Vec::new();
        file.take(taken * RECORD_BYTES as u64).read_to_end(&mut bytes).unwrap();
        for record in bytes.chunks_exact(RECORD_BYTES).map(Record) {
            if record.u32(0) >= CALLED {
                history.add(&record, leases);
            }
        }
        history
    }

    fn add(&mut self, record: &Record<'_>, leases: Leases) {
        *self.answers.entry(record.rc()).or_default() += 1;
        let (call, called) = (record.call(leases), record.u64(16));
        let answer = record.answer(call);
        let returned = if answer == Answer::Unknown { NEVER } else { record.u64(24) };
        let ops = self.names.entry(record.u32(8)).or_default();
        let of = ops.len();
        ops.push(Op { call, answer, called, returned });
        if answer == Answer::Unknown && matches!(call, Call::Lock { .. }) {
            ops.push(Op { call: Call::Withdraw { of }, ..ops[of] });
        }
    }

    /// Whether all of it can have been.
    pub fn judge(&self) -> Result<Figures, String> {
        let mut figures = Figures::default();
        self.expect_codes()?;
        for (name, ops) in &self.names {
            self.judge_name(*name, ops, &mut figures).map_err(|fault| format!("{}: {fault}", said(*name)))?;
        }
        Ok(figures)
    }

    fn judge_name(&self, name: u32, ops: &[Op], figures: &mut Figures) -> Result<(), String> {
        figures.ops += ops.len();
        figures.unknown += ops.iter().filter(|op| op.is_unknown()).count();
        figures.grants += ops.iter().filter(|op| matches!(op.answer, Answer::Granted(_))).count();
        // A write whose lock was lost says nothing of its key.
        let telling = without(ops, |op| match op.answer {
            Answer::Failed(rc) => TELLS_NOTHING.contains(&rc) || matches!(op.call, Call::Set { .. }) && rc != NOENT,
            _ => false,
        });
        let worlds = check(&telling, LIMIT).map_err(|fault| explain(&fault, &telling))?;
        figures.worlds = figures.worlds.max(worlds);
        self.judge_without_search(name, ops, figures)
    }

    fn judge_without_search(&self, name: u32, ops: &[Op], figures: &mut Figures) -> Result<(), String> {
        numbers_grow(ops)?;
        if name >= LOCKS {
            return Ok(());
        }
        holds_exclude(ops)?;
        for key in LOCKS..LOCKS + KEYS {
            let writes = self.names.get(&key).map_or(&[][..], Vec::as_slice);
            figures.fenced += fences_hold(writes, name, ops)?;
        }
        Ok(())
    }

    /// Nothing but what these calls may be answered while things break.
    fn expect_codes(&self) -> Result<(), String> {
        use super::{ACCES, EXIST, NOLCK, STALE};
        let known = [0, NOLCK, EXIST, ACCES, STALE, AGAIN, NOENT, INPROGRESS];
        let is_known = |rc: i32| known.contains(&rc) || TELLS_NOTHING.contains(&rc);
        match self.answers.iter().find(|(rc, _)| rc.is_some_and(|rc| !is_known(rc))) {
            Some((rc, times)) => Err(format!("{times} calls were answered with {rc:?}, which nothing here explains")),
            None => Ok(()),
        }
    }
}

/// The operations that are left, with the places that they name.
fn without(ops: &[Op], is_left_out: impl Fn(&Op) -> bool) -> Vec<Op> {
    let mut places = Vec::with_capacity(ops.len());
    let mut left: Vec<Op> = Vec::with_capacity(ops.len());
    for op in ops {
        places.push(left.len());
        if !is_left_out(op) {
            left.push(*op);
        }
    }
    for op in &mut left {
        if let Call::Withdraw { of } = &mut op.call {
            *of = places[*of];
        }
    }
    left
}

fn said(name: u32) -> String {
    if name < LOCKS { format!("lock {name}") } else { format!("key {}", name - LOCKS) }
}

/// The answer that can't have been, what may have been the case before, and who was at work meanwhile and shortly before.
fn explain(fault: &Fault, ops: &[Op]) -> String {
    let (place, states) = match fault {
        Fault::GaveUp { place } => return format!("gave up at {:?}: more than {LIMIT} worlds", ops[*place]),
        Fault::NoOrder { place, states } => (*place, states),
    };
    let bad = &ops[place];
    let mut near: Vec<&Op> = ops.iter().filter(|op| op.called <= bad.returned).collect();
    near.sort_unstable_by_key(|op| (op.returned.min(bad.returned), op.called));
    let near: Vec<String> = near.iter().rev().take(24).rev().map(|op| format!("    {op:?}")).collect();
    let states: Vec<String> = states.iter().take(8).map(|state| format!("    {state:?}")).collect();
    format!(
        "no order of its operations explains {bad:?}\n  the states that it may have met:\n{}\n  its last operations:\n{}",
        states.join("\n"),
        near.join("\n")
    )
}
