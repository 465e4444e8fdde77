//! The rules, case by case.

use super::*;
use crate::model::{
    lock::Attempt,
    name::Note,
    request::{InTheWay, Turn, Wanted},
};
use std::sync::Arc;

const TICK: Tick = Tick { boot: 1, us: 50_000_000 };
const NOW: Moment = Moment { now_us: 1_000_000, tick: TICK, last_token: Some(7) };

fn id(name: &str) -> LockId {
    LockId::new(name.as_bytes()).unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::new(name.as_bytes()).unwrap()
}

fn wanted(by: &str, attempt: u8, ids: &[&str]) -> Wanted {
    Wanted {
        ids: ids.iter().map(|name| id(name)).collect(),
        owner: owner(by),
        client: "host:1:test".into(),
        attempt: Attempt([attempt; 16]),
        ttl_ms: 0,
        note: Note::default(),
        any: false,
        resume: false,
        turn: Turn::Now,
    }
}

fn lock(by: &str, attempt: u8) -> Request {
    Request::Lock(Arc::new(wanted(by, attempt, &["drive3"])))
}

fn refresh(by: Option<&str>, token: u64) -> Request {
    Request::Refresh { ids: vec![id("drive3")], owner: by.map(owner), tokens: vec![token], attempt: Attempt([0; 16]) }
}

fn unlock(by: Option<&str>, token: u64) -> Request {
    Request::Unlock {
        ids: vec![id("drive3")],
        owner: by.map(owner),
        tokens: vec![token],
        seen_us: Vec::new(),
        attempt: Attempt([0; 16]),
    }
}

fn entry(by: &str, attempt: u8) -> Entry {
    match &decide(&lock(by, attempt), &[None], &mut NOW.clone()) {
        (changes, Ok(Reply::Granted(_))) => match &changes[..] {
            [Change::Put(0, Record::Entry(entry))] => entry.clone(),
            other => panic!("not one grant: {other:?}"),
        },
        other => panic!("not granted: {other:?}"),
    }
}

fn held(entry: Entry) -> Option<Record> {
    Some(Record::Entry(entry))
}

/// The one error of the request, on a store with this record.
fn code(request: &Request, record: Option<Record>) -> Option<Code> {
    let (changes, outcome) = decide(request, &[record], &mut NOW.clone());
    let error = match outcome {
        Err(error) => Some(error),
        Ok(Reply::Refused(in_the_way)) => Some(in_the_way.error),
        Ok(Reply::Each(results)) => results.into_iter().find_map(Result::err).map(|denial| denial.error),
        Ok(_) => None,
    };
    assert!(error.is_none() || changes.is_empty(), "a call that fails changes nothing");
    error.map(|error| error.code)
}

fn grants(outcome: &Outcome) -> Vec<Option<Grant>> {
    match outcome {
        Ok(Reply::Granted(grants)) => grants.clone(),
        other => panic!("not granted: {other:?}"),
    }
}

