//! Who waits for which locks, in memory that all processes of a store share; and how the next of them is woken.
//!
//! Nothing here decides who gets a lock: that is the transaction's. A waiter that is not seen, not woken, or woken for
//! nothing loses time and nothing else, since each one sees again by itself every [`RECHECK`]. So the memory needs no
//! lock, and a process that is killed or stopped anywhere in here holds nobody up for longer than that.
//!
//! Those who wait for a lock are woken in the order of their tickets, one for each release. A waiter for all of several
//! locks keeps younger ones from those of them that are free in its first second, and again for one second in eight; else
//! a stream of others, who want one lock each, would keep it waiting for ever, or it them.

mod slots;
#[cfg(test)]
mod tests;

use crate::{
    model::name::LockId,
    mutant,
    sys::{
        doorbell::{self, Address, Doorbell},
        segment::Part,
    },
};
use slots::{IDS_IN_SLOT, Since, Slot, Slots, hash, now_ms};
pub use slots::{LENGTH, RECHECK};
use std::{io, sync::Arc};

/// The waiters of one store.
pub struct Waiters(Slots);

impl Waiters {
    pub fn of_process() -> Waiters {
        Waiters(Slots::of_process())
    }

    pub fn shared(memory: Part) -> Waiters {
        Waiters(Slots::shared(memory))
    }

    /// Wakes for each of the locks the one who waits longest and has not been woken yet.
    pub fn wake(&self, ids: &[LockId]) {
        self.wake_after(ids, 0);
    }

    fn wake_after(&self, ids: &[LockId], ticket: u64) {
        if !self.0.nobody_waits() && !mutant::on("no_wake") {
            let now_ms = now_ms();
            ids.iter().for_each(|id| while self.wake_one(hash(id), ticket, now_ms).is_err() {});
        }
    }

    /// Fails if it met one who is gone, or was woken by another: there may be a next one.
    fn wake_one(&self, hash: u64, after: u64, now_ms: u64) -> Result<(), ()> {
        let sleeping =
            self.0.lively(now_ms).filter(|slot| slot.ticket() > after && !slot.was_woken() && slot.wants(hash));
        let Some(next) = sleeping.min_by_key(Slot::ticket) else { return Ok(()) };
        if !next.mark_woken() {
            return Err(());
        }
        if is_gone(next.address()) {
            next.free();
            return Err(());
        }
        Ok(())
    }

    /// Whether others wait for these locks, so that who comes now stands behind them. Who is content with any of them
    /// stands behind others only if all of them are waited for.
    pub fn others_want(&self, ids: &[LockId], any: bool) -> bool {
        self.others_want_before(ids, any, u64::MAX, false)
    }

    fn others_want_before(&self, ids: &[LockId], any: bool, ticket: u64, only_many: bool) -> bool {
        if self.0.nobody_waits() {
            return false;
        }
        let now_ms = now_ms();
        let stands = |slot: &Slot<'_>| {
            let since = slot.since();
            slot.ticket() < ticket && keeps(since, now_ms) && (since.many || !only_many)
        };
        let older: Vec<Slot<'_>> = self.0.lively(now_ms).filter(stands).collect();
        let mut wanted = ids.iter().map(hash).map(|hash| older.iter().any(|slot| slot.wants(hash)));
        if any { wanted.all(|is| is) } else { wanted.any(|is| is) }
    }

    /// A free slot. Where there is none, those of waiters who were killed are found by ringing at their doors.
    fn claim(&self) -> Option<usize> {
        self.0.claim().or_else(|| {
            let silent = self.0.silent(now_ms()).filter(|_| !mutant::on("dead_waiters"));
            silent.filter(|slot| is_gone(slot.address())).for_each(|slot| slot.free());
            self.0.claim()
        })
    }

    /// Takes a place in the queue. Without a doorbell or a free slot, the waiter is left to its own looks.
    pub fn enter(self: Arc<Self>, ids: &[LockId], any: bool, address: Address) -> Waiter {
        let since = Since { began_ms: now_ms(), many: ids.len() > 1 && !any };
        let (ids, doorbell) = (ids.to_vec(), Doorbell::hang(address).ok());
        let (places, process) = (Vec::new(), std::process::id());
        let mut waiter = Waiter { waiters: self, ids, any, address, doorbell, ticket: 0, since, places, process };
        waiter.stand();
        waiter
    }
}

