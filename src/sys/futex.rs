//! One thread waits, another wakes it: futex(2) with nothing around it.
//!
//! A condition variable would take its mutex again before the waiter has its signals blocked, and a handler that forks at
//! that moment would stop the process; and the standard library's parking keeps a record of each of the host's threads.

use std::{
    ptr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

const NOTHING: u32 = 0;
const WOKEN: u32 = 1;
const ASLEEP: u32 = 2;

/// What one thread waits for.
#[derive(Default)]
pub struct Bell(AtomicU32);

impl Bell {
    /// Waits until somebody rings, for at most that long; at once if somebody did since the last wait. It may also return
    /// without a reason.
    pub fn wait(&self, longest: Duration) {
        if self.0.compare_exchange(NOTHING, ASLEEP, Ordering::Acquire, Ordering::Acquire).is_ok() {
            let seconds = longest.as_secs().try_into().unwrap_or(libc::time_t::MAX);
            let timeout = libc::timespec { tv_sec: seconds, tv_nsec: longest.subsec_nanos().into() };
            // SAFETY: the word and the time live as long as the call.
            unsafe {
                let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
                libc::syscall(libc::SYS_futex, self.0.as_ptr(), operation, ASLEEP, &raw const timeout);
            }
        }
        self.0.store(NOTHING, Ordering::Release);
    }

    /// A system call only if the other one sleeps.
    pub fn ring(&self) {
        if self.0.swap(WOKEN, Ordering::Release) == ASLEEP {
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word lives as long as the call.
            unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), operation, 1, ptr::null::<libc::timespec>()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Instant};

    #[test]
    fn a_ring_is_not_lost() {
        let bell = Bell::default();
        bell.ring();
        bell.wait(Duration::from_secs(60));
        thread::scope(|scope| {
            scope.spawn(|| bell.ring());
            bell.wait(Duration::from_secs(60));
        });
    }

    #[test]
    fn a_wait_ends_by_itself() {
        let begin = Instant::now();
        Bell::default().wait(Duration::from_millis(20));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
