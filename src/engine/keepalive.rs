//! The one thread that libdss may start: it renews the locks that were taken with KEEPALIVE, and tells when one is lost.
//!
//! It runs from the first such lock until the last handle of the process is closed. No signal is handled in it. Its work is
//! done inside the gate, so a fork finds it asleep; a child has none, until it takes such a lock itself.

use super::{
    commit::engine::Engine,
    gate::{self, Inside},
    handle::{self, Handle, Session},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        name::LockId,
        request::{Reply, Request},
    },
    mutant,
    sys::{futex::Bell, panics, reserve, signals},
};
use std::{
    mem, ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

static KEEPER: Mutex<Option<Keeper>> = Mutex::new(None);

struct Keeper {
    thread: JoinHandle<()>,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    /// Rung when there is something new to look at.
    bell: Bell,
    stop: AtomicBool,
    done: AtomicBool,
    ended: Bell,
}

/// Enough for a transaction of SQLite.
const STACK: usize = 512 * 1024;
/// The most renewals in one request.
const RENEWALS_MAX: usize = 4096;
/// How soon a renewal that failed is tried again.
const RETRY_US: i64 = 25_000;

fn keeper() -> MutexGuard<'static, Option<Keeper>> {
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread, if it does not run yet. It has all signals blocked from its first instruction on.
pub fn start(handle: &Handle, _inside: &Inside) -> Result<(), Error> {
    let mut keeper = keeper();
    if keeper.is_some() {
        return Ok(());
    }
    // Nobody would end it, if this was the last handle.
    if handle.is_closed() {
        return Err(handle::closed());
    }
    // A thread takes memory for itself when it begins, and ends the process if there is none.
    reserve::room_for(reserve::FOR_THREAD)?;
    let control = Arc::<Control>::default();
    let of_thread = control.clone();
    let builder = thread::Builder::new().name("dss-keepalive".into()).stack_size(STACK);
    let thread = signals::while_all_blocked(|| builder.spawn(move || run(&of_thread)));
    let thread = thread.map_err(|error| {
        Error::new(Code::NoMemory, format!("the thread that renews locks can't be started: {error}; raise the limit"))
    })?;
    *keeper = Some(Keeper { thread, control });
    Ok(())
}

/// There is a lock to keep, or one less.
pub fn look_again() {
    keeper().iter().for_each(|keeper| keeper.control.bell.ring());
}

/// Ends the thread with the last handle, and waits for its end.
pub fn stop_if_unused(inside: &mut Inside) -> Result<(), Error> {
    let stopped = {
        let mut keeper = keeper();
        if !handle::none_is_open() {
            return Ok(());
        }
        keeper.take()
    };
    let Some(Keeper { thread, control }) = stopped else { return Ok(()) };
    control.stop.store(true, Ordering::Release);
    control.bell.ring();
    while !control.done.load(Ordering::Acquire) {
        // Where a handler forks here, the child has no such thread.
        if let Err(forked) = inside.outside(|| control.ended.wait(Duration::from_secs(1))) {
            mem::forget(thread);
            return Err(forked);
        }
    }
    // It has nothing left to do but to end.
    let _ = thread.join();
    Ok(())
}

/// In a forked child: the thread is its parent's.
pub fn forget_thread() {
    mem::forget(keeper().take());
}

fn run(control: &Control) {
    while !control.stop.load(Ordering::Acquire) {
        // A defect costs this round; what is not renewed is told as lost.
        let next_us = panics::contain(|| gate::enter().map(|mut inside| round(&mut inside)));
        let next_us = next_us.ok().and_then(Result::ok).unwrap_or_else(|| clock::boot_us() + 1_000_000);
        let pause = next_us.saturating_sub(clock::boot_us()).max(0) as u64;
        control.bell.wait(Duration::from_micros(pause));
    }
    control.done.store(true, Ordering::Release);
    control.ended.ring();
}

/// A handle with kept locks, and its renewals.
struct Keeping {
    /// Before the session is dropped with the handle: both only inside the gate.
    session: Arc<Session>,
    handle: Arc<Handle>,
    renewals: Vec<(LockId, u64)>,
}

/// Tells what time has done, and renews what is due. Gives the moment for the next round.
fn round(inside: &mut Inside) -> i64 {
    let now_us = clock::boot_us();
    let mut next_us = i64::MAX;
    let mut keepings = Vec::new();
    for handle in handle::all(inside) {
        let Some(session) = handle.session_of_process() else { continue };
        let due = session.holdings().look(now_us);
        next_us = next_us.min(due.next_us);
        if !due.renewals.is_empty() {
            keepings.push(Keeping { session, handle, renewals: due.renewals });
        }
    }
    let groups = by_store(keepings);
    let others_wait = groups.len() > 1 && !mutant::on("stuck_store");
    for group in &groups {
        // A store that is stuck keeps no other one from its renewals.
        let until_us = if others_wait { next_us.min(clock::boot_us() + RETRY_US) } else { next_us };
        // What was renewed has a new time of its own, which the next round finds.
        let pause_us = if renew(group, until_us, inside) { 0 } else { RETRY_US };
        next_us = next_us.min(clock::boot_us() + pause_us);
    }
    next_us
}

fn by_store(mut keepings: Vec<Keeping>) -> Vec<Vec<Keeping>> {
    let mut groups = Vec::new();
    while let Some(first) = keepings.pop() {
        let store: *const Engine = &*first.session.store;
        let mut group: Vec<Keeping> = keepings.extract_if(.., |other| ptr::eq(&*other.session.store, store)).collect();
        group.push(first);
        groups.push(group);
    }
    groups
}

/// Renews the locks of one store in as few requests as can be. It may take until the next moment at which something has to
/// be told. False if any was not renewed.
fn renew(group: &[Keeping], until_us: i64, inside: &mut Inside) -> bool {
    let all: Vec<(&Keeping, &(LockId, u64))> =
        group.iter().flat_map(|keeping| keeping.renewals.iter().map(move |renewal| (keeping, renewal))).collect();
    let mut well = true;
    for part in all.chunks(RENEWALS_MAX) {
        let ids = part.iter().map(|(_, (id, _))| id.clone()).collect();
        let tokens = part.iter().map(|(_, (_, token))| *token).collect();
        let asked_us = clock::boot_us();
        let patience = Duration::from_micros(until_us.saturating_sub(asked_us).max(0) as u64);
        let deadline = clock::instant() + patience.min(group[0].handle.timeout);
        let session = &group[0].session;
        let renewal = Request::Refresh { ids, owner: None, tokens, attempt: session.attempts.next() };
        let reply = session.store.call(renewal, deadline, inside);
        let Ok(Reply::Each(results)) = reply else {
            well = false;
            continue;
        };
        for ((keeping, (id, token)), result) in part.iter().zip(&results) {
            keeping.session.holdings().renewed(id, *token, asked_us, result);
        }
    }
    well
}
