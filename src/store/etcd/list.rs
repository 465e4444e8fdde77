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
        state::KeyInfo,
    },
    store::contract::{Fault, Found, PAGE_ITEMS, PAGE_LOOKS, Pages, Scan, Snapshot},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

/// A range of keys that is read in parts.
struct Reading {
    client: Arc<Client>,
    /// All parts are as of this one; 0 before the first.
    revision: i64,
    /// Where the next keys begin and all of them end; none when all are read.
    rest: Option<(Vec<u8>, Vec<u8>)>,
}

struct Listing {
    reading: Reading,
    keys: Keys,
    scan: Scan,
    now_us: i64,
    tick: Tick,
    /// What was read and not looked at yet.
    read: VecDeque<(LockId, Seen)>,
}

struct KeyListing {
    reading: Reading,
    keys: Keys,
    read: VecDeque<KeyInfo>,
}

/// How many keys are read at once: of locks, as their leases are looked up in one transaction; of values, so that an answer stays
/// below 4 MiB.
const LOCKS_AT_ONCE: usize = 128;
const SIZES_AT_ONCE: usize = 512;

pub fn keys(
    client: &Arc<Client>,
    keys: &Keys,
    prefix: &[u8],
    deadline: Instant,
) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
    let first = keys.sizes(prefix);
    let rest = Some((first.clone(), codec::end_of(&first)));
    let reading = Reading { client: client.clone(), revision: 0, rest };
    let mut listing = KeyListing { reading, keys: keys.clone(), read: VecDeque::new() };
    listing.read_on(deadline).map_err(Fault::Failed)?;
    Ok(Box::new(listing))
}

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
    let reading = Reading { client: client.clone(), revision: 0, rest: Some((first, end)) };
    let mut listing = Listing { reading, keys: keys.clone(), scan: scan.clone(), now_us, tick, read: VecDeque::new() };
    listing.read_on(deadline)?;
    Ok(Snapshot { now_us, tick, last_token: listing.reading.revision as u64, pages: Box::new(listing) })
}

impl Reading {
    /// The next keys.
    fn next(&mut self, most: usize, keys: &Keys, deadline: Instant) -> Result<Vec<Pair>, Trouble> {
        let Some((key, end)) = self.rest.take().filter(|(key, end)| key < end) else {
            if self.revision == 0 {
                // Also where there is nothing to read, the list is as of one revision.
                self.see_revision(keys, deadline)?;
            }
            return Ok(Vec::new());
        };
        let range = Range { key: &key, end: &end, limit: most, revision: self.revision };
        let answer = self.client.range(&range, deadline)?;
        if self.revision == 0 {
            self.revision = answer.revision;
        }
        let pairs = answer.found.into_iter().flatten().collect::<Vec<Pair>>();
        if let Some(last) = pairs.last().filter(|_| pairs.len() == most) {
            self.rest = Some(([&last.key[..], &[0]].concat(), end));
        }
        Ok(pairs)
    }

    fn see_revision(&mut self, keys: &Keys, deadline: Instant) -> Result<(), Trouble> {
        let mut txn = Txn::default();
        txn.get(&keys.store());
        self.revision = self.client.read(&txn, deadline)?.revision;
        Ok(())
    }
}

impl Listing {
    /// Reads the next keys, and whether the leases that they name ran then.
    fn read_on(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let pairs = self.reading.next(LOCKS_AT_ONCE, &self.keys, deadline)?;
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

    /// Which of the leases ran at the revision of the list.
    fn alive(&self, leases: impl Iterator<Item = i64>, deadline: Instant) -> Result<HashSet<i64>, Trouble> {
        let leases: Vec<i64> = leases.filter(|lease| *lease != 0).collect::<HashSet<_>>().into_iter().collect();
        if leases.is_empty() {
            return Ok(HashSet::new());
        }
        let mut txn = Txn::default();
        leases.iter().for_each(|lease| {
            txn.get_at(&self.keys.alive(*lease), self.reading.revision);
        });
        let found = self.reading.client.read(&txn, deadline)?.found;
        let alive = leases.into_iter().zip(found).filter(|(_, pairs)| !pairs.is_empty());
        Ok(alive.map(|(lease, _)| lease).collect())
    }

    fn page(&mut self, deadline: Instant) -> Result<Option<Vec<(LockId, Entry)>>, Trouble> {
        let mut page = Vec::new();
        for _ in 0..PAGE_LOOKS {
            if self.read.is_empty() && self.reading.rest.is_some() {
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
                None => *lefts.entry(*lease).or_insert(self.reading.client.left_s(*lease, deadline)?),
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
        self.page(one_try(deadline)).map_err(cut_short)
    }
}

impl KeyListing {
    fn read_on(&mut self, deadline: Instant) -> Result<(), Error> {
        let pairs = self.reading.next(SIZES_AT_ONCE, &self.keys, deadline).map_err(cut_short)?;
        for pair in &pairs {
            let Some(key) = self.keys.sized_of(&pair.key) else { continue };
            let len = codec::decode_size(&key, &pair.value)?;
            self.read.push_back(KeyInfo { key, version: pair.modified as u64, len });
        }
        Ok(())
    }
}

impl Pages<KeyInfo> for KeyListing {
    fn next(&mut self, deadline: Instant) -> Result<Option<Vec<KeyInfo>>, Error> {
        if self.read.is_empty() && self.reading.rest.is_some() {
            self.read_on(one_try(deadline))?;
        }
        let page: Vec<KeyInfo> = self.read.drain(..self.read.len().min(PAGE_ITEMS)).collect();
        Ok((!page.is_empty()).then_some(page))
    }
}

/// Why a list did not go on.
fn cut_short(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Refused(refusal) if refusal.is_compacted() => {
            let text = "etcd has compacted the revision that the list was of: run it again";
            Error::new(Code::Interrupted, text)
        }
        other => other.error().after_init(),
    }
}
