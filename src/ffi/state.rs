//! GET and SET: dss_get, dss_set, dss_list.

use super::{
    guard::{self, put},
    handle::dss_handle,
};
use crate::{
    engine::state::Unwritten,
    model::{
        error::{Code, Error},
        name::KEY_MAX,
        state::{Fence, Guard, KeyInfo, VALUE_MAX},
    },
    sys::{panics, reserve},
};
use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
    sync::Arc,
};

/// The longest key, in bytes without its NUL.
pub const DSS_KEY_MAX: usize = 2048;

/// The longest value, in bytes.
pub const DSS_VALUE_MAX: usize = 1048576;

const _: () = assert!(DSS_KEY_MAX == KEY_MAX && DSS_VALUE_MAX == VALUE_MAX);

/// dss_guard.flags: write only if the key's version is dss_guard.version.
pub const DSS_GUARD_VERSION: u64 = 1;

/// dss_guard.flags: write only if the lock dss_guard.lock_id is held by the grant of dss_guard.token.
pub const DSS_GUARD_LOCK: u64 = 2;

/// What must be so for dss_set() to write. It is checked in the transaction that writes. Fill it with zeros and set what you
/// need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct dss_guard {
    /// sizeof(struct dss_guard): which fields the caller's compiler knew.
    pub size: usize,
    /// DSS_GUARD_VERSION, DSS_GUARD_LOCK, both, or 0. A field whose flag is not set is not looked at.
    pub flags: u64,
    /// With DSS_GUARD_VERSION: the version that dss_get() or dss_set() gave last, or 0: nothing may stand under the key.
    pub version: u64,
    /// With DSS_GUARD_LOCK: the lock that protects the value.
    pub lock_id: *const c_char,
    /// With DSS_GUARD_LOCK: the token that dss_lockv() gave. The lock must be held by that very grant, and its lease, if it
    /// has one, must not be over.
    pub token: u64,
}

/// A key in a list. It and its string are valid while the callback runs.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct dss_key_info {
    /// The size of this struct, set by the library: a field is there if it ends within it.
    pub size: usize,
    /// The key.
    pub key: *const c_char,
    /// The version of its value.
    pub version: u64,
    /// How many bytes its value has.
    pub len: usize,
}

/// What dss_list() calls for each key. It may call the library, also with the same handle, and must return: no longjmp(3), no
/// exception. A result other than 0 ends the list.
#[allow(non_camel_case_types)]
pub type dss_key_cb = Option<unsafe extern "C" fn(info: *const dss_key_info, arg: *mut c_void) -> c_int>;

/// Get the value that stands under a key.
///
/// The call takes no lock that a writer needs, and does not wait for one. What it gives was the last value that was set, at a
/// moment between the call and its return.
///
/// @param[in]   handle       DSS handle.
/// @param[in]   key          The key: 1 to DSS_KEY_MAX bytes, any but NUL, compared byte by byte. Keys and lock ids have nothing
///                           to do with each other, so a value may have the name of the lock that protects it.
/// @param[out]  ret_value    The value, with a NUL behind it that is not counted in its length; must be freed by the caller with
///                           free(3). NULL after any failure.
/// @param[out]  ret_len      How many bytes the value has, 0 to DSS_VALUE_MAX.
/// @param[out]  ret_version  Its version, never 0: for dss_guard.version.
/// @return                   0 on success,
///                          -ENOENT if nothing stands under the key: it was never set, or was deleted,
///                          -ENOMEM if the value cannot be allocated,
///                          -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_get(
    handle: *mut dss_handle,
    key: *const c_char,
    ret_value: *mut *mut c_void,
    ret_len: *mut usize,
    ret_version: *mut u64,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        put(ret_value, ptr::null_mut());
        guard::with_handle(handle, |handle, inside| {
            let key = guard::key(key)?;
            put(ret_len, 0);
            put(ret_version, 0);
            let value = handle.get(key, inside)?;
            if !ret_value.is_null() {
                put(ret_value, guard::malloc_copy(&value.bytes, "the value")?.cast());
            }
            put(ret_len, value.bytes.len());
            put(ret_version, value.stamp.version);
            Ok(())
        })
    }
}

