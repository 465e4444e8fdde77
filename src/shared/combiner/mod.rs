//! Flat combining (Hendler, Incze, Shavit, Tzafrir 2010) among the processes of a store: one process,
//! the combiner, runs the requests of the others together with its own, in one transaction with one
//! flush.
//!
//! Each process has a publication record in shared memory. A process that finds a combiner active
//! publishes its requests there and waits for the answers.
//!
//! - A record belongs to the process that has a lock on a byte of the side file, which the kernel
//!   releases when the process ends. The requests of a process that has ended are not run.
//! - A process takes the requests of others only while it holds the combiner's lock, on another byte,
//!   from before its transaction begins until the answers are written. So nobody else has records
//!   that are *taken*, unless their combiner has died.
//! - The answers are written into the records before the commit, and the transaction keeps its number
//!   in the store. The next combiner compares: if the number is that of the records which a dead
//!   combiner has left, these answers are valid, else nothing of that transaction has happened.
//! - A combiner that is stopped keeps the lock. The requests that it has taken end as unknown when
//!   their time is up; all other processes run their own transactions meanwhile.
//! - All else is hints: whether a combiner is active, which process is next, how many to wait for.
//!
//! `tests/model/combiner.pml` is a model of this that a model checker runs.

mod codec;
mod combining;
mod list;
mod memory;
#[cfg(test)]
mod tests;

pub use codec::Answer;
#[cfg(feature = "fuzzing")]
pub use codec::read_requests;
pub use combining::Combining;
pub use list::{PATIENCE, Progress, PublicationList, STALLED_AFTER};
pub use memory::LENGTH;
