//! The checker of histories, compared with trying everything on all short histories, and on histories that are known to be bad.

mod history;

use history::{
    ACCES, Answer, Call, EXIST, Lease, NEVER, NOENT, NOLCK, Op, STALE, brute,
    order::{fences_hold, holds_exclude, numbers_grow},
    search::{Fault, check},
};

const LIMIT: usize = 10_000;

fn lock(owner: u64) -> Call {
    Call::Lock { owner, lease: Lease::ENDLESS }
}

/// A lock that lasts so long.
fn lease(owner: u64, at_least: u64, at_most: u64) -> Call {
    Call::Lock { owner, lease: Lease { at_least, at_most } }
}

fn unlock(owner: u64) -> Call {
    Call::Unlock { owner: Some(owner), token: 0 }
}

const FORCE: Call = Call::Unlock { owner: None, token: 0 };

fn set(value: u64) -> Call {
    Call::Set { value: Some(value), guard: None, fence: None }
}

fn guarded(value: u64, guard: u64) -> Call {
    Call::Set { value: Some(value), guard: Some(guard), fence: None }
}

const DELETE: Call = Call::Set { value: None, guard: None, fence: None };

fn granted(token: u64) -> Answer {
    Answer::Granted(Some(token))
}

fn failed(rc: i32) -> Answer {
    Answer::Failed(rc)
}

fn op(call: Call, answer: Answer, called: u64, returned: u64) -> Op {
    Op { call, answer, called, returned: if answer == Answer::Unknown { NEVER } else { returned } }
}

// ---- All short histories ----

type Letter = (Call, Answer);

/// What a process may do to a lock, and be answered; the other process is `other`.
fn lock_letters(me: u64, other: u64) -> Vec<Letter> {
    let mut letters = few_lock_letters(me);
    letters.extend([
        (lock(me), Answer::Granted(None)),
        (unlock(me), failed(NOLCK)),
        (unlock(me), failed(ACCES)),
        (unlock(me), Answer::Unknown),
        (Call::Unlock { owner: Some(me), token: 1 }, failed(STALE)),
        (Call::Unlock { owner: Some(me), token: 1 }, Answer::Done),
        (Call::Refresh { owner: me, token: 0 }, Answer::Done),
        (Call::Transfer { from: Some(me), token: 0, to: other }, granted(3)),
        (Call::Transfer { from: None, token: 0, to: me }, Answer::Unknown),
        (Call::Status, Answer::Owner(me)),
    ]);
    letters
}

/// The same with leases, which run out in the middle of these histories or after them.
fn lease_letters(me: u64, other: u64) -> Vec<Letter> {
    vec![
        (lease(me, 2, 3), granted(1)),
        (lease(me, 1, NEVER), granted(2)),
        (lock(me), granted(3)),
        (lease(me, 1, 1), Answer::Unknown),
        (lease(me, 1, 1), failed(EXIST)),
        (unlock(me), Answer::Done),
        (unlock(me), failed(NOLCK)),
        (Call::Refresh { owner: me, token: 0 }, Answer::Done),
        (Call::Refresh { owner: me, token: 1 }, Answer::Unknown),
        (Call::Refresh { owner: me, token: 0 }, failed(NOLCK)),
        (Call::Transfer { from: Some(me), token: 0, to: other }, granted(4)),
        (Call::Status, Answer::Owner(1)),
        (Call::Status, failed(NOLCK)),
    ]
}

fn few_lock_letters(me: u64) -> Vec<Letter> {
    vec![
        (lock(me), granted(1)),
        (lock(me), granted(2)),
        (lock(me), failed(EXIST)),
        (lock(me), Answer::Unknown),
        (unlock(me), Answer::Done),
        (FORCE, Answer::Done),
        (Call::Status, Answer::Owner(1)),
        (Call::Status, failed(NOLCK)),
    ]
}

fn key_letters(me: u64) -> Vec<Letter> {
    let mut letters = few_key_letters(me);
    letters.extend([
        (guarded(me, 0), Answer::Written(1)),
        (guarded(me, 0), Answer::Outdated(1)),
        (guarded(me, 1), Answer::Outdated(0)),
        (guarded(me, 1), Answer::Unknown),
        (DELETE, failed(NOENT)),
        (DELETE, Answer::Unknown),
        (Call::Get, Answer::Value { value: 1, version: 2 }),
    ]);
    letters
}

fn few_key_letters(me: u64) -> Vec<Letter> {
    vec![
        (set(me), Answer::Written(1)),
        (set(me), Answer::Written(2)),
        (set(me), Answer::Unknown),
        (guarded(me, 1), Answer::Written(3)),
        (DELETE, Answer::Done),
        (Call::Get, Answer::Value { value: 1, version: 1 }),
        (Call::Get, Answer::Value { value: 2, version: 2 }),
        (Call::Get, failed(NOENT)),
    ]
}