fn in_the_way(outcome: &Outcome) -> InTheWay {
    match outcome {
        Ok(Reply::Refused(found)) => found.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_table_of_the_four_calls() {
    let status = Request::Status { id: id("drive3") };
    let rows: [(Request, [Option<Code>; 3]); 5] = [
        (lock("a", 1), [None, Some(Code::Held), Some(Code::Held)]),
        (refresh(Some("a"), 0), [Some(Code::NoLock), None, Some(Code::Denied)]),
        (unlock(Some("a"), 0), [Some(Code::NoLock), None, Some(Code::Denied)]),
        (unlock(None, 0), [Some(Code::NoLock), None, None]),
        (status, [Some(Code::NoLock), None, None]),
    ];
    for (request, want) in rows {
        let records = [None, held(entry("a", 2)), held(entry("b", 3))];
        assert_eq!(records.map(|record| code(&request, record)), want, "{request:?}");
    }
}

#[test]
fn a_token_has_to_be_the_current_one() {
    let mine = entry("a", 1);
    for request in [refresh, unlock] {
        assert_eq!(code(&request(Some("a"), mine.token), held(mine.clone())), None);
        assert_eq!(code(&request(Some("a"), mine.token - 1), held(mine.clone())), Some(Code::Stale));
        assert_eq!(
            code(&request(Some("b"), mine.token), held(mine.clone())),
            Some(Code::Denied),
            "the owner comes first"
        );
        assert_eq!(code(&request(None, mine.token - 1), held(mine.clone())), Some(Code::Stale));
    }
}

/// An expired lock does not exist, even if nobody has taken it.
#[test]
fn a_lease_that_is_over_is_no_lock() {
    let over = Entry { ttl_ms: 1000, leased: Tick { us: TICK.us - 1_000_000, ..TICK }, ..entry("a", 1) };
    for request in [refresh(Some("a"), 0), unlock(Some("a"), 0), unlock(None, 0), Request::Status { id: id("drive3") }]
    {
        assert_eq!(code(&request, held(over.clone())), Some(Code::NoLock), "{request:?}");
    }
    let (_, outcome) = decide(&lock("b", 2), &[held(over.clone())], &mut NOW.clone());
    assert_eq!(grants(&outcome)[0].unwrap().before, End::Expired);
    let mut later = Moment { last_token: Some(over.token), ..NOW };
    let (_, outcome) = decide(&lock("a", 1), &[held(over.clone())], &mut later);
    assert!(grants(&outcome)[0].unwrap().token > over.token, "its own attempt holds nothing any more either");
    let other_boot = Entry { ttl_ms: 1 << 40, leased: Tick { boot: 2, us: TICK.us }, ..entry("a", 1) };
    assert_eq!(code(&lock("b", 2), held(other_boot)), None);
}

#[test]
fn a_bad_end_is_told_to_the_next_holder_alone() {
    let (changes, _) = decide(&unlock(None, 0), &[held(entry("a", 1))], &mut NOW.clone());
    let [Change::Put(0, trace)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(code(&Request::Status { id: id("drive3") }, Some(trace.clone())), Some(Code::NoLock));
    let (changes, outcome) = decide(&lock("b", 2), &[Some(trace.clone())], &mut NOW.clone());
    assert_eq!(grants(&outcome)[0].unwrap().before, End::Forced);
    let [Change::Put(0, Record::Entry(next))] = &changes[..] else { panic!("{changes:?}") };
    let (changes, _) = decide(&unlock(Some("b"), 0), &[held(next.clone())], &mut NOW.clone());
    assert_eq!(changes, [Change::Remove(0)]);
}

/// A clean by age removed a lock that its holder had refreshed since the list was read.
#[test]
fn what_was_refreshed_since_it_was_seen_is_not_cleaned_away() {
    let mine = entry("a", 1);
    let clean = |seen_us| Request::Unlock {
        ids: vec![id("drive3")],
        owner: None,
        tokens: vec![mine.token],
        seen_us: vec![seen_us],
        attempt: Attempt([0; 16]),
    };
    assert_eq!(code(&clean(mine.refreshed_us), held(mine.clone())), None);
    assert_eq!(code(&clean(mine.refreshed_us - 1), held(mine.clone())), Some(Code::Stale));
}

#[test]
fn all_or_none() {
    let request = Request::Lock(Arc::new(wanted("a", 1, &["x", "y", "z"])));
    let (changes, outcome) = decide(&request, &[None, None, None], &mut NOW.clone());
    let tokens: Vec<u64> = grants(&outcome).iter().map(|grant| grant.unwrap().token).collect();
    assert_eq!((changes.len(), tokens), (3, vec![1_000_000, 1_000_001, 1_000_002]));
    let leased = Entry { ttl_ms: 5000, ..entry("b", 2) };
    let (changes, outcome) = decide(&request, &[held(leased.clone()), None, held(leased.clone())], &mut NOW.clone());
    let found = in_the_way(&outcome);
    assert_eq!((changes.len(), found.which, found.free_in_us), (0, 0b101, Some(5_000_000)));
    let (_, outcome) = decide(&request, &[held(leased), None, held(entry("c", 3))], &mut NOW.clone());
    assert_eq!(in_the_way(&outcome).free_in_us, None, "one of them never expires");
}

#[test]
fn any_takes_the_first_that_is_free() {
    let any = Wanted { any: true, ..wanted("a", 1, &["x", "y", "z"]) };
    let request = Request::Lock(Arc::new(any.clone()));
    let taken = |request: &Request, records: &[Option<Record>]| {
        let (changes, outcome) = decide(request, records, &mut NOW.clone());
        let places: Vec<usize> =
            grants(&outcome).iter().enumerate().filter_map(|(at, grant)| grant.map(|_| at)).collect();
        assert_eq!(changes.len(), 1);
        places
    };
    let others = held(entry("b", 2));
    assert_eq!(taken(&request, &[others.clone(), None, None]), [1]);
    let resume = Request::Lock(Arc::new(Wanted { resume: true, ..any }));
    assert_eq!(taken(&resume, &[others.clone(), None, held(entry("a", 3))]), [2], "what this owner holds comes first");
    assert_eq!(taken(&resume, &[others.clone(), None, None]), [1]);
    let soon = Entry { ttl_ms: 2000, ..entry("c", 4) };
    let (_, outcome) = decide(&request, &[others.clone(), held(soon), others], &mut NOW.clone());
    assert_eq!((in_the_way(&outcome).which, in_the_way(&outcome).free_in_us), (0b111, Some(2_000_000)));
}

#[test]
fn a_resume_fences_the_former_incarnation() {
    let request = Request::Lock(Arc::new(Wanted { resume: true, ttl_ms: 9000, ..wanted("a", 2, &["drive3"]) }));
    let former = entry("a", 1);
    let mut moment = Moment { last_token: Some(former.token), ..NOW };
    let (changes, outcome) = decide(&request, &[held(former.clone())], &mut moment);
    let grant = grants(&outcome)[0].unwrap();
    assert!(grant.token > former.token && grant.before == End::Resumed && grant.ttl_ms == 9000);
    let [Change::Put(0, Record::Entry(now))] = &changes[..] else { panic!("{changes:?}") };
    assert!(now.refreshed_us > former.refreshed_us);
    assert_eq!(code(&refresh(Some("a"), former.token), held(now.clone())), Some(Code::Stale));
    assert_eq!(code(&request, held(entry("b", 1))), Some(Code::Held));
}

#[test]
fn a_transfer_leaves_no_gap() {
    let request = |from: Option<&str>, token| Request::Transfer {
        id: id("drive3"),
        from: from.map(owner),
        token,
        to: owner("b"),
        client: "host:2:test".into(),
        attempt: Attempt([9; 16]),
    };
    let mine = Entry { ttl_ms: 5000, note: Note::new(b"tape 7").unwrap(), ..entry("a", 1) };
    let mut moment = Moment { last_token: Some(mine.token), ..NOW };
    let (changes, outcome) = decide(&request(Some("a"), mine.token), &[held(mine.clone())], &mut moment);
    let [Change::Put(0, Record::Entry(now))] = &changes[..] else { panic!("{changes:?}") };
    assert!(now.owner == owner("b") && now.token > mine.token && now.ttl_ms == 5000 && now.note == mine.note);
    assert_eq!(grants(&outcome)[0].unwrap().token, now.token);
    let (again, outcome) = decide(&request(Some("a"), mine.token), &[held(now.clone())], &mut moment);
    assert_eq!((again, grants(&outcome)[0].unwrap().token), (changes.clone(), now.token), "a retry finds its own work");
    assert_eq!(code(&request(None, 0), held(mine.clone())), None);
    assert_eq!(code(&request(Some("c"), 0), held(mine.clone())), Some(Code::Denied));
    assert_eq!(code(&request(Some("a"), 1), held(mine)), Some(Code::Stale));
    assert_eq!(code(&request(None, 0), None), Some(Code::NoLock));
}

/// Who keeps a lock alive learns how it was lost.
#[test]
fn a_denial_tells_how_the_lock_ended() {
    let end = |record| match decide(&refresh(None, 5), &[record], &mut NOW.clone()).1 {
        Ok(Reply::Each(results)) => results[0].clone().unwrap_err().end,
        other => panic!("{other:?}"),
    };
    assert_eq!(end(None), End::Unlocked);
    assert_eq!(end(Some(Record::Trace { token: 5, end: End::Forced })), End::Forced);
    assert_eq!(end(held(Entry { before: End::Transferred, ..entry("b", 1) })), End::Transferred);
    assert_eq!(end(held(Entry { before: End::Resumed, ..entry("a", 1) })), End::Resumed);
    let over = Entry { ttl_ms: 1000, leased: Tick { us: 0, ..TICK }, ..entry("a", 1) };
    assert_eq!(end(held(over)), End::Expired);
}

/// A file whose bytes were damaged held a date in the year 294247, of which no text could be made.
#[test]
fn any_number_is_told_as_a_date() {
    for taken_us in [i64::MIN, -1, i64::MAX] {
        assert_eq!(code(&lock("a", 2), held(Entry { taken_us, ..entry("b", 1) })), Some(Code::Held));
    }
}

/// The name of a process is its own choice, and stands in the log of whoever meets its locks.
#[test]
fn a_client_can_write_no_escapes_into_a_text() {
    let note = Note::new(b"\x1b[2J").unwrap();
    let entry = Entry { client: "host:1:a\n\x1b[31m".into(), note, ..entry("b", 1) };
    let (_, outcome) = decide(&lock("a", 2), &[held(entry)], &mut NOW.clone());
    assert!(!in_the_way(&outcome).error.text.contains(char::is_control));
}

#[test]
fn a_retry_recognises_its_own_lock() {
    let mine = entry("a", 1);
    let (changes, outcome) = decide(&lock("a", 1), &[held(mine.clone())], &mut NOW.clone());
    assert_eq!((changes.len(), grants(&outcome)[0].unwrap().token), (0, mine.token));
}

/// Of a set whose answer was lost, an operator has forced one lock away, and another owner has it: none is kept.
#[test]
fn a_retry_that_can_not_have_all_gives_back_the_rest() {
    let request = Request::Lock(Arc::new(wanted("a", 1, &["x", "y"])));
    let (changes, outcome) = decide(&request, &[held(entry("a", 1)), held(entry("b", 2))], &mut NOW.clone());
    assert_eq!((changes, in_the_way(&outcome).which), (vec![Change::Remove(0)], 0b10));
}

#[test]
fn a_withdrawal_removes_its_own_attempt_only() {
    let withdraw = Request::Withdraw { ids: vec![id("drive3")], attempt: Attempt([1; 16]) };
    let changes = |record| decide(&withdraw, &[record], &mut NOW.clone()).0;
    assert_eq!(changes(held(entry("a", 1))), [Change::Remove(0)]);
    assert_eq!(changes(held(entry("a", 2))), []);
    assert_eq!(changes(None), []);
    let over = Entry { ttl_ms: 1000, leased: Tick { us: 0, ..TICK }, ..entry("a", 1) };
    assert_eq!(changes(held(over)), [Change::Remove(0)], "nobody knew of it, so its end is nobody's trouble");
    for (before, end) in [(End::Expired, End::Expired), (End::Forced, End::Forced), (End::Resumed, End::Forced)] {
        let mine = Entry { before, ..entry("a", 1) };
        let trace = Record::Trace { token: mine.token, end };
        assert_eq!(changes(held(mine)), [Change::Put(0, trace)], "whoever comes next must still be told");
    }
}

#[test]
fn a_refresh_is_strictly_newer_after_the_clock_went_back() {
    let old = Entry { refreshed_us: 5_000_000, ..entry("a", 1) };
    let (changes, _) = decide(&refresh(Some("a"), 0), &[held(old)], &mut NOW.clone());
    let [Change::Put(0, Record::Entry(now))] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((now.refreshed_us, now.leased), (5_000_001, TICK));
}

#[test]
fn a_peek_answers_and_changes_nothing() {
    let peek = |by| Request::Peek(Arc::new(wanted(by, 1, &["drive3"])));
    let mut moment = NOW;
    let (changes, outcome) = decide(&peek("a"), &[None], &mut moment);
    assert!(changes.is_empty() && grants(&outcome)[0].is_some() && moment.last_token == NOW.last_token);
    assert_eq!(code(&peek("a"), held(entry("b", 2))), Some(Code::Held));
}

#[test]
fn tokens_follow_the_clock_and_never_go_back() {
    let mint = |now_us, last_token| Moment { now_us, last_token: Some(last_token), tick: TICK }.mint();
    assert_eq!(mint(1_000_000, 7).unwrap(), 1_000_000);
    assert_eq!(mint(-5, 0).unwrap(), 1);
    assert_eq!(mint(3, 9).unwrap(), 10);
    assert_eq!(mint(3, i64::MAX as u64).unwrap_err().code, Code::NotAStore);
}
