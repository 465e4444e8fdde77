//! Two processes of a store, played by two openings of one file.

mod recovery;

use super::{
    memory::{Phase, REQUESTS, StateWord},
    *,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lock::{Attempt, End},
        name::{LockId, Note, Owner},
        request::{Grant, Outcome, Reply, Request, Turn, Wanted},
    },
    sys::{file_of_test, mark::Mark, segment, segment::Part},
};
use std::{
    fs::File,
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

/// What the processes of a store share.
struct Shared {
    memory: Part,
    file: Box<dyn Fn() -> File>,
}

fn opened(shared: &Shared) -> Arc<PublicationList> {
    let file = (shared.file)();
    let mark = Mark::put_on(file.as_raw_fd()).unwrap();
    Arc::new(PublicationList::open(shared.memory.clone(), &file, mark).unwrap())
}

fn two() -> (Shared, Arc<PublicationList>, Arc<PublicationList>) {
    let shared = Shared { memory: segment::of_test(LENGTH), file: Box::new(file_of_test()) };
    let (one, other) = (opened(&shared), opened(&shared));
    (shared, one, other)
}

fn lock(id: &str, attempt: u8) -> Request {
    Request::Lock(Arc::new(Wanted {
        ids: vec![LockId::new(id.as_bytes()).unwrap()],
        owner: Owner::new(b"ann \xff").unwrap(),
        client: "host:1:prog".into(),
        attempt: Attempt([attempt; 16]),
        ttl_ms: u64::MAX - 1,
        note: Note::new(b"a note").unwrap(),
        any: attempt.is_multiple_of(2),
        resume: attempt.is_multiple_of(3),
        turn: Turn::Now,
    }))
}

fn unlock(id: &str) -> Request {
    let (ids, owner) = (vec![LockId::new(id.as_bytes()).unwrap()], Owner::new(b"ann").ok());
    Request::Unlock { ids, owner, tokens: vec![7], seen_us: Vec::new(), attempt: Attempt([0; 16]) }
}

fn grant(token: u64) -> Grant {
    Grant { token, ttl_ms: 3, before: End::Resumed }
}

/// What a transaction makes of a request.
fn done(request: &Request) -> Outcome {
    match request {
        Request::Lock(_) => Ok(Reply::Granted(vec![Some(grant(8))])),
        _ => Ok(Reply::Each(vec![Ok(grant(7))])),
    }
}

/// A transaction of a process that expects others.
fn combining(list: &Arc<PublicationList>) -> Combining {
    list.memory.expected().store(2, Ordering::SeqCst);
    let mut combining = Combining::new(Some(list.clone()));
    combining.begin();
    combining
}

/// One that has run what others had published, and not committed yet; and its number.
fn with_answers(list: &Arc<PublicationList>) -> (Combining, Option<u64>) {
    let mut combining = combining(list);
    assert!(combining.take(99));
    combining.run_each(|request| Ok::<_, ()>(done(request))).unwrap();
    let number = combining.write_answers();
    (combining, number)
}

/// Its process is killed: the kernel releases the lock.
fn kill(combining: Combining, list: &PublicationList) {
    std::mem::forget(combining);
    list.unlock();
}

fn record_of(list: &PublicationList) -> memory::Record<'_> {
    list.memory.records_in(Phase::Published).chain(list.memory.records_in(Phase::Taken)).next().unwrap().1
}

#[test]
fn requests_are_read_as_they_were_written() {
    let id = "i".repeat(700);
    let refresh = |owner, tokens| Request::Refresh {
        ids: vec![LockId::new(b"x").unwrap()],
        owner,
        tokens,
        attempt: Attempt([0; 16]),
    };
    let requests = [
        lock("drive", 1),
        lock(&id, 6),
        unlock("drive"),
        refresh(Owner::new(b"ann").ok(), Vec::new()),
        refresh(None, vec![u64::MAX]),
    ];
    for request in &requests {
        let bytes = codec::encode(request).unwrap();
        assert_eq!(codec::decode(&mut &bytes[..]).as_ref(), Some(request));
        (0..bytes.len()).for_each(|length| assert_eq!(codec::decode(&mut &bytes[..length]), None, "{length}"));
    }
    let status = Request::Status { id: LockId::new(b"x").unwrap() };
    assert_eq!(codec::encode(&status), None);
}

#[test]
fn the_combiner_runs_the_requests_of_others() {
    let (_shared, one, other) = two();
    let (lock, unlock) = (lock("drive", 1), unlock("tape"));
    let mut combining = combining(&one);
    assert!(!other.try_become_combiner());
    assert_eq!(other.publish(&[&lock, &unlock]), Some(2));
    assert_eq!(other.poll(), Progress::Published { is_next: false });
    assert!(combining.take(99));
    assert_eq!(other.poll(), Progress::Taken);
    assert!(!other.retract());
    combining.run_each(|request| Ok::<_, ()>(done(request))).unwrap();
    assert!(combining.write_answers().is_some());
    assert_eq!(other.poll(), Progress::Taken, "no answer counts before the commit");
    combining.answer();
    let Progress::Answered(answers) = other.poll() else { panic!() };
    assert_eq!(answers, [Answer::Done(grant(8)), Answer::Done(grant(7))]);
    assert_eq!(answers[0].reply_to(&lock), done(&lock).ok());
    assert_eq!(answers[1].reply_to(&unlock), done(&unlock).ok());
    assert!(other.try_become_combiner(), "no combiner is active any more");
}

