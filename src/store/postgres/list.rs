//! Lists: a cursor in a snapshot of its own, on a connection of its own, so that no call waits for a callback.

use super::{
    answers::tick,
    errors::{Cure, Trouble, cure},
    link::Link,
    reads::{number, record, unreadable},
    rows::Rows,
    schema,
    server::{bytea, patient},
    site::Site,
};
use crate::{
    model::{
        error::{Code, Error},
        lock::{Record, Tick},
        name::StateKey,
        state::KeyInfo,
    },
    store::contract::{Fault, Found, PAGE_ITEMS, Pages, Scan, Snapshot},
};
use std::{
    ffi::CStr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// As many as PAGE_ITEMS.
const FETCH: &CStr = c"FETCH 64 FROM listed";
const _: () = assert!(PAGE_ITEMS == 64);

/// Before it is tried again to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// One connection is kept between lists.
type Spare = Arc<Mutex<Option<Link>>>;

pub struct Lists {
    site: Arc<Site>,
    schema: Box<str>,
    spare: Spare,
}

impl Lists {
    pub fn new(site: &Arc<Site>) -> Lists {
        Lists { site: site.clone(), schema: site.target.schema.clone(), spare: Spare::default() }
    }

    /// With the server's clock and its last token, from the snapshot that the cursor reads.
    pub fn locks(&self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        let (from, inclusive) = scan.begin();
        let until = match &scan.filter.id[..] {
            id if scan.filter.id_is_prefix || id.is_empty() => Until::EndOf(id),
            id => Until::With(id),
        };
        let columns =
            "lock_id, owner, token, attempt, taken_us, refreshed_us, leased_us, ttl_ms, ending::int8, client, note";
        let sql = format!(
            "{}; SELECT (date_part('epoch', clock_timestamp()) * 1000000)::int8, \
             ({schema}.timeline() << 43) + last_value FROM {schema}.token",
            self.declare(columns, "lock", &range("lock_id", from, inclusive, &until)),
            schema = self.schema,
        );
        let (cursor, rows) = self.open(&sql, deadline)?;
        let number = |column| rows.as_ref().and_then(|rows| rows.text(0, column).parse::<i64>().ok()).unwrap_or(0);
        let (now_us, last_token) = (number(0), number(1) as u64);
        let tick = tick(now_us);
        Ok(Snapshot { now_us, tick, last_token, pages: Box::new(Locks { cursor, scan: scan.clone(), tick }) })
    }

    /// The length of a value is known without a look at its bytes.
    pub fn keys(&self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        let range = range("key", prefix, true, &Until::EndOf(prefix));
        let sql = self.declare("key, version, octet_length(value)::int8", "state", &range);
        Ok(Box::new(Keys(self.open(&sql, deadline)?.0)))
    }

    /// A cursor over a table, in the order of its key.
    fn declare(&self, columns: &str, table: &str, range: &Range) -> String {
        let (schema, Range { column, condition }) = (&self.schema, range);
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL jit = off; \
             DECLARE listed NO SCROLL CURSOR FOR SELECT {columns} FROM {schema}.{table} WHERE {condition} ORDER BY {column}"
        )
    }

    /// Begins a snapshot by this SQL; gives also the rows of its last statement, if that has any.
    fn open(&self, sql: &str, deadline: Instant) -> Result<(Cursor, Option<Rows>), Fault> {
        let cursor = |link| Cursor { link: Some(link), spare: self.spare.clone() };
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The server may have closed it since.
        if let Some(mut link) = spare
            && let Ok(rows) = link.run(sql, deadline)
        {
            return Ok((cursor(link), rows));
        }
        let connect = || -> Result<Link, Error> {
            let mut link = self.site.connect(deadline)?;
            schema::look(&mut link, &self.schema, deadline)?;
            Ok(link)
        };
        let mut link = connect().map_err(|error| match error.code {
            Code::Unreachable => {
                thread::sleep(PAUSE);
                Fault::Busy(error)
            }
            _ => Fault::Failed(error.after_init()),
        })?;
        match link.run(sql, deadline) {
            Ok(rows) => Ok((cursor(link), rows)),
            Err(Trouble::Unsent(error) | Trouble::Lost(error)) => Err(Fault::Busy(error)),
            Err(Trouble::Refused { state, text }) => Err(match cure(state, &text) {
                Cure::Reconnect(error) | Cure::Busy(error) => Fault::Busy(error),
                _ => Fault::Failed(schema::refused(state, &text).after_init()),
            }),
        }
    }
}

/// Where a list ends.
enum Until<'a> {
    /// Behind all that begin so.
    EndOf(&'a [u8]),
    /// With this one.
    With(&'a [u8]),
}

struct Range {
    column: &'static str,
    condition: String,
}

fn range(column: &'static str, from: &[u8], inclusive: bool, until: &Until<'_>) -> Range {
    let compare = if inclusive { ">=" } else { ">" };
    let end = match until {
        Until::EndOf(prefix) => {
            end_of_prefix(prefix).map_or_else(String::new, |end| format!(" AND {column} < '{}'", bytea(&end)))
        }
        Until::With(last) => format!(" AND {column} = '{}'", bytea(last)),
    };
    Range { column, condition: format!("{column} {compare} '{}'{end}", bytea(from)) }
}

/// The first bytes behind all that begin so; None if nothing is.
fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// A snapshot that is read page by page.
struct Cursor {
    /// None when the end was reached.
    link: Option<Link>,
    spare: Spare,
}

impl Cursor {
    /// Each row of the next page as it is read, which None can't be.
    fn next<T>(
        &mut self,
        deadline: Instant,
        read: impl Fn(&Rows, usize) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(link) = &mut self.link else { return Ok(None) };
        let rows = link.run_binary(FETCH, patient(deadline)).map_err(|trouble| match trouble {
            Trouble::Unsent(error) | Trouble::Lost(error) => error,
            Trouble::Refused { state, text } => schema::refused(state, &text).after_init(),
        })?;
        let page: Option<Vec<T>> = (0..rows.len()).map(|row| read(&rows, row)).collect();
        let page = page.ok_or_else(|| unreadable(link.place()))?;
        if rows.len() < PAGE_ITEMS {
            drop(rows);
            self.give_back(deadline);
        }
        Ok(Some(page))
    }

    /// Ends the snapshot, and keeps the connection for the next list.
    fn give_back(&mut self, deadline: Instant) {
        let Some(mut link) = self.link.take() else { return };
        if link.run("ROLLBACK", deadline).is_ok() {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        }
    }
}

struct Locks {
    cursor: Cursor,
    scan: Scan,
    tick: Tick,
}

impl Pages<Found> for Locks {
    fn next(&mut self, deadline: Instant) -> Result<Option<Vec<Found>>, Error> {
        let page = self.cursor.next(deadline, |rows, row| record(rows, row, 0))?;
        let shown = |(id, record)| match record {
            Record::Entry(entry) if self.scan.shows(&id, &entry, self.tick, self.tick.us) => Some((id, entry)),
            _ => None,
        };
        Ok(page.map(|page| page.into_iter().filter_map(shown).collect()))
    }
}

struct Keys(Cursor);

impl Pages<KeyInfo> for Keys {
    fn next(&mut self, deadline: Instant) -> Result<Option<Vec<KeyInfo>>, Error> {
        self.0.next(deadline, |rows, row| {
            let key = StateKey::new(rows.bytes(row, 0)?).ok()?;
            Some(KeyInfo { key, version: number(rows, row, 1) as u64, len: number(rows, row, 2) as usize })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_somewhere() {
        assert_eq!(end_of_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end_of_prefix(b"\xff"), None);
    }
}
