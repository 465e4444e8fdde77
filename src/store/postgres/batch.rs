//! A batch of requests as the parameters of `dss.apply`, and its answer as outcomes. What is refused is put into words by the rules,
//! from the entries that the server has met.

use super::{
    arrays::{self, BYTEA, BYTEAS, INT4, INT4S, INT8, INT8S},
    ways,
};
use crate::model::{
    error::{Code, Error},
    lock::{End, Entry, Record, Tick},
    name::{LockId, Note, Owner},
    request::{Attempt, Grant, InTheWay, Outcome, Reply, Request, Turn, Wanted},
    rules::{Moment, decide},
};
use std::{collections::BTreeSet, sync::Arc};

pub const TYPES: &[u32] = &[
    BYTEA, INT8, INT8, INT4, BYTEA, INT8S, BYTEAS, INT4S, INT4S, INT4S, INT8S, BYTEAS, BYTEAS, BYTEAS, BYTEAS, BYTEAS,
    INT8S, INT8S,
];

/// The most locks in one transaction, unless one request alone has more: each may take an entry of the server's table of locks.
pub const MOST_IDS: usize = 256;

/// Which session and batch it is, and how long the server may wait for rows that others keep.
pub struct Head<'a> {
    pub session: &'a [u8; 16],
    pub epoch: i64,
    pub batch: i64,
    pub patience_ms: i32,
}

const TAKE: i32 = 1;
const REFRESH: i32 = 2;
const UNLOCK: i32 = 3;
const TRANSFER: i32 = 4;
const WITHDRAW: i32 = 5;

/// The numbers of all locks of a batch that are made or removed. A renewal of thousands would be too much for the server's table of
/// locks, and its rows are there.
pub fn keys(batch: &[&Request]) -> BTreeSet<i64> {
    let changing = batch.iter().filter(|request| !matches!(request, Request::Refresh { .. }));
    changing.flat_map(|request| request.ids()).map(key).collect()
}

pub fn client_of<'a>(batch: &[&'a Request]) -> &'a str {
    batch.iter().find_map(client).unwrap_or("")
}

/// Those after the head.
pub fn parameters(batch: &[&Request]) -> Vec<Option<Vec<u8>>> {
    let ids = || batch.iter().flat_map(|request| request.ids());
    // What one request alone may lock, it locks itself, when it has seen that it is worth it.
    let is_single = batch.len() == 1 && (ids().nth(1).is_none() || matches!(batch[0], Request::Lock(_)));
    let rows: BTreeSet<&[u8]> = if is_single { BTreeSet::new() } else { ids().map(LockId::as_bytes).collect() };
    vec![
        arrays::bytea(client_of(batch).as_bytes()),
        arrays::int8s(keys(batch).into_iter()),
        arrays::byteas(rows.into_iter().map(Some)),
        arrays::int4s(batch.iter().map(|request| kind(request))),
        arrays::int4s(batch.iter().map(|request| request.ids().len() as i32)),
        arrays::int4s(batch.iter().map(|request| flags(request))),
        arrays::int8s(
            batch.iter().map(|request| if let Request::Lock(wanted) = request { wanted.ttl_ms as i64 } else { 0 }),
        ),
        arrays::byteas(batch.iter().map(|request| owner(request).map(Owner::as_bytes))),
        arrays::byteas(batch.iter().map(|request| Some(other(request)))),
        arrays::byteas(batch.iter().map(|request| Some(attempt(request)))),
        arrays::byteas(batch.iter().map(|request| name(request))),
        arrays::byteas(ids().map(|id| Some(id.as_bytes()))),
        arrays::int8s(batch.iter().flat_map(|request| each_of(request, tokens(request), 0))),
        arrays::int8s(batch.iter().flat_map(|request| each_of(request, seen(request), -1))),
    ]
}

/// One number for each id of the request.
fn each_of<'a>(request: &'a Request, numbers: Vec<i64>, otherwise: i64) -> impl Iterator<Item = i64> + 'a {
    (0..request.ids().len()).map(move |place| numbers.get(place).copied().unwrap_or(otherwise))
}

/// A number for a lock that may not exist yet, in the server's own table of locks that a program may name. Two locks with one
/// number wait for each other's transactions, and that is all.
pub fn key(id: &LockId) -> i64 {
    id.number() as i64
}

fn kind(request: &Request) -> i32 {
    match request {
        Request::Lock(_) => TAKE,
        Request::Refresh { .. } => REFRESH,
        Request::Unlock { .. } => UNLOCK,
        Request::Transfer { .. } => TRANSFER,
        Request::Withdraw { .. } => WITHDRAW,
        Request::Peek(_) | Request::Status { .. } | Request::Leave { .. } | Request::Get { .. } | Request::Set(_) => 0,
    }
}

