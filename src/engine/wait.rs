//! Waiting for locks that others hold.
//!
//! A waiter stands in the queue of [`crate::store::waiters`] and sleeps. Who releases a lock wakes the one who waits longest
//! for it; that one asks the store, and sleeps on if somebody else was faster. Behind that stands a look by itself: when the
//! lease that is in the way runs out, and when the store has changed and nobody rang, for wake-ups are lost with the process
//! that owes them.

use super::{
    calls::{Granted, unexpected},
    gate::Inside,
    handle::{Handle, Session},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        name::LockId,
        request::{InQueue, InTheWay, Reply, Request, Turn, Wanted},
    },
    mutant,
    shared::wait_queue::{RECHECK, Waiter},
    store::{
        news::Ear,
        pulse::{Beat, Pulse},
    },
    sys::doorbell::{self, Address, Woken},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Why nothing was taken, and the code of each id.
pub struct Refusal {
    pub error: Error,
    pub codes: Vec<Code>,
}

impl Refusal {
    pub fn of_all(error: Error, count: usize) -> Refusal {
        Refusal { codes: vec![error.code; count], error }
    }
}

/// How long a call waits for those who hold its locks.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    pub fn of(wait: Option<Duration>) -> Patience {
        match wait {
            Some(Duration::ZERO) => Patience::None,
            Some(wait) => clock::instant().checked_add(wait).map_or(Patience::Endless, Patience::Until),
            None => Patience::Endless,
        }
    }

    fn is_over(self, now: Instant) -> bool {
        match self {
            Patience::None => true,
            Patience::Until(end) => now >= end,
            Patience::Endless => false,
        }
    }

    fn left(self, now: Instant) -> Duration {
        match self {
            Patience::None => Duration::ZERO,
            Patience::Until(end) => end.saturating_duration_since(now),
            Patience::Endless => Duration::MAX,
        }
    }
}

/// Why a waiter looks at its locks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It has just come, or a lease ran out: those who came before go first.
    InTurn,
    /// It was woken: it is its turn.
    Woken,
    /// It is time to: whoever should have taken them has not. Only who wants several goes first, while it keeps them.
    BySelf,
}

/// Even where the store's pulse stays the same, a waiter looks so often: a file that was moved away has no pulse.
const LOOK_AT_LEAST: Duration = Duration::from_secs(12);

/// How long a call that ends without its locks may take to leave the store's queue.
const LEAVES_WITHIN: Duration = Duration::from_millis(300);

type Taken = Result<Vec<Option<Granted>>, Refusal>;

impl Handle {
    /// Takes the locks, and waits for them if the caller wants that.
    pub(super) fn take(
        &self,
        session: &Session,
        mut wanted: Arc<Wanted>,
        patience: Patience,
        keep: bool,
        inside: &mut Inside,
    ) -> Taken {
        let waits = !matches!(patience, Patience::None);
        if waits {
            inside.watch_signals();
        }
        // Who may wait does not push in before those who do. (A resume asks for what it has.)
        let stands_back = waits && !wanted.resume && session.store.waiters().others_want(&wanted.ids, wanted.any);
        let mut in_the_way = None;
        if waits && !wanted.resume {
            Arc::make_mut(&mut wanted).turn = Turn::Behind;
        }
        if !stands_back {
            let tried = self.try_to_take(session, &mut wanted, keep, inside);
            match tried.map_err(|error| Refusal::of_all(error, wanted.ids.len()))? {
                Ok(granted) => return Ok(granted),
                Err(found) if !waits => return Err(refusal(&wanted.ids, Some(&found), found.error.clone())),
                Err(found) => in_the_way = Some(found),
            }
        }
        let address = address(session);
        self.waiting().push(address);
        let look = Look::InTurn;
        let ear = session.store.news().map(|news| news.enter(&wanted.ids));
        let mut waiting = Waiting { handle: self, session, wanted, patience, keep, address, ear, in_the_way, look };
        let taken = waiting.wait(inside);
        if taken.is_err() {
            waiting.leave(inside);
        }
        self.waiting().retain(|other| *other != address);
        taken
    }
}

/// As good as an attempt's number, of which there is only one.
fn address(session: &Session) -> Address {
    Address::of_name(session.attempts.next().0)
}

/// A call that waits.
struct Waiting<'a> {
    handle: &'a Handle,
    session: &'a Session,
    wanted: Arc<Wanted>,
    patience: Patience,
    keep: bool,
    address: Address,
    /// Where a remote store tells what others release.
    ear: Option<Box<dyn Ear>>,
    /// What the last look met; None if others went first.
    in_the_way: Option<InTheWay>,
    /// Why it looks next.
    look: Look,
}

