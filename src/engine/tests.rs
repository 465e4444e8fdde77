//! The engine on a store that is in the way, fails, or loses its answers, as the test wants it.

mod scripted;

use super::{commit::engine::Engine, gate};
use crate::{
    model::{
        error::Code,
        lock::Attempt,
        name::{LockId, Note, Owner, StateKey},
        request::{Reply, Request, Turn, Wanted},
        state::{Guard, Setting},
    },
    shared::combiner::{self, Combining, PublicationList},
    store::memory::Memory,
    sys::{file_of_test, mark::Mark, segment},
};
use scripted::{Deed, Scripted, engine, engine_of};
use std::{
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn id() -> LockId {
    LockId::new(b"drive3").unwrap()
}

fn lock(owner: &str) -> Request {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let attempt = Attempt([NEXT.fetch_add(1, Ordering::Relaxed); 16]);
    let (owner, client, note) = (Owner::new(owner.as_bytes()).unwrap(), "test".into(), Note::default());
    let (ids, ttl_ms, any, resume) = (vec![id()], 0, false, false);
    Request::Lock(Arc::new(Wanted { ids, owner, client, attempt, ttl_ms, note, any, resume, turn: Turn::Now }))
}

fn set(value: &[u8], version: Option<u64>) -> Request {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let attempt = Attempt([NEXT.fetch_add(1, Ordering::Relaxed); 16]);
    let (key, guard) = (StateKey::new(b"drive3").unwrap(), Guard { version, lock: None });
    Request::Set(Arc::new(Setting { key, value: Some(value.into()), guard, attempt, in_doubt: false }))
}

fn version(reply: Result<Reply, Code>) -> u64 {
    match reply {
        Ok(Reply::Set { version }) => version,
        other => panic!("{other:?}"),
    }
}

fn call(engine: &Engine, request: Request, timeout_ms: u64) -> Result<Reply, Code> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let answer = engine.call(request, deadline, &mut gate::enter().unwrap()).map_err(|error| error.code)?;
    match answer {
        Reply::Refused(found) => Err(found.error.code),
        Reply::Each(results) => match results.iter().find_map(|result| result.as_ref().err()) {
            Some(denial) => Err(denial.error.code),
            None => Ok(Reply::Each(results)),
        },
        reply => Ok(reply),
    }
}

fn holder(engine: &Engine) -> Option<String> {
    match call(engine, Request::Status { id: id() }, 1000) {
        Ok(Reply::Status(entry)) => Some(String::from_utf8_lossy(entry.owner.as_bytes()).into_owned()),
        _ => None,
    }
}

#[test]
fn a_lost_answer_is_found_again() {
    for lost in [Deed::LoseAnswer, Deed::LoseRequest] {
        let (engine, _) = engine(&[lost, Deed::Busy, lost], Deed::Apply);
        assert!(matches!(call(&engine, lock("a"), 5000), Ok(Reply::Granted(_))), "{lost:?}");
        assert_eq!(holder(&engine).as_deref(), Some("a"));
        assert_eq!(call(&engine, lock("b"), 5000), Err(Code::Held));
    }
}

/// An unlock whose flush failed was found done after the file was opened again, and was answered "no such lock".
#[test]
fn an_unlock_in_doubt_is_never_told_that_nothing_was_done() {
    let (engine, _) = engine(&[Deed::Apply, Deed::LoseAnswer], Deed::Apply);
    assert!(call(&engine, lock("a"), 1000).is_ok());
    let owner = Some(Owner::new(b"a").unwrap());
    let unlock =
        Request::Unlock { ids: vec![id()], owner, tokens: Vec::new(), seen_us: Vec::new(), attempt: Attempt([0; 16]) };
    assert_eq!(call(&engine, unlock.clone(), 1000), Err(Code::Unknown));
    assert_eq!(call(&engine, unlock, 1000), Err(Code::NoLock));
}

