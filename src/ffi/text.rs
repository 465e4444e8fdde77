//! Texts for people: dss_strerror, dss_last_error, dss_version.

use super::guard;
use crate::model::error;
use std::ffi::{c_char, c_int};

/// A short fixed text for what a call returned.
///
/// @param[in]   rc  What a dss_* call returned: 0 or a negative errno.
/// @return          A text in English, never NULL, also for a code that no call returns. It is constant: do not
///                  free it. May be called from any thread, also without an open handle.
#[unsafe(no_mangle)]
pub extern "C" fn dss_strerror(rc: c_int) -> *const c_char {
    error::text_of(rc).as_ptr()
}

/// The last failure of the calling thread, in full: what failed, why, and what to do about it; at -EEXIST for instance who
/// holds the lock and since when.
///
/// @return  A text in English, never NULL: "" before the thread's first failure. Calls that succeed leave it alone. It
///          stays valid until this thread's next dss_* call that fails, or the thread's end: do not free it. Bytes of names
///          that are not printable UTF-8 are written as \xNN.
#[unsafe(no_mangle)]
pub extern "C" fn dss_last_error() -> *const c_char {
    guard::last_error()
}

/// The version of the library that is loaded, such as "0.1.0"; DSS_VERSION is that of the header.
///
/// @return  A constant text: do not free it.
#[unsafe(no_mangle)]
pub extern "C" fn dss_version() -> *const c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL in it"),
        };
    VERSION.as_ptr()
}
