//! The one module that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// UTC in microseconds since 1970.
pub fn now_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

/// The monotonic clock, for how long a call may take.
pub fn instant() -> Instant {
    Instant::now()
}
