//! The same cases on every store, with the same answers; and random sequences of calls, in which every store must answer
//! as `memory:` does, the written-out rules.

mod common;

use common::{Dss, Store, fresh, kinds, last_error};
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

/// One call of a random sequence, on one of few names, so that the calls meet.
#[derive(Clone, Debug)]
enum Call {
    Lock(u8, u8),
    Refresh(u8, u8),
    Unlock(u8, Option<u8>),
    Status(u8),
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    let (id, owner) = (0..4u8, 0..3u8);
    prop_oneof![
        4 => (id.clone(), owner.clone()).prop_map(|(id, owner)| Call::Lock(id, owner)),
        2 => (id.clone(), owner.clone()).prop_map(|(id, owner)| Call::Refresh(id, owner)),
        3 => (id.clone(), prop::option::weighted(0.8, owner)).prop_map(|(id, owner)| Call::Unlock(id, owner)),
        2 => id.prop_map(Call::Status),
        1 => Just(Call::Reopen),
    ]
}

/// Names that a store could mix up: cases, prefixes, quotes, bytes that are no UTF-8, and the longest.
fn id(number: u8) -> Vec<u8> {
    [b"drive".to_vec(), b"Drive".to_vec(), b"drive'; --\xff\n".to_vec(), vec![b'x'; 2048]][usize::from(number)].clone()
}

fn owner(number: u8) -> Vec<u8> {
    [b"a".to_vec(), b"a ".to_vec(), vec![0xfe; 256]][usize::from(number)].clone()
}

/// Does the call and tells all that can be seen of it but the time.
fn answer(dss: &Dss, call: &Call) -> Result<Vec<u8>, i32> {
    let code = |rc: i32| if rc == 0 { Ok(Vec::new()) } else { Err(rc) };
    match call {
        Call::Lock(i, o) => code(dss.lock(&id(*i), &owner(*o))),
        Call::Refresh(i, o) => code(dss.refresh(&id(*i), &owner(*o))),
        Call::Unlock(i, o) => code(dss.unlock(&id(*i), o.map(owner).as_deref())),
        Call::Status(i) => dss.status(&id(*i)).map(|(owner, _)| owner),
        Call::Reopen => Ok(Vec::new()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_store_answers_as_memory_does(calls in prop::collection::vec(call(), 1..60)) {
        for kind in kinds() {
            let (store, rules) = (fresh(&kind), fresh("memory"));
            let reference = Dss::open(&rules.uri).unwrap();
            let mut dss = Dss::open(&store.uri).unwrap();
            for (place, call) in calls.iter().enumerate() {
                if let (Call::Reopen, "sqlite") = (call, kind.as_str()) {
                    drop(dss);
                    dss = Dss::open(&store.uri).unwrap();
                }
                prop_assert_eq!(answer(&dss, call), answer(&reference, call), "{} call {}: {:?}", &kind, place, call);
                if let Call::Refresh(name, _) = call {
                    let before = dss.status(&id(*name));
                    let refreshed = answer(&dss, call).is_ok();
                    let after = dss.status(&id(*name));
                    prop_assert_eq!(refreshed, before.is_ok() && after.unwrap_or_default().1 > before.unwrap_or_default().1);
                    let _ = answer(&reference, call);
                }
            }
        }
    }
}
