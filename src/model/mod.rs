//! The words of the domain. No I/O, no clock, no knowledge of any other layer.

pub mod error;
pub mod lease;
pub mod lock;
pub mod name;
pub mod request;
pub mod rules;
pub mod state;
pub mod uri;
