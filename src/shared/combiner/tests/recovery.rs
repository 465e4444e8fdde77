//! Processes that are killed or stopped, or lose their lock.

use super::*;

/// A process that is killed may not get a lock after its death: no process would know of it.
#[test]
fn the_requests_of_a_dead_process_are_not_run() {
    let (shared, one, other) = two();
    let mut combining = combining(&one);
    other.publish(&[&lock("drive", 1)]);
    drop(other);
    assert!(!combining.take(99));
    // And its record is another's.
    let third = opened(&shared);
    third.publish(&[&lock("tape", 1)]);
    assert!(combining.take(99));
    assert_eq!(combining.requests(), [&lock("tape", 1)]);
}

/// A process was killed when it had committed a transaction, and before it gave the answers: an
/// unlock in it was done again, and its caller was told that there was no such lock.
#[test]
fn the_next_combiner_gives_the_answers_of_one_that_died_after_its_commit() {
    let (shared, one, other) = two();
    let dead = opened(&shared);
    other.publish(&[&unlock("drive"), &lock("tape", 1)]);
    let (killed, committed) = with_answers(&dead);
    kill(killed, &dead);
    assert_eq!(other.poll(), Progress::Taken);
    let next = combining(&one);
    assert!(next.is_recovery_due());
    next.recover(committed);
    assert_eq!(other.poll(), Progress::Answered(vec![Answer::Done(grant(7)), Answer::Done(grant(8))]));
    assert!(!next.is_recovery_due());
}

#[test]
fn nothing_has_happened_if_the_combiner_died_before_its_commit() {
    let (shared, one, other) = two();
    let dead = opened(&shared);
    other.publish(&[&unlock("drive")]);
    let (killed, number) = with_answers(&dead);
    kill(killed, &dead);
    combining(&one).recover(number.map(|number| number - 1));
    assert_eq!(other.poll(), Progress::NotDone);
    assert_eq!(other.publish(&[&unlock("drive")]), Some(1));
}

/// A combiner that is stopped keeps the lock: nobody settles what it has in hand. A process that
/// has given up waiting for it publishes its next request, which has other answers.
#[test]
fn a_stopped_combiner_is_not_overtaken() {
    let (shared, one, other) = two();
    let third = opened(&shared);
    other.publish(&[&unlock("drive")]);
    let (stopped, committed) = with_answers(&one);
    let mut next = combining(&third);
    assert!(third.combiner_lives() && !next.has_lock() && !next.is_recovery_due() && !next.take(99));
    next.recover(committed);
    assert_eq!((other.poll(), other.publish(&[&unlock("drive")])), (Progress::Taken, Some(1)));
    stopped.answer();
    assert_eq!(other.poll(), Progress::Published { is_next: true });
}

#[test]
fn the_answers_to_a_dead_process_are_not_given_to_the_next_one_in_its_record() {
    let (shared, one, other) = two();
    other.publish(&[&lock("drive", 1)]);
    let (combining, _) = with_answers(&one);
    drop(other);
    let third = opened(&shared);
    third.publish(&[&lock("tape", 1)]);
    combining.answer();
    assert!(matches!(third.poll(), Progress::Published { .. }));
}

#[test]
fn a_transaction_that_fails_leaves_all_as_it_was() {
    let (_shared, one, other) = two();
    other.publish(&[&lock("drive", 1)]);
    drop(with_answers(&one));
    assert_eq!(other.poll(), Progress::NotDone);
    other.publish(&[&lock("drive", 1)]);
    with_answers(&one).0.answer_unknown();
    assert_eq!(other.poll(), Progress::Answered(vec![Answer::Unknown]));
}

/// The host closed the side file, and so released the lock, in the middle of a transaction. Another
/// process became the combiner and took the next request in that record; the first one then wrote
/// its answers there.
#[test]
fn a_combiner_that_has_lost_its_lock_changes_nothing() {
    let (shared, one, other) = two();
    let third = opened(&shared);
    other.publish(&[&lock("drive", 1)]);
    let (late, _) = with_answers(&one);
    let former = record_of(&one).state();
    one.unlock();
    combining(&third).recover(None);
    assert_eq!(other.poll(), Progress::NotDone);
    other.publish(&[&lock("tape", 2)]);
    let (next, _) = with_answers(&third);
    late.answer_unknown();
    assert_eq!(other.poll(), Progress::Taken);
    next.answer();
    assert_eq!(other.poll(), Progress::Answered(vec![Answer::Done(grant(8))]));
    // It may have been stopped between its last look at the record and its write.
    other.publish(&[&lock("tape", 3)]);
    let (next, _) = with_answers(&third);
    record_of(&one).set_answer(former, 0, Answer::Refused.words());
    next.answer();
    assert_eq!(other.poll(), Progress::Answered(vec![Answer::Unknown]));
}
