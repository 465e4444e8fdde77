//! What a handle believes to hold, without asking the store: until when, and which of it is renewed.

mod inherited;
#[cfg(test)]
mod tests;

use super::events::{Event, Events, Kind};
use crate::{
    clock,
    model::{
        error::Code,
        lease::Deadline,
        lock::End,
        name::{LockId, Owner},
        request::{Denial, Grant},
    },
    mutant,
};
use std::collections::BTreeMap;

/// A grant of a process that this one was forked from.
struct Inherited {
    token: u64,
    /// That process renewed it at the time of the fork.
    kept: bool,
}

/// The grants that a handle made or refreshed in this process, and what happened to those that are renewed.
#[derive(Default)]
pub struct Holdings {
    held: BTreeMap<LockId, Holding>,
    kept: BTreeMap<LockId, Kept>,
    /// The grants of the processes that this one was forked from.
    inherited: BTreeMap<LockId, Inherited>,
    pub events: Events,
    /// How many grants are looked through for those that are over.
    tidy_at: usize,
}

/// So many grants are kept without a look.
const FEW: usize = 1024;

#[derive(Clone)]
struct Holding {
    owner: Owner,
    token: u64,
    ttl_ms: u64,
    /// When the request left that the store granted or refreshed it by.
    asked_us: i64,
}

impl Holding {
    fn new(owner: &Owner, grant: &Grant, asked_us: i64) -> Holding {
        Holding { owner: owner.clone(), token: grant.token, ttl_ms: grant.ttl_ms, asked_us }
    }

    fn deadline(&self) -> Deadline {
        Deadline::of(self.asked_us, self.ttl_ms)
    }

    /// The moment when this share of the lease is over.
    fn after(&self, share: f64) -> i64 {
        self.asked_us.saturating_add((self.ttl_ms as f64 * 1000.0 * share) as i64)
    }
}

/// A lock that is renewed.
#[derive(Default)]
struct Kept {
    at_risk: bool,
    /// Calls of this handle that are about to end it: how it ends is theirs to tell.
    ending: u32,
}

/// When a lock is renewed: a little before a third of its lease is over, so that its loss is known within that third.
const DUE: f64 = 0.3;
/// One that is renewed takes along those that would soon be due.
const SOON: f64 = 0.15;
/// Without a renewal for so long, its holder is told.
const AT_RISK: f64 = 2.0 / 3.0;

/// What is to be done about the kept locks of a handle.
pub struct Due {
    /// Renewals: the lock ids and their tokens.
    pub renewals: Vec<(LockId, u64)>,
    /// When to look again.
    pub next_us: i64,
}

impl Holdings {
    /// Notes what was granted by a request that left at this time; with `keep` it is renewed from now on. Answers of several
    /// threads may come here in another order than the store gave them: the greatest token is the latest.
    pub fn granted(&mut self, id: &LockId, owner: &Owner, grant: &Grant, asked_us: i64, keep: bool) {
        match self.held.get(id) {
            Some(held) if held.token > grant.token => return,
            // What this handle resumed or transferred it has ended itself.
            Some(held) if held.token < grant.token && !matches!(grant.before, End::Resumed | End::Transferred) => {
                self.lost(id, grant.before);
            }
            _ => drop(self.kept.remove(id)),
        }
        self.end_inherited(id, grant.token, matches!(grant.before, End::Resumed | End::Transferred));
        self.forget_what_is_over();
        self.held.insert(id.clone(), Holding::new(owner, grant, asked_us));
        if keep {
            self.kept.insert(id.clone(), Kept::default());
        }
    }

    /// The grants that are known of these locks, 0 for none: what a call without tokens is about.
    pub fn tokens(&self, ids: &[LockId]) -> Vec<u64> {
        ids.iter().map(|id| self.held.get(id).map_or(0, |held| held.token)).collect()
    }

    pub fn refreshed(&mut self, id: &LockId, owner: &Owner, grant: &Grant, asked_us: i64) {
        match self.held.get_mut(id) {
            Some(held) if held.token == grant.token => {
                held.asked_us = held.asked_us.max(asked_us);
                self.is_safe(id);
            }
            Some(held) if held.token > grant.token => {}
            // Another grant than the one that was known: who kept that has lost it, as the next renewal will find.
            _ if self.kept.contains_key(id) => {}
            _ => drop(self.held.insert(id.clone(), Holding::new(owner, grant, asked_us))),
        }
    }

    fn is_safe(&mut self, id: &LockId) {
        let (Some(held), Some(kept)) = (self.held.get(id), self.kept.get_mut(id)) else { return };
        let now_us = clock::boot_us();
        // Not by an answer that took so long that it is at risk again.
        if kept.at_risk && now_us < held.after(AT_RISK) {
            kept.at_risk = false;
            let left_ms = held.deadline().left_ms(now_us).unwrap_or(0);
            self.events.push(Event { kind: Kind::Safe, id: id.clone(), token: held.token, left_ms });
        }
    }

