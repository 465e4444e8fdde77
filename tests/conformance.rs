//! The same cases on every store, with the same answers; and random sequences of calls, in which every store must answer
//! as `memory:` does, the written-out rules.

mod common;

use common::{Dss, Filter, Opts, Store, fresh, kinds, last_error};
use dss::ffi::lockv::dss_grant;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

fn on_every_store(case: impl Fn(&Store)) {
    kinds().iter().map(|kind| fresh(kind)).for_each(|store| case(&store));
}

const NOLCK: i32 = -libc::ENOLCK;
const EXIST: i32 = -libc::EEXIST;
const ACCES: i32 = -libc::EACCES;
const AGAIN: i32 = -libc::EAGAIN;

#[test]
fn the_table_of_the_four_calls() {
    on_every_store(|store| {
        let dss = Dss::open(&store.uri).unwrap();
        assert_eq!(dss.refresh(b"d", b"a"), NOLCK, "{}", store.kind);
        assert_eq!(dss.unlock(b"d", Some(b"a")), NOLCK);
        assert_eq!(dss.unlock(b"d", None), NOLCK);
        assert_eq!(dss.status(b"d"), Err(NOLCK));
        assert_eq!(dss.lock(b"d", b"a"), 0);
        assert_eq!((dss.lock(b"d", b"a"), dss.lock(b"d", b"b")), (EXIST, EXIST));
        assert_eq!((dss.refresh(b"d", b"a"), dss.refresh(b"d", b"b")), (0, ACCES));
        assert_eq!(dss.status(b"d").unwrap().0, b"a");
        assert_eq!((dss.unlock(b"d", Some(b"b")), dss.unlock(b"d", Some(b"a"))), (ACCES, 0));
        assert_eq!((dss.lock(b"d", b"b"), dss.unlock(b"d", None)), (0, 0));
        assert_eq!(dss.status(b"d"), Err(NOLCK));
    });
}

#[test]
fn the_text_of_a_refusal_names_the_lock_its_holder_and_the_cure() {
    on_every_store(|store| {
        let dss = Dss::open(&store.uri).unwrap();
        assert_eq!(dss.lock(b"drive\n3", b"mover-1"), 0);
        assert_eq!(dss.lock(b"drive\n3", b"mover-2"), EXIST);
        let text = last_error();
        for part in ["drive\\x0a3", "mover-1", &std::process::id().to_string(), "dss_unlock"] {
            assert!(text.contains(part), "{part} in: {text}");
        }
    });
}

/// Callers of many threads form batches. Each gets its own answer, and one of those who want the same lock gets it.
#[test]
fn batches_answer_each_caller() {
    on_every_store(|store| {
        let dss = Dss::open(&store.uri).unwrap();
        for round in 0..20 {
            let winners = AtomicUsize::new(0);
            thread::scope(|scope| {
                for me in 0..16 {
                    let (dss, winners) = (&dss, &winners);
                    scope.spawn(move || {
                        let (shared, own) = (format!("shared{round}"), format!("own{me}"));
                        let owner = format!("owner{me}");
                        winners
                            .fetch_add((dss.lock(shared.as_bytes(), owner.as_bytes()) == 0).into(), Ordering::Relaxed);
                        assert_eq!(dss.lock(own.as_bytes(), owner.as_bytes()), 0);
                        assert_eq!(dss.status(own.as_bytes()).unwrap().0, owner.as_bytes());
                        assert_eq!(dss.unlock(own.as_bytes(), Some(owner.as_bytes())), 0);
                    });
                }
            });
            assert_eq!(winners.into_inner(), 1, "{} round {round}", store.kind);
        }
    });
}

/// A holder that does not know that it has lost the lock can't write over its successor.
#[test]
fn a_stale_holder_writes_nothing() {
    on_every_store(|store| {
        let dss = Dss::open(&store.uri).unwrap();
        let ids = [b"drive3".to_vec()];
        let (_, former) = dss.lockv(&ids, b"a", &Opts::default());
        let (rc, version) = dss.set(b"drive3", Some(b"tape 1"), None, Some((b"drive3", former[0].token)));
        assert_eq!((rc, version != 0), (0, true), "{}", store.kind);
        assert_eq!(dss.unlock(b"drive3", None), 0);
        let (_, grants) = dss.lockv(&ids, b"b", &Opts::default());
        assert_eq!(dss.set(b"drive3", Some(b"tape 2"), Some(version), Some((b"drive3", grants[0].token))).0, 0);
        assert_eq!(dss.set(b"drive3", Some(b"x"), None, Some((b"drive3", former[0].token))), (-libc::ESTALE, 0));
        for part in ["drive3", &former[0].token.to_string(), "must stop"] {
            assert!(last_error().contains(part), "{part} in: {}", last_error());
        }
        assert_eq!(dss.get(b"drive3").unwrap().0, b"tape 2");
    });
}

