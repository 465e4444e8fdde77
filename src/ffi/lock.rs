//! The four calls: dss_lock, dss_lock_refresh, dss_unlock, dss_lock_status.

use super::{
    guard::{self, put},
    handle::dss_handle,
};
use crate::{
    engine::Ask,
    model::name::{LockId, Note, Owner},
};
use libc::timeval;
use std::{
    ffi::{c_char, c_int},
    ptr,
    time::Duration,
};

/// The longest lock_id, in bytes without its NUL.
pub const DSS_LOCK_ID_MAX: usize = 2048;

/// The longest lock_owner, in bytes without its NUL.
pub const DSS_LOCK_OWNER_MAX: usize = 256;

// cbindgen wants plain numbers above; these are the ones that the library checks.
const _: () = assert!(DSS_LOCK_ID_MAX == crate::model::name::LOCK_ID_MAX);
const _: () = assert!(DSS_LOCK_OWNER_MAX == crate::model::name::OWNER_MAX);

/// Take a lock.
///
/// Atomic: of any number of callers, in any threads and processes that share the store, exactly one gets 0. The lock is an
/// entry in the store: it never expires, it stays when the process that took it ends, and it is not re-entrant. The call
/// does not wait for the holder. dss_lockv() takes locks with a lease, waits for them, and tells their tokens.
///
/// @param[in]   handle          DSS handle.
/// @param[in]   lock_id         Lock identifier: 1 to DSS_LOCK_ID_MAX bytes, any but NUL, compared byte by byte.
/// @param[in]   lock_owner      Name of the lock owner: 1 to DSS_LOCK_OWNER_MAX bytes, any but NUL. Choose one that is
///                              different for each holder, such as host, program and process id, or a stable one that the
///                              program finds again after a restart.
/// @return                      0 on success: the lock is held, and will be after a crash or a power cut (on a server, if its
///                              settings promise that),
///                             -EEXIST if the lock is held, also by the same owner; dss_last_error() says by whom and
///                              since when. Try again after its dss_unlock(),
///                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock(handle: *mut dss_handle, lock_id: *const c_char, lock_owner: *const c_char) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (id, owner) = (guard::lock_id(lock_id)?, guard::owner(lock_owner)?);
            handle.lockv(plainly(id, owner), inside).map(drop).map_err(|refusal| refusal.error)
        })
    }
}

/// Refresh a lock timestamp.
///
/// The new timestamp is strictly newer than the old one, also within one microsecond and after the clock was set back. The
/// lease of a lock that was taken with one starts anew.
///
/// @param[in]   handle          DSS handle.
/// @param[in]   lock_id         Lock identifier, as for dss_lock().
/// @param[in]   lock_owner      Name of the lock owner, as for dss_lock().
/// @return                      0 on success,
///                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked, perhaps by force, or its lease
///                              is over; whoever refreshes believed to hold it and must stop,
///                             -EACCES (EACCESS) if the lock owner does not match: another owner holds the lock now,
///                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_refresh(
    handle: *mut dss_handle,
    lock_id: *const c_char,
    lock_owner: *const c_char,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (id, owner) = (guard::lock_id(lock_id)?, guard::owner(lock_owner)?);
            let results = handle.refreshv(vec![id], owner, Vec::new(), inside)?;
            results.into_iter().try_for_each(|result| result.map(drop))
        })
    }
}

/// Release a lock.
///
/// If \a lock_owner is NULL, remove the lock without considering the previous owner. This is for a holder that is gone
/// for good: one that still works would go on without protection. The next holder is
/// told, if it takes the lock with dss_lockv() (DSS_GRANT_OWNERDEAD).
///
/// @param[in]   handle          DSS handle.
/// @param[in]   lock_id         Lock identifier, as for dss_lock().
/// @param[in]   lock_owner      Name of the lock owner, as for dss_lock(), or NULL.
/// @return                      0 on success,
///                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked before, perhaps by force, or its
///                              lease is over,
///                             -EACCES (EACCESS) if the lock owner does not match: nothing was released,
///                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_unlock(
    handle: *mut dss_handle,
    lock_id: *const c_char,
    lock_owner: *const c_char,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let id = guard::lock_id(lock_id)?;
            let owner = guard::any_owner(lock_owner)?;
            let results = handle.unlockv(vec![id], owner, Vec::new(), inside)?;
            results.into_iter().collect::<Result<(), _>>()
        })
    }
}

/// Retrieve the status of a lock.
///
/// If \a lock_owner is NULL, the string is not allocated.
/// If \a lock_timestamp is NULL, the structure is not filled.
/// The call takes no lock that a writer needs, and does not wait for one.
///
/// @param[in]   handle          DSS handle.
/// @param[in]   lock_id         Lock identifier, as for dss_lock().
/// @param[out]  lock_owner      Name of the lock owner, must be freed by the caller with free(3). NULL after any failure.
/// @param[out]  lock_timestamp  Date when the lock was taken or last refreshed: UTC, in seconds and microseconds since
///                              1970. Zero after a failure, but untouched after a bad handle or argument.
/// @return                      0 on success,
///                             -ENOMEM if the \a lock_owner string cannot be allocated,
///                             -ENOLCK (ENOLOCK) if the lock does not exist,
///                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_status(
    handle: *mut dss_handle,
    lock_id: *const c_char,
    lock_owner: *mut *mut c_char,
    lock_timestamp: *mut timeval,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        put(lock_owner, ptr::null_mut());
        guard::with_handle(handle, |handle, inside| {
            let id = guard::lock_id(lock_id)?;
            put(lock_timestamp, timeval { tv_sec: 0, tv_usec: 0 });
            let entry = handle.status(id, inside)?;
            if !lock_owner.is_null() {
                put(lock_owner, guard::malloc_copy(entry.owner.as_bytes(), "the owner's name")?);
            }
            put(lock_timestamp, time_of(entry.refreshed_us));
            Ok(())
        })
    }
}

/// What dss_lock asks for: one lock that never expires, at once.
fn plainly(id: LockId, owner: Owner) -> Ask {
    Ask {
        ids: vec![id],
        owner,
        ttl_ms: 0,
        wait: Some(Duration::ZERO),
        note: Note::default(),
        any: false,
        resume: false,
        keep: false,
    }
}

fn time_of(us: i64) -> timeval {
    timeval { tv_sec: us.div_euclid(1_000_000), tv_usec: us.rem_euclid(1_000_000) }
}

#[cfg(test)]
mod tests {
    use super::time_of;

    #[test]
    fn microseconds_are_never_negative() {
        assert_eq!((time_of(-1).tv_sec, time_of(-1).tv_usec), (-1, 999_999));
        assert_eq!((time_of(1_500_000).tv_sec, time_of(1_500_000).tv_usec), (1, 500_000));
    }
}