    /// This handle has released that grant; if it was another's than the one that is held here, that one was lost before.
    pub fn released(&mut self, id: &LockId, grant: &Grant) {
        self.end_inherited(id, grant.token, false);
        match self.held.get(id) {
            Some(held) if held.token == grant.token => {
                self.held.remove(id);
                self.kept.remove(id);
            }
            Some(held) if held.token < grant.token => self.lost(id, grant.before),
            _ => {}
        }
    }

    /// The store has refused a call about this grant, by this owner (None: by token alone): it may say that what is held here
    /// is lost.
    pub fn denied(&mut self, id: &LockId, owner: Option<&Owner>, token: u64, denial: &Denial) {
        let Some(held) = self.held.get(id).filter(|held| held.token == token) else { return };
        let is_lost = match denial.error.code {
            Code::NoLock | Code::Stale => true,
            // It is another owner's now, unless the caller named the wrong one.
            Code::Denied => owner == Some(&held.owner),
            _ => false,
        };
        if is_lost {
            self.lost(id, denial.end);
        }
    }

    /// Leases that ran out are of no use to anybody; they go when there are twice as many grants as after the last time.
    fn forget_what_is_over(&mut self) {
        if self.held.len() >= self.tidy_at.max(FEW) {
            let (now_us, kept) = (clock::boot_us(), &self.kept);
            self.held.retain(|id, held| kept.contains_key(id) || held.deadline().left_ms(now_us).is_some());
            self.tidy_at = self.held.len() * 2;
        }
    }

    fn lost(&mut self, id: &LockId, end: End) {
        let Some(held) = self.held.remove(id) else { return };
        if self.kept.remove(id).is_some() {
            self.events.push(Event { kind: Kind::Lost(end), id: id.clone(), token: held.token, left_ms: 0 });
        }
    }

    /// The time left of a grant; None if it is over, or unknown here.
    pub fn left_ms(&self, id: &LockId, token: u64, now_us: i64) -> Option<i64> {
        let held = self.held.get(id).filter(|held| token == 0 || token == held.token)?;
        held.deadline().left_ms(now_us)
    }

    /// No loss of these locks is told until [`Holdings::end_ended`].
    pub fn begin_ending(&mut self, ids: &[LockId]) {
        self.each_kept(ids, |kept| kept.ending += 1);
    }

    pub fn end_ended(&mut self, ids: &[LockId]) {
        self.each_kept(ids, |kept| kept.ending = kept.ending.saturating_sub(1));
    }

    fn each_kept(&mut self, ids: &[LockId], change: impl Fn(&mut Kept)) {
        if !self.kept.is_empty() {
            ids.iter().for_each(|id| self.kept.get_mut(id).into_iter().for_each(&change));
        }
    }

    pub fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Tells what time has done to the kept locks, and what is to be renewed now.
    pub fn look(&mut self, now_us: i64) -> Due {
        let mut over = Vec::new();
        let mut soon = Vec::new();
        let (mut any_due, mut next_us) = (false, i64::MAX);
        for (id, kept) in &mut self.kept {
            let Some(held) = self.held.get(id) else { continue };
            let end_us = held.deadline().end_us().unwrap_or(i64::MAX);
            if now_us >= end_us {
                if kept.ending == 0 {
                    over.push(id.clone());
                }
                continue;
            }
            if now_us >= held.after(AT_RISK) && !kept.at_risk {
                kept.at_risk = true;
                let left_ms = held.deadline().left_ms(now_us).unwrap_or(0);
                self.events.push(Event { kind: Kind::AtRisk, id: id.clone(), token: held.token, left_ms });
            }
            if now_us >= held.after(if mutant::on("renew_together") { DUE } else { SOON }) {
                soon.push((id.clone(), held.token));
            }
            any_due |= now_us >= held.after(DUE);
            let moments = [held.after(DUE), held.after(AT_RISK), end_us];
            next_us = next_us.min(moments.into_iter().filter(|moment| *moment > now_us).min().unwrap_or(end_us));
        }
        over.iter().for_each(|id| self.lost(id, End::Expired));
        Due { renewals: if any_due { soon } else { Vec::new() }, next_us }
    }

    /// What came of a renewal that left at this time.
    pub fn renewed(&mut self, id: &LockId, token: u64, asked_us: i64, result: &Result<Grant, Denial>) {
        let Some(kept) = self.kept.get(id) else { return };
        let Some(owner) = self.held.get(id).filter(|held| held.token == token).map(|held| held.owner.clone()) else {
            return;
        };
        match result {
            Ok(grant) => self.refreshed(id, &owner, grant, asked_us),
            Err(_) if kept.ending > 0 => {}
            Err(denial) => self.denied(id, None, token, denial),
        }
    }
}
