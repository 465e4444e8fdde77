//! State: writes as the parameters of `dss.set_one` and `dss.set_many`, an answer as an outcome, and values as they are read. What
//! is refused is put into words by the rules, from what the server has met.

use super::{
    answers::{met, moment},
    arrays::{
        BYTEA, BYTEAS, INT4, INT4S, INT8, INT8S, Parameter, bytea, byteas, int4, int4s, int8, int8s, int8s_or_null,
    },
    batch,
    errors::Trouble,
    link::Link,
    reads::number,
    rows::Rows,
    server::Statements,
};
use crate::model::{
    lock::{Attempt, Record, Tick},
    name::StateKey,
    request::{Outcome, Reply, Request},
    rules,
    state::{Guard, Setting, Stamp, Value},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

pub const SET_ONE: &[u32] = &[BYTEA, INT8, INT8, INT4, INT8, BYTEA, INT8, INT4, INT4, BYTEA, INT8, BYTEA];

pub const SET_MANY: &[u32] = &[BYTEA, INT8, INT8, INT4, INT8S, INT4S, INT4S, BYTEAS, INT8S, BYTEAS, INT8S, BYTEAS];

/// So many bytes of values are read at once, and those of one more.
const BYTES_AT_ONCE: i64 = 4 << 20;

/// Those after the head.
pub fn parameters<'a>(batch: &[&'a Request]) -> Vec<Parameter<'a>> {
    let settings =
        batch.iter().filter_map(|request| if let Request::Set(setting) = request { Some(&**setting) } else { None });
    match settings.collect::<Vec<&Setting>>()[..] {
        [setting] => of_one(setting),
        ref settings => of_many(settings),
    }
}

fn of_one(setting: &Setting) -> Vec<Parameter<'_>> {
    let Setting { key, value, guard, .. } = setting;
    let fence = guard.lock.as_ref();
    let (high, low) = halves(key.number());
    vec![
        fence.and_then(|fence| int8(batch::key(&fence.id))),
        fence.and_then(|fence| bytea(fence.id.as_bytes())),
        fence.and_then(|fence| int8(fence.token as i64)),
        int4(high),
        int4(low),
        bytea(key.as_bytes()),
        guard.version.and_then(|version| int8(version as i64)),
        value.as_ref().and_then(|bytes| bytea(bytes)),
    ]
}

fn of_many(settings: &[&Setting]) -> Vec<Parameter<'static>> {
    let fences = || settings.iter().map(|setting| setting.guard.lock.as_ref());
    let locks: BTreeSet<i64> = fences().flatten().map(|fence| batch::key(&fence.id)).collect();
    let keys: BTreeSet<u64> = settings.iter().map(|setting| setting.key.number()).collect();
    let keys = || keys.iter().copied().map(halves);
    vec![
        int8s(locks.into_iter()),
        int4s(keys().map(|(high, _)| high)),
        int4s(keys().map(|(_, low)| low)),
        byteas(fences().map(|fence| fence.map(|fence| fence.id.as_bytes()))),
        int8s_or_null(fences().map(|fence| fence.map(|fence| fence.token as i64))),
        byteas(settings.iter().map(|setting| Some(setting.key.as_bytes()))),
        int8s_or_null(settings.iter().map(|setting| setting.guard.version.map(|version| version as i64))),
        byteas(settings.iter().map(|setting| setting.value.as_deref())),
    ]
}

fn halves(number: u64) -> (i32, i32) {
    ((number >> 32) as i32, number as i32)
}

/// The outcome in the answer to one of them.
pub fn outcome(setting: &Setting, kind: &str, fields: &str, tick: Tick) -> Option<Outcome> {
    let version = || fields.parse::<u64>().ok();
    match kind {
        "v" => Some(Ok(Reply::Set { version: version()? })),
        // The lock, if one guards it, was looked at before.
        "w" => {
            let guard = Guard { lock: None, ..setting.guard.clone() };
            refused(&Setting { guard, ..setting.clone() }, version()?, &None, tick)
        }
        "f" => {
            let (kind, fields) = fields.split_once(',')?;
            refused(setting, 0, &met(kind, fields)?, tick)
        }
        _ => None,
    }
}

/// What the rules say where this version stands, or none, and this is the record of the lock. None if they would let it be written.
fn refused(setting: &Setting, version: u64, lock: &Option<Record>, tick: Tick) -> Option<Outcome> {
    let stamp = (version != 0).then_some(Stamp { version, attempt: Attempt([0; 16]) });
    match rules::state::set(setting, stamp, lock, &mut moment(tick)) {
        (None, outcome) => Some(outcome),
        (Some(_), _) => None,
    }
}

/// What is read of each key, as one who asks for it is told.
pub struct Found(BTreeMap<StateKey, Option<Value>>);

