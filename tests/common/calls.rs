//! Calls of random sequences, and what a store answers to them, in a form in which stores can be compared.

use super::{Dss, Filter, Opts};
use dss::ffi::lockv::dss_grant;
use std::collections::BTreeMap;

const AGAIN: i32 = -libc::EAGAIN;

/// One call of a random sequence, on few names, so that the calls meet.
#[derive(Clone, Debug)]
pub enum Call {
    Lock(u8, u8),
    Refresh(u8, u8),
    Unlock(u8, Option<u8>),
    Status(u8),
    /// Flags, whether with a lease, and a note.
    Lockv(Vec<u8>, u8, u64, bool, u8),
    /// Whether with the current token of each, one before it, or none.
    Refreshv(Vec<u8>, u8, Token),
    Unlockv(Vec<u8>, Option<u8>, Token),
    Transfer(u8, Option<u8>, Token, u8),
    List(Filter),
    Clean(Filter),
    Get(u8),
    /// A key, a value or none to delete, and what guards it: a version, and a lock with a token.
    Set(u8, Option<u8>, Option<Token>, Option<(u8, Token)>),
    Keys(u8),
    Reopen,
}

#[derive(Clone, Copy, Debug)]
pub enum Token {
    Current,
    Former,
    Unchecked,
}

pub const ANY: u64 = 1;
pub const RESUME: u64 = 2;

/// Names that a store could mix up: cases, prefixes, quotes, bytes that are no UTF-8, and the longest.
pub fn id(number: u8) -> Vec<u8> {
    [b"drive".to_vec(), b"Drive".to_vec(), b"drive'; --\xff\n".to_vec(), vec![b'x'; 2048]][usize::from(number)].clone()
}

fn ids(numbers: &[u8]) -> Vec<Vec<u8>> {
    numbers.iter().map(|number| id(*number)).collect()
}

fn owner(number: u8) -> Vec<u8> {
    [b"a".to_vec(), b"a ".to_vec(), vec![0xfe; 256]][usize::from(number)].clone()
}

fn note(number: u8) -> Vec<u8> {
    [b"".to_vec(), b"tape 7\xff'".to_vec(), vec![b'n'; 1024]][usize::from(number)].clone()
}

fn value(number: u8) -> Vec<u8> {
    let all_bytes = || (0..=255).cycle().take(5000).collect();
    [Vec::new(), b"\0".to_vec(), all_bytes(), vec![b'v'; 100]][usize::from(number)].clone()
}

fn prefix(number: u8) -> Vec<u8> {
    [&b""[..], b"d", b"D", b"drive'", b"x", b"y"][usize::from(number)].to_vec()
}

/// A store under test, the tokens that it has granted, and the versions of values that it has given.
pub struct Tested {
    pub dss: Dss,
    granted: BTreeMap<Vec<u8>, Vec<u64>>,
    set: BTreeMap<Vec<u8>, Vec<u64>>,
}

impl Tested {
    pub fn open(uri: &str) -> Tested {
        Tested { dss: Dss::open(uri).unwrap(), granted: BTreeMap::new(), set: BTreeMap::new() }
    }

    fn token(&self, id: &[u8], which: Token) -> u64 {
        number(self.granted.get(id), which)
    }

    fn tokens(&self, numbers: &[u8], which: Token) -> Vec<u64> {
        numbers.iter().map(|number| self.token(&id(*number), which)).collect()
    }

    /// Notes a grant, which must have a greater token than all before it. Gives what stores can be compared by.
    fn note_grant(&mut self, id: &[u8], grant: &dss_grant) -> (i32, u32, bool, bool) {
        if grant.rc == 0 {
            let tokens = self.granted.entry(id.to_vec()).or_default();
            let newer = tokens.last().is_none_or(|last| grant.token > *last);
            assert!(newer && grant.left_ms > 0, "{grant:?} after {tokens:?}");
            tokens.push(grant.token);
        }
        (grant.rc, grant.flags, grant.token != 0, grant.left_ms == i64::MAX)
    }

