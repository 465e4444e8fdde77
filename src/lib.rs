//! libdss: named locks for C programs, in a store that many processes share.
//!
//! The layers, each knowing only those below it:
//!
//! | layer | what it does |
//! |---|---|
//! | `ffi` | the C functions of `dss.h`: check, convert, call, map |
//! | `engine` | handles, batches, retries, forks |
//! | `store` | one transaction for a batch, in memory, in a SQLite file, on PostgreSQL or on etcd |
//! | `shared` | memory that the processes of a host share: the combiner, the wait queue |
//! | `model` | names, requests, the rules of the lock, errors: no I/O |
//!
//! `clock` reads the clocks and `sys` calls the system where the standard library can't. `unsafe` code stands in `ffi`,
//! in `sys` and where the stores meet the C of SQLite and libpq; nowhere else. `docs/design.md` has the whole picture.

#![deny(unsafe_code)]

mod clock;
pub mod engine;
#[allow(unsafe_code)]
pub mod ffi;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod model;
mod mutant;
pub mod shared;
pub mod store;
#[allow(unsafe_code)]
mod sys;
