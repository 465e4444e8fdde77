//! The engine: from requests to answers. It hands batches to a store, tries again where somebody is in the way, and
//! keeps a fork from happening in the middle. It does not know which store it has.

mod calls;
mod commit;
pub mod default_store;
pub mod events;
mod fork;
pub mod gate;
pub mod handle;
mod holdings;
mod keepalive;
pub mod list;
mod registry;
pub mod state;
mod take;
mod wait;

pub use calls::{Granted, close};
pub use take::Ask;
pub use wait::Refusal;

#[cfg(test)]
mod tests;
