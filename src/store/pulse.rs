//! Whether a store has changed, told without asking it: so that those who wait can look often at no price.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a store's pulse reads. As long as it stays the same, nothing was committed.
pub type Beat = [u64; 6];

pub trait Pulse: Send + Sync {
    /// None where it can't be told.
    fn beat(&self) -> Option<Beat>;
}

/// Of a store that is changed by this process alone.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Pulse for Counter {
    fn beat(&self) -> Option<Beat> {
        Some([self.0.load(Ordering::Acquire), 0, 0, 0, 0, 0])
    }
}
