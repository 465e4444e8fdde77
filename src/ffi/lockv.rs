//! Many locks at once, leases, waiting and tokens: dss_lockv, dss_lock_refreshv, dss_unlockv, dss_lock_transfer.

use super::{
    guard::{self, put, put_at},
    handle::dss_handle,
};
use crate::{
    engine::{Ask, Granted, Refusal},
    model::{
        error::{Code, Error},
        lease::check_ttl,
        name::{LockId, Note, Owner},
    },
};
use std::{
    ffi::{c_char, c_int},
    time::Duration,
};

/// The most lock ids in one call.
pub const DSS_LOCK_IDS_MAX: usize = 64;

/// The longest note, in bytes without its NUL.
pub const DSS_NOTE_MAX: usize = 1024;

/// The shortest lease, in milliseconds.
pub const DSS_TTL_MIN_MS: u64 = 1000;

/// The longest lease, in milliseconds: 366 days.
pub const DSS_TTL_MAX_MS: u64 = 31622400000;

/// dss_lock_opts.flags: take one of the ids, the first that is free, instead of all of them. A pool of four drives is four
/// ids; a semaphore of N is N ids.
pub const DSS_LOCK_ANY: u64 = 1;

/// dss_lock_opts.flags: take over a live lock of the same lock_owner, with a new token, this call's ttl_ms, note and flags.
/// A program that was started again finds its locks by it, and its former incarnation, should it still run, is fenced. With
/// DSS_LOCK_ANY: the first one that this owner holds, else the first that is free. What nobody holds is taken as usual, what
/// another owner holds is in the way.
pub const DSS_LOCK_RESUME: u64 = 2;

/// dss_lock_opts.flags: the library renews the lease, at a third of its ttl_ms, until the lock is unlocked, transferred or
/// lost, or the handle closed. dss_event_fd() tells of trouble. It needs a ttl_ms. See "KEEPALIVE" above.
pub const DSS_LOCK_KEEPALIVE: u64 = 4;

/// dss_grant.flags: the lock was taken over from the same owner (DSS_LOCK_RESUME).
pub const DSS_GRANT_RESUMED: u32 = 1;

/// dss_grant.flags: the previous holder's lease ran out without an unlock, or its lock was removed by force or cleaned. What
/// the lock protects may be half done: look before you use it. It is told once, with the next grant: dss_lock(), and dss_lockv()
/// with a NULL ret_grants, take the lock without telling it, and a later DSS_LOCK_RESUME does not repeat it.
pub const DSS_GRANT_OWNERDEAD: u32 = 2;

const _: () = assert!(DSS_LOCK_IDS_MAX == crate::model::name::IDS_MAX && DSS_NOTE_MAX == crate::model::name::NOTE_MAX);
const _: () = assert!(DSS_TTL_MIN_MS == crate::model::lease::TTL_MIN_MS);
const _: () = assert!(DSS_TTL_MAX_MS == crate::model::lease::TTL_MAX_MS);

/// How dss_lockv() shall take locks. What is not needed is 0:
///
///     struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = 30000, .wait_ms = 5000};
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct dss_lock_opts {
    /// sizeof(struct dss_lock_opts): which fields the caller's compiler knew.
    pub size: usize,
    /// DSS_LOCK_ANY, DSS_LOCK_RESUME, DSS_LOCK_KEEPALIVE, or 0.
    pub flags: u64,
    /// The lease in milliseconds: DSS_TTL_MIN_MS to DSS_TTL_MAX_MS, or 0 for a lock that never expires. A store may grant more:
    /// etcd counts in whole seconds, and not less than 2 as a rule.
    pub ttl_ms: u64,
    /// How long to wait for locks that others hold, in milliseconds: 0 not at all, less than 0 for ever.
    pub wait_ms: i64,
    /// A text for people who list the locks, up to DSS_NOTE_MAX bytes, or NULL. It is copied.
    pub note: *const c_char,
}

