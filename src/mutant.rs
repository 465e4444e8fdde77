//! The test-only switch that turns one guard off.
//!
//! Each guard against a hazard has a test that fails without it. The feature `mutants` builds a library in which
//! `DSS_MUTANT=name` turns the guard of that name off; without the feature the switch is the constant `false` and
//! the compiler removes it.

#[cfg(feature = "mutants")]
pub fn on(name: &str) -> bool {
    std::env::var_os("DSS_MUTANT").is_some_and(|chosen| chosen == name)
}

/// Ends the process as kill -9 does, once in a while, if one of these is on.
#[cfg(feature = "mutants")]
pub fn die_now_and_then(names: [&str; 2]) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TIMES: AtomicU32 = AtomicU32::new(0);
    if names.into_iter().any(on) && TIMES.fetch_add(1, Ordering::Relaxed) % 50 == std::process::id() % 50 {
        // SAFETY: has no preconditions.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(libc::getpid(), libc::SIGKILL)
        };
    }
}

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn die_now_and_then(_names: [&str; 2]) {}

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn on(_name: &str) -> bool {
    false
}
