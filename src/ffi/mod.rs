//! The C boundary: every function of `dss.h`, each of which checks, converts, calls and maps, and does nothing else.
//!
//! The doc comments here are the manual: `build.rs` copies them into `include/dss.h`.

#![allow(clippy::missing_safety_doc, reason = "a `# Safety` section would go into dss.h, which says it in C's words")]

mod guard;
pub mod handle;
pub mod lock;
pub mod text;

/// The longest lock_id, in bytes without its NUL.
pub const DSS_LOCK_ID_MAX: usize = 2048;

/// The longest lock_owner, in bytes without its NUL.
pub const DSS_LOCK_OWNER_MAX: usize = 256;

// cbindgen wants plain numbers above; these are the ones that the library checks.
const _: () = assert!(DSS_LOCK_ID_MAX == crate::model::name::LOCK_ID_MAX);
const _: () = assert!(DSS_LOCK_OWNER_MAX == crate::model::name::OWNER_MAX);