/// A write whose answer was lost is asked for again only in a way that can't overwrite what others have written since.
#[test]
fn a_value_is_not_written_twice() {
    let get = || Request::Get { key: StateKey::new(b"drive3").unwrap() };
    let (engine, script) = engine(&[], Deed::Apply);
    let mut last = version(call(&engine, set(b"a", None), 5000));
    for lost in [Deed::LoseAnswer, Deed::LoseRequest] {
        script.lock().unwrap().deeds.extend([lost, Deed::Busy, lost]);
        let next = version(call(&engine, set(b"b", Some(last)), 5000));
        assert!(next > last, "{lost:?}");
        last = next;
    }
    script.lock().unwrap().deeds.push_back(Deed::LoseAnswer);
    last = version(call(&engine, set(b"c", None), 5000));
    script.lock().unwrap().deeds.push_back(Deed::LoseRequest);
    assert_eq!(call(&engine, set(b"d", None), 5000), Err(Code::Unknown), "others may have written since");
    let Ok(Reply::Got(value)) = call(&engine, get(), 1000) else { panic!() };
    assert_eq!((&value.bytes[..], value.stamp.version), (&b"c"[..], last));
}

/// A caller that was told "unknown" may not hold a lock that nobody knows of: the next call finds it released.
#[test]
fn an_attempt_that_was_given_up_is_withdrawn() {
    for lost in [Deed::LoseAnswer, Deed::LoseRequest] {
        let (engine, script) = engine(&[], lost);
        assert_eq!(call(&engine, lock("a"), 20), Err(Code::Unknown), "{lost:?}");
        script.lock().unwrap().then = Some(Deed::Apply);
        assert_eq!(holder(&engine), None);
        assert!(call(&engine, lock("b"), 1000).is_ok());
        assert_eq!(holder(&engine).as_deref(), Some("b"), "a withdrawal takes away no other attempt's lock");
    }
}

#[test]
fn a_failure_after_a_lost_answer_stays_unknown() {
    let (engine, _) = engine(&[Deed::LoseAnswer, Deed::Fail], Deed::Apply);
    assert_eq!(call(&engine, lock("a"), 5000), Err(Code::Unknown));
    assert_eq!(holder(&engine), None);
}

/// A status that shared its batch with the withdrawal of a lost lock was told -EINPROGRESS, as if it had changed something.
#[test]
fn a_read_is_never_told_that_it_may_have_been_applied() {
    let (engine, _) = engine(&[Deed::LoseRequest, Deed::Fail], Deed::LoseRequest);
    assert_eq!(call(&engine, lock("a"), 5000), Err(Code::Unknown));
    for _ in 0..2 {
        assert_eq!(call(&engine, Request::Status { id: id() }, 50).err(), Some(Code::Io));
    }
}

#[test]
fn the_last_user_tries_to_withdraw() {
    let (engine, script) = engine(&[Deed::LoseAnswer, Deed::Fail], Deed::Apply);
    assert_eq!(call(&engine, lock("a"), 5000), Err(Code::Unknown));
    let before = script.lock().unwrap().batches.len();
    engine.close();
    assert_eq!(script.lock().unwrap().batches[before..], [1]);
}

#[test]
fn a_busy_store_is_asked_until_the_time_is_up() {
    let (engine, script) = engine(&[], Deed::Busy);
    let begin = Instant::now();
    assert_eq!(call(&engine, lock("a"), 50), Err(Code::Busy));
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(script.lock().unwrap().batches.len() > 3);
    assert_eq!(call(&engine, lock("a"), 0), Err(Code::Busy), "with no time at all it is asked once");
    script.lock().unwrap().then = Some(Deed::Apply);
    assert_eq!(holder(&engine), None, "nothing of it is done later");
}

#[test]
fn a_failure_is_told_at_once() {
    let (engine, script) = engine(&[Deed::Fail], Deed::Apply);
    assert_eq!(call(&engine, lock("a"), 5000), Err(Code::NoSpace));
    assert_eq!(script.lock().unwrap().batches, [1]);
}

/// A defect in a store ends neither the host nor the callers that wait behind it.
#[test]
fn a_panic_is_contained() {
    let (engine, _) = engine(&[Deed::Panic], Deed::Apply);
    let codes: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| call(&engine, lock("a"), 5000))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|code| *code == Err(Code::Defect)), "{codes:?}");
    assert_eq!(call(&engine, lock("a"), 5000), Err(Code::Defect));
}

/// While one thread is kept waiting by the store, others leave their requests; one batch then takes them all.
#[test]
fn callers_that_come_meanwhile_share_a_batch() {
    const CALLERS: usize = 8;
    let (engine, script) = engine(&[], Deed::Busy);
    let winners = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| winners.fetch_add(call(&engine, lock("a"), 10_000).is_ok().into(), Ordering::Relaxed));
        }
        while script.lock().unwrap().batches.last() != Some(&CALLERS) {
            thread::yield_now();
        }
        script.lock().unwrap().then = Some(Deed::Apply);
    });
    assert_eq!(winners.into_inner(), 1);
    assert_eq!(script.lock().unwrap().batches.last(), Some(&CALLERS));
}

