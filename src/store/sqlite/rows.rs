//! From rows to records and back.

use super::statement::{Row, Value};
use crate::model::{
    lock::{End, Entry, Record, Tick},
    name::{LockId, Note, Owner},
    request::Attempt,
};

/// The column of [`super::schema::SCAN`] that a row's id stands in.
pub const ID: i32 = 11;

/// What stands in the columns of [`super::schema::SELECT`].
pub fn record_of(row: &Row) -> Result<Record, String> {
    let (owner, token, end) = (row.bytes(0), row.integer(1) as u64, End::of_number(row.integer(9)));
    if owner.is_empty() {
        return Ok(Record::Trace { token, end });
    }
    Ok(Record::Entry(Entry {
        owner: Owner::new(owner).map_err(|error| error.text)?,
        token,
        attempt: Attempt(row.bytes(2).try_into().map_err(|_| "the attempt id is not 16 bytes long")?),
        taken_us: row.integer(3),
        refreshed_us: row.integer(4),
        leased: Tick { boot: row.integer(6), us: row.integer(7) },
        ttl_ms: row.integer(8) as u64,
        before: end,
        client: String::from_utf8_lossy(row.bytes(5)).into(),
        note: Note::new(row.bytes(10)).map_err(|error| error.text)?,
    }))
}

/// The parameters of [`super::schema::INSERT`] and [`super::schema::UPDATE`].
pub fn values_of<'a>(id: &'a LockId, record: &'a Record) -> [Value<'a>; 12] {
    let id = Value::Blob(id.as_bytes());
    match record {
        Record::Entry(entry) => [
            id,
            Value::Blob(entry.owner.as_bytes()),
            Value::Integer(entry.token as i64),
            Value::Blob(&entry.attempt.0),
            Value::Integer(entry.taken_us),
            Value::Integer(entry.refreshed_us),
            Value::Text(&entry.client),
            Value::Integer(entry.leased.boot),
            Value::Integer(entry.leased.us),
            Value::Integer(entry.ttl_ms as i64),
            Value::Integer(entry.before as i64),
            Value::Blob(entry.note.as_bytes()),
        ],
        Record::Trace { token, end } => {
            let (nothing, zero) = (Value::Blob(b""), Value::Integer(0));
            let (token, end) = (Value::Integer(*token as i64), Value::Integer(*end as i64));
            [id, nothing, token, nothing, zero, zero, Value::Text(""), zero, zero, zero, end, nothing]
        }
    }
}