/// Threads that set together form batches; a compare-and-set of each loses nothing.
#[test]
fn increments_add_up() {
    const THREADS: u64 = 8;
    const EACH: u64 = 10;
    on_every_store(|store| {
        let dss = Dss::open(&store.uri).unwrap();
        assert_eq!(dss.set(b"count", Some(b"0"), Some(0), None).0, 0);
        let increment = || loop {
            let (value, version) = dss.get(b"count").unwrap();
            let next = String::from_utf8(value).unwrap().parse::<u64>().unwrap() + 1;
            match dss.set(b"count", Some(next.to_string().as_bytes()), Some(version), None).0 {
                0 => return,
                rc => assert_eq!(rc, AGAIN),
            }
        };
        thread::scope(|scope| {
            (0..THREADS).for_each(|_| drop(scope.spawn(|| (0..EACH).for_each(|_| increment()))));
        });
        assert_eq!(dss.get(b"count").unwrap().0, (THREADS * EACH).to_string().as_bytes(), "{}", store.kind);
    });
}

/// One call of a random sequence, on few names, so that the calls meet.
#[derive(Clone, Debug)]
enum Call {
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
enum Token {
    Current,
    Former,
    Unchecked,
}

const ANY: u64 = 1;
const RESUME: u64 = 2;

fn call() -> impl Strategy<Value = Call> {
    let (id, owner) = (0..4u8, 0..3u8);
    let ids = || prop::sample::subsequence(vec![0, 1, 2, 3u8], 1..=4).prop_shuffle();
    let token = || prop_oneof![Just(Token::Current), Just(Token::Former), Just(Token::Unchecked)];
    let somebody = || prop::option::weighted(0.8, 0..3u8);
    let flags = prop::sample::select(vec![0, 0, ANY, RESUME, ANY | RESUME]);
    let version = || prop::option::of(token());
    let fence = || prop::option::weighted(0.3, (0..4u8, token()));
    prop_oneof![
        4 => (id.clone(), owner.clone()).prop_map(|(id, owner)| Call::Lock(id, owner)),
        2 => (id.clone(), owner.clone()).prop_map(|(id, owner)| Call::Refresh(id, owner)),
        3 => (id.clone(), somebody()).prop_map(|(id, owner)| Call::Unlock(id, owner)),
        2 => id.clone().prop_map(Call::Status),
        6 => (ids(), owner.clone(), flags, any::<bool>(), 0..3u8)
            .prop_map(|(ids, owner, flags, lease, note)| Call::Lockv(ids, owner, flags, lease, note)),
        2 => (ids(), owner.clone(), token()).prop_map(|(ids, owner, token)| Call::Refreshv(ids, owner, token)),
        4 => (ids(), somebody(), token()).prop_map(|(ids, owner, token)| Call::Unlockv(ids, owner, token)),
        2 => (id.clone(), somebody(), token(), owner).prop_map(|(id, from, token, to)| Call::Transfer(id, from, token, to)),
        2 => filter().prop_map(Call::List),
        1 => filter().prop_map(Call::Clean),
        2 => id.clone().prop_map(Call::Get),
        5 => (id.clone(), prop::option::weighted(0.8, 0..4u8), version(), fence())
            .prop_map(|(key, value, version, lock)| Call::Set(key, value, version, lock)),
        1 => (0..6u8).prop_map(Call::Keys),
        1 => Just(Call::Reopen),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let name = |names: Vec<&'static [u8]>| prop::option::of(prop::sample::select(names).prop_map(<[u8]>::to_vec));
    let id = name(vec![b"drive", b"d", b"Drive", b"drive'; --\xff\n", b"x", b"z"]);
    (0..8u64, id, name(vec![b"a", b"a ", b"\xfe"])).prop_map(|(flags, id, owner)| Filter {
        flags,
        id,
        owner,
        min_age_ms: 0,
    })
}

/// Names that a store could mix up: cases, prefixes, quotes, bytes that are no UTF-8, and the longest.
fn id(number: u8) -> Vec<u8> {
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
struct Tested {
    dss: Dss,
    granted: BTreeMap<Vec<u8>, Vec<u64>>,
    set: BTreeMap<Vec<u8>, Vec<u64>>,
}

impl Tested {
    fn open(uri: &str) -> Tested {
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
    fn answer(&mut self, call: &Call) -> String {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_store_answers_as_memory_does(calls in prop::collection::vec(call(), 1..60)) {
        for kind in kinds() {
            let (store, rules) = (fresh(&kind), fresh("memory"));
            let mut reference = Tested::open(&rules.uri);
            let mut tested = Tested::open(&store.uri);
            for (place, call) in calls.iter().enumerate() {
                if matches!(call, Call::Reopen) && kind != "memory" {
                    drop(tested.dss);
                    tested.dss = Dss::open(&store.uri).unwrap();
                }
                let (before, stamp) = match call {
                    Call::Refresh(name, _) => (tested.dss.status(&id(*name)), true),
                    _ => (Err(0), false),
                };
                let answer = tested.answer(call);
                prop_assert_eq!(&answer, &reference.answer(call), "{} call {}: {:?}", &kind, place, call);
                if let (Call::Refresh(name, _), true, "0") = (call, stamp, answer.as_str()) {
                    prop_assert!(tested.dss.status(&id(*name)).unwrap().1 > before.unwrap().1);
                }
            }
        }
    }
}
