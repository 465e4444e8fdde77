//! Stores: where the entries are kept. A store knows nothing of engines, handles or C.

pub mod contract;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod health;
pub mod memory;
pub mod news;
pub mod open;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod pulse;
#[cfg(feature = "sqlite")]
pub mod sqlite;