/// Rings. Where this process can't do so at all, the waiters look by themselves.
fn is_gone(address: Address) -> bool {
    doorbell::ring(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether younger waiters have to leave this one's locks alone now, even if it can't have them all.
fn keeps(since: Since, now_ms: u64) -> bool {
    !since.many || (now_ms.saturating_sub(since.began_ms) / 1000).is_multiple_of(8)
}

/// A place in the queue; given up when it is dropped.
pub struct Waiter {
    waiters: Arc<Waiters>,
    ids: Vec<LockId>,
    any: bool,
    address: Address,
    doorbell: Option<Doorbell>,
    ticket: u64,
    since: Since,
    places: Vec<usize>,
    process: u32,
}

impl Waiter {
    /// To be said before each look at the locks: a release after it wakes this waiter again. Also the sign of life.
    pub fn looks(&mut self) {
        if self.doorbell.as_ref().is_some_and(|doorbell| !doorbell.is_there()) {
            // The host has closed it.
            self.doorbell = Doorbell::hang(self.address).ok();
        }
        // Who was silent for long has lost its slots.
        if self.places.is_empty() || self.slots().any(|slot| !slot.is_of(self.ticket)) {
            self.leave();
            self.stand();
        }
        self.gives_sign();
        self.slots().for_each(|slot| slot.clear_woken());
    }

    /// To be said each [`RECHECK`], also where there is nothing to look at.
    pub fn gives_sign(&self) {
        let now_ms = now_ms();
        self.slots().for_each(|slot| slot.stamp(now_ms));
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.places.iter().map(|place| self.waiters.0.slot(*place))
    }

    fn stand(&mut self) {
        if self.doorbell.is_none() {
            return;
        }
        if self.ticket == 0 {
            self.ticket = self.waiters.0.next_ticket();
        }
        for ids in self.ids.chunks(IDS_IN_SLOT) {
            let Some(place) = self.waiters.claim() else { return };
            self.waiters.0.slot(place).fill(self.ticket, self.since, self.address, ids);
            self.places.push(place);
        }
    }

    fn leave(&mut self) {
        // In a child that a signal handler forked, they are its parent's.
        if self.process == std::process::id() {
            self.slots().filter(|slot| slot.is_of(self.ticket)).for_each(|slot| slot.free());
        }
        self.places.clear();
    }

    /// Those of the locks that are not in the way (a bit for each, the lowest for the first) are passed on to the next in
    /// the queue, unless this waiter keeps them from others at the moment.
    pub fn pass_on(&self, in_the_way: u64) {
        if !keeps(self.since, now_ms()) {
            let free = self.ids.iter().enumerate().filter(|(place, _)| in_the_way >> place & 1 == 0);
            free.for_each(|(_, id)| self.waiters.wake_after(std::slice::from_ref(id), self.ticket));
        }
    }

    /// Whether those who came before have to be let through first: all of them, or only those who want several locks.
    pub fn others_stand_before(&self, only_many: bool) -> bool {
        self.waiters.others_want_before(&self.ids, self.any, self.ticket, only_many)
    }

    /// Whether younger ones have to leave its locks alone now, even if it can't have them all.
    pub fn keeps(&self) -> bool {
        keeps(self.since, now_ms())
    }

    pub fn doorbell(&self) -> Option<&Doorbell> {
        self.doorbell.as_ref()
    }

    /// Goes on in this queue, if it is another one: the file was made anew.
    pub fn follow(&mut self, waiters: Arc<Waiters>) {
        if !Arc::ptr_eq(&self.waiters, &waiters) {
            self.leave();
            (self.waiters, self.ticket) = (waiters, 0);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let was_woken = self.slots().any(|slot| slot.is_of(self.ticket) && slot.was_woken());
        self.leave();
        // Who was woken and leaves owes the next one a look.
        if was_woken && self.process == std::process::id() {
            self.waiters.wake(&self.ids);
        }
    }
}