impl Waiting<'_> {
    fn wait(&mut self, inside: &mut Inside) -> Taken {
        let mut waiter = self.session.store.waiters().enter(&self.wanted.ids, self.wanted.any, self.address);
        loop {
            if self.handle.is_closed() {
                let text = "the handle was closed by dss_fini while the call waited";
                return Err(self.refuse(Error::new(Code::NotOpen, text)));
            }
            waiter.follow(self.session.store.waiters());
            waiter.looks();
            // Before the look: what changes after it is seen.
            let pulse = Heard::now(self.session.store.pulse());
            if let Some(granted) = self.look(&waiter, inside)? {
                return Ok(granted);
            }
            if self.patience.is_over(clock::instant()) {
                return Err(self.refuse(self.timed_out()));
            }
            if inside.saw_signal() || !self.sleep(&waiter, &pulse, inside)? {
                let text = "a signal handler ran while the call waited for a lock: call again to go on waiting";
                return Err(self.refuse(Error::new(Code::Interrupted, text)));
            }
        }
    }

    /// Looks whether the locks can be had, and if so takes them.
    fn look(&mut self, waiter: &Waiter, inside: &mut Inside) -> Result<Option<Vec<Option<Granted>>>, Refusal> {
        let count = self.wanted.ids.len();
        let of_all = |error| Refusal::of_all(error, count);
        self.take_place(waiter);
        if self.look != Look::Woken {
            // Reads wait for nobody and keep nobody waiting.
            let deadline = clock::instant() + self.handle.timeout;
            let peeked = self.session.store.call(Request::Peek(self.wanted.clone()), deadline, inside);
            match peeked.map_err(of_all)? {
                Reply::Granted(_) if waiter.others_stand_before(self.look == Look::BySelf) => {
                    self.in_the_way = None;
                    return Ok(None);
                }
                Reply::Granted(_) => {}
                Reply::Refused(found) => {
                    self.in_the_way = Some(found);
                    return Ok(None);
                }
                other => return Err(of_all(unexpected(&other))),
            }
        }
        let tried = self.handle.try_to_take(self.session, &mut self.wanted, self.keep, inside);
        match tried.map_err(of_all)? {
            Ok(granted) => Ok(Some(granted)),
            Err(found) => {
                waiter.pass_on(found.which);
                self.in_the_way = Some(found);
                Ok(None)
            }
        }
    }

    /// Says how this look stands to those who wait in the store's own queue.
    fn take_place(&mut self, waiter: &Waiter) {
        let in_turn = self.look != Look::BySelf && !self.wanted.resume;
        let place = InQueue { name: self.address.name(), in_turn, keeps: waiter.keeps() };
        Arc::make_mut(&mut self.wanted).turn = Turn::Waits(place);
    }

    /// Gives up the place in the store's own queue, where it has one. If that fails, others find out by themselves.
    fn leave(&mut self, inside: &mut Inside) {
        if self.ear.is_some() && self.session.store.is_ours() {
            let leave = Request::Leave { ids: self.wanted.ids.clone(), name: self.address.name() };
            let _ = self.session.store.call(leave, clock::instant() + LEAVES_WITHIN, inside);
        }
    }

    /// Sleeps until there is a reason to look; false if a signal handler ran.
    fn sleep(&mut self, waiter: &Waiter, pulse: &Heard, inside: &mut Inside) -> Result<bool, Refusal> {
        let left_us = self.in_the_way.as_ref().and_then(|found| found.free_in_us);
        // A little later than the store's clock says.
        let lease_us = left_us.map(|left| clock::boot_us().saturating_add_unsigned(left).saturating_add(100));
        let mut ear = self.ear.take();
        let woken = inside.outside_for_signals(|signals| {
            loop {
                let longest = self.nap(lease_us);
                let news = ear.as_mut().and_then(|ear| ear.fd());
                match doorbell::wait(waiter.doorbell(), news, longest, signals) {
                    Woken::BySignal => return None,
                    Woken::Rung => return Some(Look::Woken),
                    Woken::News => {
                        ear.iter_mut().for_each(|ear| ear.hear(&self.session.store.waiters()));
                        continue;
                    }
                    Woken::TimeIsUp => waiter.gives_sign(),
                }
                if lease_us.is_some_and(|end| clock::boot_us() >= end) {
                    return Some(Look::InTurn);
                }
                let is_over = self.patience.is_over(clock::instant()) || self.handle.is_closed();
                if is_over || self.in_the_way.is_none() || (pulse.has_changed() && !mutant::on("no_recheck")) {
                    return Some(Look::BySelf);
                }
            }
        });
        self.ear = ear;
        let look = woken.map_err(|error| self.refuse(error))?;
        look.iter().for_each(|look| self.look = *look);
        Ok(look.is_some())
    }

    /// How long to sleep at a time. All waiters of the host wake at the same moments, which costs it less than many single
    /// ones.
    fn nap(&self, lease_us: Option<i64>) -> Duration {
        let now_us = clock::boot_us();
        let recheck_us = RECHECK.as_micros() as i64;
        let next_us = recheck_us - now_us.rem_euclid(recheck_us);
        let lease_us = lease_us.map_or(i64::MAX, |end| end.saturating_sub(now_us).max(0));
        Duration::from_micros(next_us.min(lease_us) as u64).min(self.patience.left(clock::instant()))
    }

    fn timed_out(&self) -> Error {
        let found = self.in_the_way.as_ref().map_or("others wait for it longer", |found| &found.error.text);
        Error::new(Code::TimedOut, format!("wait_ms has passed: {found}"))
    }

    fn refuse(&self, error: Error) -> Refusal {
        refusal(&self.wanted.ids, self.in_the_way.as_ref(), error)
    }
}

/// The store's pulse as it was before a look.
struct Heard {
    pulse: Option<Arc<dyn Pulse>>,
    beat: Option<Beat>,
    until: Instant,
}

impl Heard {
    fn now(pulse: Option<Arc<dyn Pulse>>) -> Heard {
        let beat = pulse.as_ref().and_then(|pulse| pulse.beat());
        Heard { pulse, beat, until: clock::instant() + LOOK_AT_LEAST }
    }

    fn has_changed(&self) -> bool {
        let beat = self.pulse.as_ref().and_then(|pulse| pulse.beat());
        beat.is_none() || beat != self.beat || clock::instant() >= self.until
    }
}

/// Each id's code: held, or not taken because of one that is.
fn refusal(ids: &[LockId], in_the_way: Option<&InTheWay>, error: Error) -> Refusal {
    let which = in_the_way.map_or(u64::MAX, |found| found.which);
    let code = |place: usize| if which >> place & 1 == 1 { Code::Held } else { Code::Canceled };
    Refusal { error, codes: (0..ids.len()).map(code).collect() }
}