fn flags(request: &Request) -> i32 {
    let Request::Lock(wanted) = request else { return 0 };
    let turn = match wanted.turn {
        Turn::Behind => 4,
        Turn::Waits(place) if place.in_turn => 8,
        _ => 0,
    };
    i32::from(wanted.any) | i32::from(wanted.resume) << 1 | turn
}

fn owner(request: &Request) -> Option<&Owner> {
    match request {
        Request::Lock(wanted) => Some(&wanted.owner),
        Request::Refresh { owner, .. } | Request::Unlock { owner, .. } => owner.as_ref(),
        Request::Transfer { from, .. } => from.as_ref(),
        _ => None,
    }
}

/// The note of a lock that is taken, or the new owner of one that is transferred.
fn other(request: &Request) -> &[u8] {
    match request {
        Request::Lock(wanted) => wanted.note.as_bytes(),
        Request::Transfer { to, .. } => to.as_bytes(),
        _ => b"",
    }
}

fn attempt(request: &Request) -> &[u8] {
    match request {
        Request::Lock(wanted) => &wanted.attempt.0,
        Request::Transfer { attempt, .. } | Request::Withdraw { attempt, .. } => &attempt.0,
        _ => b"",
    }
}

fn name(request: &Request) -> Option<&[u8]> {
    match request {
        Request::Lock(wanted) => match &wanted.turn {
            Turn::Waits(place) => Some(&place.name),
            _ => None,
        },
        _ => None,
    }
}

fn client<'a>(request: &&'a Request) -> Option<&'a str> {
    match request {
        Request::Lock(wanted) => Some(&wanted.client),
        Request::Transfer { client, .. } => Some(client),
        _ => None,
    }
}

fn tokens(request: &Request) -> Vec<i64> {
    match request {
        Request::Refresh { tokens, .. } | Request::Unlock { tokens, .. } => {
            tokens.iter().map(|token| *token as i64).collect()
        }
        Request::Transfer { token, .. } => vec![*token as i64],
        _ => Vec::new(),
    }
}

fn seen(request: &Request) -> Vec<i64> {
    if let Request::Unlock { seen_us, .. } = request { seen_us.clone() } else { Vec::new() }
}

/// The outcomes in an answer of `dss.apply`. None if it is not one.
pub fn outcomes(batch: &[&Request], answer: &str) -> Option<Vec<Outcome>> {
    let mut parts = answer.split('|');
    let tick = tick(parts.next()?.parse().ok()?);
    if let Some((_, short)) = answer.split_once("|*") {
        return ways::outcomes(batch, short);
    }
    let outcomes: Option<Vec<Outcome>> = batch.iter().map(|request| outcome(request, parts.next()?, tick)).collect();
    outcomes.filter(|_| parts.next().is_none())
}

/// The server's clock, which is one for all: there are no boots to tell apart.
pub fn tick(now_us: i64) -> Tick {
    Tick { boot: 0, us: now_us }
}

fn outcome(request: &Request, answer: &str, tick: Tick) -> Option<Outcome> {
    let mut parts = answer.split(';');
    let kind = parts.next()?;
    match (request, kind) {
        (Request::Lock(wanted), "g") => granted(wanted.ids.len(), parts),
        (Request::Lock(wanted), "h") => refused(wanted, parts, tick),
        (Request::Transfer { .. }, "e") => transferred(request, parts.next()?, tick),
        (Request::Withdraw { .. }, "e") => Some(Ok(Reply::Withdrawn)),
        (Request::Refresh { .. } | Request::Unlock { .. }, "e") => {
            let each: Option<Vec<_>> =
                (0..request.ids().len()).map(|place| one_of_each(request, place, parts.next()?, tick)).collect();
            Some(Ok(Reply::Each(each?)))
        }
        _ => None,
    }
}

fn granted<'a>(count: usize, places: impl Iterator<Item = &'a str>) -> Option<Outcome> {
    let mut grants = vec![None; count];
    for place in places {
        let (place, grant) = place.split_once(',')?;
        *grants.get_mut(place.parse::<usize>().ok()?)? = Some(grant_of(grant)?);
    }
    Some(Ok(Reply::Granted(grants)))
}

/// token,ending,ttl_ms
fn grant_of(text: &str) -> Option<Grant> {
    let mut fields = text.split(',');
    let token = fields.next()?.parse().ok()?;
    let before = End::of_number(fields.next()?.parse().ok()?);
    Some(Grant { token, before, ttl_ms: fields.next()?.parse().ok()? })
}