/// What was granted for one lock id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(non_camel_case_types)]
pub struct dss_grant {
    /// The fence: never 0, below 2^63, and greater than that of every earlier grant of this lock id. 0 where nothing was
    /// granted.
    pub token: u64,
    /// How long the lease still runs, in milliseconds, more than 0; INT64_MAX for a lock that never expires; 0 where nothing
    /// was granted. It is counted from before the request left, so the store does not give the lock to others earlier.
    pub left_ms: i64,
    /// DSS_GRANT_RESUMED, DSS_GRANT_OWNERDEAD, or 0.
    pub flags: u32,
    /// What became of this id: 0 or a negative errno.
    pub rc: i32,
    /// Room for later versions; 0.
    pub reserved: [u64; 2],
}

/// Take several locks at once: all of them or none, or with DSS_LOCK_ANY one of them.
///
/// It is one transaction: nobody ever sees a part of it, and callers of overlapping sets can't deadlock. With a wait_ms the
/// call waits for those who hold the locks. Callers that wait are served in the order in which they came; one that waits for
/// several locks and can't have them all lets others pass for most of the time. A call that does not wait, such as dss_lock(),
/// takes what is free even if others wait for it, and so does DSS_LOCK_RESUME. A lock that the same lock_owner holds is in the
/// way, too, unless DSS_LOCK_RESUME is set: with a wait_ms of less than 0 a caller may wait for itself for ever. While waiting,
/// signal handlers run, and dss_fini() of the handle from another thread ends the wait; thread cancellation waits for the end
/// of the call.
///
/// @param[in]   handle      DSS handle.
/// @param[in]   lock_ids    Lock identifiers, each as for dss_lock(), no two of them the same.
/// @param[in]   count       How many: 1 to DSS_LOCK_IDS_MAX.
/// @param[in]   lock_owner  Name of the lock owner, as for dss_lock().
/// @param[in]   opts        How to take them, or NULL: without lease or wait, as dss_lock() does.
/// @param[out]  ret_grants  Array of count grants, or NULL. On success the rc of each lock that was taken is 0; with
///                          DSS_LOCK_ANY that of the others is -EEXIST. On -EEXIST, -ETIMEDOUT, -EINTR and the -EBADF of a
///                          handle that was closed meanwhile, rc is -EEXIST for the locks that were in the way and -ECANCELED
///                          for the others; on other failures it is what the call returns. Untouched after a bad handle or
///                          argument.
/// @return                  0 on success; never with a lease that is over already,
///                         -EEXIST if wait_ms is 0 and a lock is held, or with DSS_LOCK_ANY all are; dss_last_error() says by
///                          whom: try again later, or give a wait_ms,
///                         -ETIMEDOUT if wait_ms has passed; nothing was taken: try again,
///                         -EINTR if a signal handler ran while the call waited, with or without SA_RESTART; nothing was
///                          taken: call again to go on waiting. A signal that came before the call does not end it, and one
///                          that comes when the locks are just had gives 0: look at a flag of your own, too,
///                         -EINVAL if lock_ids or one of its elements is NULL, count is 0, an id stands in it twice, opts->size
///                          is smaller than in the first release or larger and has unknown fields that are not 0, flags has
///                          unknown bits, or DSS_LOCK_KEEPALIVE comes without a ttl_ms,
///                         -E2BIG if count is more than DSS_LOCK_IDS_MAX,
///                         -ERANGE if ttl_ms is out of range,
///                         -ENAMETOOLONG also if the note is too long,
///                         -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lockv(
    handle: *mut dss_handle,
    lock_ids: *const *const c_char,
    count: usize,
    lock_owner: *const c_char,
    opts: *const dss_lock_opts,
    ret_grants: *mut dss_grant,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and arrays have count elements.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (ids, owner) = (guard::lock_ids(lock_ids, count)?, guard::owner(lock_owner)?);
            let ask = ask(ids, owner, opts)?;
            match handle.lockv(ask, inside) {
                Ok(taken) => {
                    for (place, granted) in taken.iter().enumerate() {
                        let grant = granted.map_or(failed(Code::Held), |granted| grant_of(&granted));
                        put_at(ret_grants, place, grant);
                    }
                    Ok(())
                }
                Err(Refusal { error, codes }) => {
                    codes.iter().enumerate().for_each(|(place, code)| put_at(ret_grants, place, failed(*code)));
                    Err(error)
                }
            }
        })
    }
}

