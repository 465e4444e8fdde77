//! Lists: what the keys held at one revision.

use super::{
    api::{Pair, Range, Txn},
    codec::{self, Keys},
    errors::Trouble,
    http::Client,
    known::{Seen, record_of},
    one_try,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        lock::{Entry, Record, Tick},
        name::LockId,
    },
    store::{Found, PAGE_ITEMS, PAGE_LOOKS, Pages, Scan, Snapshot},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

struct Listing {
    client: Arc<Client>,
    keys: Keys,
    scan: Scan,
    /// All pages are as of this one.
    revision: i64,
    now_us: i64,
    tick: Tick,
    /// What was read and not looked at yet.
    read: VecDeque<(LockId, Seen)>,
    /// Where the next keys begin and all of them end; none when all are read.
    rest: Option<(Vec<u8>, Vec<u8>)>,
}

/// How many keys are read at once.
const KEYS_AT_ONCE: usize = 128;

pub fn begin(client: &Arc<Client>, keys: &Keys, scan: &Scan, deadline: Instant) -> Result<Snapshot, Trouble> {
    let (id, inclusive) = scan.begin();
    let first = if inclusive { keys.lock(id) } else { [&keys.lock(id)[..], &[0]].concat() };
    let filter = &scan.filter;
    let end = match (filter.id_is_prefix, &filter.id[..]) {
        (true, _) | (_, b"") => codec::end_of(&keys.lock(&filter.id)),
        (false, id) => [&keys.lock(id)[..], &[0]].concat(),
    };
    let now_us = clock::now_us();
    let tick = Tick { boot: 0, us: now_us };
    let (client, keys, scan) = (client.clone(), keys.clone(), scan.clone());
    let rest = Some((first, end));
    let mut listing = Listing { client, keys, scan, revision: 0, now_us, tick, read: VecDeque::new(), rest };
    listing.read_on(deadline)?;
    Ok(Snapshot { now_us, tick, last_token: listing.revision as u64, pages: Box::new(listing) })
}

impl Listing {
    /// Reads the next keys, and whether the leases that they name ran then.
    fn read_on(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let Some((key, end)) = self.rest.take().filter(|(key, end)| key < end) else {
            // Also where there is nothing to read, the list is as of one revision.
            return if self.revision == 0 { self.see_revision(deadline) } else { Ok(()) };
        };
        let range = Range { key: &key, end: &end, limit: KEYS_AT_ONCE, revision: self.revision };
        let answer = self.client.range(&range, deadline)?;
        if self.revision == 0 {
            self.revision = answer.revision;
        }
        let pairs = answer.found.into_iter().flatten().collect::<Vec<Pair>>();
        if let (Some(last), KEYS_AT_ONCE) = (pairs.last(), pairs.len()) {
            self.rest = Some(([&last.key[..], &[0]].concat(), end));
        }
        let seen = pairs.iter().filter_map(|pair| {
            let id = LockId::new(self.keys.id_of(&pair.key)?).ok()?;
            let seen = Seen::of(&id, Some(pair));
            Some((id, seen))
        });
        let mut seen: Vec<(LockId, Seen)> = seen.collect();
        let alive = self.alive(seen.iter().map(|(_, seen)| seen.lease()), deadline)?;
        seen.iter_mut().for_each(|(_, seen)| seen.alive = Some(alive.contains(&seen.lease())));
        self.read.extend(seen);
        Ok(())
    }

    fn see_revision(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let mut txn = Txn::default();
        txn.get(&self.keys.store());
        self.revision = self.client.read(&txn, deadline)?.revision;
        Ok(())
    }

    /// Which of the leases ran at the revision of the list.
    fn alive(&self, leases: impl Iterator<Item = i64>, deadline: Instant) -> Result<HashSet<i64>, Trouble> {
        let leases: Vec<i64> = leases.filter(|lease| *lease != 0).collect::<HashSet<_>>().into_iter().collect();
        if leases.is_empty() {
            return Ok(HashSet::new());
        }
        let mut txn = Txn::default();
        leases.iter().for_each(|lease| {
            txn.get_at(&self.keys.alive(*lease), self.revision);
        });
        let found = self.client.read(&txn, deadline)?.found;
        let alive = leases.into_iter().zip(found).filter(|(_, pairs)| !pairs.is_empty());
        Ok(alive.map(|(lease, _)| lease).collect())
    }

    fn page(&mut self, deadline: Instant) -> Result<Option<Vec<(LockId, Entry)>>, Trouble> {
        let mut page = Vec::new();
        for _ in 0..PAGE_LOOKS {
            if self.read.is_empty() && self.rest.is_some() {
                self.read_on(deadline)?;
            }
            let Some((id, seen)) = self.read.pop_front() else {
                self.tell_left(&mut page, deadline)?;
                return Ok((!page.is_empty()).then(|| untagged(page)));
            };
            if let Some(entry) = self.shown(&id, &seen) {
                page.push((id, entry, seen.lease()));
                if page.len() == PAGE_ITEMS {
                    break;
                }
            }
        }
        self.tell_left(&mut page, deadline)?;
        Ok(Some(untagged(page)))
    }

    fn shown(&self, id: &LockId, seen: &Seen) -> Option<Entry> {
        let Record::Entry(live) = record_of(seen.stored.as_ref()?, seen.alive == Some(true), self.tick) else {
            return None;
        };
        if !live.is_live(self.tick) {
            return None;
        }
        // Its age is told by its timestamp and the clock of this host; how long its lease still runs, only etcd knows.
        let ageing = Entry { ttl_ms: 0, leased: Tick { us: live.refreshed_us, ..self.tick }, ..live.clone() };
        if !self.scan.shows(id, &ageing, self.tick, self.now_us) {
            return None;
        }
        Some(if live.ttl_ms == 0 { ageing } else { live })
    }

    /// How long the leases still run: asked for each once. One that ended since the list began has a moment left.
    fn tell_left(&self, page: &mut [Tagged], deadline: Instant) -> Result<(), Trouble> {
        let mut lefts = HashMap::new();
        for (_, entry, lease) in page.iter_mut().filter(|(_, _, lease)| *lease != 0) {
            let left_s = match lefts.get(lease) {
                Some(left_s) => *left_s,
                None => *lefts.entry(*lease).or_insert(self.client.left_s(*lease, deadline)?),
            };
            let left_us = left_s.saturating_mul(1_000_000).max(1000);
            let ttl_us = i64::try_from(entry.ttl_ms).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
            entry.leased.us = self.tick.us.saturating_sub(ttl_us).saturating_add(left_us);
        }
        Ok(())
    }
}

/// An entry with its lease.
type Tagged = (LockId, Entry, i64);

fn untagged(page: Vec<Tagged>) -> Vec<(LockId, Entry)> {
    page.into_iter().map(|(id, entry, _)| (id, entry)).collect()
}

impl Pages<Found> for Listing {
    fn next(&mut self, deadline: Instant) -> Result<Option<Vec<Found>>, Error> {
        self.page(one_try(deadline)).map_err(|trouble| match trouble {
            Trouble::Refused(refusal) if refusal.is_compacted() => {
                let text = "etcd has compacted the revision that the list was of: run it again";
                Error::new(Code::Interrupted, text)
            }
            other => other.error().after_init(),
        })
    }
}