/// What the rules say of the locks that are held, and the others that are waited for.
fn refused<'a>(wanted: &Arc<Wanted>, places: impl Iterator<Item = &'a str>, tick: Tick) -> Option<Outcome> {
    let (mut held, mut records, mut which) = (Vec::new(), Vec::new(), 0u64);
    for place in places {
        let (place, entry) = place.split_once(',').map_or((place, None), |(place, entry)| (place, Some(entry)));
        let place = place.parse::<usize>().ok().filter(|place| *place < wanted.ids.len())?;
        which |= 1 << place;
        if let Some(entry) = entry {
            held.push(place);
            records.push(Some(Record::Entry(entry_of(entry)?)));
        }
    }
    if held.is_empty() {
        let text =
            format!("lock {} is free, but others wait for it longer", wanted.ids[which.trailing_zeros() as usize]);
        return Some(Ok(Reply::Refused(InTheWay { which, free_in_us: None, error: Error::new(Code::Held, text) })));
    }
    let ids = held.iter().map(|place| wanted.ids[*place].clone()).collect();
    let asked = Request::Lock(Arc::new(Wanted { ids, ..Wanted::clone(wanted) }));
    match decide(&asked, &records, &mut moment(tick)).1 {
        Ok(Reply::Refused(found)) => Some(Ok(Reply::Refused(InTheWay { which, ..found }))),
        _ => None,
    }
}

fn transferred(request: &Request, answer: &str, tick: Tick) -> Option<Outcome> {
    match answer.split_once(',')? {
        ("o", grant) => Some(Ok(Reply::Granted(vec![Some(grant_of(grant)?)]))),
        (kind, fields) => match decide(request, &[met(kind, fields)?], &mut moment(tick)).1 {
            Err(error) => Some(Err(error)),
            Ok(_) => None,
        },
    }
}

fn one_of_each(
    request: &Request,
    place: usize,
    answer: &str,
    tick: Tick,
) -> Option<Result<Grant, crate::model::request::Denial>> {
    let (kind, fields) = answer.split_once(',')?;
    if kind == "o" {
        return Some(Ok(grant_of(fields)?));
    }
    match decide(&alone(request, place)?, &[met(kind, fields)?], &mut moment(tick)).1 {
        Ok(Reply::Each(mut results)) => results.pop().filter(Result::is_err),
        _ => None,
    }
}

/// The same asked of one of its locks.
fn alone(request: &Request, place: usize) -> Option<Request> {
    let one = |tokens: &[u64]| tokens.get(place).copied().into_iter().collect::<Vec<u64>>();
    match request {
        Request::Refresh { ids, owner, tokens, attempt } => Some(Request::Refresh {
            ids: vec![ids[place].clone()],
            owner: owner.clone(),
            tokens: one(tokens),
            attempt: *attempt,
        }),
        Request::Unlock { ids, owner, tokens, seen_us, attempt } => Some(Request::Unlock {
            ids: vec![ids[place].clone()],
            owner: owner.clone(),
            tokens: one(tokens),
            seen_us: seen_us.get(place).copied().into_iter().collect(),
            attempt: *attempt,
        }),
        _ => None,
    }
}

/// What the server has met, of which it said that there is no such lock, or which entry it is.
#[allow(clippy::option_option, reason = "None: no answer; Some(None): no record")]
fn met(kind: &str, fields: &str) -> Option<Option<Record>> {
    match kind {
        "n" => match End::of_number(fields.parse().ok()?) {
            End::Unlocked => Some(None),
            end => Some(Some(Record::Trace { token: 0, end })),
        },
        _ => Some(Some(Record::Entry(entry_of(fields)?))),
    }
}

fn moment(tick: Tick) -> Moment {
    Moment { now_us: tick.us, tick, last_token: None }
}

/// The fields of `dss.told`.
fn entry_of(text: &str) -> Option<Entry> {
    let mut fields = text.split(',');
    let mut next = || fields.next();
    let owner = Owner::new(&bytes_of(next()?)?).ok()?;
    let token = next()?.parse().ok()?;
    let mut number = || next()?.parse::<i64>().ok();
    let (taken_us, refreshed_us, leased_us) = (number()?, number()?, number()?);
    let (ttl_ms, before) = (number()? as u64, End::of_number(number()?));
    let client = String::from_utf8(bytes_of(next()?)?).ok()?.into();
    let note = Note::new(&bytes_of(next()?)?).ok()?;
    let (attempt, leased) = (Attempt([0; 16]), tick(leased_us));
    Some(Entry { owner, token, attempt, taken_us, refreshed_us, leased, ttl_ms, before, client, note })
}

pub fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    hex.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