/// Refresh several locks: their timestamps get strictly newer, and their leases start anew.
///
/// As many as possible are refreshed, each for itself. A lock whose lease is over does not exist, even if nobody has taken
/// it: take it again with dss_lockv(), and look at what it protects before.
///
/// @param[in]   handle      DSS handle.
/// @param[in]   lock_ids    Lock identifiers, as for dss_lockv().
/// @param[in]   count       How many: 1 to DSS_LOCK_IDS_MAX.
/// @param[in]   lock_owner  Name of the lock owner, as for dss_lock().
/// @param[in]   tokens      Array of count tokens, each that of the grant that is meant, or 0 to leave it unchecked; NULL: all
///                          unchecked. Without tokens, an owner whose lock was lost and taken anew under the same name
///                          refreshes the other one's lock.
/// @param[out]  ret_grants  Array of count grants, or NULL: token and left_ms of each that was refreshed, and the rc of each;
///                          flags is 0.
///                          Untouched after a bad handle or argument.
/// @return                  0 on success, else the rc of the first lock that could not be refreshed:
///                         -ENOLCK if the lock does not exist (any more): whoever refreshes has lost it and must stop,
///                         -EACCES if it is another owner's,
///                         -ESTALE if it is this owner's, but under another token: another incarnation holds it,
///                         -EINVAL, -E2BIG, -ENAMETOOLONG as dss_lockv(),
///                         -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_refreshv(
    handle: *mut dss_handle,
    lock_ids: *const *const c_char,
    count: usize,
    lock_owner: *const c_char,
    tokens: *const u64,
    ret_grants: *mut dss_grant,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and arrays have count elements.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (ids, owner) = (guard::lock_ids(lock_ids, count)?, guard::owner(lock_owner)?);
            let results = handle.refreshv(ids, owner, guard::tokens(tokens, count), inside);
            each(results, count, |place, result| {
                put_at(ret_grants, place, result.map_or_else(|error| failed(error.code), grant_of));
            })
        })
    }
}

/// Release several locks.
///
/// As many as possible are released, each for itself. With a NULL lock_owner they are removed whoever holds them, and the
/// next holder of each is told so (DSS_GRANT_OWNERDEAD).
///
/// @param[in]   handle      DSS handle.
/// @param[in]   lock_ids    Lock identifiers, as for dss_lockv().
/// @param[in]   count       How many: 1 to DSS_LOCK_IDS_MAX.
/// @param[in]   lock_owner  Name of the lock owner, as for dss_lock(), or NULL.
/// @param[in]   tokens      Array of count tokens, as for dss_lock_refreshv(), or NULL.
/// @param[out]  ret_rcs     Array of count codes, or NULL: what became of each. Untouched after a bad handle or argument.
/// @return                  0 on success, else the first code in ret_rcs that is not 0:
///                         -ENOLCK if the lock does not exist (any more),
///                         -EACCES if it is another owner's,
///                         -ESTALE if its token is another one,
///                         -EINVAL, -E2BIG, -ENAMETOOLONG as dss_lockv(),
///                         -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_unlockv(
    handle: *mut dss_handle,
    lock_ids: *const *const c_char,
    count: usize,
    lock_owner: *const c_char,
    tokens: *const u64,
    ret_rcs: *mut c_int,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and arrays have count elements.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (ids, owner) = (guard::lock_ids(lock_ids, count)?, guard::any_owner(lock_owner)?);
            let results = handle.unlockv(ids, owner, guard::tokens(tokens, count), inside);
            each(results, count, |place, result| {
                put_at(ret_rcs, place, result.map_or_else(|error| -error.code.errno(), |()| 0));
            })
        })
    }
}

