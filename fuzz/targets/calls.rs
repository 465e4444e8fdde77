//! Sequences of calls: SQLite gives the answers that `memory:`, the written-out rules, gives.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{
    Dss, Filter,
    calls::{ANY, Call, RESUME, Tested, Token},
};
use std::{
    fs,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// The most calls of a sequence.
const MOST: usize = 200;

/// An empty store, as a file.
static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
static NEXT: AtomicU64 = AtomicU64::new(0);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = format!("/dev/shm/dss-fuzz-{}.db", std::process::id());
    let remove =
        || ["", "-wal", "-shm", "-wait"].iter().for_each(|side| drop(fs::remove_file(format!("{path}{side}"))));
    let empty = EMPTY.get_or_init(|| {
        remove();
        drop(Dss::open(&path).unwrap());
        fs::read(&path).unwrap()
    });
    remove();
    fs::write(&path, empty).unwrap();
    let mut tested = Tested::open(&path);
    let mut rules = Tested::open(&format!("memory:{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let mut bytes = Bytes(bytes);
    for place in 0..MOST {
        let Some(call) = bytes.call() else { break };
        if matches!(call, Call::Reopen) {
            drop(tested.dss);
            tested.dss = Dss::open(&path).unwrap();
        }
        assert_eq!(tested.answer(&call), rules.answer(&call), "call {place}: {call:?}");
    }
});

/// What is left of the input.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn below(&mut self, limit: u8) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first % limit)
    }

    /// One of four is None.
    fn perhaps(&mut self, limit: u8) -> Option<Option<u8>> {
        let number = self.below(4 * limit)?;
        Some((number < 3 * limit).then_some(number % limit))
    }

    fn token(&mut self) -> Option<Token> {
        Some([Token::Current, Token::Former, Token::Unchecked][usize::from(self.below(3)?)])
    }

    /// Some of the four, in any order.
    fn ids(&mut self) -> Option<Vec<u8>> {
        let (which, first) = (self.below(15)? + 1, self.below(4)?);
        Some((0..4).map(|step| (first + step) % 4).filter(|id| which >> id & 1 == 1).collect())
    }

    fn filter(&mut self) -> Option<Filter> {
        let names: [&[u8]; 6] = [b"drive", b"d", b"Drive", b"drive'; --\xff\n", b"x", b"z"];
        let owners: [&[u8]; 3] = [b"a", b"a ", b"\xfe"];
        let flags = u64::from(self.below(8)?);
        let id = self.perhaps(6)?.map(|name| names[usize::from(name)].to_vec());
        let owner = self.perhaps(3)?.map(|name| owners[usize::from(name)].to_vec());
        Some(Filter { flags, id, owner, min_age_ms: 0 })
    }

    fn call(&mut self) -> Option<Call> {
        Some(match self.below(14)? {
            0 => Call::Lock(self.below(4)?, self.below(3)?),
            1 => Call::Refresh(self.below(4)?, self.below(3)?),
            2 => Call::Unlock(self.below(4)?, self.perhaps(3)?),
            3 => Call::Status(self.below(4)?),
            4 => {
                let flags = [0, 0, ANY, RESUME, ANY | RESUME][usize::from(self.below(5)?)];
                Call::Lockv(self.ids()?, self.below(3)?, flags, self.below(2)? == 1, self.below(3)?)
            }
            5 => Call::Refreshv(self.ids()?, self.below(3)?, self.token()?),
            6 => Call::Unlockv(self.ids()?, self.perhaps(3)?, self.token()?),
            7 => Call::Transfer(self.below(4)?, self.perhaps(3)?, self.token()?, self.below(3)?),
            8 => Call::List(self.filter()?),
            9 => Call::Clean(self.filter()?),
            10 => Call::Get(self.below(4)?),
            11 => {
                let (key, value) = (self.below(4)?, self.perhaps(4)?);
                let version = if self.below(2)? == 1 { Some(self.token()?) } else { None };
                let lock = if self.below(3)? == 0 { Some((self.below(4)?, self.token()?)) } else { None };
                Call::Set(key, value, version, lock)
            }
            12 => Call::Keys(self.below(6)?),
            _ => Call::Reopen,
        })
    }
}
