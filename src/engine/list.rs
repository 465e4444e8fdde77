//! Lists of locks, and cleaning up after owners who are gone.

use super::{
    gate::Inside,
    handle::{Handle, Session},
    pause::Pause,
    registry,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lock::{Entry, Filter, Tick},
        name::LockId,
    },
    store::{Fault, Scan, Snapshot},
};
use std::time::Instant;

/// A lock in a list, as the snapshot has it.
pub struct Listed<'a> {
    pub id: &'a LockId,
    pub entry: &'a Entry,
    /// None for one that never expires.
    pub left_us: Option<i64>,
}

impl Handle {
    /// Shows each lock to `show`, outside the gate, until that answers something else than 0; gives its last answer.
    pub fn list(
        &self,
        filter: Filter,
        mut show: impl FnMut(&Listed<'_>) -> i32,
        inside: &mut Inside,
    ) -> Result<i32, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let (mut snapshot, mut next) = self.begin(&session, &Scan { filter, ..Scan::default() }, inside)?;
        while let Some(page) = next {
            let tick = snapshot.tick;
            let answer =
                inside.outside(|| page.iter().map(|(id, entry)| show(&listed(id, entry, tick))).find(|rc| *rc != 0))?;
            if let Some(rc) = answer {
                return Ok(rc);
            }
            next = self.turn(&session, &mut snapshot, inside)?;
        }
        Ok(0)
    }

    /// Removes each lock that the filter lets through and that nobody has taken anew meanwhile; shows it to `show` when it
    /// is gone. Without `show`, many are removed at once.
    pub fn clean(
        &self,
        filter: Filter,
        mut show: Option<impl FnMut(&Listed<'_>) -> i32>,
        inside: &mut Inside,
    ) -> Result<i32, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let mut scan = Scan { filter, ..Scan::default() };
        // Each page from a snapshot of its own: one for all would keep the log from being reset while it grows.
        while let Some((tick, page)) = self.next_page(&session, &mut scan, inside)? {
            let size = if show.is_some() { 1 } else { page.len().max(1) };
            for part in page.chunks(size) {
                let removed = self.remove(&session, part, scan.filter.min_age_ms > 0, inside)?;
                let (Some(show), [(id, entry)], true) = (&mut show, part, removed) else { continue };
                let rc = inside.outside(|| show(&listed(id, entry, tick)))?;
                if rc != 0 {
                    return Ok(rc);
                }
            }
        }
        Ok(0)
    }

    fn next_page(&self, session: &Session, scan: &mut Scan, inside: &mut Inside) -> Result<Option<Page>, Error> {
        let (mut snapshot, mut next) = self.begin(session, scan, inside)?;
        scan.granted_before.get_or_insert(snapshot.last_token);
        while let Some(page) = next {
            if let Some((last, _)) = page.last() {
                scan.after = Some(last.clone());
                return Ok(Some((snapshot.tick, page)));
            }
            // Nothing was found among many; a fork may pass.
            inside.outside(|| ())?;
            next = self.turn(session, &mut snapshot, inside)?;
        }
        Ok(None)
    }

    /// Whether the first of them, which is the only one where that matters, was removed by this. By age, one that was refreshed
    /// meanwhile does not match any more.
    fn remove(
        &self,
        session: &Session,
        part: &[(LockId, Entry)],
        by_age: bool,
        inside: &mut Inside,
    ) -> Result<bool, Error> {
        let ids = part.iter().map(|(id, _)| id.clone()).collect();
        let tokens = part.iter().map(|(_, entry)| entry.token).collect();
        let seen_us = part.iter().filter(|_| by_age).map(|(_, entry)| entry.refreshed_us).collect();
        let results = self.release(session, ids, None, tokens, seen_us, inside)?;
        let denials = results.iter().filter_map(|result| result.as_ref().err());
        match denials.map(|denial| &denial.error).find(|error| error.code == Code::Unknown) {
            Some(error) => Err(error.clone()),
            None => Ok(results.first().is_some_and(Result::is_ok)),
        }
    }

    /// A snapshot and its first page. As long as nothing of it was shown, a connection that is lost costs nothing but time.
    fn begin(&self, session: &Session, scan: &Scan, inside: &mut Inside) -> Result<(Snapshot, Option<Found>), Error> {
        let deadline = clock::instant() + self.timeout;
        loop {
            let mut snapshot = self.snapshot(session, scan, deadline, inside)?;
            match self.turn(session, &mut snapshot, inside) {
                Ok(page) => return Ok((snapshot, page)),
                Err(error) if error.code == Code::Unreachable && clock::instant() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next page.
    fn turn(&self, session: &Session, snapshot: &mut Snapshot, inside: &mut Inside) -> Result<Option<Found>, Error> {
        let deadline = clock::instant() + self.timeout;
        session.store.with_pages(snapshot, deadline, inside)
    }

    fn snapshot(
        &self,
        session: &Session,
        scan: &Scan,
        deadline: Instant,
        inside: &mut Inside,
    ) -> Result<Snapshot, Error> {
        let mut pause = Pause::new();
        loop {
            match session.store.list(scan, deadline, inside) {
                Ok(snapshot) => return Ok(snapshot),
                Err(Fault::Failed(error) | Fault::Unknown(error)) => return Err(error),
                Err(Fault::Busy(error)) if clock::instant() >= deadline => return Err(error),
                Err(Fault::Busy(_)) => inside.outside(|| pause.sleep(deadline))?,
            }
        }
    }
}

type Found = Vec<(LockId, Entry)>;
type Page = (Tick, Found);

fn listed<'a>(id: &'a LockId, entry: &'a Entry, tick: Tick) -> Listed<'a> {
    Listed { id, entry, left_us: entry.left_us(tick) }
}

impl super::Engine {
    fn list(&self, scan: &Scan, deadline: Instant, inside: &mut Inside) -> Result<Snapshot, Fault> {
        if self.is_broken() {
            return Err(Fault::Failed(registry::broken()));
        }
        self.with_store(inside, |store| store.list(scan, deadline))
    }

    fn with_pages(
        &self,
        snapshot: &mut Snapshot,
        deadline: Instant,
        inside: &mut Inside,
    ) -> Result<Option<Found>, Error> {
        match self.remote {
            Some(_) => inside.aside(|| snapshot.pages.next(deadline)),
            None => snapshot.pages.next(deadline),
        }
    }
}
