//! Memory that the processes of a host share: the publication list of the combiner, and the wait queue.
//!
//! Nothing here grants a lock; a transaction of the store does. So a process that is killed or stopped
//! anywhere in here costs others time, and nothing else.

pub mod combiner;
pub mod wait_queue;