    /// Does the call and tells all that can be seen of it but times and tokens.
    pub fn answer(&mut self, call: &Call) -> String {
        match call {
            Call::Lock(i, o) => {
                let rc = self.dss.lock(&id(*i), &owner(*o));
                // Its token is told to nobody but the list.
                self.learn(&id(*i));
                format!("{rc}")
            }
            Call::Refresh(i, o) => format!("{}", self.dss.refresh(&id(*i), &owner(*o))),
            Call::Unlock(i, o) => format!("{}", self.dss.unlock(&id(*i), o.map(owner).as_deref())),
            Call::Status(i) => format!("{:?}", self.dss.status(&id(*i)).map(|(owner, _)| owner)),
            Call::Lockv(i, o, flags, lease, n) => {
                let ttl_ms = if *lease { 3_600_000 } else { 0 };
                let opts = Opts { flags: *flags, ttl_ms, wait_ms: 0, note: note(*n) };
                let (rc, grants) = self.dss.lockv(&ids(i), &owner(*o), &opts);
                let told: Vec<_> = i.iter().zip(&grants).map(|(i, grant)| self.note_grant(&id(*i), grant)).collect();
                format!("{rc} {told:?}")
            }
            Call::Refreshv(i, o, which) => {
                let (rc, grants) = self.dss.refreshv(&ids(i), &owner(*o), &self.tokens(i, *which));
                let told: Vec<_> = grants.iter().map(|grant| (grant.rc, grant.flags, grant.token != 0)).collect();
                format!("{rc} {told:?}")
            }
            Call::Unlockv(i, o, which) => {
                let tokens = self.tokens(i, *which);
                format!("{:?}", self.dss.unlockv(&ids(i), o.map(owner).as_deref(), &tokens))
            }
            Call::Transfer(i, from, which, to) => {
                let token = self.token(&id(*i), *which);
                let (rc, grant) = self.dss.transfer(&id(*i), from.map(owner).as_deref(), token, &owner(*to));
                format!("{rc} {:?}", self.note_grant(&id(*i), &grant))
            }
            Call::List(filter) => self.told(filter, false),
            Call::Clean(filter) => self.told(filter, true),
            Call::Get(k) => match self.dss.get(&id(*k)) {
                Ok((value, version)) => {
                    assert_eq!(Some(&version), self.set[&id(*k)].last(), "a read gives the current version");
                    format!("{value:?}")
                }
                Err(rc) => format!("{rc}"),
            },
            Call::Set(k, v, which, lock) => self.set(&id(*k), v.map(value), *which, *lock),
            Call::Keys(p) => {
                let keys = self.dss.keys(&prefix(*p));
                keys.iter().for_each(|(key, version, _)| assert_eq!(Some(version), self.set[key].last()));
                let told: Vec<_> = keys.into_iter().map(|(key, _, len)| (key, len)).collect();
                format!("{told:?}")
            }
            Call::Reopen => String::new(),
        }
    }

    fn set(&mut self, key: &[u8], value: Option<Vec<u8>>, which: Option<Token>, lock: Option<(u8, Token)>) -> String {
        let version = which.map(|which| number(self.set.get(key), which));
        // A token of 0 is refused before any store is asked.
        let lock = lock.map(|(i, which)| (id(i), self.token(&id(i), which).max(1)));
        let lock = lock.as_ref().map(|(id, token)| (&id[..], *token));
        let (rc, new) = self.dss.set(key, value.as_deref(), version, lock);
        let versions = self.set.entry(key.to_vec()).or_default();
        match (rc, value.is_some()) {
            (0, true) => {
                assert!(versions.last().is_none_or(|last| new > *last), "{new} after {versions:?}");
                versions.push(new);
            }
            (AGAIN, _) => assert!(new == 0 || Some(&new) == versions.last(), "{new} is not the last of {versions:?}"),
            _ => assert_eq!(new, 0),
        }
        format!("{rc} {}", new != 0)
    }

    fn told(&self, filter: &Filter, clean: bool) -> String {
        let (rc, shown) = self.dss.list(filter, clean);
        let told: Vec<_> = shown.iter().map(|lock| (&lock.id, &lock.owner, &lock.note, lock.ttl_ms)).collect();
        for lock in &shown {
            assert_eq!(Some(&lock.token), self.granted[&lock.id].last(), "a list shows the current token");
        }
        format!("{rc} {told:?}")
    }

    fn learn(&mut self, id: &[u8]) {
        let (_, shown) = self.dss.list(&Filter { id: Some(id.to_vec()), ..Filter::default() }, false);
        let token = shown.first().map_or(0, |lock| lock.token);
        let tokens = self.granted.entry(id.to_vec()).or_default();
        if token != 0 && tokens.last() != Some(&token) {
            assert!(tokens.last().is_none_or(|last| token > *last));
            tokens.push(token);
        }
    }
}

/// Of the numbers that a store has given.
fn number(given: Option<&Vec<u64>>, which: Token) -> u64 {
    let given = given.map_or(&[][..], |numbers| &numbers[..]);
    match which {
        Token::Current => given.last().copied().unwrap_or(1),
        Token::Former => given.iter().rev().nth(1).copied().unwrap_or(1),
        Token::Unchecked => 0,
    }
}
