//! A batch of requests as the parameters of `dss.apply`.

use super::arrays::{self, BYTEA, BYTEAS, INT4, INT4S, INT8, INT8S, Parameter};
use crate::model::{
    name::{LockId, Owner},
    request::{Request, Turn},
};
use std::collections::BTreeSet;

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

impl<'a> Head<'a> {
    pub fn parameters(&self) -> Vec<Parameter<'a>> {
        vec![
            arrays::bytea(self.session),
            arrays::int8(self.epoch),
            arrays::int8(self.batch),
            arrays::int4(self.patience_ms),
        ]
    }
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
pub fn parameters<'a>(batch: &[&'a Request]) -> Vec<Parameter<'a>> {
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
