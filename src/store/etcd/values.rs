//! Values under keys: what a transaction that writes one compares and does, and the reads.

use super::{
    Table,
    api::{Pair, Txn},
    codec::{self, Keys},
    failed,
    pieces::Piece,
};
use crate::{
    model::{
        error::Error,
        lock::{Attempt, Record},
        name::StateKey,
        request::{Outcome, Request},
        rules::{
            Moment,
            state::{self, Write},
        },
        state::{Setting, Stamp, Value},
    },
    store::contract::Fault,
};
use std::{sync::Arc, time::Instant};

/// The session tells what was done before: no value has to recognise its writer.
const NOBODYS: Attempt = Attempt([0; 16]);

/// A write that a transaction is for, and what is believed of the value that stands there.
pub struct Target {
    setting: Arc<Setting>,
    /// The revision at which it was put last; 0: it is not there.
    modified: i64,
}

impl Target {
    /// Until it is read, the guard is believed, and that there is something to delete.
    pub fn new(setting: &Arc<Setting>) -> Target {
        let modified = match (setting.guard.version, &setting.value) {
            (Some(expected), _) => i64::try_from(expected).unwrap_or(i64::MAX),
            (None, None) => 1,
            (None, Some(_)) => 0,
        };
        Target { setting: setting.clone(), modified }
    }

    pub fn decide(&self, lock: &Option<Record>, moment: &mut Moment) -> (Option<Write>, Outcome) {
        let stamp = Stamp { version: self.modified as u64, attempt: NOBODYS };
        state::set(&self.setting, (self.modified != 0).then_some(stamp), lock, moment)
    }

    /// Whether it makes a difference what stands there.
    fn is_compared(&self) -> bool {
        self.setting.guard.version.is_some() || self.setting.value.is_none()
    }

    /// Adds the write to a transaction, and its conditions; false if there was no room.
    pub fn put(&self, write: Write, keys: &Keys, txn: &mut Txn) -> bool {
        let (key, size) = (keys.state(&self.setting.key), keys.size(&self.setting.key));
        let is_asked = match self.setting.guard.version {
            Some(_) => txn.if_modified(&key, self.modified),
            None => !self.is_compared() || txn.if_there(&key),
        };
        is_asked
            && match (write, &self.setting.value) {
                (Write::Put { .. }, Some(value)) => {
                    txn.put(&key, &codec::encode_value(value), 0) && txn.put(&size, &codec::encode_size(value.len()), 0)
                }
                _ => txn.delete(&key) && txn.delete(&size),
            }
    }

    /// Reads which value stands there, if that matters; false if not.
    pub fn look(&self, keys: &Keys, txn: &mut Txn) -> bool {
        self.is_compared() && txn.get_bare(&keys.state(&self.setting.key))
    }

    /// The same where the conditions do not hold.
    pub fn else_look(&self, keys: &Keys, txn: &mut Txn) -> bool {
        self.is_compared() && txn.else_get_bare(&keys.state(&self.setting.key))
    }

    pub fn see(&mut self, found: Option<&Pair>) {
        self.modified = found.map_or(0, |pair| pair.modified);
    }
}

impl Table {
    /// Reads the values that these pieces want, at one moment.
    pub fn get(&self, pieces: &mut [Piece<'_>], part: &[usize], deadline: Instant) -> Result<(), Fault> {
        let wanted: Vec<(usize, StateKey)> = part.iter().filter_map(|at| Some((*at, pieces[*at].wanted()?))).collect();
        let mut txn = Txn::default();
        wanted.iter().for_each(|(_, key)| {
            txn.get(&self.keys.state(key));
        });
        let answer = self.client.read(&txn, deadline).map_err(failed)?;
        for ((at, key), pairs) in wanted.iter().zip(&answer.found) {
            let value = pairs.first().map(|pair| value_of(key, pair)).transpose();
            pieces[*at].outcome = Some(value.and_then(|value| state::get(key, value)));
        }
        Ok(())
    }
}

impl Piece<'_> {
    /// Whose value it is to read.
    fn wanted(&self) -> Option<StateKey> {
        match &*self.request {
            Request::Get { key } => Some(key.clone()),
            _ => None,
        }
    }
}

fn value_of(key: &StateKey, pair: &Pair) -> Result<Value, Error> {
    let bytes = codec::decode_value(key, &pair.value)?.into();
    Ok(Value { stamp: Stamp { version: pair.modified as u64, attempt: NOBODYS }, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        error::Code,
        lock::Tick,
        request::Reply,
        state::{Guard, VALUE_MAX},
    };

    fn target(value: Option<&[u8]>, version: Option<u64>) -> Target {
        let (key, guard) = (StateKey::new(b"tape").unwrap(), Guard { version, lock: None });
        let value = value.map(Into::into);
        Target::new(&Arc::new(Setting { key, value, guard, attempt: Attempt([1; 16]), in_doubt: false }))
    }

    fn found(modified: i64) -> Pair {
        Pair { key: Vec::new(), value: Vec::new(), created: 1, modified }
    }

    /// What is done, or the code of the refusal and the version that was found.
    fn decided(target: &Target) -> Result<Write, (Code, u64)> {
        let mut moment = Moment { now_us: 1, tick: Tick { boot: 0, us: 1 }, last_token: None };
        match target.decide(&None, &mut moment) {
            (Some(write), Ok(Reply::Set { version: 0 })) => Ok(write),
            (None, Ok(Reply::Outdated { version, error })) => Err((error.code, version)),
            (None, Err(error)) => Err((error.code, 0)),
            other => panic!("{other:?}"),
        }
    }

    /// One round trip where the guard holds, and one where it does not.
    #[test]
    fn the_guard_is_believed_until_the_key_is_read() {
        for (version, is) in [(5, 7), (0, 7), (5, 0)] {
            let mut target = target(Some(b"x"), Some(version));
            assert_eq!(decided(&target), Ok(Write::Put { version: 0 }), "{version}");
            target.see((is != 0).then(|| found(is)).as_ref());
            assert_eq!(decided(&target), Err((Code::Outdated, is as u64)), "{version}");
        }
        // No revision is so great.
        assert!(decided(&target(Some(b"x"), Some(u64::MAX))).is_err());
        let mut delete = target(None, None);
        assert_eq!(decided(&delete), Ok(Write::Remove));
        delete.see(None);
        assert_eq!(decided(&delete), Err((Code::Missing, 0)));
    }

    #[test]
    fn a_value_is_looked_at_only_where_that_matters() {
        let keys = Keys::new("p");
        let looks = |value: Option<&[u8]>, version| target(value, version).look(&keys, &mut Txn::default());
        assert_eq!((looks(Some(b"x"), None), looks(Some(b"x"), Some(0)), looks(None, None)), (false, true, true));
    }

    /// etcd takes 1.5 MiB unless told otherwise, of which its JSON, a third longer, is not counted.
    #[test]
    fn the_longest_value_under_the_longest_key_is_short_enough() {
        let (value, mut txn) = (vec![0xff; VALUE_MAX], Txn::default());
        let mut target = target(Some(&value), Some(1));
        Arc::make_mut(&mut target.setting).key = StateKey::new(&[0xff; crate::model::name::KEY_MAX]).unwrap();
        let keys = Keys::new("p");
        assert!(target.put(Write::Put { version: 0 }, &keys, &mut txn) && target.else_look(&keys, &mut txn));
        let json = txn.body().len();
        assert!(json / 4 * 3 < VALUE_MAX + (64 << 10), "{json}");
    }
}