/// Compares the search with brute force on all histories of so many operations of two processes; how many were compared, and
/// how many of them have an order.
fn compare(count: u32, letters: [&[Letter]; 2]) -> (u64, u64) {
    let (mut compared, mut good) = (0, 0);
    for first in 0..=count {
        // Which of the calls and returns, in the order of time, are the first process's.
        for turns in (0..1_u32 << (2 * count)).filter(|turns| turns.count_ones() == 2 * first) {
            for word in 0..letters[0].len().pow(count) {
                let ops = spell(word, turns, count, letters);
                let found = check(&ops, LIMIT);
                let expected = brute::has_order(&ops);
                assert_eq!(found.is_ok(), expected, "{found:?} of {ops:#?}");
                assert!(!matches!(found, Err(Fault::GaveUp { .. })));
                compared += 1;
                good += u64::from(expected);
            }
        }
    }
    (compared, good)
}

/// The history that a number spells: its digits are letters. A lock call of unknown outcome may be withdrawn later.
fn spell(mut word: usize, turns: u32, count: u32, letters: [&[Letter]; 2]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::with_capacity(2 * count as usize);
    let mut open: [Option<usize>; 2] = [None, None];
    for time in 0..2 * count {
        let process = usize::from(turns >> time & 1 == 0);
        match open[process].take() {
            Some(place) if ops[place].answer != Answer::Unknown => ops[place].returned = u64::from(time),
            Some(_) => {}
            None => {
                let (call, answer) = letters[process][word % letters[process].len()];
                word /= letters[process].len();
                open[process] = Some(ops.len());
                ops.push(op(call, answer, u64::from(time), NEVER));
            }
        }
    }
    for of in 0..ops.len() {
        if matches!(ops[of].call, Call::Lock { .. }) && ops[of].is_unknown() {
            ops.push(op(Call::Withdraw { of }, Answer::Unknown, ops[of].called, NEVER));
        }
    }
    ops
}

#[test]
fn the_search_finds_what_brute_force_finds_in_all_short_histories_of_a_lock() {
    let (first, second) = (lock_letters(1, 2), lock_letters(2, 1));
    for count in 1..=3 {
        let (compared, good) = compare(count, [&first, &second]);
        println!("{compared} histories of {count} operations, {good} good");
        assert!(good > 0 && good < compared);
    }
    let (compared, good) = compare(4, [&few_lock_letters(1), &few_lock_letters(2)]);
    println!("{compared} histories of 4 operations, {good} good");
    assert!(good > 0 && good < compared);
}

#[test]
fn the_search_finds_what_brute_force_finds_in_all_short_histories_of_a_lease() {
    let (first, second) = (lease_letters(1, 2), lease_letters(2, 1));
    for count in 1..=3 {
        let (compared, good) = compare(count, [&first, &second]);
        println!("{compared} histories of {count} operations, {good} good");
        assert!(good > 0 && good < compared);
    }
}

#[test]
fn the_search_finds_what_brute_force_finds_in_all_short_histories_of_a_key() {
    let (first, second) = (key_letters(1), key_letters(2));
    for count in 1..=3 {
        let (compared, good) = compare(count, [&first, &second]);
        println!("{compared} histories of {count} operations, {good} good");
        assert!(good > 0 && good < compared);
    }
    let (compared, good) = compare(4, [&few_key_letters(1), &few_key_letters(2)]);
    println!("{compared} histories of 4 operations, {good} good");
    assert!(good > 0 && good < compared);
}

// ---- Histories that are known ----

fn one_after_the_other(letters: &[Letter]) -> Vec<Op> {
    let times = (0..).step_by(2);
    letters.iter().zip(times).map(|((call, answer), time)| op(*call, *answer, time, time + 1)).collect()
}

