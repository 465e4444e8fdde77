//! From rows to records and back.

use super::statement::{Row, Value};
use crate::{
    clock::LeaseClock,
    model::{
        lock::{Attempt, End, Entry, Record, Tick},
        name::{LockId, Note, Owner},
        state::{Stamp, Value as Kept},
    },
};

/// The column of [`super::schema::SCAN`] that a row's id stands in.
pub const ID: i32 = 8;

/// What a lease is in a row: its ttl in milliseconds, the reading of the clock of leases at its beginning in microseconds, the
/// boot that it was read in (0: unknown), and how the grant before ended; 8 bytes each, the highest
/// first. Empty: all of them 0.
pub struct Lease([u8; 32]);

impl Lease {
    pub fn of(record: &Record) -> Lease {
        let words = match record {
            Record::Entry(entry) => [entry.ttl_ms as i64, entry.leased.us, entry.leased.boot, entry.before as i64],
            Record::Trace { end, .. } => [0, 0, 0, *end as i64],
        };
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(place, word)| place.copy_from_slice(&word.to_be_bytes()));
        Lease(bytes)
    }

    fn read(bytes: &[u8]) -> Result<[i64; 4], String> {
        if !matches!(bytes.len(), 0 | 32) {
            return Err("the lease is not 32 bytes long".into());
        }
        let mut words =
            bytes.chunks_exact(8).map(|word| word.iter().fold(0, |word, byte| word << 8 | i64::from(*byte)));
        Ok(std::array::from_fn(|_| words.next().unwrap_or(0)))
    }
}

/// What stands in the columns of [`super::schema::SELECT`]. The lease comes with the boot of
/// `clock`, or another one.
pub fn record_of(row: &Row, clock: &LeaseClock) -> Result<Record, String> {
    let (owner, token) = (row.bytes(0), row.integer(1) as u64);
    let [ttl_ms, us, boot, end] = Lease::read(row.bytes(6))?;
    let end = End::of_number(end);
    if owner.is_empty() {
        return Ok(Record::Trace { token, end });
    }
    Ok(Record::Entry(Entry {
        owner: Owner::new(owner).map_err(|error| error.text)?,
        token,
        attempt: attempt_of(row.bytes(2))?,
        taken_us: row.integer(3),
        refreshed_us: row.integer(4),
        leased: clock.resolve(Tick { boot, us }),
        ttl_ms: ttl_ms as u64,
        before: end,
        client: match str::from_utf8(row.bytes(5)) {
            Ok(client) => client.into(),
            Err(_) => String::from_utf8_lossy(row.bytes(5)).into(),
        },
        note: Note::new(row.bytes(7)).map_err(|error| error.text)?,
    }))
}

fn attempt_of(bytes: &[u8]) -> Result<Attempt, String> {
    bytes.try_into().map(Attempt).map_err(|_| "the attempt id is not 16 bytes long".into())
}

/// What stands in the columns of [`super::schema::SELECT_STAMP`].
pub fn stamp_of(row: &Row) -> Result<Stamp, String> {
    Ok(Stamp { version: row.integer(0) as u64, attempt: attempt_of(row.bytes(1))? })
}

/// What stands in the columns of [`super::schema::SELECT_VALUE`].
pub fn value_of(row: &Row) -> Result<Kept, String> {
    Ok(Kept { stamp: stamp_of(row)?, bytes: row.bytes(2).into() })
}

/// The parameters of [`super::schema::INSERT`] and [`super::schema::UPDATE`].
pub fn values_of<'a>(id: &'a LockId, record: &'a Record, lease: &'a Lease) -> [Value<'a>; 9] {
    let (id, lease) = (Value::Blob(id.as_bytes()), Value::Blob(&lease.0));
    match record {
        Record::Entry(entry) => [
            id,
            Value::Blob(entry.owner.as_bytes()),
            Value::Integer(entry.token as i64),
            Value::Blob(&entry.attempt.0),
            Value::Integer(entry.taken_us),
            Value::Integer(entry.refreshed_us),
            Value::Text(&entry.client),
            lease,
            Value::Blob(entry.note.as_bytes()),
        ],
        Record::Trace { token, .. } => {
            let (nothing, zero) = (Value::Blob(b""), Value::Integer(0));
            [id, nothing, Value::Integer(*token as i64), nothing, zero, zero, Value::Text(""), lease, nothing]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_as_it_was_written() {
        let record = |us, boot| {
            Record::Entry(Entry {
                owner: Owner::new(b"a").unwrap(),
                token: 1,
                attempt: Attempt([1; 16]),
                taken_us: 0,
                refreshed_us: 0,
                leased: Tick { boot, us },
                ttl_ms: u64::MAX,
                before: End::Resumed,
                client: "".into(),
                note: Note::default(),
            })
        };
        for (us, boot) in [(0, -1), (i64::MAX, i64::MIN), (-5, 7)] {
            assert_eq!(Lease::read(&Lease::of(&record(us, boot)).0).unwrap(), [-1, us, boot, 4]);
        }
        assert_eq!(Lease::read(b"").unwrap(), [0; 4]);
        assert!(Lease::read(&[0; 31]).is_err());
    }
}
