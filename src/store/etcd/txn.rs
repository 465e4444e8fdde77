//! The optimistic transaction: guess, decide, and let etcd do it if the guess was right; else decide again from what it has
//! found.

use super::{
    Table,
    api::{Answer, Txn},
    decide::{self, Plan, Work},
    errors::Trouble,
    failed,
    known::{Seen, Slots},
    pieces::Piece,
    queue::Check,
    session::{Found, Lost, filled},
    values::Target,
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        request::Request,
    },
    mutant,
    store::contract::Fault,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// What a transaction asks for where its conditions do not hold, in this order: the keys of the locks, those of these leases, of
/// these queues, of the value, and of the session.
#[derive(Default)]
struct Asked {
    leases: Vec<i64>,
    checks: Vec<Check>,
    value: bool,
    session: bool,
}

/// After so many tries, others are let through for a moment.
const TRIES_AT_ONCE: u32 = 3;

impl Table {
    /// Does these pieces in one transaction, or the first of them, and gives them their outcomes.
    pub fn do_part(&mut self, pieces: &mut [Piece<'_>], part: &[usize], deadline: Instant) -> Result<(), Fault> {
        let mut slots = Slots::default();
        for place in part {
            pieces[*place].request.ids().iter().for_each(|id| slots.add(id, &self.cache));
        }
        if let [place] = part
            && let Request::Set(setting) = &*pieces[*place].request
        {
            slots.target = Some(Target::new(setting));
        }
        let mut work = Work::default();
        let done = self.try_until_done(pieces, part, &mut slots, &mut work, deadline);
        match &done {
            // Locks may live with them.
            Err(Fault::Unknown(_)) => {}
            Err(_) => self.give_back(work, &[], deadline),
            Ok(plan) => self.give_back(work, &plan.leases, deadline),
        }
        let plan = done?;
        self.end_leases(&plan.over, deadline);
        for (place, outcome) in part.iter().zip(plan.outcomes) {
            pieces[*place].outcome = Some(outcome);
        }
        Ok(())
    }

    fn try_until_done(
        &mut self,
        pieces: &[Piece<'_>],
        part: &[usize],
        slots: &mut Slots,
        work: &mut Work,
        deadline: Instant,
    ) -> Result<Plan, Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            if tries > TRIES_AT_ONCE {
                if clock::instant() >= deadline {
                    return Err(Fault::Busy(decide::busy()));
                }
                // Not all at the same moments.
                let jitter_us = clock::now_us().rem_euclid(500) as u64;
                thread::sleep(Duration::from_micros(200 * u64::from(tries.min(40)) + jitter_us));
            }
            if slots.target.is_some() {
                // The transaction asks whether they run.
                slots.suppose_alive();
            }
            if slots.are_open() || (!slots.fresh && part.iter().any(|place| self.asks_first(*place, pieces, work))) {
                self.look(pieces, part, slots, work, deadline)?;
                continue;
            }
            let Some(plan) = self.decide(pieces, part, slots, work, deadline)? else { continue };
            if plan.changes_nothing(slots) {
                if slots.fresh {
                    return Ok(Plan { leases: Vec::new(), ..plan });
                }
                self.look(pieces, part, slots, work, deadline)?;
                continue;
            }
            let (txn, asked) = self.build(slots, &plan)?;
            match self.client.write(&txn, deadline) {
                Ok(answer) if answer.succeeded => {
                    self.session.done(answer.revision);
                    return Ok(self.settle_plan(slots, plan, answer.revision));
                }
                Ok(answer) => self.see(&answer, &asked, slots, work, deadline)?,
                Err(Trouble::Lost(error)) => {
                    self.session.lose(lost(pieces, part, slots, &plan));
                    match self.find_out(deadline)? {
                        Some(found) => return Ok(self.settle_plan(slots, plan, found.revision)),
                        None if clock::instant() >= deadline => return Err(Fault::Failed(error)),
                        None => slots.fresh = false,
                    }
                }
                // It ran out before anything lived with it.
                Err(Trouble::Refused(refusal)) if refusal.is_no_lease() => {
                    work.granted.clear();
                    slots.fresh = false;
                }
                // For what it holds itself: others may be done.
                Err(Trouble::Refused(refusal)) if slots.target.is_some() => {
                    let outcomes = vec![Err(refusal.error_of_value().after_init())];
                    return Ok(Plan { outcomes, ..Plan::default() });
                }
                Err(trouble) => return Err(failed(trouble)),
            }
        }
    }

