//! The C boundary: every function of `dss.h`, each of which checks, converts, calls and maps, and does nothing else.
//!
//! The doc comments here are the manual: `make header` copies them into `include/dss.h`.

#![allow(clippy::missing_safety_doc, reason = "a `# Safety` section would go into dss.h, which says it in C's words")]

pub mod event;
mod guard;
pub mod handle;
pub mod list;
pub mod lock;
pub mod lockv;
pub mod state;
pub mod text;
