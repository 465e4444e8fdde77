//! The gate between calls and fork(2).
//!
//! SQLite's locks and tables can't be shared with a forked child. So every piece of work is done [`Inside`] the gate,
//! and a fork shuts it: it lets the work that is going on end, closes what is open, forks, and opens the gate again on
//! both sides. Waiting is done outside. While inside, signals are blocked, so no handler can fork in the middle.
//!
//! Every lock of the library is taken inside, so none is held by another thread at the moment of a fork; what belongs
//! to an engine the child never touches, because a new generation makes engines of its own.

use crate::{
    model::error::{Code, Error},
    mutant,
    sys::{
        self, birth_mark,
        doorbell::{self, Woken},
        inherited,
        signals::{Shield, SignalMask},
    },
};
use std::{
    cell::RefCell,
    panic,
    sync::{
        MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

static GATE: RwLock<()> = RwLock::new(());
/// The process that the library's state belongs to; 0 if the fork handlers could not be set.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Whether any call was made in this process or in those that it was forked from.
static USED: AtomicBool = AtomicBool::new(false);
/// How many forks lie between this process and the one that first used the library.
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What a forking thread holds from before the fork to after it.
    static SHUT: RefCell<Option<Shut>> = const { RefCell::new(None) };
}

/// In the order in which they are given back.
type Shut = (RwLockWriteGuard<'static, ()>, MutexGuard<'static, ()>, Shield);

/// The right to work with stores and with the library's own tables. Fields are dropped in this order.
pub struct Inside {
    pass: Option<RwLockReadGuard<'static, ()>>,
    shield: Option<Shield>,
    generation: u64,
    /// For a call that a signal shall end: whether a handler has run since the call began.
    signals: Option<bool>,
}

/// Enters. Never twice in one thread: a fork that waits between the two would stop both.
pub fn enter() -> Result<Inside, Error> {
    if PROCESS.load(Ordering::Relaxed) == 0 {
        return Err(Error::new(Code::NoMemory, "fork handlers could not be set when libdss was loaded: no memory"));
    }
    if !is_this_process() && !mutant::on("fork_pid") {
        adopt()?;
    }
    let mut inside = Inside { pass: None, shield: None, generation: 0, signals: None };
    inside.go_in();
    inside.generation = generation();
    USED.store(true, Ordering::Relaxed);
    Ok(inside)
}

/// Makes the library that of this process, which came about without its fork handlers. That is harmless only if nothing
/// has been done with it before.
fn adopt() -> Result<(), Error> {
    if USED.load(Ordering::Relaxed) {
        return Err(Error::new(
            Code::Forked,
            "this process was made by _Fork or clone, which tell libraries nothing: use fork(3), or exec first",
        ));
    }
    settle_here();
    Ok(())
}

/// The library is that of this process from now on.
fn settle_here() {
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    birth_mark::make();
}

/// Asked at each call, so without a system call where that is possible.
fn is_this_process() -> bool {
    birth_mark::is_there().unwrap_or_else(|| PROCESS.load(Ordering::Relaxed) == std::process::id())
}

/// Which process of a family of forks this is; stores that an earlier one opened are not ours.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

impl Inside {
    /// Waits outside, where a fork and the host's signal handlers may pass. Fails with -EINTR in a child that a
    /// handler forked meanwhile: the call goes on in its parent, and here nothing of it is left.
    pub fn outside<T>(&mut self, wait: impl FnOnce() -> T) -> Result<T, Error> {
        if self.watches_signals() {
            return self.outside_watched(wait);
        }
        self.pass = None;
        self.shield = None;
        let result = wait();
        self.go_in();
        self.check_process()?;
        Ok(result)
    }

    /// Does what takes long and keeps nobody: a fork of another thread may pass meanwhile, and in its child this thread is not
    /// there to go on. Signals stay blocked, so that no handler forks in the middle.
    pub fn aside<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.pass = None;
        let done = panic::catch_unwind(panic::AssertUnwindSafe(work));
        self.pass = Some(GATE.read().unwrap_or_else(PoisonError::into_inner));
        done.unwrap_or_else(|defect| panic::resume_unwind(defect))
    }

    /// From now on a handler that runs is noted. It runs after the waits of the call, which are short, and not in them.
    pub fn watch_signals(&mut self) {
        if !mutant::on("missed_signal") {
            self.signals = Some(false);
        }
    }

    pub fn watches_signals(&self) -> bool {
        self.signals.is_some()
    }

    /// Whether a handler has run.
    pub fn saw_signal(&self) -> bool {
        self.signals == Some(true)
    }

    fn outside_watched<T>(&mut self, wait: impl FnOnce() -> T) -> Result<T, Error> {
        let (result, woken) =
            self.outside_for_signals(|mask| (wait(), doorbell::wait(None, None, Duration::ZERO, mask)))?;
        if woken == Woken::BySignal {
            self.signals = Some(true);
        }
        Ok(result)
    }

    /// The same for a wait that lets the host's signals in by itself, in one step with its beginning: so it can tell whether
    /// a handler ran.
    pub fn outside_for_signals<T>(&mut self, wait: impl FnOnce(&SignalMask) -> T) -> Result<T, Error> {
        let shield = self.shield.take().unwrap_or_else(Shield::raise);
        self.pass = None;
        let result = wait(&shield.mask_of_host());
        self.shield = Some(shield);
        self.pass = Some(GATE.read().unwrap_or_else(PoisonError::into_inner));
        self.check_process()?;
        Ok(result)
    }

    /// Whether this still is the process that made the call.
    fn check_process(&self) -> Result<(), Error> {
        if self.generation == generation() {
            return Ok(());
        }
        let text = "a signal handler forked this process during the call, which goes on in the parent: call again";
        Err(Error::new(Code::Interrupted, text))
    }

    fn go_in(&mut self) {
        self.shield = Some(Shield::raise());
        self.pass = Some(GATE.read().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What the parts of the library do at a fork, while the gate is shut.
pub struct Hooks {
    pub before: fn(),
    /// Nothing may be allocated here, since another thread of the parent may have been in malloc.
    pub in_child: fn(),
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Call when the library is loaded. Done by the first call instead, a fork in the middle of it would leave a child in which
/// it never ends.
pub fn watch_forks(hooks: Hooks) {
    if HOOKS.set(hooks).is_ok() && sys::on_fork(before_fork, after_fork_in_parent, after_fork_in_child).is_ok() {
        birth_mark::prepare();
        settle_here();
    }
}

extern "C" fn before_fork() {
    if !is_this_process() {
        return;
    }
    let shield = Shield::raise();
    let shut = GATE.write().unwrap_or_else(PoisonError::into_inner);
    if !mutant::on("fork_close") {
        // A defect in there must not end the host's fork; the child makes its own engines in any case.
        let _ = HOOKS.get().map(|hooks| panic::catch_unwind(hooks.before));
    }
    let unchanging = inherited::changing();
    let _ = SHUT.try_with(|slot| slot.replace(Some((shut, unchanging, shield))));
}

extern "C" fn after_fork_in_parent() {
    let _ = SHUT.try_with(|slot| slot.take());
}

extern "C" fn after_fork_in_child() {
    let _ = SHUT.try_with(|slot| {
        if slot.borrow().is_some() && !mutant::on("fork_close") {
            GENERATION.fetch_add(1, Ordering::Relaxed);
            inherited::close_all();
            HOOKS.get().iter().for_each(|hooks| (hooks.in_child)());
        }
        if slot.borrow().is_some() {
            settle_here();
        }
        slot.take()
    });
}