    /// Makes sure that nothing is on its way any more whose answer was lost.
    pub fn find_out(&mut self, deadline: Instant) -> Result<Option<Found>, Fault> {
        let found = self.session.settle(&self.client, deadline).map_err(Fault::Unknown)?;
        if let Some(found) = &found {
            found.changes.iter().for_each(|(id, stored)| self.cache.changed(id, stored.clone(), found.revision));
        }
        Ok(found)
    }

    /// The plan as it was carried out at that revision.
    fn settle_plan(&mut self, slots: &Slots, mut plan: Plan, revision: i64) -> Plan {
        for slot in slots.iter() {
            match slot.change() {
                Some(stored) => self.cache.changed(&slot.id, stored.clone(), revision),
                None => self.cache.put(&slot.id, slot.seen.clone()),
            }
        }
        if plan.mints() {
            plan.outcomes = plan.outcomes.into_iter().map(|outcome| filled(outcome, revision)).collect();
        }
        self.queue.served(&plan.served);
        plan
    }

    fn build(&mut self, slots: &Slots, plan: &Plan) -> Result<(Txn, Asked), Fault> {
        let mut txn = Txn::default();
        self.session.fence(&mut txn);
        let mut asked = Asked::default();
        let mut has_all = true;
        for slot in slots.iter() {
            let key = self.keys.lock(slot.id.as_bytes());
            has_all &= mutant::on("guess_unchecked") || txn.if_modified(&key, slot.seen.modified);
            has_all &= match slot.change() {
                Some(Some(stored)) => txn.put(&key, &super::codec::encode(stored), 0),
                Some(None) => txn.delete(&key),
                None => true,
            };
            txn.else_get(&key);
        }
        for lease in slots.leases(|alive| alive == Some(true)) {
            let key = self.keys.alive(lease);
            // Where there is no room for so many, the last of them may have run out in the time of an exchange.
            txn.if_there(&key);
            if txn.else_get(&key) {
                asked.leases.push(lease);
            }
        }
        for lease in &plan.leases {
            has_all &= txn.put(&self.keys.alive(*lease), b"", *lease);
        }
        for check in &plan.checks {
            if check.ask(&self.keys, &mut txn) {
                asked.checks.push(check.clone());
            }
        }
        for (ids, name) in &plan.served {
            ids.iter().for_each(|id| {
                txn.delete(&self.keys.waiter(id, *name));
            });
        }
        if let (Some(target), Some(write)) = (&slots.target, plan.write) {
            has_all &= target.put(write, &self.keys, &mut txn);
            asked.value = target.else_look(&self.keys, &mut txn);
        }
        asked.session = txn.else_get(self.session.key());
        if !has_all {
            let text = "a transaction was too long for etcd: please report this";
            return Err(Fault::Failed(Error::new(Code::Defect, text)));
        }
        Ok((txn, asked))
    }

