//! How the requests of many threads and processes become transactions: a queue, batches, retries,
//! and requests that another process runs.

pub mod attempt;
mod batch;
mod call;
mod delegate;
pub mod engine;
mod lock;
pub mod pause;
mod queue;
mod ticket;
