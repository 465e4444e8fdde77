//! Two processes of a store, played by two openings of one file.

use super::{layout::Mark, *};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lock::End,
        name::{LockId, Note, Owner},
        request::{Attempt, Grant, Outcome, Reply, Turn, Wanted},
    },
    sys::{file_of_test, segment},
};
use std::{sync::Arc, thread};

/// What the processes of a store share.
struct Shared {
    memory: Part,
    file: Box<dyn Fn() -> File>,
}

fn opened(shared: &Shared) -> Arc<Desks> {
    let file = (shared.file)();
    let mark = mark::Mark::put_on(file.as_raw_fd()).unwrap();
    Arc::new(Desks::open(shared.memory.clone(), &file, mark).unwrap())
}

fn two() -> (Shared, Arc<Desks>, Arc<Desks>) {
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

fn at_work(desks: &Arc<Desks>) -> Errands {
    let mut errands = Errands::of(Some(desks.clone()));
    errands.begin();
    errands
}

fn do_all(errands: &mut Errands) {
    errands.do_each(|request| Ok::<_, ()>(done(request))).unwrap();
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
fn another_process_does_what_lies_on_a_desk() {
    let (_file, one, other) = two();
    let (lock, unlock) = (lock("drive", 1), unlock("tape"));
    let mut errands = at_work(&one);
    assert!(!other.announce_work());
    assert_eq!(other.post(&[&lock, &unlock]), Some(2));
    assert_eq!(other.look(), Look::Posted { leads: false });
    assert!(errands.take(99));
    assert_eq!(other.look(), Look::Taken);
    assert!(!other.recall());
    do_all(&mut errands);
    assert_eq!(errands.unlocked().len(), 1);
    errands.answer();
    let Look::Answered(answers) = other.look() else { panic!() };
    assert_eq!(answers, [Answer::Done(grant(8)), Answer::Done(grant(7))]);
    assert_eq!(answers[0].reply_to(&lock), done(&lock).ok());
    assert_eq!(answers[1].reply_to(&unlock), done(&unlock).ok());
    assert!(other.announce_work(), "nobody is at work any more");
}

#[test]
fn what_is_refused_is_left_to_its_own_process() {
    let (_file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    errands.take(99);
    errands.do_each(|_| Ok::<_, ()>(Err(Error::new(Code::Held, "held")))).unwrap();
    errands.answer();
    assert_eq!(other.look(), Look::Answered(vec![Answer::Refused]));
}

/// A process that is killed may not get a lock after its death: nobody would know of it.
#[test]
fn what_lies_on_the_desk_of_a_dead_process_is_not_done() {
    let (file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    drop(other);
    assert!(!errands.take(99));
    // And its desk is another's.
    let third = opened(&file);
    third.post(&[&lock("tape", 1)]);
    assert!(errands.take(99));
    assert_eq!(errands.requests(), [&lock("tape", 1)]);
}

/// A process was killed when it had committed a transaction, and before it gave the answers: an unlock in it was done again,
/// and its caller was told that there was no such lock.
#[test]
fn the_next_one_gives_the_answers_that_a_killed_process_owes() {
    let (file, one, other) = two();
    let killed = opened(&file);
    let mut errands = at_work(&killed);
    other.post(&[&unlock("drive"), &lock("tape", 1)]);
    errands.take(99);
    do_all(&mut errands);
    let committed = errands.unlocked();
    std::mem::forget(errands);
    drop(killed);
    assert_eq!(other.look(), Look::Taken);
    let mut errands = at_work(&one);
    assert!(errands.some_are_owed());
    errands.take_owed(&committed);
    let mut again = Vec::new();
    let do_again = |request: &Request| {
        again.push(request.clone());
        Ok::<_, ()>(done(request))
    };
    errands.do_each(do_again).unwrap();
    assert_eq!(again, [lock("tape", 1)]);
    errands.answer();
    let Look::Answered(answers) = other.look() else { panic!() };
    assert!(matches!(answers[0], Answer::Done(Grant { token: 7, .. })));
    assert_eq!(answers[1], Answer::Done(grant(8)));
}

#[test]
fn a_transaction_that_fails_leaves_all_as_it_was() {
    let (_file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    errands.take(99);
    drop(errands);
    assert_eq!(other.look(), Look::Posted { leads: true }, "and its process is told to go on");
    assert!(other.recall());
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    errands.take(99);
    errands.all_unknown();
    assert_eq!(other.look(), Look::Answered(vec![Answer::Unknown]));
}

/// What was given up may still be in somebody's hands: its answers must not be taken for those of what comes next.
#[test]
fn answers_of_what_was_given_up_go_nowhere() {
    let (_file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    errands.take(99);
    do_all(&mut errands);
    other.abandon();
    other.post(&[&lock("tape", 2)]);
    errands.answer();
    assert!(matches!(other.look(), Look::Posted { .. }));
}

/// One was stopped when it had committed and before it gave the answers; another gave them, and the question after that was
/// answered with what the first one wrote when it went on.
#[test]
fn an_answer_that_comes_too_late_is_none() {
    let (_file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    errands.take(99);
    let place = other.own().unwrap().place;
    let late = other.memory.slot(place).mark();
    do_all(&mut errands);
    errands.answer();
    let mut errands = at_work(&one);
    other.post(&[&lock("tape", 2)]);
    errands.take(99);
    errands.do_each(|_| Ok::<_, ()>(Err(Error::new(Code::Held, "held")))).unwrap();
    errands.answer();
    one.memory.slot(place).set_answer(late, 0, Answer::Done(grant(8)).words());
    assert_eq!(other.look(), Look::Answered(vec![Answer::Refused]));
}

/// A process was stopped just before it wrote its answers, and another one took its work over and gave the same answers: the late
/// ones were written over these, and belonged to no round. An unlock that was done was told as unknown.
#[test]
fn who_is_stopped_just_before_it_writes_changes_nothing() {
    let (file, one, other) = two();
    let stopped = opened(&file);
    let mut errands = at_work(&stopped);
    other.post(&[&unlock("drive")]);
    errands.take(99);
    let slot = one.memory.slot(other.own().unwrap().place);
    let (late, seen, words) = (slot.mark(), slot.seen_answer(0), Answer::Done(grant(7)).words());
    std::mem::forget(errands);
    let mut errands = at_work(&one);
    errands.take_owed(&[]);
    do_all(&mut errands);
    // Written between the two, it is in the way of nobody.
    let taken_over = slot.mark();
    assert!(slot.replace_answer(seen, late, 0, words));
    errands.answer();
    assert!(taken_over != late && !slot.replace_answer(seen, late, 0, words));
    assert_eq!(other.look(), Look::Answered(vec![Answer::Done(grant(7))]));
}

/// What was owed and could not be done again was put back as if nobody had begun with it: its caller was told that nothing had
/// changed.
#[test]
fn what_is_owed_stays_owed() {
    let (file, one, other) = two();
    let killed = opened(&file);
    let mut errands = at_work(&killed);
    other.post(&[&unlock("drive")]);
    errands.take(99);
    std::mem::forget(errands);
    let mut errands = at_work(&one);
    errands.take_owed(&[]);
    assert_eq!(errands.requests().len(), 1);
    drop(errands);
    assert_eq!(other.look(), Look::Taken);
    assert!(!other.recall());
    let mut errands = at_work(&one);
    assert!(errands.some_are_owed());
    errands.take_owed(&[]);
    do_all(&mut errands);
    errands.answer();
    assert_eq!(other.look(), Look::Answered(vec![Answer::Done(grant(7))]));
}

/// A transaction failed after another one had taken over what was in its hands, and put that back.
#[test]
fn who_comes_too_late_changes_nothing() {
    let (_file, one, other) = two();
    let third = opened(&_file);
    let mut failing = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    failing.take(99);
    let mut errands = at_work(&third);
    errands.take_owed(&[]);
    drop(failing);
    assert_eq!(other.look(), Look::Taken);
    do_all(&mut errands);
    errands.answer();
    assert_eq!(other.look(), Look::Answered(vec![Answer::Done(grant(8))]));
}

/// A process that was killed, or stopped while it waited for its turn, was told to go to work by everyone, for ever.
#[test]
fn who_does_not_come_is_told_once() {
    let (file, one, stopped) = two();
    let dead = opened(&file);
    let errands = at_work(&one);
    stopped.post(&[]);
    dead.post(&[&lock("drive", 1)]);
    drop(errands);
    drop(dead);
    assert_eq!(stopped.look(), Look::Posted { leads: true });
    let mut errands = at_work(&one);
    errands.take(99);
    errands.answer();
    assert!(one.announce_work(), "nobody is expected to be at work");
}

#[test]
fn those_who_came_first_go_first() {
    let file = Shared { memory: segment::of_test(LENGTH), file: Box::new(file_of_test()) };
    let (worker, others) = (opened(&file), [opened(&file), opened(&file), opened(&file)]);
    let mut errands = at_work(&worker);
    others[2].post(&[]);
    others[0].post(&[&lock("a", 1)]);
    others[1].post(&[&lock("b", 1)]);
    assert!(errands.take(1), "as many as there is room for");
    assert_eq!(errands.requests().len(), 1);
    do_all(&mut errands);
    errands.answer();
    let leads = |desks: &Arc<Desks>| matches!(desks.look(), Look::Posted { leads: true });
    assert!(matches!(others[0].look(), Look::Answered(_)) && !leads(&others[1]));
    assert!(leads(&others[2]), "it waits for a turn of its own, longer than the other");
}

#[test]
fn a_desk_has_room_for_some_requests() {
    let (_file, one, other) = two();
    let errands = at_work(&one);
    let many: Vec<Request> = (0..20).map(|number| lock(&format!("drive{number}"), 1)).collect();
    let posted = other.post(&many.iter().collect::<Vec<_>>()).unwrap();
    assert!((4..=REQUESTS).contains(&posted));
    assert_eq!(other.post(&[&lock(&"i".repeat(2048), 1)]), Some(0));
    let two_ids = Request::Withdraw { ids: vec![LockId::new(b"x").unwrap()], attempt: Attempt([1; 16]) };
    assert_eq!(other.post(&[&two_ids]), Some(0));
    drop(errands);
}

#[test]
fn who_works_waits_for_those_who_came_before() {
    let (_file, one, other) = two();
    let far = || clock::instant() + Duration::from_secs(60);
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    errands.take(99);
    do_all(&mut errands);
    errands.answer();
    let mut errands = at_work(&one);
    thread::scope(|scope| {
        scope.spawn(|| other.post(&[&lock("drive", 2)]));
        assert!(errands.are_more(far()));
    });
    assert!(errands.take(99) && !errands.are_more(far()), "nobody else is expected");
    drop(errands);
    assert!(other.recall());
    let errands = at_work(&one);
    assert!(!errands.are_more(clock::instant()), "and not for ever");
}

#[test]
fn a_wait_ends_with_the_answer_or_a_ring() {
    let (_file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            while !matches!(other.look(), Look::Answered(_)) {
                other.wait(Duration::from_secs(60));
            }
        });
        errands.take(99);
        do_all(&mut errands);
        errands.answer();
        waits.join().unwrap();
    });
    other.post(&[&lock("drive", 1)]);
    assert_eq!(other.look(), Look::Posted { leads: true }, "nobody is at work");
}

/// Words that nobody of ours has written must neither stop the process nor be taken for answers.
#[test]
fn nonsense_is_not_done() {
    let (_file, one, other) = two();
    let mut errands = at_work(&one);
    other.post(&[&lock("drive", 1)]);
    let place = other.own().unwrap().place;
    one.memory.slot(place).fill(1, 3, &[255; 90]);
    assert!(!errands.take(99));
    assert!(other.recall());
    other.post(&[&lock("drive", 1)]);
    one.memory.slot(place).set_mark(Mark::first(5, State::Answered));
    assert_eq!(other.look(), Look::Lost);
}
