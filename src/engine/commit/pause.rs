//! How the engine waits for somebody who is in the way and tells nobody when that ends.

use crate::clock;
use std::{
    thread,
    time::{Duration, Instant},
};

/// Growing pauses between tries.
pub struct Pause {
    next: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_micros(500);

    pub fn new() -> Pause {
        Pause { next: Self::FIRST }
    }

    /// Sleeps for a while, but not beyond the deadline. The length differs from caller to caller, so that processes
    /// that met once do not meet again.
    pub fn sleep(&mut self, deadline: Instant) {
        let now = clock::instant();
        let left = deadline.saturating_duration_since(now);
        let mix = u64::from(std::process::id()) ^ (clock::now_us() as u64);
        let share = mix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let length = self.next.mul_f64(0.5 + share as f64 / 256.0);
        thread::sleep(length.min(left));
        self.next = (self.next * 2).min(Self::LONGEST);
    }
}
