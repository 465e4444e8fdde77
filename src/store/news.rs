//! What other processes release, as a remote store tells it.

use crate::{model::name::LockId, shared::wait_queue::Waiters};
use std::{os::fd::RawFd, sync::Arc};

/// Where the threads of this process that wait for locks of a store hear of those that were released.
pub trait News: Send + Sync {
    /// To be said by each thread that begins to wait for these locks.
    fn enter(self: Arc<Self>, ids: &[LockId]) -> Box<dyn Ear>;
}

/// One thread's share in the listening: one of those who wait listens for all.
pub trait Ear {
    /// The descriptor that shows that there are news, if this thread is the one to listen: asked before each sleep. Where there
    /// is none yet it is made, in little time; where it can't be had, the waiters are left to their own looks.
    fn fd(&mut self) -> Option<RawFd>;
    /// Takes in what has come, without waiting for more, and wakes those whom it concerns.
    fn hear(&mut self, waiters: &Waiters);
}