/// A process without neighbours pays for no lock; as soon as one shows up, it takes the lock.
#[test]
fn the_lock_is_taken_where_there_is_company() {
    let (_shared, one, other) = two();
    assert!(!Combining::new(Some(one.clone())).has_lock());
    other.publish(&[&lock("drive", 1)]);
    let combining = Combining::new(Some(one));
    assert!(combining.has_lock() && other.combiner_lives() && !Combining::new(Some(other.clone())).has_lock());
    drop(combining);
    assert!(!other.combiner_lives());
}

#[test]
fn what_is_refused_is_left_to_its_own_process() {
    let (_shared, one, other) = two();
    let mut combining = combining(&one);
    other.publish(&[&lock("drive", 1)]);
    combining.take(99);
    combining.run_each(|_| Ok::<_, ()>(Err(Error::new(Code::Held, "held")))).unwrap();
    assert_eq!(combining.write_answers(), None, "nothing has changed");
    combining.answer();
    assert_eq!(other.poll(), Progress::Answered(vec![Answer::Refused]));
}

/// A process that was killed, or stopped while it waited for its turn, was told to become the
/// combiner by everyone, for ever.
#[test]
fn a_process_that_does_not_come_is_told_once() {
    let (shared, one, stopped) = two();
    let dead = opened(&shared);
    let first = combining(&one);
    stopped.publish(&[]);
    dead.publish(&[&lock("drive", 1)]);
    drop(first);
    drop(dead);
    assert_eq!(stopped.poll(), Progress::Published { is_next: true });
    let mut second = combining(&one);
    assert!(!second.take(99));
    second.answer();
    assert!(one.try_become_combiner(), "no combiner is active");
}

#[test]
fn the_oldest_requests_are_taken_first() {
    let (shared, combiner, first) = two();
    let others = [first, opened(&shared), opened(&shared)];
    let mut combining = combining(&combiner);
    others[2].publish(&[]);
    others[0].publish(&[&lock("a", 1)]);
    others[1].publish(&[&lock("b", 1)]);
    assert!(combining.take(1), "as many as there is room for");
    assert_eq!(combining.requests(), [&lock("a", 1)]);
    combining.run_each(|request| Ok::<_, ()>(done(request))).unwrap();
    combining.write_answers();
    combining.answer();
    let is_next = |list: &PublicationList| matches!(list.poll(), Progress::Published { is_next: true });
    assert!(matches!(others[0].poll(), Progress::Answered(_)) && !is_next(&others[1]));
    assert!(is_next(&others[2]), "it waits for a transaction of its own, longer than the other");
}

#[test]
fn a_record_has_room_for_some_requests() {
    let (_shared, _one, other) = two();
    let many: Vec<Request> = (0..20).map(|number| lock(&format!("drive{number}"), 1)).collect();
    let published = other.publish(&many.iter().collect::<Vec<_>>()).unwrap();
    assert!((4..=REQUESTS).contains(&published));
    assert_eq!(other.publish(&[&lock(&"i".repeat(2048), 1)]), Some(0));
    let two_ids = Request::Withdraw { ids: vec![LockId::new(b"x").unwrap()], attempt: Attempt([1; 16]) };
    assert_eq!(other.publish(&[&two_ids]), Some(0));
}

#[test]
fn the_combiner_waits_for_those_who_came_before() {
    let (_shared, one, other) = two();
    let far = || clock::instant() + Duration::from_secs(60);
    let mut first = combining(&one);
    thread::scope(|scope| {
        scope.spawn(|| other.publish(&[&lock("drive", 2)]));
        assert!(first.wait_for_more(far()));
    });
    assert!(first.take(99) && !first.wait_for_more(far()), "nobody else is expected");
    drop(first);
    assert!(!combining(&one).wait_for_more(clock::instant()), "and not for ever");
}

#[test]
fn a_wait_ends_with_the_answer_or_a_wake() {
    let (_shared, one, other) = two();
    let mut first = combining(&one);
    other.publish(&[&lock("drive", 1)]);
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            while !matches!(other.poll(), Progress::Answered(_)) {
                other.wait(Duration::from_secs(60));
            }
        });
        first.take(99);
        first.run_each(|request| Ok::<_, ()>(done(request))).unwrap();
        first.write_answers();
        first.answer();
        waits.join().unwrap();
    });
    other.publish(&[&lock("drive", 1)]);
    assert_eq!(other.poll(), Progress::Published { is_next: true }, "no combiner is active");
}

/// Words that no process of ours has written must neither stop the process nor be taken for
/// answers.
#[test]
fn nonsense_is_not_run() {
    let (_shared, one, other) = two();
    let mut first = combining(&one);
    other.publish(&[&lock("drive", 1)]);
    record_of(&one).set_requests(1, 3, &[255; 90]);
    assert!(!first.take(99));
    assert!(other.retract());
    other.publish(&[&lock("drive", 1)]);
    record_of(&one).set_state(StateWord::new(5, Phase::Answered));
    assert_eq!(other.poll(), Progress::Lost);
    other.publish(&[&lock("drive", 1)]);
    record_of(&one).set_state(StateWord::new(5, Phase::Taken));
    assert_eq!(other.poll(), Progress::Lost);
    first.recover(None);
    assert_eq!((other.poll(), other.publish(&[])), (Progress::Lost, Some(0)));
}