    /// Whether the request had better look at the queue before it tries: of all who hear of a release, one is next.
    fn asks_first(&self, place: usize, pieces: &[Piece<'_>], work: &Work) -> bool {
        !work.judged.contains_key(&place) && self.queue.asks_first(&pieces[place].request)
    }

    /// Reads all locks of the slots at one moment, the leases that they are known to live with, and who waits for them.
    fn look(
        &mut self,
        pieces: &[Piece<'_>],
        part: &[usize],
        slots: &mut Slots,
        work: &mut Work,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let mut txn = Txn::default();
        slots.iter().for_each(|slot| {
            txn.get(&self.keys.lock(slot.id.as_bytes()));
        });
        let leases = slots.leases(|alive| alive != Some(false));
        let leases: Vec<i64> = leases.into_iter().filter(|lease| txn.get(&self.keys.alive(*lease))).collect();
        let waiting = part.iter().filter(|place| !work.judged.contains_key(place));
        let checks = waiting.flat_map(|place| self.queue.looks(*place, &pieces[*place].request));
        let checks: Vec<Check> = checks.filter(|check| check.look(&self.keys, &mut txn)).collect();
        let value = slots.target.as_ref().is_some_and(|target| target.look(&self.keys, &mut txn));
        let answer = self.client.read(&txn, deadline).map_err(failed)?;
        let asked = Asked { leases, checks, value, session: false };
        self.note(&answer, &asked, slots);
        self.judge(&answer, &asked, slots, work);
        Ok(())
    }

    /// Notes which locks have to be left to others.
    fn judge(&self, answer: &Answer, asked: &Asked, slots: &Slots, work: &mut Work) {
        let found = answer.found.iter().skip(slots.len() + asked.leases.len());
        for (check, pairs) in asked.checks.iter().zip(found) {
            let blocked = work.judged.entry(check.piece).or_default();
            if check.is_behind(&self.keys, pairs.first()) {
                blocked.insert(check.id.clone());
            }
        }
    }

    /// Takes in what a transaction has found instead of what was believed.
    fn see(
        &mut self,
        answer: &Answer,
        asked: &Asked,
        slots: &mut Slots,
        work: &mut Work,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let is_news = self.note(answer, asked, slots);
        let judged_news = !asked.checks.is_empty();
        self.judge(answer, asked, slots, work);
        if asked.session {
            let pair = answer.found.last().and_then(|pairs| pairs.first());
            self.session.see(pair);
        } else if !is_news && !judged_news {
            let mut txn = Txn::default();
            txn.get(self.session.key());
            let answer = self.client.read(&txn, deadline).map_err(failed)?;
            self.session.see(answer.found.first().and_then(|pairs| pairs.first()));
        }
        Ok(())
    }

    /// Notes what was found of locks and leases; whether it is news.
    fn note(&mut self, answer: &Answer, asked: &Asked, slots: &mut Slots) -> bool {
        let mut is_news = false;
        let mut found = answer.found.iter();
        for (slot, pairs) in slots.iter_mut().zip(&mut found) {
            let seen = Seen::of(&slot.id, pairs.first());
            if seen.modified == slot.seen.modified {
                // Dead is dead; the rest is told below.
                let alive = slot.seen.alive.filter(|alive| !alive);
                slot.seen = Seen { alive, ..seen };
            } else {
                is_news = true;
                slot.seen = seen;
            }
        }
        let were: Vec<(i64, bool)> = asked.leases.iter().copied().zip(found.map(|pairs| !pairs.is_empty())).collect();
        for (lease, alive) in were {
            is_news |= !alive;
            slots.mark(lease, alive);
        }
        let place = slots.len() + asked.leases.len() + asked.checks.len();
        if let Some(target) = slots.target.as_mut().filter(|_| asked.value) {
            target.see(answer.found.get(place).and_then(|pairs| pairs.first()));
        }
        slots.fresh = !slots.are_open();
        slots.iter().for_each(|slot| self.cache.put(&slot.id, slot.seen.clone()));
        is_news
    }
}

/// What is to be known where the answer of the transaction was lost.
fn lost(pieces: &[Piece<'_>], part: &[usize], slots: &Slots, plan: &Plan) -> Lost {
    let answers = part.iter().zip(&plan.outcomes).filter_map(|(place, outcome)| {
        let part = pieces[*place].part()?;
        Some((part, outcome.clone()))
    });
    let changes = slots.iter().filter_map(|slot| Some((slot.id.clone(), slot.change()?.clone())));
    Lost { answers: answers.collect(), changes: changes.collect(), mints: plan.mints() }
}
