//! What a transaction would do: the rules applied to what is believed of its locks, and the leases that this needs.

use super::{Table, api::Granted, codec::Stored, known::Slots, leases, pieces::Piece, queue};
use crate::{
    clock,
    model::{
        error::Error,
        lock::{Entry, Record, Tick},
        name::LockId,
        request::{Outcome, Reply, Request},
        rules::{Change, Moment, decide, state::Write},
    },
    store::contract::Fault,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

/// What is kept between the tries of one transaction.
#[derive(Default)]
pub struct Work {
    /// Leases made for it: by the piece that needs them and their length.
    pub granted: HashMap<(usize, u64), Granted>,
    /// Leases that were started anew.
    kept: HashSet<i64>,
    /// For pieces whose place among those who wait was looked at: the locks that they have to leave to others.
    pub judged: HashMap<usize, HashSet<LockId>>,
}

/// What the transaction does besides what the slots have to become.
#[derive(Default)]
pub struct Plan {
    /// Of the first pieces of the part.
    pub outcomes: Vec<Outcome>,
    /// Leases whose keys have to be put.
    pub leases: Vec<i64>,
    /// Leases that no entry lives with when it is done.
    pub over: Vec<i64>,
    /// Places in the queue to be looked at in it.
    pub checks: Vec<queue::Check>,
    /// Waiters that have what they waited for.
    pub served: Vec<(Vec<LockId>, [u8; 16])>,
    /// What becomes of the value that the transaction is for.
    pub write: Option<Write>,
}

impl Plan {
    /// Whether what it makes gets its revision as token or version.
    pub fn mints(&self) -> bool {
        self.write != Some(Write::Remove)
    }

    pub fn changes_nothing(&self, slots: &Slots) -> bool {
        self.write.is_none() && slots.iter().all(|slot| slot.change().is_none())
    }
}

/// The leases of entries, by their places, and how many entries share each.
type Dress = HashMap<usize, (Granted, u8)>;

/// What an id becomes.
type Becomes = (usize, Option<Stored>);

impl Table {
    /// Decides the pieces of the part, or the first of them; None where a lease turned out to be over.
    pub fn decide(
        &mut self,
        pieces: &[Piece<'_>],
        part: &[usize],
        slots: &mut Slots,
        work: &mut Work,
        deadline: Instant,
    ) -> Result<Option<Plan>, Fault> {
        let now_us = clock::now_us();
        let moment = Moment { now_us, tick: Tick { boot: 0, us: now_us }, last_token: None };
        let mut plan = Plan::default();
        slots.reset();
        for &place in part {
            let request = &*pieces[place].request;
            if !plan.outcomes.is_empty() && needs_tokens(request, slots) {
                break;
            }
            let Some(outcome) = self.decide_one(place, request, slots, work, moment, &mut plan, deadline)? else {
                return Ok(None);
            };
            plan.outcomes.push(outcome);
        }
        Ok(Some(plan))
    }

    #[expect(clippy::too_many_arguments, reason = "the state of a decision that is under way")]
    fn decide_one(
        &mut self,
        place: usize,
        request: &Request,
        slots: &mut Slots,
        work: &mut Work,
        mut moment: Moment,
        plan: &mut Plan,
        deadline: Instant,
    ) -> Result<Option<Outcome>, Fault> {
        let ids = request.ids();
        if let Some(bad) = ids.iter().find_map(|id| slots.get(id).seen.bad.as_ref()) {
            return Ok(Some(Err(bad.clone().after_init())));
        }
        let records: Vec<Option<Record>> = ids.iter().map(|id| slots.get(id).record(moment.tick)).collect();
        if let Some(target) = &slots.target {
            let (write, outcome) = target.decide(&records.into_iter().next().flatten(), &mut moment);
            plan.write = write;
            return Ok(Some(outcome));
        }
        let none = HashSet::new();
        let (changes, mut outcome) = match queue::without(request, work.judged.get(&place).unwrap_or(&none)) {
            queue::Choice::All => decide(request, &records, &mut moment),
            queue::Choice::Some(request, places) => {
                let records: Vec<_> = places.iter().map(|place| records[*place].clone()).collect();
                queue::widen(decide(&request, &records, &mut moment), &places, ids.len())
            }
            queue::Choice::None => (Vec::new(), Ok(Reply::Refused(queue::refusal(ids, &none)))),
        };
        // When a lease ends, only etcd knows.
        if let Ok(Reply::Refused(found)) = &mut outcome {
            found.free_in_us = None;
        }
        let changes = match queue::stands_back(request, &outcome, work.judged.get(&place)) {
            Some(refused) => {
                outcome = Ok(Reply::Refused(refused));
                Vec::new()
            }
            None => changes,
        };
        let Some(becomes) = self.dress(place, request, changes, &mut outcome, slots, work, plan, deadline)? else {
            return Ok(None);
        };
        if !becomes.is_empty() && !work.judged.contains_key(&place) {
            plan.checks.extend(self.queue.checks(place, request, &outcome));
        }
        plan.served.extend(queue::served(request, &outcome));
        note_over(ids, &becomes, slots, plan);
        becomes.into_iter().for_each(|(place, stored)| slots.set(&ids[place], stored));
        Ok(Some(outcome))
    }

    /// Gives the entries their leases.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn dress(
        &mut self,
        place: usize,
        request: &Request,
        changes: Vec<Change>,
        outcome: &mut Outcome,
        slots: &mut Slots,
        work: &mut Work,
        plan: &mut Plan,
        deadline: Instant,
    ) -> Result<Option<Vec<Becomes>>, Fault> {
        let ids = request.ids();
        let mut becomes = Vec::with_capacity(changes.len());
        let mut entries: Vec<(usize, Entry)> = Vec::new();
        for change in changes {
            match change {
                Change::Remove(at) => becomes.push((at, None)),
                Change::Put(at, record @ Record::Trace { .. }) => {
                    becomes.push((at, Some(Stored { record, lease: 0, share: 0 })));
                }
                // A retry that finds its own work changes nothing.
                Change::Put(at, Record::Entry(entry)) if is_done(request, slots.get(&ids[at]).current(), &entry) => {}
                Change::Put(at, Record::Entry(entry)) => entries.push((at, entry)),
            }
        }
        let Some(leases) = self.leases_for(place, request, &entries, slots, work, deadline)? else { return Ok(None) };
        for (at, mut entry) in entries {
            entry.leased = Tick { boot: 0, us: entry.refreshed_us };
            let (lease, share) = leases.get(&at).copied().unwrap_or((Granted { id: 0, ttl_ms: 0 }, 0));
            entry.ttl_ms = lease.ttl_ms;
            tell_ttl(outcome, at, lease.ttl_ms);
            if work.granted.values().any(|granted| granted.id == lease.id) && !plan.leases.contains(&lease.id) {
                plan.leases.push(lease.id);
            }
            becomes.push((at, Some(Stored { record: Record::Entry(entry), lease: lease.id, share })));
        }
        Ok(Some(becomes))
    }

    /// For each entry with a ttl, by its place: its lease, and how many entries share it. None where one turned out to be over.
    fn leases_for(
        &mut self,
        place: usize,
        request: &Request,
        entries: &[(usize, Entry)],
        slots: &mut Slots,
        work: &mut Work,
        deadline: Instant,
    ) -> Result<Option<Dress>, Fault> {
        let mut leases = HashMap::new();
        let mut fresh: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let leased = entries.iter().filter(|(_, entry)| entry.ttl_ms > 0);
        let mut groups: BTreeMap<i64, Vec<(usize, u64)>> = BTreeMap::new();
        for (at, entry) in leased {
            let current = slots.get(&request.ids()[*at]).current();
            match (request, current.map_or(0, |stored| stored.lease)) {
                (Request::Refresh { .. }, lease) if lease != 0 => {
                    groups.entry(lease).or_default().push((*at, entry.ttl_ms));
                }
                _ => fresh.entry(entry.ttl_ms).or_default().push(*at),
            }
        }
        // Many leases at once are better joined to one.
        let few = groups.len() <= KEPT_ONE_BY_ONE;
        for (lease, places) in groups {
            let share = slots.get(&request.ids()[places[0].0]).current().map_or(0, |stored| stored.share);
            if !few || usize::from(share) != places.len() {
                places.iter().for_each(|(at, ttl_ms)| fresh.entry(*ttl_ms).or_default().push(*at));
                continue;
            }
            if !work.kept.contains(&lease) && !self.restart(lease, slots, work, deadline)? {
                return Ok(None);
            }
            leases.extend(places.iter().map(|(at, ttl_ms)| (*at, (Granted { id: lease, ttl_ms: *ttl_ms }, share))));
        }
        for (ttl_ms, places) in fresh {
            let granted = match work.granted.get(&(place, ttl_ms)) {
                Some(granted) => *granted,
                None => self.leases.grant(&self.client, ttl_ms, deadline).map_err(super::failed)?,
            };
            work.granted.insert((place, ttl_ms), granted);
            leases.extend(places.iter().map(|at| (*at, (granted, places.len() as u8))));
        }
        Ok(Some(leases))
    }

    fn restart(&self, lease: i64, slots: &mut Slots, work: &mut Work, deadline: Instant) -> Result<bool, Fault> {
        let runs = self.client.keep_alive(lease, deadline).map_err(super::failed)?.is_some();
        if runs {
            work.kept.insert(lease);
        } else {
            slots.mark(lease, false);
        }
        Ok(runs)
    }

    /// Gives back what the tries of a transaction needed no more in the end.
    pub fn give_back(&mut self, work: Work, used: &[i64], deadline: Instant) {
        let unused = work.granted.into_iter().filter(|(_, lease)| !used.contains(&lease.id));
        let unused = unused.map(|((_, ttl_ms), lease)| (lease, ttl_ms)).collect();
        self.leases.give_back(&self.client, unused, deadline);
    }

    /// Ends leases with which no entry lives any more.
    pub fn end_leases(&self, over: &[i64], deadline: Instant) {
        over.iter().for_each(|lease| leases::revoke(&self.client, *lease, deadline));
    }
}

/// So many leases are started anew one by one.
const KEPT_ONE_BY_ONE: usize = 4;

/// Whether the request has to know the token of a grant that is only now being made.
fn needs_tokens(request: &Request, slots: &Slots) -> bool {
    let is_content = match request {
        Request::Lock(wanted) => !wanted.resume,
        Request::Peek(_) => true,
        _ => false,
    };
    !is_content && request.ids().iter().any(|id| slots.get(id).current().is_some_and(Stored::is_minted))
}

fn is_done(request: &Request, current: Option<&Stored>, entry: &Entry) -> bool {
    let is_same = || current.and_then(Stored::entry).is_some_and(|there| there.attempt == entry.attempt);
    matches!(request, Request::Transfer { .. }) && is_same()
}

fn tell_ttl(outcome: &mut Outcome, place: usize, ttl_ms: u64) {
    let grant = match outcome {
        Ok(Reply::Granted(grants)) => grants.get_mut(place).and_then(Option::as_mut),
        Ok(Reply::Each(results)) => results.get_mut(place).and_then(|result| result.as_mut().ok()),
        _ => None,
    };
    grant.into_iter().for_each(|grant| grant.ttl_ms = ttl_ms);
}

/// Leases all of whose entries end here are over.
fn note_over(ids: &[LockId], becomes: &[Becomes], slots: &Slots, plan: &mut Plan) {
    let mut ended: BTreeMap<i64, (u8, usize)> = BTreeMap::new();
    for (place, stored) in becomes {
        let Some(former) = slots.get(&ids[*place]).current().filter(|former| former.lease != 0) else { continue };
        if stored.as_ref().is_none_or(|stored| stored.lease != former.lease) {
            ended.entry(former.lease).or_insert((former.share, 0)).1 += 1;
        }
    }
    // Where many are left at once, they end by themselves.
    let whole = ended.into_iter().filter(|(_, (share, count))| usize::from(*share) == *count);
    plan.over.extend(whole.map(|(lease, _)| lease).take(KEPT_ONE_BY_ONE));
}

/// As an error of one request.
pub fn busy() -> Error {
    use crate::model::error::Code;
    let text = "the keys or leases of these locks had changed, or had to be read anew, at each try within timeout_ms";
    Error::new(Code::Busy, text)
}
