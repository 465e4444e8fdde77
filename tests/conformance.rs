//! The same cases on every store, with the same answers; and random sequences of calls, in which every store must answer
//! as `memory:` does, the written-out rules.

mod common;

use common::{
    Dss, Filter, Opts, Store,
    calls::{ANY, Call, RESUME, Tested, Token, id},
    fresh, kinds, last_error,
};
use proptest::prelude::*;
use std::{
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