impl Found {
    /// Reads what the requests ask for: all at once, unless it is much.
    pub fn read(
        link: &mut Link,
        statements: &Statements,
        requests: &[&Request],
        deadline: Instant,
    ) -> Result<Found, Trouble> {
        let mut found = BTreeMap::new();
        loop {
            let asked = requests.iter().filter_map(|request| key(request));
            let keys: BTreeSet<&StateKey> = asked.filter(|key| !found.contains_key(*key)).collect();
            if keys.is_empty() {
                return Ok(Found(found));
            }
            let parameters = [byteas(keys.iter().map(|key| Some(key.as_bytes()))), int8(BYTES_AT_ONCE)];
            let rows = link.execute(&statements.look_up, &parameters, true, deadline)?;
            if rows.len() == 0 {
                return Err(link.lost());
            }
            found.extend(keys.into_iter().cloned().zip((0..rows.len()).map(|row| value(&rows, row))));
        }
    }

    /// None for what asks for no value.
    pub fn outcome(&self, request: &Request) -> Option<Outcome> {
        let key = key(request)?;
        Some(rules::state::get(key, self.0.get(key).cloned().flatten()))
    }
}

fn key(request: &Request) -> Option<&StateKey> {
    if let Request::Get { key } = request { Some(key) } else { None }
}

/// None where nothing stands.
fn value(rows: &Rows, row: usize) -> Option<Value> {
    let bytes: Arc<[u8]> = rows.bytes(row, 1)?.into();
    Some(Value { stamp: Stamp { version: number(rows, row, 0) as u64, attempt: Attempt([0; 16]) }, bytes })
}

#[cfg(test)]
mod tests {
    use super::{super::answers, *};
    use crate::model::{error::Code, name::LockId, state::Fence};

    fn setting(value: Option<&[u8]>, version: Option<u64>, token: Option<u64>) -> Setting {
        let fence = |token| Fence { id: LockId::new(b"lock").unwrap(), token };
        Setting {
            key: StateKey::new(b"key").unwrap(),
            value: value.map(Into::into),
            guard: Guard { version, lock: token.map(fence) },
            attempt: Attempt([7; 16]),
            in_doubt: false,
        }
    }

    fn told(setting: &Setting, answer: &str) -> Option<Outcome> {
        let (kind, fields) = answer.split_once(';')?;
        outcome(setting, kind, fields, answers::tick(5_000_000))
    }

    fn code(outcome: Option<Outcome>) -> Code {
        match outcome {
            Some(Err(error) | Ok(Reply::Outdated { error, .. })) => error.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn absent_is_not_empty() {
        let empty = setting(Some(b""), Some(0), None);
        let parameters = of_one(&empty);
        assert_eq!((parameters[0].as_deref(), parameters[6].as_deref()), (None, Some(&[0; 8][..])));
        assert_eq!(parameters[7].as_deref(), Some(&b""[..]));
        let removal = setting(None, None, Some(9));
        let parameters = of_one(&removal);
        assert_eq!((parameters[6].as_deref(), parameters[7].as_deref()), (None, None));
        assert_eq!(parameters[2].as_deref(), Some(&[0, 0, 0, 0, 0, 0, 0, 9][..]));
        assert_eq!(4 + parameters.len(), SET_ONE.len());
        assert_eq!(4 + of_many(&[&removal, &empty]).len(), SET_MANY.len());
    }

    #[test]
    fn numbers_are_locked_once_and_in_their_order() {
        let one = setting(None, None, Some(9));
        let two = Setting { key: StateKey::new(b"other").unwrap(), ..one.clone() };
        let there = of_many(&[&one, &two, &one]);
        let back = of_many(&[&two, &one]);
        assert_eq!(there[..3], back[..3]);
        assert_eq!(there[0], int8s([batch::key(&LockId::new(b"lock").unwrap())].into_iter()));
    }

    #[test]
    fn what_was_done_is_told() {
        assert_eq!(told(&setting(Some(b"x"), None, None), "v;70"), Some(Ok(Reply::Set { version: 70 })));
        assert_eq!(told(&setting(None, None, None), "v;0"), Some(Ok(Reply::Set { version: 0 })));
    }

    #[test]
    fn what_was_refused_has_its_reason() {
        let guarded = setting(Some(b"x"), Some(3), Some(9));
        assert!(matches!(told(&guarded, "w;4"), Some(Ok(Reply::Outdated { version: 4, .. }))));
        assert!(matches!(told(&guarded, "w;0"), Some(Ok(Reply::Outdated { version: 0, .. }))));
        assert_eq!(code(told(&setting(None, None, Some(9)), "w;0")), Code::Missing);
        assert_eq!(code(told(&setting(None, Some(0), None), "w;0")), Code::Missing);
        assert_eq!(code(told(&guarded, "f;n,1")), Code::Stale);
        assert_eq!(code(told(&guarded, "f;s,616e6e,10,1,1,1,0,0,,")), Code::Stale);
    }

    /// The server and the rules do not agree: nobody may be told that it was written.
    #[test]
    fn a_refusal_without_a_reason_is_none() {
        assert_eq!(told(&setting(Some(b"x"), Some(3), Some(9)), "w;3"), None);
        assert_eq!(told(&setting(Some(b"x"), None, Some(10)), "f;s,616e6e,10,1,1,1,0,0,,"), None);
        assert_eq!(told(&setting(Some(b"x"), None, None), "x;3"), None);
    }
}
