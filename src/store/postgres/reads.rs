//! Reading locks and values, and standing in the queue.

use super::{
    answers::tick,
    arrays::{bools, byteas, int8},
    errors::Trouble,
    link::Link,
    rows::Rows,
    server::Statements,
    state::Found,
};
use crate::{
    model::{
        error::{Code, Error},
        lock::{Attempt, End, Entry, Record},
        name::{LockId, Note, Owner},
        request::{Outcome, Request},
        rules::{Moment, decide},
    },
    shared::wait_queue::RECHECK,
};
use std::{collections::BTreeMap, time::Instant};

/// A waiter that gives no sign for three of its looks is gone.
const STANDS_FOR_US: i64 = 3 * RECHECK.as_micros() as i64;

/// Answers all that are about locks by one snapshot, in which those who wait have taken or kept their places.
pub fn read(
    link: &mut Link,
    statements: &Statements,
    requests: &[&Request],
    deadline: Instant,
) -> Result<Vec<Outcome>, Trouble> {
    stand(link, statements, requests, deadline)?;
    let leavers = requests.iter().filter_map(|request| match request {
        Request::Leave { name, .. } => Some(name),
        _ => None,
    });
    let leavers: Vec<_> = leavers.collect();
    if !leavers.is_empty() {
        link.run(&statements.leave(&leavers), deadline)?;
    }
    let values = Found::read(link, statements, requests, deadline)?;
    let (records, now_us) = records(link, statements, requests, deadline)?;
    let outcome = |request: &&Request| {
        values.outcome(request).unwrap_or_else(|| {
            let met: Vec<_> = request.ids().iter().map(|id| records.get(id).cloned()).collect();
            decide(request, &met, &mut moment(now_us)).1
        })
    };
    Ok(requests.iter().map(outcome).collect())
}

/// The locks that are asked for, and when that was. It is asked of the server also where there is no request at all.
fn records(
    link: &mut Link,
    statements: &Statements,
    requests: &[&Request],
    deadline: Instant,
) -> Result<(BTreeMap<LockId, Record>, i64), Trouble> {
    let asked = || requests.iter().filter(|request| matches!(request, Request::Peek(_) | Request::Status { .. }));
    if !requests.is_empty() && asked().next().is_none() {
        return Ok((BTreeMap::new(), 0));
    }
    let ids = asked().flat_map(|request| request.ids()).map(|id| Some(id.as_bytes()));
    let rows = link.execute(&statements.read, &[byteas(ids)], true, deadline)?;
    let records = (0..rows.len()).filter_map(|row| record(&rows, row, 1)).collect();
    Ok((records, number(&rows, 0, 0)))
}

fn moment(now_us: i64) -> Moment {
    Moment { now_us, tick: tick(now_us), last_token: None }
}

fn stand(link: &mut Link, statements: &Statements, requests: &[&Request], deadline: Instant) -> Result<(), Trouble> {
    let places = || {
        let waiting = requests.iter().filter_map(|request| match request {
            Request::Peek(wanted) => wanted.turn.waits().map(|place| (wanted, place)),
            _ => None,
        });
        waiting.flat_map(|(wanted, place)| wanted.ids.iter().map(move |id| (id, place)))
    };
    if places().next().is_none() {
        return Ok(());
    }
    let ids = places().map(|(id, _)| Some(id.as_bytes()));
    let names: Vec<_> = places().map(|(_, place)| place.name).collect();
    let names = names.iter().map(|name| Some(&name[..]));
    let keeps = places().map(|(_, place)| place.keeps);
    let parameters = [byteas(ids), byteas(names), bools(keeps), int8(STANDS_FOR_US)];
    link.execute(&statements.stand, &parameters, true, deadline).map(drop)
}

/// A number in binary form; 0 where there is none.
pub fn number(rows: &Rows, row: usize, column: usize) -> i64 {
    rows.bytes(row, column).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_be_bytes)
}

/// The lock of a row, whose columns begin there: lock_id, owner, token, attempt, taken_us, refreshed_us, leased_us, ttl_ms, ending,
/// client, note. None where there is none, or nonsense.
pub fn record(rows: &Rows, row: usize, from: usize) -> Option<(LockId, Record)> {
    let bytes = |place: usize| rows.bytes(row, from + place);
    let number = |place: usize| number(rows, row, from + place);
    let id = LockId::new(bytes(0)?).ok()?;
    let (token, end) = (number(2) as u64, End::of_number(number(8)));
    let Some(owner) = bytes(1) else { return Some((id, Record::Trace { token, end })) };
    let entry = Entry {
        owner: Owner::new(owner).ok()?,
        token,
        attempt: Attempt(bytes(3)?.try_into().ok()?),
        taken_us: number(4),
        refreshed_us: number(5),
        leased: tick(number(6)),
        ttl_ms: number(7) as u64,
        before: end,
        client: String::from_utf8_lossy(bytes(9)?).into(),
        note: Note::new(bytes(10)?).ok()?,
    };
    Some((id, Record::Entry(entry)))
}

/// For a row that can't be read.
pub fn unreadable(place: &str) -> Error {
    Error::new(Code::NotAStore, format!("PostgreSQL at {place}: a table holds what libdss did not write"))
}
