//! What the keys are called and what their values hold.
//!
//! | key, below the prefix | value | lives |
//! |---|---|---|
//! | `store` | [`FORMAT`] | for ever |
//! | `lock/ID` | the record of a lock, below | until the unlock; a trace until the next grant |
//! | `alive/LEASE` | nothing | as long as the etcd lease of that number: entries that name it are live so long |
//! | `session/NAME` | the day, and the number of the session's last transaction, both as text | until the store is closed |
//! | `wait/ID NUL NAME` | `1` if younger waiters have to leave the lock alone, else `0` | a few seconds after the waiter's last sign |
//! | `state/KEY` | a version byte (1), then the value | until it is deleted |
//! | `size/KEY` | the value's length, as text: a list of keys reads no values | as `state/KEY`, in the same transactions |
//!
//! A record is binary: a version byte (1), a kind byte, then numbers of 8 bytes, the lowest first, and texts behind their
//! length of 2 bytes. A trace (kind 1): token, end. An entry (kind 0): token, taken_us, refreshed_us, ttl_ms, lease, 1 byte
//! `before`, 1 byte `share`, 16 bytes attempt, owner, client, note. A token of 0 stands for the revision of the key itself: it
//! is not known before the grant is made.

use crate::model::{
    error::{Code, Error},
    lock::{Attempt, End, Entry, Record, Tick},
    name::{LockId, Note, Owner, StateKey},
};
use std::fmt::Display;

/// What the key `store` holds. The number behind the name is the format's.
pub const FORMAT: &[u8] = b"dss 1";
const VERSION: u8 = 1;
const ENTRY: u8 = 0;
const TRACE: u8 = 1;

/// A record with what only this store knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub record: Record,
    /// The etcd lease that the entry lives with; 0 without one.
    pub lease: i64,
    /// How many entries were put under that lease.
    pub share: u8,
}

impl Stored {
    pub fn entry(&self) -> Option<&Entry> {
        match &self.record {
            Record::Entry(entry) => Some(entry),
            Record::Trace { .. } => None,
        }
    }

    /// Whether its token is not known yet.
    pub fn is_minted(&self) -> bool {
        matches!(&self.record, Record::Entry(Entry { token: 0, .. }) | Record::Trace { token: 0, .. })
    }

    /// The token of what was granted at that revision.
    pub fn fill(&mut self, revision: i64) {
        match &mut self.record {
            Record::Entry(Entry { token, .. }) | Record::Trace { token, .. } if *token == 0 => *token = revision as u64,
            _ => {}
        }
    }
}

/// The names of the store's keys.
#[derive(Clone, Debug)]
pub struct Keys(Vec<u8>);

impl Keys {
    pub fn new(prefix: &str) -> Keys {
        Keys(format!("{prefix}/").into_bytes())
    }

    fn below(&self, kind: &str, name: &[u8]) -> Vec<u8> {
        [&self.0, kind.as_bytes(), name].concat()
    }

    pub fn store(&self) -> Vec<u8> {
        self.below("store", b"")
    }

    pub fn lock(&self, id: &[u8]) -> Vec<u8> {
        self.below("lock/", id)
    }

    /// The lock id of such a key.
    pub fn id_of<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(&self.0[..])?.strip_prefix(b"lock/")
    }

    pub fn alive(&self, lease: i64) -> Vec<u8> {
        self.below("alive/", format!("{lease:016x}").as_bytes())
    }

    pub fn session(&self, name: &[u8]) -> Vec<u8> {
        self.below("session/", name)
    }

    pub fn state(&self, key: &StateKey) -> Vec<u8> {
        self.below("state/", key.as_bytes())
    }

    pub fn size(&self, key: &StateKey) -> Vec<u8> {
        self.sizes(key.as_bytes())
    }

    /// What those of all keys that begin so begin with.
    pub fn sizes(&self, prefix: &[u8]) -> Vec<u8> {
        self.below("size/", prefix)
    }

    /// Whose size is kept there.
    pub fn sized_of(&self, key: &[u8]) -> Option<StateKey> {
        StateKey::new(key.strip_prefix(&self.0[..])?.strip_prefix(b"size/")?).ok()
    }

    /// What all keys begin with, but the one of the store.
    pub fn kinds(&self) -> [Vec<u8>; 6] {
        ["lock/", "alive/", "session/", "wait/", "state/", "size/"].map(|kind| self.below(kind, b""))
    }

    /// Those who wait for the lock.
    pub fn waiters(&self, id: &LockId) -> Vec<u8> {
        [&self.below("wait/", id.as_bytes())[..], &[0]].concat()
    }

    pub fn waiter(&self, id: &LockId, name: [u8; 16]) -> Vec<u8> {
        let name = format!("{:032x}", u128::from_be_bytes(name));
        [&self.waiters(id)[..], name.as_bytes()].concat()
    }
}

