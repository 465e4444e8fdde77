//! Seeing and cleaning: dss_lock_list, dss_lock_clean.

use super::{guard, handle::dss_handle};
use crate::{
    engine::list::Listed,
    model::{
        error::{Code, Error},
        lock::Filter,
        name::{LOCK_ID_MAX, OWNER_MAX},
    },
    sys::panics,
};
use std::ffi::{c_char, c_int, c_void};

/// dss_filter.flags: the filter's lock_id is the beginning of the ids to match; an empty one matches all.
pub const DSS_FILTER_ID_PREFIX: u64 = 1;

/// dss_filter.flags: the filter's lock_owner is the beginning of the owners to match; an empty one matches all.
pub const DSS_FILTER_OWNER_PREFIX: u64 = 2;

/// dss_filter.flags: dss_lock_clean() may remove every lock of the store.
pub const DSS_FILTER_EVERYTHING: u64 = 4;

/// Which locks to list or to clean. Fill it with zeros and set what you need; all that is set has to match.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct dss_filter {
    /// sizeof(struct dss_filter): which fields the caller's compiler knew.
    pub size: usize,
    /// DSS_FILTER_ID_PREFIX, DSS_FILTER_OWNER_PREFIX, DSS_FILTER_EVERYTHING, or 0.
    pub flags: u64,
    /// The lock's id, or NULL for any; with DSS_FILTER_ID_PREFIX its first bytes.
    pub lock_id: *const c_char,
    /// The lock's owner, or NULL for any; with DSS_FILTER_OWNER_PREFIX its first bytes.
    pub lock_owner: *const c_char,
    /// Only locks that were last taken or refreshed at least so many milliseconds ago; 0: of any age. On SQLite a step of the
    /// wall clock does not count, but for locks from before the host's last boot, whose age the wall clock tells. On PostgreSQL
    /// it is the server's wall clock, on etcd those of the hosts that take, refresh and list.
    pub min_age_ms: u64,
}

/// A lock in a list. It and its strings are valid while the callback runs. Strings are never NULL.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct dss_lock_info {
    /// The size of this struct, set by the library: a field is there if it ends within it.
    pub size: usize,
    /// The lock's id.
    pub lock_id: *const c_char,
    /// The name of its owner.
    pub lock_owner: *const c_char,
    /// What its holder left for people to read, or "".
    pub note: *const c_char,
    /// Who took, resumed or transferred it: host, process id and program, as in "host7:4711:mover". For people: nothing is
    /// decided by it.
    pub client: *const c_char,
    /// The token of the grant: what dss_unlockv() with a NULL owner takes to remove this very one.
    pub token: u64,
    /// When this grant was made (taken, resumed or transferred): UTC, in microseconds since 1970.
    pub taken_us: i64,
    /// When it was taken or last refreshed: UTC, in microseconds since 1970.
    pub refreshed_us: i64,
    /// Its lease in milliseconds, as granted; 0 if it never expires.
    pub ttl_ms: u64,
    /// How long the lease still ran when the list began, in milliseconds; INT64_MAX if it never expires.
    pub left_ms: i64,
}

/// What dss_lock_list() and dss_lock_clean() call for each lock. It may call the library, also with the same handle, and
/// must return: no longjmp(3), no exception. A result other than 0 ends the list.
#[allow(non_camel_case_types)]
pub type dss_lock_cb = Option<unsafe extern "C" fn(info: *const dss_lock_info, arg: *mut c_void) -> c_int>;

/// List the locks of the store, in the order of their ids.
///
/// The list is one consistent snapshot of the moment at which it began. It takes little memory for any number of locks, and
/// nothing that a writer waits for is held while the callback runs; a long list may delay the moment at which SQLite's log
/// gets shorter, or PostgreSQL's VACUUM removes old rows. Locks whose lease is over are not in it.
///
/// @param[in]   handle    DSS handle.
/// @param[in]   filter    Which locks, or NULL for all.
/// @param[in]   callback  Called for each lock, in the calling thread.
/// @param[in]   arg       Passed to callback as it is.
/// @return                0 at the end of the list, else what callback returned: choose a positive number, to tell it from
///                        an error,
///                       -EINVAL if callback is NULL, filter->size is smaller than in the first release or larger and has
///                        unknown fields that are not 0, flags has unknown bits, or a name is empty and its ..._PREFIX flag
///                        is not set,
///                       -ENAMETOOLONG if a name is too long,
///                       -EINTR if the list was cut short because this process forked, or because etcd has compacted the
///                        revision that the list was of: start it again,
///                       -EBADF and others: see "ERRORS OF EVERY CALL" above; timeout_ms counts for each page of some locks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_list(
    handle: *mut dss_handle,
    filter: *const dss_filter,
    callback: dss_lock_cb,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (filter, _) = read(filter)?;
            let Some(callback) = callback else {
                return Err(Error::new(Code::Invalid, "callback is NULL: give a function that takes the locks"));
            };
            handle.list(filter, |listed| show(listed, callback, arg), inside)
        })
    }
}