/// Who ended its wait gave a server 300 ms to hear of it. Calls of other threads that went out together with that failed with it,
/// when the server was slow, though they had ten seconds.
#[test]
fn a_hasty_call_does_not_end_the_others_of_its_batch() {
    let (engine, script) = engine(&[], Deed::Busy);
    let batch_of = |count: usize| {
        while script.lock().unwrap().batches.last() != Some(&count) {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let patient = scope.spawn(|| call(&engine, lock("a"), 60_000));
        batch_of(1);
        let hasty = scope.spawn(|| call(&engine, lock("b"), 1000));
        batch_of(2);
        let mut script = script.lock().unwrap();
        script.deeds.push_back(Deed::Silence);
        script.then = Some(Deed::Apply);
        drop(script);
        assert_eq!(hasty.join().unwrap(), Err(Code::Unreachable));
        assert!(matches!(patient.join().unwrap(), Ok(Reply::Granted(_))));
    });
}

#[test]
fn values_and_locks_go_apart_where_the_store_wants_it() {
    let (engine, script) = engine_of(&[], Deed::Busy, true);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_ne!(call(&engine, lock("a"), 10_000), Err(Code::Defect)));
            scope.spawn(|| version(call(&engine, set(b"x", None), 10_000)));
        }
        // By then all of them have come, and the script has not let any pair of both through.
        while script.lock().unwrap().batches.len() < 100 {
            thread::yield_now();
        }
        script.lock().unwrap().then = Some(Deed::Apply);
    });
}

/// A call with little time, behind one that has much, gives up by itself.
#[test]
fn each_caller_has_its_own_time() {
    let (engine, script) = engine(&[], Deed::Busy);
    thread::scope(|scope| {
        let patient = scope.spawn(|| call(&engine, lock("a"), 60_000));
        while script.lock().unwrap().batches.is_empty() {
            thread::yield_now();
        }
        assert_eq!(call(&engine, lock("b"), 30), Err(Code::Busy));
        script.lock().unwrap().then = Some(Deed::Apply);
        assert!(patient.join().unwrap().is_ok());
    });
}

/// Makes the publication lists of processes that share one.
fn publication_lists() -> impl Fn() -> Arc<PublicationList> {
    let (memory, file) = (segment::of_test(combiner::LENGTH), file_of_test());
    move || {
        let file = file();
        Arc::new(PublicationList::open(memory.clone(), &file, Mark::put_on(file.as_raw_fd()).unwrap()).unwrap())
    }
}

fn engine_with(publications: Arc<PublicationList>) -> Engine {
    let (memory, publications) = (Memory::default(), Some(publications));
    Engine::new(Box::new(Scripted { memory, script: Arc::default(), publications, sets_apart: false }))
}

/// With more processes than publication records, one without a record published its requests nowhere as long as others were
/// at work, and returned -EBUSY in the end.
#[test]
fn a_process_without_a_record_asks_the_store_itself() {
    let opened = publication_lists();
    let others: Vec<_> = (0..128).map(|_| opened()).collect();
    others.iter().for_each(|list| assert_eq!(list.publish(&[]), Some(0)));
    let own = opened();
    assert_eq!(own.publish(&[]), None);
    assert!(others[0].try_become_combiner());
    assert!(matches!(call(&engine_with(own), lock("a"), 60_000), Ok(Reply::Granted(_))));
}

/// A combiner that is stopped outside its transaction holds up the processes whose requests it has taken, and no others.
/// Without the check for one that takes nothing, each call waited for its deadline.
#[test]
fn calls_go_round_a_stopped_combiner() {
    let opened = publication_lists();
    let (own, other) = (opened(), opened());
    own.publish(&[]);
    let mut stopped = Combining::new(Some(other));
    stopped.begin();
    assert!(stopped.has_lock() && own.combiner_lives());
    let (engine, begin) = (engine_with(own), Instant::now());
    assert!(matches!(call(&engine, lock("a"), 20_000), Ok(Reply::Granted(_))));
    assert!(begin.elapsed() < Duration::from_secs(10));
}