/// The end of the range of all keys that begin so.
pub fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

pub fn encode(stored: &Stored) -> Vec<u8> {
    let mut out = vec![VERSION];
    match &stored.record {
        Record::Trace { token, end } => {
            out.push(TRACE);
            out.extend_from_slice(&token.to_le_bytes());
            out.push(*end as u8);
        }
        Record::Entry(entry) => {
            out.push(ENTRY);
            let numbers = [entry.token as i64, entry.taken_us, entry.refreshed_us, entry.ttl_ms as i64, stored.lease];
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
            out.extend_from_slice(&[entry.before as u8, stored.share]);
            out.extend_from_slice(&entry.attempt.0);
            for text in [entry.owner.as_bytes(), entry.client.as_bytes(), entry.note.as_bytes()] {
                let text = &text[..text.len().min(u16::MAX.into())];
                out.extend_from_slice(&(text.len() as u16).to_le_bytes());
                out.extend_from_slice(text);
            }
        }
    }
    out
}

/// The record of this lock, from the value of its key as it was put at that revision.
pub fn decode(id: &LockId, value: &[u8], revision: i64) -> Result<Stored, Error> {
    let what = format_args!("lock {id}");
    let mut stored = read(content(&what, value)?).ok_or_else(|| damaged(&what))?;
    stored.fill(revision);
    Ok(stored)
}

pub fn encode_value(value: &[u8]) -> Vec<u8> {
    [&[VERSION], value].concat()
}

pub fn decode_value<'a>(key: &StateKey, value: &'a [u8]) -> Result<&'a [u8], Error> {
    content(&format_args!("key {key}"), value)
}

pub fn encode_size(len: usize) -> Vec<u8> {
    len.to_string().into_bytes()
}

pub fn decode_size(key: &StateKey, value: &[u8]) -> Result<usize, Error> {
    let len = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    len.ok_or_else(|| damaged(&format_args!("the size of key {key}")))
}

/// What stands behind the version.
fn content<'a>(what: &dyn Display, value: &'a [u8]) -> Result<&'a [u8], Error> {
    match value.split_first() {
        Some((&VERSION, content)) => Ok(content),
        // A letter is no version: it begins a text of somebody else.
        Some((newer, _)) if *newer > VERSION && *newer < b' ' => {
            let text = format!("{what} was written by a newer version of libdss: use that one");
            Err(Error::new(Code::Unsupported, text))
        }
        _ => Err(damaged(what)),
    }
}

fn damaged(what: &dyn Display) -> Error {
    let text = format!("etcd's key for {what} holds nothing of libdss: delete it with etcdctl, or use another prefix");
    Error::new(Code::NotAStore, text)
}