/// Give a lock to another owner, with no gap in which a third could enter.
///
/// The lock gets a new token, so the former holder is fenced. Its ttl_ms and note stay, its lease starts anew, and a renewal
/// by the library ends.
///
/// @param[in]   handle      DSS handle.
/// @param[in]   lock_id     Lock identifier, as for dss_lock().
/// @param[in]   from_owner  Name of the owner who gives it, or NULL: whoever holds it.
/// @param[in]   from_token  Token of the grant that is meant, or 0 to leave it unchecked.
/// @param[in]   to_owner    Name of the new owner, as for dss_lock(); it may be the same.
/// @param[out]  ret_grant   The new grant, or NULL. Zero after a failure but for its rc; untouched after a bad handle or
///                          argument.
/// @return                  0 on success,
///                         -ENOLCK if the lock does not exist (any more),
///                         -EACCES if it is not from_owner's,
///                         -ESTALE if its token is not from_token,
///                         -EINPROGRESS also if the process was stopped within the call for longer than the lease lasts: the
///                         lock was given on, and to_owner has no time left: look at dss_lock_status(),
///                         -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_transfer(
    handle: *mut dss_handle,
    lock_id: *const c_char,
    from_owner: *const c_char,
    from_token: u64,
    to_owner: *const c_char,
    ret_grant: *mut dss_grant,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let (id, from) = (guard::lock_id(lock_id)?, guard::any_owner(from_owner)?);
            let granted = handle.transfer(id, from, from_token, guard::owner(to_owner)?, inside);
            let grant = granted.as_ref().map_or_else(|error| failed(error.code), grant_of);
            put(ret_grant, grant);
            granted.map(drop)
        })
    }
}

/// # Safety
/// `opts` is NULL or points to a struct of the size that it says, with a note that is NULL or a string.
unsafe fn ask(ids: Vec<LockId>, owner: Owner, opts: *const dss_lock_opts) -> Result<Ask, Error> {
    let wait = Some(Duration::ZERO);
    let (note, any, resume, keep) = (Note::default(), false, false, false);
    let mut ask = Ask { ids, owner, ttl_ms: 0, wait, note, any, resume, keep };
    if opts.is_null() {
        return Ok(ask);
    }
    // SAFETY: as the caller says.
    let opts = unsafe { guard::sized("opts", opts) }?;
    guard::check_flags("opts", opts.flags, DSS_LOCK_ANY | DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE)?;
    let has = |flag| opts.flags & flag != 0;
    (ask.any, ask.resume, ask.keep) = (has(DSS_LOCK_ANY), has(DSS_LOCK_RESUME), has(DSS_LOCK_KEEPALIVE));
    if ask.keep && opts.ttl_ms == 0 {
        let text = "DSS_LOCK_KEEPALIVE needs a ttl_ms: a lock that never expires has nothing to renew";
        return Err(Error::new(Code::Invalid, text));
    }
    check_ttl(opts.ttl_ms)?;
    (ask.ttl_ms, ask.wait) = (opts.ttl_ms, u64::try_from(opts.wait_ms).ok().map(Duration::from_millis));
    // SAFETY: as the caller says.
    ask.note = unsafe { guard::note(opts.note) }?;
    Ok(ask)
}

/// Writes what became of each lock, and gives the first failure.
fn each<T>(
    results: Result<Vec<Result<T, Error>>, Error>,
    count: usize,
    write: impl Fn(usize, Result<&T, &Error>),
) -> Result<(), Error> {
    let results = results.inspect_err(|error| (0..count).for_each(|place| write(place, Err(error))))?;
    results.iter().enumerate().for_each(|(place, result)| write(place, result.as_ref()));
    results.into_iter().try_for_each(|result| result.map(drop))
}

fn grant_of(granted: &Granted) -> dss_grant {
    let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
    let flags = flag(granted.resumed, DSS_GRANT_RESUMED) | flag(granted.owner_dead, DSS_GRANT_OWNERDEAD);
    dss_grant { token: granted.token, left_ms: granted.left_ms, flags, rc: 0, reserved: [0; 2] }
}

fn failed(code: Code) -> dss_grant {
    dss_grant { rc: -code.errno(), ..dss_grant::default() }
}
