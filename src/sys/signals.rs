//! Keeps signals and thread cancellation away from the library's work.
//!
//! While a [`Shield`] stands, no signal handler of the host runs in this thread: it could fork or jump out in the middle
//! of a transaction. SIGXFSZ and SIGPIPE that the work itself raised are taken back, so the host never sees them: whoever
//! makes a write that fails with EFBIG or EPIPE calls [`raised`].

use crate::mutant;
use std::{cell::Cell, marker::PhantomData, mem::MaybeUninit, ptr};

thread_local! {
    static RAISED: Cell<bool> = const { Cell::new(false) };
}

/// A write of this thread failed in a way that raises a signal.
pub fn raised() {
    RAISED.set(true);
}

/// Signals that the thread's own instructions raise. Blocking these would end the process.
const SYNCHRONOUS: [libc::c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];
/// Signals that a failing write raises.
const RAISED_BY_WRITES: [libc::c_int; 2] = [libc::SIGXFSZ, libc::SIGPIPE];

/// The signals that a thread of the host blocks by itself.
pub struct SignalMask(Option<libc::sigset_t>);

impl SignalMask {
    /// For ppoll(2): NULL leaves the mask as it is.
    pub fn as_ptr(&self) -> *const libc::sigset_t {
        self.0.as_ref().map_or(ptr::null(), ptr::from_ref)
    }

    #[cfg(test)]
    pub fn current() -> SignalMask {
        SignalMask(None)
    }
}

/// Runs the body with every signal blocked that can be: a thread that it starts has them blocked for good.
pub fn while_all_blocked<T>(body: impl FnOnce() -> T) -> T {
    let mut everything = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set.
    let everything = unsafe {
        libc::sigfillset(everything.as_mut_ptr());
        everything.assume_init()
    };
    let before = set_mask(&everything);
    let result = body();
    set_mask(&before);
    result
}

/// All signals are blocked in this thread until it is dropped.
pub struct Shield {
    before: Option<libc::sigset_t>,
    /// Which of [`RAISED_BY_WRITES`] the host had waiting already; those are not ours to take.
    waiting_before: [bool; 2],
    /// A signal mask belongs to one thread.
    _of_this_thread: PhantomData<*const ()>,
}

impl Shield {
    pub fn raise() -> Shield {
        let mut shield = Shield { before: None, waiting_before: [false; 2], _of_this_thread: PhantomData };
        if mutant::on("signals") {
            return shield;
        }
        let before = change_mask(libc::SIG_BLOCK, &everything());
        if RAISED_BY_WRITES.iter().any(|signal| contains(&before, *signal)) {
            shield.waiting_before = waiting();
        }
        shield.before = Some(before);
        shield
    }

    /// What the thread blocks without us.
    pub fn mask_of_host(&self) -> SignalMask {
        SignalMask(self.before)
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        let Some(before) = self.before else { return };
        let waiting = if RAISED.take() { waiting() } else { [false; 2] };
        for (place, signal) in RAISED_BY_WRITES.into_iter().enumerate() {
            if waiting[place] && !self.waiting_before[place] {
                take_back(signal);
            }
        }
        set_mask(&before);
    }
}

fn everything() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set; sigdelset changes it.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        let mut set = set.assume_init();
        for signal in SYNCHRONOUS {
            libc::sigdelset(&mut set, signal);
        }
        set
    }
}

fn set_mask(new: &libc::sigset_t) -> libc::sigset_t {
    change_mask(libc::SIG_SETMASK, new)
}

fn change_mask(how: libc::c_int, new: &libc::sigset_t) -> libc::sigset_t {
    let mut old = MaybeUninit::zeroed();
    // SAFETY: both sets are valid. With these ways the call can't fail, and it fills the old mask.
    unsafe {
        libc::pthread_sigmask(how, new, old.as_mut_ptr());
        old.assume_init()
    }
}

fn contains(set: &libc::sigset_t, signal: libc::c_int) -> bool {
    // SAFETY: the set is valid.
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn waiting() -> [bool; 2] {
    let mut set = MaybeUninit::zeroed();
    // SAFETY: sigpending fills the set.
    let set = unsafe {
        libc::sigpending(set.as_mut_ptr());
        set.assume_init()
    };
    RAISED_BY_WRITES.map(|signal| contains(&set, signal))
}

/// Takes a waiting signal. One that another process sent was meant for the host: it is sent on.
fn take_back(signal: libc::c_int) {
    let mut set = MaybeUninit::zeroed();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set is initialised by sigemptyset; the call fills info when it takes a signal, whose sender (si_pid)
    // the kernel sets for SI_USER.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        let taken = libc::sigtimedwait(set.as_ptr(), info.as_mut_ptr(), &now) == signal;
        let info = info.assume_init();
        if taken && info.si_code == libc::SI_USER && info.si_pid() != libc::getpid() {
            libc::kill(libc::getpid(), signal);
        }
    }
}

/// Thread cancellation is off in this thread until it is dropped. A cancelled thread would unwind through Rust.
pub struct NotCancelled(libc::c_int);

const PTHREAD_CANCEL_DISABLE: libc::c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: libc::c_int, old_state: *mut libc::c_int) -> libc::c_int;
}

impl NotCancelled {
    pub fn begin() -> NotCancelled {
        let mut before = PTHREAD_CANCEL_DISABLE;
        if !mutant::on("cancel") {
            // SAFETY: the call writes the state before into a local.
            unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before) };
        }
        NotCancelled(before)
    }
}

impl Drop for NotCancelled {
    fn drop(&mut self) {
        if self.0 != PTHREAD_CANCEL_DISABLE {
            // SAFETY: the state is one that the system gave; the old one is not wanted.
            unsafe { pthread_setcancelstate(self.0, ptr::null_mut()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes to a pipe that nobody reads, in a forked child with the system's own disposition of SIGPIPE; gives how the
    /// child ended.
    fn write_to_dead_pipe(shielded: bool) -> libc::c_int {
        // SAFETY: the child calls nothing but system calls; all pointers are to locals.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                let mut ends = [0; 2];
                libc::pipe(ends.as_mut_ptr());
                libc::close(ends[0]);
                let shield = shielded.then(Shield::raise);
                let failed = libc::write(ends[1], c"x".as_ptr().cast(), 1) < 0;
                raised();
                drop(shield);
                libc::_exit(if failed { 0 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        }
    }

    /// A library that writes to a dead socket would end a host that has not thought of SIGPIPE.
    #[test]
    fn a_dead_pipe_raises_no_signal_in_the_host() {
        let status = write_to_dead_pipe(true);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        let status = write_to_dead_pipe(false);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGPIPE, "the test can fail");
    }

    #[test]
    fn the_mask_is_as_before() {
        let before = set_mask(&everything());
        set_mask(&before);
        drop(Shield::raise());
        let after = set_mask(&before);
        assert!((1..=64).all(|signal| contains(&before, signal) == contains(&after, signal)));
    }
}