/// Set the value that stands under a key, or delete it.
///
/// Atomic and durable as dss_lock(): a reader sees the old value or the new one. Each value has a version, greater than that of
/// every earlier value of the same key, also of those that were deleted. With a guard, the write happens only if the guard holds
/// in the same transaction:
///
/// DSS_GUARD_VERSION makes it a compare-and-set: of several who read the same version and write, one gets 0.
///
/// DSS_GUARD_LOCK makes it a fence: a holder that was paused past its lease, and does not know that somebody else holds the lock
/// now, gets -ESTALE, and its successor's value stands.
///
/// @param[in]   handle       DSS handle.
/// @param[in]   key          The key, as for dss_get().
/// @param[in]   value        The new value: any bytes. NULL, with a len of 0, deletes; an empty value is a pointer that is not
///                           NULL, with a len of 0. The library keeps no pointer to it.
/// @param[in]   len          How many bytes the value has, at most DSS_VALUE_MAX.
/// @param[in]   guard        What must be so, or NULL: write in any case.
/// @param[out]  ret_version  The version of the new value; 0 if it was deleted. After -EAGAIN the version that stands there now,
///                           0 if nothing does; 0 after any other failure.
/// @return                   0 on success,
///                          -EAGAIN if the version is not the guard's; nothing changed: get it again, and decide anew,
///                          -ESTALE if the guard's lock is not held with the guard's token, or not any more; nothing changed:
///                           stop using what the lock protects,
///                          -ENOENT if there is nothing to delete,
///                          -EFBIG if len is greater than DSS_VALUE_MAX, or than an etcd takes whose limit was lowered,
///                          -EINVAL if value is NULL and len is not 0, guard->size is smaller than in the first release or larger
///                           and has unknown fields that are not 0, guard->flags has unknown bits, or guard->token is 0 with
///                           DSS_GUARD_LOCK,
///                          -EINPROGRESS if it may have been written or not. It is not sent again, so it can't overwrite what
///                           others set later. Get it, and decide by its version,
///                          -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_set(
    handle: *mut dss_handle,
    key: *const c_char,
    value: *const c_void,
    len: usize,
    guard: *const dss_guard,
    ret_version: *mut u64,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, strings end with NUL, and the value is as long as said.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (key, value, guard) = (guard::key(key)?, read_value(value, len)?, read_guard(guard)?);
            put(ret_version, 0);
            let set = handle.set(key, value, guard, inside);
            put(ret_version, *set.as_ref().unwrap_or_else(|Unwritten { version, .. }| version));
            set.map(drop).map_err(|unwritten| unwritten.error)
        })
    }
}

/// List the keys that have values, in the order of their bytes, without the values.
///
/// The list is one consistent snapshot of the moment at which it began, takes little memory for any number of keys, and holds up
/// no writer, as dss_lock_list().
///
/// @param[in]   handle      DSS handle.
/// @param[in]   key_prefix  Only keys that begin so; NULL or "" for all.
/// @param[in]   callback    Called for each key, in the calling thread.
/// @param[in]   arg         Passed to callback as it is.
/// @return                  0 at the end of the list, else what callback returned: choose a positive number, to tell it from an
///                          error,
///                         -EINVAL if callback is NULL,
///                         -ENAMETOOLONG if key_prefix is longer than DSS_KEY_MAX,
///                         -EINTR as dss_lock_list(): start it again,
///                         -EBADF and others: see "ERRORS OF EVERY CALL" above; timeout_ms counts for each page of some keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_list(
    handle: *mut dss_handle,
    key_prefix: *const c_char,
    callback: dss_key_cb,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let prefix = guard::pattern("key_prefix", key_prefix, true, KEY_MAX)?;
            let Some(callback) = callback else {
                return Err(Error::new(Code::Invalid, "callback is NULL: give a function that takes the keys"));
            };
            handle.keys(&prefix, |info| show(info, callback, arg), inside)
        })
    }
}

/// # Safety
/// `value` is NULL or points to `len` bytes.
unsafe fn read_value(value: *const c_void, len: usize) -> Result<Option<Arc<[u8]>>, Error> {
    if len > VALUE_MAX {
        let text = format!("the value has {len} bytes: give at most {VALUE_MAX}");
        return Err(Error::new(Code::TooLarge, text));
    }
    match (value.is_null(), len) {
        (true, 0) => Ok(None),
        (true, _) => {
            let text = format!("value is NULL, but len is {len}: give a value, or 0 to delete");
            Err(Error::new(Code::Invalid, text))
        }
        (false, _) => {
            if len > LARGE {
                reserve::room_for(2 * len)?;
            }
            // SAFETY: as the caller says; not NULL.
            Ok(Some(unsafe { std::slice::from_raw_parts(value.cast::<u8>(), len) }.into()))
        }
    }
}

/// What is longer may find no room in the reserve of memory.
const LARGE: usize = 16 << 10;

/// # Safety
/// `given` is NULL or points to a struct of the size that it says, whose names are NULL or strings.
unsafe fn read_guard(given: *const dss_guard) -> Result<Guard, Error> {
    if given.is_null() {
        return Ok(Guard::default());
    }
    // SAFETY: as the caller says.
    let given = unsafe { guard::sized("guard", given) }?;
    guard::check_flags("guard", given.flags, DSS_GUARD_VERSION | DSS_GUARD_LOCK)?;
    let version = (given.flags & DSS_GUARD_VERSION != 0).then_some(given.version);
    let lock = if given.flags & DSS_GUARD_LOCK == 0 {
        None
    } else if given.token == 0 {
        let text = "guard->token is 0: give the token of the grant, as dss_lockv() has told it";
        return Err(Error::new(Code::Invalid, text));
    } else {
        // SAFETY: as the caller says.
        Some(Fence { id: unsafe { guard::lock_id(given.lock_id) }?, token: given.token })
    };
    Ok(Guard { version, lock })
}

/// # Safety
/// The callback may be called with `arg`.
unsafe fn show(
    info: &KeyInfo,
    callback: unsafe extern "C" fn(*const dss_key_info, *mut c_void) -> c_int,
    arg: *mut c_void,
) -> c_int {
    let key = guard::c_string(info.key.as_bytes());
    let shown =
        dss_key_info { size: size_of::<dss_key_info>(), key: key.as_ptr(), version: info.version, len: info.len };
    // SAFETY: as the caller says; the string lives until the callback has returned.
    panics::of_host(|| unsafe { callback(&shown, arg) })
}
