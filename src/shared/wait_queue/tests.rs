//! The queue, without processes: who is woken, in which order, and what becomes of those who are gone.

use super::{
    slots::{GONE_MS, LIVELY_MS, SLOTS},
    *,
};
use crate::sys::signals::SignalMask;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn ids(names: &[&str]) -> Vec<LockId> {
    names.iter().map(|name| LockId::new(name.as_bytes()).unwrap()).collect()
}

fn enter(waiters: &Arc<Waiters>, names: &[&str]) -> Waiter {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let random = u64::from_ne_bytes(crate::sys::random_bytes().unwrap());
    let address = Address([random, NEXT.fetch_add(1, Ordering::Relaxed)]);
    waiters.clone().enter(&ids(names), false, address)
}

fn was_woken(waiter: &Waiter) -> bool {
    doorbell::wait(waiter.doorbell(), None, Duration::ZERO, &SignalMask::current()) == doorbell::Woken::Rung
}

fn waiters() -> Arc<Waiters> {
    Arc::new(Waiters::of_process())
}

#[test]
fn one_is_woken_for_each_release_and_the_oldest_first() {
    let waiters = waiters();
    let queue = [enter(&waiters, &["a"]), enter(&waiters, &["b", "a"]), enter(&waiters, &["b"])];
    let woken = || queue.iter().map(was_woken).collect::<Vec<_>>();
    waiters.wake(&ids(&["c"]));
    assert_eq!(woken(), [false, false, false]);
    waiters.wake(&ids(&["a"]));
    assert_eq!(woken(), [true, false, false]);
    waiters.wake(&ids(&["a", "b"]));
    assert_eq!(woken(), [false, true, true], "who was woken and has not looked yet is passed over");
    waiters.wake(&ids(&["a", "b"]));
    assert_eq!(woken(), [false, false, false]);
}

#[test]
fn who_looks_can_be_woken_again() {
    let waiters = waiters();
    let mut waiter = enter(&waiters, &["a"]);
    for _ in 0..3 {
        waiters.wake(&ids(&["a"]));
        assert!(was_woken(&waiter));
        waiter.looks();
    }
}

/// A worker took one drive of two that were free, and the wake-up for the other was lost with it.
#[test]
fn who_was_woken_and_leaves_wakes_the_next() {
    let waiters = waiters();
    let (first, second) = (enter(&waiters, &["a"]), enter(&waiters, &["a"]));
    waiters.wake(&ids(&["a"]));
    assert!(!was_woken(&second));
    drop(first);
    assert!(was_woken(&second));
}

#[test]
fn one_who_is_gone_is_passed_over() {
    let waiters = waiters();
    let (mut killed, second) = (enter(&waiters, &["a"]), enter(&waiters, &["a"]));
    killed.doorbell = None;
    waiters.wake(&ids(&["a"]));
    assert!(was_woken(&second));
    assert_eq!(waiters.0.used().count(), 1, "and its slot is free");
    killed.places.clear();
}

#[test]
fn one_who_is_silent_stands_in_nobodys_way_and_loses_its_place() {
    let waiters = waiters();
    let (mut stopped, second) = (enter(&waiters, &["a"]), enter(&waiters, &["a"]));
    assert!(waiters.others_want(&ids(&["a"]), false) && second.others_stand_before(false));
    waiters.0.slot(stopped.places[0]).grow_older(LIVELY_MS + 1, false);
    assert!(!second.others_stand_before(false));
    waiters.0.slot(stopped.places[0]).grow_older(GONE_MS, false);
    waiters.wake(&ids(&["a"]));
    assert!(was_woken(&second) && waiters.0.used().count() == 1);
    stopped.looks();
    assert!(waiters.0.used().count() == 2 && second.others_stand_before(false), "it comes back with its ticket");
}

#[test]
fn one_who_wants_several_passes_on_what_it_does_not_keep() {
    let waiters = waiters();
    let (mut many, single) = (enter(&waiters, &["a", "b"]), enter(&waiters, &["a"]));
    waiters.wake(&ids(&["a"]));
    assert!(was_woken(&many));
    many.pass_on(0b10);
    assert!(!was_woken(&single) && single.others_stand_before(false), "in its first second it keeps them");
    let mut grow_older = |ms| {
        waiters.0.slot(many.places[0]).grow_older(ms, true);
        many.since.began_ms -= ms;
    };
    grow_older(1500);
    assert!(!single.others_stand_before(false));
    many.pass_on(0b11);
    assert!(!was_woken(&single), "what is in the way is not free for others either");
    many.pass_on(0b10);
    assert!(was_woken(&single));
    many.since.began_ms -= 7000;
    waiters.0.slot(many.places[0]).grow_older(7000, true);
    assert!(single.others_stand_before(false), "its time has come again");
}

#[test]
fn many_ids_and_many_waiters_have_room() {
    let waiters = waiters();
    let names: Vec<String> = (0..64).map(|number| format!("id-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let queue: Vec<Waiter> = (0..SLOTS / 4).map(|_| enter(&waiters, &names)).collect();
    assert_eq!(waiters.0.used().count(), SLOTS);
    let left_over = enter(&waiters, &["id-63"]);
    assert!(left_over.places.is_empty() && left_over.doorbell().is_some(), "it looks by itself");
    waiters.wake(&ids(&["id-63"]));
    assert!(was_woken(&queue[0]));
    drop(queue);
    assert_eq!(waiters.0.used().count(), 0);
}

/// A worker that takes any drive waited while one was free, because another waited for a different one.
#[test]
fn one_who_takes_any_stands_behind_those_alone_who_want_all_of_them() {
    let waiters = waiters();
    let _first = enter(&waiters, &["a"]);
    assert!(!waiters.others_want(&ids(&["a", "b"]), true) && waiters.others_want(&ids(&["a", "b"]), false));
    let _second = enter(&waiters, &["b"]);
    assert!(waiters.others_want(&ids(&["a", "b"]), true));
}
