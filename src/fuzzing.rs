//! Doors for fuzzing to what reads bytes from outside. They are no part of the interface, and in no library that is installed.

use crate::{
    model::{
        lock::Attempt,
        name::{LockId, Note, Owner, StateKey},
        request::{Request, Turn, Wanted},
        state::{Guard, Setting},
    },
    shared::combiner,
    store::{etcd, postgres},
};
use std::sync::Arc;

/// An answer of etcd's gateway.
pub fn etcd_answer(bytes: &[u8]) {
    etcd::read_answer(bytes);
}

/// What stands under one of the keys of a store at etcd.
pub fn etcd_record(bytes: &[u8]) {
    etcd::read_record(&id(), &key(), bytes);
}

/// What the functions of a store at PostgreSQL answer to a batch of one request of each kind, and to each alone.
pub fn postgres_answer(bytes: &[u8]) {
    let (requests, text) = (requests(), String::from_utf8_lossy(bytes));
    postgres::read_answer(&requests.iter().collect::<Vec<_>>(), &text);
    requests.iter().for_each(|request| postgres::read_answer(&[request], &text));
}

/// Requests that another process has published, and which are run for it.
pub fn published(bytes: &[u8]) {
    combiner::read_requests(bytes);
}

fn id() -> LockId {
    LockId::new(b"drive").expect("the name is good")
}

fn key() -> StateKey {
    StateKey::new(b"drive").expect("the name is good")
}

fn requests() -> Vec<Request> {
    let owner = Owner::new(b"ann").expect("the name is good");
    let (ids, attempt, tokens) =
        (vec![id(), LockId::new(b"other").expect("the name is good")], Attempt([7; 16]), Vec::new());
    let wanted = Wanted {
        ids: ids.clone(),
        owner: owner.clone(),
        client: "host:1:program".into(),
        attempt,
        ttl_ms: 1000,
        note: Note::new(b"").expect("the note is good"),
        any: true,
        resume: false,
        turn: Turn::Now,
    };
    let setting = Setting { key: key(), value: None, guard: Guard::default(), attempt, in_doubt: false };
    vec![
        Request::Lock(Arc::new(wanted)),
        Request::Refresh { ids: ids.clone(), owner: Some(owner.clone()), tokens: tokens.clone(), attempt },
        Request::Unlock { ids: ids.clone(), owner: None, tokens, seen_us: Vec::new(), attempt },
        Request::Transfer { id: id(), from: None, token: 0, to: owner, client: "host:1:program".into(), attempt },
        Request::Withdraw { ids, attempt },
        Request::Set(Arc::new(setting)),
    ]
}
