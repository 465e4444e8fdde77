//! What a handle is told, in which order, and what it makes of it.

use super::*;
use crate::model::error::Error;

fn id() -> LockId {
    LockId::new(b"drive3").unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::new(name.as_bytes()).unwrap()
}

fn grant(token: u64, before: End) -> Grant {
    Grant { token, ttl_ms: 60_000, before }
}

fn denial(code: Code, end: End) -> Denial {
    Denial { error: Error::new(code, ""), end }
}

/// Holdings with a kept lock of this token.
fn keeping(token: u64) -> Holdings {
    let mut holdings = Holdings::default();
    holdings.granted(&id(), &owner("a"), &grant(token, End::Unlocked), clock::boot_us(), true);
    holdings
}

fn lost(holdings: &mut Holdings) -> Vec<(u64, End)> {
    let events = std::iter::from_fn(|| holdings.events.pop());
    let ends = events.filter_map(|event| match event.kind {
        Kind::Lost(end) => Some((event.token, end)),
        _ => None,
    });
    ends.collect()
}

/// A kept lock was forced away and taken anew by another thread of the same handle before the next renewal; its holder was
/// never told.
#[test]
fn a_new_grant_tells_the_loss_of_the_one_before() {
    let mut holdings = keeping(5);
    holdings.granted(&id(), &owner("b"), &grant(9, End::Forced), clock::boot_us(), false);
    assert_eq!((lost(&mut holdings), holdings.keeps_any()), (vec![(5, End::Forced)], false));
    for before in [End::Resumed, End::Transferred] {
        let mut holdings = keeping(5);
        holdings.granted(&id(), &owner("a"), &grant(9, before), clock::boot_us(), false);
        assert_eq!(lost(&mut holdings), [], "this handle has ended it itself");
    }
}

#[test]
fn a_release_of_anothers_grant_tells_the_loss_of_ours() {
    let mut holdings = keeping(5);
    holdings.released(&id(), &grant(9, End::Expired));
    assert_eq!(lost(&mut holdings), [(5, End::Expired)]);
    let mut holdings = keeping(5);
    holdings.released(&id(), &grant(5, End::Unlocked));
    assert_eq!((lost(&mut holdings), holdings.keeps_any()), (vec![], false));
}

/// The answers of an unlock and of the next lock, of two threads of one handle, came in the wrong order.
#[test]
fn answers_that_come_late_change_nothing() {
    let mut holdings = keeping(9);
    holdings.released(&id(), &grant(5, End::Unlocked));
    holdings.granted(&id(), &owner("a"), &grant(5, End::Unlocked), clock::boot_us(), false);
    holdings.refreshed(&id(), &owner("a"), &grant(5, End::Unlocked), clock::boot_us());
    holdings.denied(&id(), Some(&owner("a")), 5, &denial(Code::NoLock, End::Unlocked));
    assert!(lost(&mut holdings).is_empty() && holdings.keeps_any());
    assert!(holdings.left_ms(&id(), 9, clock::boot_us()).is_some());
}

#[test]
fn a_denial_is_a_loss_only_of_what_was_meant() {
    let cases = [
        (Code::NoLock, "a", true),
        (Code::Stale, "a", true),
        (Code::Denied, "a", true),
        (Code::Denied, "b", false),
        (Code::Busy, "a", false),
    ];
    for (code, by, is_lost) in cases {
        let mut holdings = keeping(5);
        holdings.denied(&id(), Some(&owner(by)), 5, &denial(code, End::Forced));
        assert_eq!(lost(&mut holdings), if is_lost { vec![(5, End::Forced)] } else { vec![] }, "{code:?} {by}");
    }
}

/// A daemon that leases a new lock for each file, and lets the leases run out, grew for ever.
#[test]
fn leases_that_ran_out_are_forgotten() {
    let mut holdings = Holdings::default();
    for number in 0..10 * FEW {
        let id = LockId::new(format!("file-{number}").as_bytes()).unwrap();
        holdings.granted(
            &id,
            &owner("a"),
            &grant(number as u64 + 1, End::Unlocked),
            clock::boot_us() - 61_000_000,
            false,
        );
    }
    assert!(holdings.held.len() <= FEW);
}

#[test]
fn events_come_in_time_and_in_order() {
    let mut holdings = keeping(5);
    let begin = clock::boot_us();
    let at = |share: f64| begin + (60_000_000.0 * share) as i64;
    assert!(holdings.look(at(0.1)).renewals.is_empty());
    assert_eq!(holdings.look(at(0.31)).renewals, [(id(), 5)]);
    holdings.look(at(0.7));
    holdings.look(at(0.8));
    holdings.refreshed(&id(), &owner("a"), &grant(5, End::Unlocked), begin + 1);
    holdings.look(at(1.1));
    let kinds: Vec<Kind> = std::iter::from_fn(|| holdings.events.pop()).map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::AtRisk, Kind::Safe, Kind::Lost(End::Expired)]);
}

fn forked(holdings: &mut Holdings) -> Vec<u64> {
    let events = std::iter::from_fn(|| holdings.events.pop());
    events.filter(|event| event.kind == Kind::Forked).map(|event| event.token).collect()
}

/// A daemon that forked twice to leave its terminal, and made a call in the process between, saw no
/// event in the last one.
#[test]
fn each_generation_is_told_once() {
    let mut parent = keeping(5);
    parent.look(clock::boot_us() + 45_000_000);
    let mut child = parent.in_forked_child();
    assert_eq!((child.keeps_any(), child.left_ms(&id(), 5, clock::boot_us())), (false, None));
    assert_eq!((forked(&mut child), forked(&mut child)), (vec![5], vec![]));
    // A refresh tells the time that is left, but does not renew the lock from then on.
    child.refreshed(&id(), &owner("a"), &grant(5, End::Unlocked), clock::boot_us());
    assert!(child.left_ms(&id(), 5, clock::boot_us()).is_some());
    let mut grandchild = child.in_forked_child();
    assert_eq!(forked(&mut grandchild), [5]);
    assert!(grandchild.inherited_error(&id(), 5).unwrap().text.contains("DSS_LOCK_RESUME"));
    grandchild.granted(&id(), &owner("a"), &grant(9, End::Resumed), clock::boot_us(), false);
    let mut last = grandchild.in_forked_child();
    assert!(forked(&mut last).is_empty(), "that grant was not kept");
    assert!(last.inherited_error(&id(), 0).unwrap().text.contains("dss_lock_refresh"));
    assert!(last.inherited_error(&id(), 5).is_none(), "that is another grant");
}

#[test]
fn a_child_that_ends_the_inherited_grant_itself_has_not_lost_it() {
    let child = || keeping(5).in_forked_child();
    let granted_after = |before| {
        let mut child = child();
        child.granted(&id(), &owner("a"), &grant(9, before), clock::boot_us(), true);
        forked(&mut child)
    };
    assert_eq!((granted_after(End::Resumed), granted_after(End::Transferred)), (vec![], vec![]));
    assert_eq!((granted_after(End::Forced), granted_after(End::Expired)), (vec![5], vec![5]), "others ended it before");
    let mut unlocked = child();
    unlocked.released(&id(), &grant(5, End::Unlocked));
    assert!(forked(&mut unlocked).is_empty());
    let mut other = child();
    other.released(&id(), &grant(9, End::Forced));
    assert_eq!(forked(&mut other), [5]);
}
