//! Lists: a cursor in a snapshot of its own, on a connection of its own, so that no call waits for a callback.

use super::{
    answers::tick,
    errors::{Cure, Trouble, cure},
    link::Link,
    reads::{record, unreadable},
    schema,
    server::bytea,
    site::Site,
};
use crate::{
    model::{
        error::{Code, Error},
        lock::{Record, Tick},
    },
    store::{Fault, Found, PAGE_ITEMS, Pages, Scan, Snapshot},
};
use std::{
    ffi::CStr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// As many as PAGE_ITEMS.
const FETCH: &CStr = c"FETCH 64 FROM locks";
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

    pub fn open(&self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The server may have closed it since.
        if let Some(mut link) = spare
            && let Ok(found) = self.begin(&mut link, scan, deadline)
        {
            return Ok(self.snapshot(link, scan, found));
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
        match self.begin(&mut link, scan, deadline) {
            Ok(found) => Ok(self.snapshot(link, scan, found)),
            Err(Trouble::Unsent(error) | Trouble::Lost(error)) => Err(Fault::Busy(error)),
            Err(Trouble::Refused { state, text }) => Err(match cure(state, &text) {
                Cure::Reconnect(error) | Cure::Busy(error) => Fault::Busy(error),
                _ => Fault::Failed(schema::refused(state, &text).after_init()),
            }),
        }
    }

    /// The server's clock and its last token, from the snapshot that the cursor reads.
    fn begin(&self, link: &mut Link, scan: &Scan, deadline: Instant) -> Result<(i64, u64), Trouble> {
        let (from, inclusive) = scan.begin();
        let from = bytea(from);
        let until = match &scan.filter.id[..] {
            [] => String::new(),
            id if scan.filter.id_is_prefix => {
                end_of_prefix(id).map_or_else(String::new, |end| format!("AND lock_id < '{}'", bytea(&end)))
            }
            id => format!("AND lock_id = '{}'", bytea(id)),
        };
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL jit = off; \
             DECLARE locks NO SCROLL CURSOR FOR SELECT lock_id, owner, token, attempt, taken_us, refreshed_us, leased_us, \
             ttl_ms, ending::int8, client, note FROM {schema}.lock WHERE lock_id {compare} '{from}' {until} ORDER BY lock_id; \
             SELECT (date_part('epoch', clock_timestamp()) * 1000000)::int8, \
             ({schema}.timeline() << 43) + last_value FROM {schema}.token",
            schema = self.schema,
            compare = if inclusive { ">=" } else { ">" },
        );
        let rows = link.run(&sql, deadline)?;
        let number = |column| rows.as_ref().and_then(|rows| rows.text(0, column).parse::<i64>().ok()).unwrap_or(0);
        Ok((number(0), number(1) as u64))
    }

    fn snapshot(&self, link: Link, scan: &Scan, (now_us, last_token): (i64, u64)) -> Snapshot {
        let tick = tick(now_us);
        let pages = Listing { link: Some(link), spare: self.spare.clone(), scan: scan.clone(), tick };
        Snapshot { now_us, tick, last_token, pages: Box::new(pages) }
    }
}

/// The first bytes behind all that begin so; None if nothing is.
fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

struct Listing {
    /// None when the end was reached.
    link: Option<Link>,
    spare: Spare,
    scan: Scan,
    tick: Tick,
}

impl Pages<Found> for Listing {
    fn next(&mut self, deadline: Instant) -> Result<Option<Vec<Found>>, Error> {
        let Some(link) = &mut self.link else { return Ok(None) };
        let place = link.place().to_owned();
        let rows = link.run_binary(FETCH, super::patient(deadline)).map_err(|trouble| match trouble {
            Trouble::Unsent(error) | Trouble::Lost(error) => error,
            Trouble::Refused { state, text } => schema::refused(state, &text).after_init(),
        })?;
        let mut page = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let (id, record) = record(&rows, row, 0).ok_or_else(|| unreadable(&place))?;
            if let Record::Entry(entry) = record
                && self.scan.shows(&id, &entry, self.tick, self.tick.us)
            {
                page.push((id, entry));
            }
        }
        if rows.len() < PAGE_ITEMS {
            drop(rows);
            self.give_back(deadline);
        }
        Ok(Some(page))
    }
}

impl Listing {
    /// Ends the snapshot, and keeps the connection for the next list.
    fn give_back(&mut self, deadline: Instant) {
        let Some(mut link) = self.link.take() else { return };
        if link.run("ROLLBACK", deadline).is_ok() {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        }
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