/// The place of the operation whose answer can't be.
fn bad_place(ops: &[Op]) -> Option<usize> {
    match check(ops, LIMIT) {
        Err(Fault::NoOrder { place, .. }) => Some(place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_that_two_were_granted_is_seen() {
    let ops = one_after_the_other(&[(lock(1), granted(1)), (lock(2), granted(2))]);
    assert_eq!(bad_place(&ops), Some(1));
    assert!(holds_exclude(&ops).unwrap_err().contains("at once"));
    // Also where both calls were under way at once.
    let ops = [op(lock(1), granted(1), 0, 2), op(lock(2), granted(2), 1, 3), op(unlock(1), Answer::Done, 4, 5)];
    assert_eq!(bad_place(&ops), Some(1));
    assert!(holds_exclude(&ops).is_err());
}

#[test]
fn a_lock_that_is_handed_on_is_no_fault() {
    let ops = [
        op(lock(1), granted(1), 0, 1),
        op(unlock(1), Answer::Done, 2, 6),
        op(lock(2), granted(2), 3, 4),
        op(Call::Status, Answer::Owner(2), 5, 6),
        op(Call::Transfer { from: Some(2), token: 2, to: 3 }, granted(3), 7, 8),
        op(unlock(2), failed(ACCES), 9, 10),
        op(unlock(3), Answer::Done, 11, 12),
    ];
    assert_eq!(check(&ops, LIMIT).map(|_| ()), Ok(()));
    assert_eq!((holds_exclude(&ops), numbers_grow(&ops)), (Ok(()), Ok(())));
}

#[test]
fn a_lease_ends_when_it_may_and_not_before() {
    let (owner, other) = (lease(1, 10, 20), lease(2, 10, 20));
    for (time, may_be_over, must_be_over) in [(5, false, false), (15, true, false), (40, true, true)] {
        let again = [op(owner, granted(1), 0, 1), op(other, granted(2), time, time + 1)];
        assert_eq!(check(&again, LIMIT).is_ok(), may_be_over, "{time}");
        assert_eq!(holds_exclude(&again).is_ok(), may_be_over, "{time}");
        let there = [op(owner, granted(1), 0, 1), op(Call::Status, Answer::Owner(1), time, time + 1)];
        assert_eq!(check(&there, LIMIT).is_ok(), !must_be_over, "{time}");
    }
    // There is no revival, and a refresh begins it anew.
    let begin = [op(owner, granted(1), 0, 1), op(Call::Status, failed(NOLCK), 15, 16)];
    assert_eq!(bad_place(&[begin[0], begin[1], op(Call::Status, Answer::Owner(1), 17, 18)]), Some(2));
    let renewed = [op(owner, granted(1), 0, 1), op(Call::Refresh { owner: 1, token: 1 }, Answer::Done, 8, 9)];
    assert_eq!(bad_place(&[renewed[0], renewed[1], op(other, granted(2), 15, 16)]), Some(2));
    assert!(check(&[renewed[0], renewed[1], op(other, granted(2), 18, 19)], LIMIT).is_ok());
}

#[test]
fn a_write_under_a_lease_that_is_over_is_seen() {
    let fenced = |answer, time| {
        let call = Call::Set { value: Some(1), guard: None, fence: Some((0, 1)) };
        op(call, answer, time, time + 1)
    };
    let taken = op(lease(1, 10, 20), granted(1), 0, 1);
    let renewed = op(Call::Refresh { owner: 1, token: 0 }, Answer::Done, 8, 9);
    assert_eq!(fences_hold(&[fenced(Answer::Written(1), 15)], 0, &[taken]), Ok(1));
    assert_eq!(fences_hold(&[fenced(failed(STALE), 15)], 0, &[taken]), Ok(1));
    assert!(fences_hold(&[fenced(Answer::Written(1), 22)], 0, &[taken]).unwrap_err().contains("over"));
    assert_eq!(fences_hold(&[fenced(Answer::Written(1), 22)], 0, &[taken, renewed]), Ok(1));
    assert!(fences_hold(&[fenced(failed(STALE), 5)], 0, &[taken]).is_err());
}

#[test]
fn an_unlock_that_was_lost_is_seen() {
    let ops = one_after_the_other(&[(lock(1), granted(1)), (unlock(1), Answer::Done), (lock(2), failed(EXIST))]);
    assert_eq!(bad_place(&ops), Some(2));
}

#[test]
fn a_change_that_was_answered_with_an_error_is_seen() {
    let ops = one_after_the_other(&[(lock(1), granted(1)), (unlock(2), failed(ACCES)), (Call::Status, failed(NOLCK))]);
    assert_eq!(bad_place(&ops), Some(2));
}

#[test]
fn a_token_that_comes_again_or_goes_back_is_seen() {
    for second in [5, 4] {
        let ops = one_after_the_other(&[(lock(1), granted(5)), (unlock(1), Answer::Done), (lock(2), granted(second))]);
        assert_eq!(bad_place(&ops), Some(2));
        assert!(numbers_grow(&ops).is_err());
    }
}

#[test]
fn a_stale_read_is_seen() {
    let old = Answer::Value { value: 1, version: 1 };
    let ops = one_after_the_other(&[(set(1), Answer::Written(1)), (set(2), Answer::Written(2)), (Call::Get, old)]);
    assert_eq!(bad_place(&ops), Some(2));
    let mut ops = ops;
    ops[2].called = 2;
    assert_eq!(check(&ops, LIMIT).map(|_| ()), Ok(()));
}

/// The clock may show a return and a later call the same time; nobody can say then which was first.
#[test]
fn what_has_one_time_overlaps() {
    let old = Answer::Value { value: 1, version: 1 };
    let ops = [op(set(1), Answer::Written(1), 0, 1), op(set(2), Answer::Written(2), 2, 3), op(Call::Get, old, 3, 4)];
    assert!(check(&ops, LIMIT).is_ok() && brute::has_order(&ops));
}

#[test]
fn a_lost_update_is_seen() {
    let ops = [
        op(set(1), Answer::Written(1), 0, 1),
        op(guarded(2, 1), Answer::Written(2), 2, 5),
        op(guarded(3, 1), Answer::Written(3), 3, 6),
    ];
    assert_eq!(bad_place(&ops), Some(2));
}

#[test]
fn a_version_that_nobody_was_told_fits_between_those_that_were() {
    let get = |version| (Call::Get, Answer::Value { value: 2, version });
    let begin = [(set(1), Answer::Written(5)), (set(2), Answer::Unknown)];
    for (version, is_good) in [(4, false), (5, false), (6, true)] {
        let ops = one_after_the_other(&[begin[0], begin[1], get(version), get(version)]);
        assert_eq!(check(&ops, LIMIT).is_ok(), is_good, "{version}");
    }
    let ops = one_after_the_other(&[begin[0], begin[1], get(6), get(7)]);
    assert_eq!(bad_place(&ops), Some(3));
}

/// Each killed process may have taken the lock, and only one did: it must not matter how many there were.
#[test]
fn calls_of_unknown_outcome_do_not_add_up() {
    let mut letters = Vec::new();
    for round in 0..200 {
        letters.push((lock(1000 + round), Answer::Unknown));
        letters.extend([(lock(1), granted(round + 1)), (unlock(1), Answer::Done), (Call::Status, failed(NOLCK))]);
    }
    letters.extend([(Call::Status, Answer::Owner(1007)), (FORCE, Answer::Done), (Call::Status, failed(NOLCK))]);
    let ops = one_after_the_other(&letters);
    assert!(check(&ops, LIMIT).unwrap() < 300);
    letters.push((Call::Status, Answer::Owner(1007)));
    assert_eq!(bad_place(&one_after_the_other(&letters)), Some(letters.len() - 1));
}

#[test]
fn to_give_up_is_no_pass() {
    let ops: Vec<Op> = (1..=12).map(|me| op(set(me), Answer::Written(me), 0, 100)).collect();
    assert!(matches!(check(&ops, 10), Err(Fault::GaveUp { .. })));
}

#[test]
fn what_was_withdrawn_is_gone_and_nothing_else() {
    let begin = [op(lock(1), Answer::Unknown, 0, 1), op(Call::Withdraw { of: 0 }, Answer::Unknown, 0, 1)];
    let seen = op(Call::Status, Answer::Owner(1), 2, 3);
    let gone = |time| op(Call::Status, failed(NOLCK), time, time + 1);
    assert!(check(&[begin[0], begin[1], seen, gone(4)], LIMIT).is_ok());
    assert_eq!(bad_place(&[begin[0], begin[1], seen, gone(4), op(Call::Status, Answer::Owner(1), 6, 7)]), Some(4));
    // What somebody else was granted is not withdrawn.
    assert_eq!(bad_place(&[begin[0], begin[1], op(lock(2), granted(1), 2, 3), gone(4)]), Some(3));
}

#[test]
fn a_write_that_outlived_its_lock_is_seen() {
    let fenced = |answer, time| {
        let call = Call::Set { value: Some(1), guard: None, fence: Some((0, 1)) };
        op(call, answer, time, time + 1)
    };
    let locks = [
        op(lock(1), granted(1), 0, 1),
        op(unlock(1), Answer::Done, 4, 5),
        op(lock(2), granted(2), 6, 7),
        op(unlock(2), Answer::Done, 100, 101),
    ];
    assert_eq!(fences_hold(&[fenced(Answer::Written(1), 2)], 0, &locks), Ok(1));
    assert_eq!(fences_hold(&[fenced(failed(STALE), 8)], 0, &locks), Ok(1));
    assert!(fences_hold(&[fenced(Answer::Written(1), 8)], 0, &locks).is_err());
    assert!(fences_hold(&[fenced(failed(STALE), 2)], 0, &locks).is_err());
    assert_eq!(fences_hold(&[fenced(Answer::Written(1), 8)], 1, &locks), Ok(0));
}

#[test]
fn an_outdated_write_names_the_version_that_stands() {
    let begin = (set(1), Answer::Written(5));
    for (answer, is_good) in [(5, true), (4, false), (0, false)] {
        let ops = one_after_the_other(&[begin, (guarded(2, 3), Answer::Outdated(answer))]);
        assert_eq!(check(&ops, LIMIT).is_ok(), is_good);
    }
    let ops = one_after_the_other(&[begin, (guarded(2, 5), Answer::Outdated(5))]);
    assert_eq!(bad_place(&ops), Some(1));
}
