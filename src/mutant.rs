//! The test-only switch that turns one guard off.
//!
//! Each guard against a hazard has a test that fails without it. The feature `mutants` builds a library in which
//! `DSS_MUTANT=name` turns the guard of that name off; without the feature the switch is the constant `false` and
//! the compiler removes it.

#[cfg(feature = "mutants")]
pub fn on(name: &str) -> bool {
    std::env::var_os("DSS_MUTANT").is_some_and(|chosen| chosen == name)
}

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn on(_name: &str) -> bool {
    false
}
