//! Requests as bytes, for the process that runs them; and its answers as words.

use crate::model::{
    lock::{Attempt, End},
    name::{LockId, Note, Owner},
    request::{Grant, Outcome, Reply, Request, Turn, Wanted},
};
use std::sync::Arc;

/// Only stores that lose answers ask for the attempt of these.
const UNNAMED: Attempt = Attempt([0; 16]);

const LOCK: u8 = 1;
const REFRESH: u8 = 2;
const UNLOCK: u8 = 3;
const ANY: u8 = 1;
const RESUME: u8 = 2;
const HAS_OWNER: u8 = 4;

/// None for a request that its own process has to run: one about several locks, or one that is
/// rare.
pub fn encode(request: &Request) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(128);
    match request {
        Request::Lock(wanted) => {
            let [id] = &wanted.ids[..] else { return None };
            bytes.push(LOCK);
            bytes.push(if wanted.any { ANY } else { 0 } | if wanted.resume { RESUME } else { 0 });
            bytes.extend_from_slice(&wanted.attempt.0);
            bytes.extend_from_slice(&wanted.ttl_ms.to_be_bytes());
            let names = [id.as_bytes(), wanted.owner.as_bytes(), wanted.client.as_bytes(), wanted.note.as_bytes()];
            names.iter().for_each(|name| put(&mut bytes, name));
        }
        Request::Refresh { ids, owner, tokens, .. } => held(&mut bytes, REFRESH, ids, owner, tokens)?,
        Request::Unlock { ids, owner, tokens, seen_us, .. } if seen_us.is_empty() => {
            held(&mut bytes, UNLOCK, ids, owner, tokens)?;
        }
        _ => return None,
    }
    Some(bytes)
}

/// A request about one lock that is held.
fn held(bytes: &mut Vec<u8>, kind: u8, ids: &[LockId], owner: &Option<Owner>, tokens: &[u64]) -> Option<()> {
    let [id] = ids else { return None };
    bytes.push(kind);
    bytes.push(if owner.is_some() { HAS_OWNER } else { 0 });
    bytes.extend_from_slice(&tokens.first().copied().unwrap_or(0).to_be_bytes());
    put(bytes, id.as_bytes());
    put(bytes, owner.as_ref().map_or(b"", Owner::as_bytes));
    Some(())
}

fn put(bytes: &mut Vec<u8>, name: &[u8]) {
    // No name is longer than the 2048 bytes of a lock id.
    bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
    bytes.extend_from_slice(name);
}

/// Takes the first request off the bytes; None if there is none, or nonsense.
pub fn decode(bytes: &mut &[u8]) -> Option<Request> {
    let [kind, flags] = array(bytes)?;
    if kind == LOCK {
        let (attempt, ttl_ms) = (Attempt(array(bytes)?), u64::from_be_bytes(array(bytes)?));
        let (id, owner) = (LockId::new(get(bytes)?).ok()?, Owner::new(get(bytes)?).ok()?);
        let client = Arc::from(std::str::from_utf8(get(bytes)?).ok()?);
        let note = Note::new(get(bytes)?).ok()?;
        let (any, resume) = (flags & ANY != 0, flags & RESUME != 0);
        return Some(Request::Lock(Arc::new(Wanted {
            ids: vec![id],
            owner,
            client,
            attempt,
            ttl_ms,
            note,
            any,
            resume,
            turn: Turn::Now,
        })));
    }
    let tokens = match u64::from_be_bytes(array(bytes)?) {
        0 => Vec::new(),
        token => vec![token],
    };
    let (ids, owner) = (vec![LockId::new(get(bytes)?).ok()?], get(bytes)?);
    let owner = if flags & HAS_OWNER != 0 { Some(Owner::new(owner).ok()?) } else { None };
    match kind {
        REFRESH => Some(Request::Refresh { ids, owner, tokens, attempt: UNNAMED }),
        UNLOCK => Some(Request::Unlock { ids, owner, tokens, seen_us: Vec::new(), attempt: UNNAMED }),
        _ => None,
    }
}

fn array<const LENGTH: usize>(bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn get<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(array(bytes)?);
    let (name, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    Some(name)
}

/// The outcome of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was done, for good.
    Done(Grant),
    /// It changed nothing. Its own process has to find out why, for texts are long.
    Refused,
    /// It may have been done: the flush failed.
    Unknown,
}

/// How many words an answer takes.
pub const ANSWER_WORDS: usize = 3;
const DONE: u64 = 1;
const REFUSED: u64 = 2;
const UNKNOWN: u64 = 3;

impl Answer {
    /// What the other process is told of an outcome.
    pub fn of(outcome: &Outcome) -> Answer {
        match outcome {
            Ok(Reply::Granted(grants)) => {
                grants.iter().flatten().next().map_or(Answer::Refused, |grant| Answer::Done(*grant))
            }
            Ok(Reply::Each(results)) => match &results[..] {
                [Ok(grant)] => Answer::Done(*grant),
                _ => Answer::Refused,
            },
            _ => Answer::Refused,
        }
    }

    /// The reply to the request that this is the answer to, where it was done.
    pub fn reply_to(self, request: &Request) -> Option<Reply> {
        match (self, request) {
            (Answer::Done(grant), Request::Lock(_)) => Some(Reply::Granted(vec![Some(grant)])),
            (Answer::Done(grant), _) => Some(Reply::Each(vec![Ok(grant)])),
            (Answer::Refused | Answer::Unknown, _) => None,
        }
    }

    pub fn words(self) -> [u64; ANSWER_WORDS] {
        match self {
            Answer::Done(grant) => [DONE | (grant.before as u64) << 8, grant.token, grant.ttl_ms],
            Answer::Refused => [REFUSED, 0, 0],
            Answer::Unknown => [UNKNOWN, 0, 0],
        }
    }

    pub fn of_words([kind, token, ttl_ms]: [u64; ANSWER_WORDS]) -> Answer {
        match kind & 0xff {
            DONE => Answer::Done(Grant { token, ttl_ms, before: End::of_number((kind >> 8) as i64) }),
            REFUSED => Answer::Refused,
            _ => Answer::Unknown,
        }
    }
}

/// For fuzzing: the requests of another process.
#[cfg(feature = "fuzzing")]
pub fn read_requests(mut bytes: &[u8]) {
    while let Some(request) = decode(&mut bytes) {
        assert!(!request.ids().is_empty());
    }
}