/// Remove the locks that a filter lets through, whoever holds them: those of owners who are gone for good.
///
/// Each is removed only if its token is still the one that was seen: a lock that was unlocked and taken anew meanwhile
/// stays; with a min_age_ms, so does one that was refreshed. The next holder of each is told so (DSS_GRANT_OWNERDEAD).
/// With a callback, each lock is removed by itself and shown after that; without one, many are removed together, which
/// is faster. What was removed before a failure or the callback's end of it stays removed.
///
/// @param[in]   handle    DSS handle.
/// @param[in]   filter    Which locks. One that names neither id nor owner nor age (an empty prefix names nothing) removes
///                        every lock, and needs DSS_FILTER_EVERYTHING.
/// @param[in]   callback  Called for each lock when it was removed, in the order of the ids, or NULL.
/// @param[in]   arg       Passed to callback as it is.
/// @return                0 at the end, else what callback returned; no further lock is removed then,
///                       -EPERM if filter is NULL or empty and DSS_FILTER_EVERYTHING is not set; nothing was removed,
///                       -EINVAL as dss_lock_list(), but callback may be NULL; -ENAMETOOLONG, -EINTR as dss_lock_list(),
///                       -EBADF and others: see "ERRORS OF EVERY CALL" above; timeout_ms counts for each removal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_clean(
    handle: *mut dss_handle,
    filter: *const dss_filter,
    callback: dss_lock_cb,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (filter, flags) = read(filter)?;
            if filter.is_empty() && flags & DSS_FILTER_EVERYTHING == 0 {
                let text = "the filter lets every lock through: set DSS_FILTER_EVERYTHING if all of them shall go, else name \
                            an id, an owner or an age";
                return Err(Error::new(Code::NeedsFlag, text));
            }
            let show = callback.map(|callback| move |listed: &Listed<'_>| show(listed, callback, arg));
            handle.clean(filter, show, inside)
        })
    }
}

/// # Safety
/// `filter` is NULL or points to a struct of the size that it says, whose names are NULL or strings.
unsafe fn read(filter: *const dss_filter) -> Result<(Filter, u64), Error> {
    if filter.is_null() {
        return Ok((Filter::default(), 0));
    }
    // SAFETY: as the caller says.
    let given = unsafe { guard::sized("filter", filter) }?;
    let known = DSS_FILTER_ID_PREFIX | DSS_FILTER_OWNER_PREFIX | DSS_FILTER_EVERYTHING;
    guard::check_flags("filter", given.flags, known)?;
    let id_is_prefix = given.flags & DSS_FILTER_ID_PREFIX != 0;
    let owner_is_prefix = given.flags & DSS_FILTER_OWNER_PREFIX != 0;
    // SAFETY: as the caller says.
    let (id, owner) = unsafe {
        (
            guard::pattern("filter->lock_id", given.lock_id, id_is_prefix, LOCK_ID_MAX)?,
            guard::pattern("filter->lock_owner", given.lock_owner, owner_is_prefix, OWNER_MAX)?,
        )
    };
    Ok((Filter { id, id_is_prefix, owner, owner_is_prefix, min_age_ms: given.min_age_ms }, given.flags))
}

/// # Safety
/// The callback may be called with `arg`.
unsafe fn show(
    listed: &Listed<'_>,
    callback: unsafe extern "C" fn(*const dss_lock_info, *mut c_void) -> c_int,
    arg: *mut c_void,
) -> c_int {
    let entry = listed.entry;
    let texts = [listed.id.as_bytes(), entry.owner.as_bytes(), entry.note.as_bytes(), entry.client.as_bytes()];
    let [lock_id, lock_owner, note, client] = texts.map(guard::c_string);
    let info = dss_lock_info {
        size: size_of::<dss_lock_info>(),
        lock_id: lock_id.as_ptr(),
        lock_owner: lock_owner.as_ptr(),
        note: note.as_ptr(),
        client: client.as_ptr(),
        token: entry.token,
        taken_us: entry.taken_us,
        refreshed_us: entry.refreshed_us,
        ttl_ms: entry.ttl_ms,
        left_ms: listed.left_us.map_or(i64::MAX, |left| left / 1000),
    };
    // SAFETY: as the caller says; the strings live until the callback has returned.
    panics::of_host(|| unsafe { callback(&info, arg) })
}
