//! One thread waits, another wakes it: futex(2) with nothing around it.
//!
//! A condition variable would take its mutex again before the waiter has its signals blocked, and a handler that forks at
//! that moment would stop the process; and the standard library's parking keeps a record of each of the host's threads.

use std::{
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
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

/// What many threads wait for together.
#[derive(Default)]
pub struct Group {
    word: AtomicU32,
    asleep: AtomicU32,
}

impl Group {
    /// To be asked before the look at what is waited for: a wake after it ends the wait.
    pub fn seen(&self) -> u32 {
        self.word.load(Ordering::SeqCst)
    }

    /// It may also return without a reason.
    pub fn wait(&self, seen: u32, longest: Duration) {
        self.asleep.fetch_add(1, Ordering::SeqCst);
        wait_at(self.word.as_ptr(), seen, ALL_BITS, longest, libc::FUTEX_PRIVATE_FLAG);
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes so many of them, those first who have waited longest.
    pub fn wake(&self, most: i32) {
        self.word.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) != 0 {
            wake_at(self.word.as_ptr(), ALL_BITS, most, libc::FUTEX_PRIVATE_FLAG);
        }
    }
}

const ALL_BITS: u32 = u32::MAX;

/// Waits until a word that processes share is rung, for at most that long; at once if it is not as it was seen. Who waits
/// is woken by rings that have one of its bits. It may also return without a reason.
pub fn wait_shared(word: &AtomicU64, seen: u64, bits: u32, longest: Duration) {
    wait_at(low_half(word), seen as u32, bits, longest, 0);
}

/// Wakes all that wait with one of these bits. The word must have been changed before.
pub fn wake_shared(word: &AtomicU64, bits: u32) {
    wake_at(low_half(word), bits, i32::MAX, 0);
}

fn wait_at(word: *const u32, seen: u32, bits: u32, longest: Duration, flags: libc::c_int) {
    let end = super::monotonic_after(longest);
    let operation = libc::FUTEX_WAIT_BITSET | flags;
    // SAFETY: the callers' word and the time live as long as the call; it takes an end on the monotonic clock.
    unsafe { libc::syscall(libc::SYS_futex, word, operation, seen, &raw const end, ptr::null::<u32>(), bits) };
}

fn wake_at(word: *const u32, bits: u32, most: i32, flags: libc::c_int) {
    let (no_time, no_second) = (ptr::null::<libc::timespec>(), ptr::null::<u32>());
    let operation = libc::FUTEX_WAKE_BITSET | flags;
    // SAFETY: the callers' word lives as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word, operation, most, no_time, no_second, bits) };
}

/// The kernel looks at 32 bits.
fn low_half(word: &AtomicU64) -> *const u32 {
    let first = word.as_ptr().cast::<u32>();
    if cfg!(target_endian = "big") { first.wrapping_add(1) } else { first }
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
    fn a_shared_word_wakes_those_who_are_meant() {
        let word = AtomicU64::new(0);
        wait_shared(&word, 1, 1, Duration::from_secs(60));
        wait_shared(&word, 0, 1, Duration::from_millis(1));
        thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::SeqCst) == 0 {
                    wait_shared(&word, 0, 2, Duration::from_secs(60));
                }
            });
            word.store(1, Ordering::SeqCst);
            wake_shared(&word, 2);
        });
    }

    #[test]
    fn a_wake_is_for_one_or_for_all_of_a_group() {
        let (group, woken) = (&Group::default(), &AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    group.wait(group.seen(), Duration::from_secs(60));
                    woken.fetch_add(1, Ordering::SeqCst);
                });
            }
            for (most, wanted) in [(1, 1), (i32::MAX, 4)] {
                while woken.load(Ordering::SeqCst) < wanted {
                    group.wake(most);
                    thread::yield_now();
                }
            }
        });
        assert_eq!(woken.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn a_wait_ends_by_itself() {
        let begin = Instant::now();
        Bell::default().wait(Duration::from_millis(20));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
