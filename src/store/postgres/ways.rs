//! Which function of the schema does a batch. Nearly all requests take one free lock or are the owner's unlock of one, and for these
//! there are shorter ways than `dss.apply`; they end there if they meet anything else.

use super::{
    arrays::{self, BYTEA, BYTEAS, INT4, INT8, INT8S, Parameter},
    batch::{self, Head},
    state,
};
use crate::model::{
    lock::End,
    name::{LockId, Owner},
    request::{Grant, Outcome, Reply, Request, Turn, Wanted},
};
use std::collections::BTreeSet;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    TakeOne,
    UnlockOne,
    Many,
    Apply,
    SetOne,
    SetMany,
}

pub const TAKE_ONE: &[u32] = &[BYTEA, INT8, INT8, INT4, BYTEA, INT8, BYTEA, BYTEA, BYTEA, INT8, BYTEA];
pub const UNLOCK_ONE: &[u32] = &[BYTEA, INT8, INT8, INT4, INT8, BYTEA, BYTEA, INT8];
pub const MANY: &[u32] =
    &[BYTEA, INT8, INT8, INT4, BYTEA, INT8S, BYTEAS, BYTEAS, BYTEAS, INT8S, BYTEAS, BYTEAS, BYTEAS, INT8S];

/// A request to take one lock whoever waits for it, without regard to who holds it.
fn taken(request: &Request) -> Option<(&LockId, &Wanted)> {
    match request {
        Request::Lock(wanted) if !wanted.any && !wanted.resume && matches!(wanted.turn, Turn::Now) => {
            match &wanted.ids[..] {
                [id] => Some((id, wanted)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The owner's unlock of one lock, and the token that it must have, or 0.
fn unlocked(request: &Request) -> Option<(&LockId, &Owner, i64)> {
    match request {
        Request::Unlock { ids, owner: Some(owner), tokens, seen_us, .. } if seen_us.is_empty() => match &ids[..] {
            [id] => Some((id, owner, tokens.first().map_or(0, |token| *token as i64))),
            _ => None,
        },
        _ => None,
    }
}

/// The way of a batch, whose requests get into the order that it needs.
pub fn way(batch: &mut [&Request]) -> Way {
    match batch {
        [one] if taken(one).is_some() => return Way::TakeOne,
        [one] if unlocked(one).is_some() => return Way::UnlockOne,
        [Request::Set(_)] => return Way::SetOne,
        [Request::Set(_), ..] => return Way::SetMany,
        [_] => return Way::Apply,
        _ => {}
    }
    let ids = || batch.iter().flat_map(|request| request.ids());
    let are_short = batch.iter().all(|request| taken(request).is_some() || unlocked(request).is_some());
    if !are_short || ids().collect::<BTreeSet<_>>().len() < batch.len() {
        return Way::Apply;
    }
    // None of them has to do with another, so they may be done in any order; and rows are locked in that of their ids.
    batch.sort_by(|one, other| (taken(one).is_none(), one.ids()).cmp(&(taken(other).is_none(), other.ids())));
    Way::Many
}

pub fn parameters<'a>(way: Way, head: &Head<'a>, batch: &[&'a Request]) -> Vec<Parameter<'a>> {
    let mut list = head.parameters();
    let takes = || batch.iter().filter_map(|request| taken(request));
    let unlocks = || batch.iter().filter_map(|request| unlocked(request));
    match (way, takes().next(), unlocks().next()) {
        (Way::TakeOne, Some((id, wanted)), _) => list.extend([
            arrays::bytea(wanted.client.as_bytes()),
            arrays::int8(batch::key(id)),
            arrays::bytea(id.as_bytes()),
            arrays::bytea(wanted.owner.as_bytes()),
            arrays::bytea(&wanted.attempt.0),
            arrays::int8(wanted.ttl_ms as i64),
            arrays::bytea(wanted.note.as_bytes()),
        ]),
        (Way::UnlockOne, _, Some((id, owner, token))) => list.extend([
            arrays::int8(batch::key(id)),
            arrays::bytea(id.as_bytes()),
            arrays::bytea(owner.as_bytes()),
            arrays::int8(token),
        ]),
        (Way::Many, ..) => list.extend([
            arrays::bytea(batch::client_of(batch).as_bytes()),
            arrays::int8s(batch::keys(batch).into_iter()),
            arrays::byteas(takes().map(|(id, _)| Some(id.as_bytes()))),
            arrays::byteas(takes().map(|(_, wanted)| Some(wanted.owner.as_bytes()))),
            arrays::byteas(takes().map(|(_, wanted)| Some(&wanted.attempt.0[..]))),
            arrays::int8s(takes().map(|(_, wanted)| wanted.ttl_ms as i64)),
            arrays::byteas(takes().map(|(_, wanted)| Some(wanted.note.as_bytes()))),
            arrays::byteas(unlocks().map(|(id, ..)| Some(id.as_bytes()))),
            arrays::byteas(unlocks().map(|(_, owner, _)| Some(owner.as_bytes()))),
            arrays::int8s(unlocks().map(|(.., token)| token)),
        ]),
        (Way::SetOne | Way::SetMany, ..) => list.extend(state::parameters(batch)),
        _ => list.extend(batch::parameters(batch)),
    }
    list
}

/// The outcomes in a short answer: the token of all that was taken, or 0, and those of what was unlocked.
pub fn outcomes(batch: &[&Request], answer: &str) -> Option<Vec<Outcome>> {
    let mut tokens = answer.split(';').map(|token| token.parse::<u64>().ok());
    let token = tokens.next()??;
    let outcome = |request: &&Request| match taken(request) {
        Some((_, wanted)) => {
            let grant = Grant { token, ttl_ms: wanted.ttl_ms, before: End::Unlocked };
            Some(Ok(Reply::Granted(vec![Some(grant)])))
        }
        None => {
            let grant = Grant { token: tokens.next()??, ttl_ms: 0, before: End::Unlocked };
            Some(Ok(Reply::Each(vec![Ok(grant)])))
        }
    };
    batch.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{lock::Attempt, name::Note};
    use std::sync::Arc;

    fn take(id: &str, turn: Turn) -> Request {
        Request::Lock(Arc::new(Wanted {
            ids: vec![LockId::new(id.as_bytes()).unwrap()],
            owner: Owner::new(b"own").unwrap(),
            attempt: Attempt([1; 16]),
            ttl_ms: 5000,
            any: false,
            resume: false,
            turn,
            note: Note::default(),
            client: "host:1:x".into(),
        }))
    }

    fn unlock(id: &str, owner: Option<&[u8]>) -> Request {
        Request::Unlock {
            ids: vec![LockId::new(id.as_bytes()).unwrap()],
            owner: owner.map(|owner| Owner::new(owner).unwrap()),
            tokens: vec![],
            seen_us: vec![],
            attempt: Attempt([2; 16]),
        }
    }

    #[test]
    fn only_what_is_plain_goes_a_short_way() {
        let (plain, behind) = (take("a", Turn::Now), take("a", Turn::Behind));
        let (own, forced, other) = (unlock("a", Some(b"own")), unlock("a", None), unlock("b", Some(b"own")));
        assert_eq!(way(&mut [&plain]), Way::TakeOne);
        assert_eq!(way(&mut [&own]), Way::UnlockOne);
        assert_eq!((way(&mut [&behind]), way(&mut [&forced])), (Way::Apply, Way::Apply));
        // What has to do with one lock keeps its order.
        assert_eq!(way(&mut [&own, &plain]), Way::Apply);
        assert_eq!(way(&mut [&other, &behind]), Way::Apply);
        let mut both = [&other, &plain];
        assert_eq!(way(&mut both), Way::Many);
        assert!(std::ptr::eq(both[0], &plain));
    }

    #[test]
    fn the_short_answer_is_read() {
        let (plain, other) = (take("a", Turn::Now), unlock("b", Some(b"own")));
        let outcomes = outcomes(&[&plain, &other], "70;61").unwrap();
        assert!(matches!(&outcomes[0], Ok(Reply::Granted(grants)) if grants[0].unwrap().token == 70));
        assert!(matches!(&outcomes[1], Ok(Reply::Each(each)) if each[0].as_ref().unwrap().token == 61));
        assert!(super::outcomes(&[&plain, &other], "70").is_none());
        let alone = super::outcomes(&[&other], "0;61").unwrap();
        assert!(matches!(&alone[0], Ok(Reply::Each(each)) if each[0].as_ref().unwrap().token == 61));
    }
}