fn read(bytes: &[u8]) -> Option<Stored> {
    let (kind, mut rest) = bytes.split_first()?;
    let rest = &mut rest;
    match *kind {
        TRACE => {
            let token = number(rest)? as u64;
            let end = End::of_number(byte(rest)?.into());
            rest.is_empty().then_some(Stored { record: Record::Trace { token, end }, lease: 0, share: 0 })
        }
        ENTRY => {
            let [token, taken_us, refreshed_us, ttl_ms, lease] =
                [number(rest)?, number(rest)?, number(rest)?, number(rest)?, number(rest)?];
            let (before, share) = (End::of_number(byte(rest)?.into()), byte(rest)?);
            let attempt = Attempt(take(rest, 16)?.try_into().ok()?);
            let owner = Owner::new(text(rest)?).ok()?;
            let client = std::str::from_utf8(text(rest)?).ok()?.into();
            let note = Note::new(text(rest)?).ok()?;
            let leased = Tick { boot: 0, us: refreshed_us };
            let (token, ttl_ms) = (token as u64, ttl_ms as u64);
            let entry = Entry { owner, token, attempt, taken_us, refreshed_us, leased, ttl_ms, before, client, note };
            let has_lease = (entry.ttl_ms == 0) == (lease == 0);
            (rest.is_empty() && has_lease).then_some(Stored { record: Record::Entry(entry), lease, share })
        }
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    take(rest, 1).map(|bytes| bytes[0])
}

fn number(rest: &mut &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    take(rest, length.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Stored {
        let entry = Entry {
            owner: Owner::new(b"a\xff").unwrap(),
            token: 0,
            attempt: Attempt([7; 16]),
            taken_us: -5,
            refreshed_us: 6,
            leased: Tick { boot: 0, us: 6 },
            ttl_ms: 2000,
            before: End::Forced,
            client: "host:1:x".into(),
            note: Note::new(&[b'n'; 1024]).unwrap(),
        };
        Stored { record: Record::Entry(entry), lease: 99, share: 3 }
    }

    fn id() -> LockId {
        LockId::new(b"drive").unwrap()
    }

    #[test]
    fn records_go_there_and_back() {
        let mut entry = entry();
        let read = decode(&id(), &encode(&entry), 42).unwrap();
        entry.fill(42);
        assert_eq!(read, entry);
        assert_eq!(decode(&id(), &encode(&read), 50).unwrap(), read, "a token that is known stays");
        let trace = Stored { record: Record::Trace { token: 5, end: End::Expired }, lease: 0, share: 0 };
        assert_eq!(decode(&id(), &encode(&trace), 50).unwrap(), trace);
    }

    /// Somebody wrote under the store's prefix, or a value was cut short.
    #[test]
    fn nonsense_is_no_record() {
        let good = encode(&entry());
        for length in 0..good.len() {
            assert_eq!(decode(&id(), &good[..length], 1).unwrap_err().code, Code::NotAStore, "{length}");
        }
        assert_eq!(decode(&id(), &[&good[..], b"x"].concat(), 1).unwrap_err().code, Code::NotAStore);
        assert_eq!(decode(&id(), &[2, 0], 1).unwrap_err().code, Code::Unsupported);
    }

    #[test]
    fn values_go_there_and_back() {
        let key = StateKey::new(b"tape").unwrap();
        let all: Vec<u8> = (0..=255).collect();
        for value in [&b""[..], &all] {
            assert_eq!(decode_value(&key, &encode_value(value)).unwrap(), value);
        }
        let code = |value: &[u8]| decode_value(&key, value).unwrap_err().code;
        assert_eq!((code(b""), code(b"text"), code(&[2])), (Code::NotAStore, Code::NotAStore, Code::Unsupported));
        assert_eq!(decode_size(&key, &encode_size(1 << 20)).unwrap(), 1 << 20);
        for nonsense in [&b""[..], b"-1", b"x", b"\xff"] {
            assert_eq!(decode_size(&key, nonsense).unwrap_err().code, Code::NotAStore);
        }
    }

    #[test]
    fn keys_are_told_apart() {
        let keys = Keys::new("a/b");
        let key = StateKey::new(b"x/y").unwrap();
        assert_eq!((keys.sized_of(&keys.size(&key)), keys.sized_of(&keys.state(&key))), (Some(key), None));
        assert_eq!(keys.id_of(&keys.lock(b"x/y")), Some(&b"x/y"[..]));
        assert_eq!(keys.id_of(&keys.alive(5)), None);
        assert_eq!(end_of(&keys.lock(b"")), b"a/b/lock0");
        assert_eq!(end_of(b"ab\xff\xff"), b"ac");
        assert_eq!(end_of(&keys.waiters(&id())), b"a/b/wait/drive\x01");
    }
}
