//! Lists of locks and of keys, and cleaning up after owners who are gone.

use super::{
    commit::{engine::broken, pause::Pause},
    gate::Inside,
    handle::{Handle, Session},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lock::{Entry, Filter, Tick},
        name::LockId,
        state::KeyInfo,
    },
    store::contract::{Fault, Found, Pages, Scan, Snapshot, Store},
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
        let (snapshot, first) = self.begin(&session, &Scan { filter, ..Scan::default() }, inside)?;
        let tick = snapshot.tick;
        self.show_all(&session, snapshot.pages, first, |(id, entry)| show(&listed(id, entry, tick)), inside)
    }

    /// Shows each key that begins so, as [`Self::list`] does with locks.
    pub fn keys(&self, prefix: &[u8], show: impl FnMut(&KeyInfo) -> i32, inside: &mut Inside) -> Result<i32, Error> {
        let session = self.session(clock::instant() + self.timeout, inside)?;
        let begin = |store: &mut dyn Store, deadline| store.keys(prefix, deadline);
        let (pages, first) = self.first_page(&session, begin, |pages| pages, inside)?;
        self.show_all(&session, pages, first, show, inside)
    }

    /// Shows the first page and all that follow, until `show` answers something else than 0.
    fn show_all<T>(
        &self,
        session: &Session,
        mut pages: Box<dyn Pages<T>>,
        first: Option<Vec<T>>,
        mut show: impl FnMut(&T) -> i32,
        inside: &mut Inside,
    ) -> Result<i32, Error> {
        let mut next = first;
        while let Some(page) = next {
            if let Some(rc) = inside.outside(|| page.iter().map(&mut show).find(|rc| *rc != 0))? {
                return Ok(rc);
            }
            next = self.turn(session, &mut *pages, inside)?;
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
            next = self.turn(session, &mut *snapshot.pages, inside)?;
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

    /// A snapshot of locks and its first page.
    fn begin(&self, session: &Session, scan: &Scan, inside: &mut Inside) -> Result<(Snapshot, Option<Locks>), Error> {
        let begin = |store: &mut dyn Store, deadline| store.list(scan, deadline);
        self.first_page(session, begin, |snapshot: &mut Snapshot| &mut snapshot.pages, inside)
    }

    /// A list and its first page. As long as nothing of it was shown, a connection that is lost costs nothing but time.
    fn first_page<L, T>(
        &self,
        session: &Session,
        begin: impl Fn(&mut dyn Store, Instant) -> Result<L, Fault>,
        pages: impl Fn(&mut L) -> &mut Box<dyn Pages<T>>,
        inside: &mut Inside,
    ) -> Result<(L, Option<Vec<T>>), Error> {
        let deadline = clock::instant() + self.timeout;
        loop {
            let mut list = begun(session, &begin, deadline, inside)?;
            match self.turn(session, &mut **pages(&mut list), inside) {
                Ok(page) => return Ok((list, page)),
                Err(error) if error.code == Code::Unreachable && clock::instant() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next page.
    fn turn<T>(
        &self,
        session: &Session,
        pages: &mut dyn Pages<T>,
        inside: &mut Inside,
    ) -> Result<Option<Vec<T>>, Error> {
        let deadline = clock::instant() + self.timeout;
        match session.store.remote {
            Some(_) => inside.aside(|| pages.next(deadline)),
            None => pages.next(deadline),
        }
    }
}

/// A list that is begun, as soon as nobody is in the way.
fn begun<L>(
    session: &Session,
    begin: impl Fn(&mut dyn Store, Instant) -> Result<L, Fault>,
    deadline: Instant,
    inside: &mut Inside,
) -> Result<L, Error> {
    let mut pause = Pause::new();
    loop {
        if session.store.is_broken() {
            return Err(broken());
        }
        match session.store.with_store(inside, |store| begin(store, deadline)) {
            Ok(list) => return Ok(list),
            Err(Fault::Failed(error) | Fault::Unknown(error)) => return Err(error),
            Err(Fault::Busy(error)) if clock::instant() >= deadline => return Err(error),
            Err(Fault::Busy(_)) => inside.outside(|| pause.sleep(deadline))?,
        }
    }
}

type Locks = Vec<Found>;
type Page = (Tick, Locks);

fn listed<'a>(id: &'a LockId, entry: &'a Entry, tick: Tick) -> Listed<'a> {
    Listed { id, entry, left_us: entry.left_us(tick) }
}
