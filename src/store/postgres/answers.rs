//! What the functions answer to a batch, as outcomes. What is refused is put into words by the rules, from the entries that the server
//! has met.

use super::{state, ways};
use crate::model::{
    error::{Code, Error},
    lock::{Attempt, End, Entry, Record, Tick},
    name::{Note, Owner},
    request::{Denial, Grant, InTheWay, Outcome, Reply, Request, Wanted},
    rules::{Moment, decide},
};
use std::sync::Arc;

/// The outcomes in an answer of a function. None if it is not one.
pub fn outcomes(batch: &[&Request], answer: &str) -> Option<Vec<Outcome>> {
    if let Some(tokens) = answer.strip_prefix('*') {
        return ways::outcomes(batch, tokens);
    }
    let mut parts = answer.split('|');
    let tick = tick(parts.next()?.parse().ok()?);
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
        (Request::Set(setting), _) => state::outcome(setting, kind, parts.next()?, tick),
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
        let free = wanted.ids.get(which.trailing_zeros() as usize)?;
        let text = format!("lock {free} is free, but others wait for it longer");
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

fn one_of_each(request: &Request, place: usize, answer: &str, tick: Tick) -> Option<Result<Grant, Denial>> {
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
pub fn met(kind: &str, fields: &str) -> Option<Option<Record>> {
    match kind {
        "n" => match End::of_number(fields.parse().ok()?) {
            End::Unlocked => Some(None),
            end => Some(Some(Record::Trace { token: 0, end })),
        },
        _ => Some(Some(Record::Entry(entry_of(fields)?))),
    }
}

pub fn moment(tick: Tick) -> Moment {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{name::LockId, request::Turn};

    /// An answer that refuses locks and names none of them, as no function of ours gives it, was a panic that closed the handle.
    #[test]
    fn a_refusal_of_nothing_is_no_answer() {
        let wanted = Wanted {
            ids: vec![LockId::new(b"drive").unwrap()],
            owner: Owner::new(b"ann").unwrap(),
            client: "host:1:program".into(),
            attempt: Attempt([7; 16]),
            ttl_ms: 0,
            note: Note::new(b"").unwrap(),
            any: false,
            resume: false,
            turn: Turn::Now,
        };
        let request = Request::Lock(Arc::new(wanted));
        assert!(outcomes(&[&request], "1|h").is_none() && outcomes(&[&request], "1|h;7").is_none());
        assert!(matches!(&outcomes(&[&request], "1|h;0").unwrap()[..], [Ok(Reply::Refused(_))]));
    }
}
