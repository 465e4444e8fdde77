//! Keepalive and losing a lock: dss_lock_left, dss_event_fd, dss_event_next.

use super::{
    guard::{self, put},
    handle::dss_handle,
};
use crate::{
    engine::events::{Event, Kind},
    model::lock::End,
};
use std::{
    ffi::{c_char, c_int},
    ptr,
};

/// dss_event.type: the lock was not renewed for two thirds of its ttl; the store is slow or out of reach. left_ms is what
/// is left of the lease: bring to an end what must not be half done.
pub const DSS_EVENT_AT_RISK: u32 = 1;

/// dss_event.type: a lock that was at risk has been renewed.
pub const DSS_EVENT_SAFE: u32 = 2;

/// dss_event.type: the lock is lost; whoever uses what it protects must stop. reason says how. What others did is found by
/// the next renewal: within a third of the ttl_ms if the store answers. It may come without a DSS_EVENT_AT_RISK before it.
pub const DSS_EVENT_LOST: u32 = 3;

/// dss_event.reason: the lease ran out before it could be renewed.
pub const DSS_REASON_EXPIRED: u32 = 1;

/// dss_event.reason: somebody removed the lock by force, or cleaned it away.
pub const DSS_REASON_FORCED: u32 = 2;

/// dss_event.reason: somebody gave the lock to another owner.
pub const DSS_REASON_TRANSFERRED: u32 = 3;

/// dss_event.reason: another incarnation of the same owner took the lock over (DSS_LOCK_RESUME).
pub const DSS_REASON_RESUMED: u32 = 4;

/// dss_event.reason: the lock was unlocked in its owner's name, through another handle.
pub const DSS_REASON_UNLOCKED: u32 = 5;

/// dss_event.reason: this process was forked from the one that took the lock and renews it. That
/// one goes on renewing it, if it still runs. Take the lock anew in this process with
/// DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE, or leave it alone.
pub const DSS_REASON_FORKED: u32 = 6;

/// What happened to a lock that was taken with DSS_LOCK_KEEPALIVE.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct dss_event {
    /// DSS_EVENT_AT_RISK, DSS_EVENT_SAFE or DSS_EVENT_LOST.
    pub r#type: u32,
    /// With DSS_EVENT_LOST one of DSS_REASON_..., else 0.
    pub reason: u32,
    /// The token of the grant.
    pub token: u64,
    /// What was left of the lease when the event came about, in milliseconds; 0 with DSS_EVENT_LOST.
    pub left_ms: i64,
    /// Room for later versions; 0.
    pub reserved: [u64; 4],
    /// The lock's id, ended by NUL.
    pub lock_id: [c_char; 2056],
}

/// How long a grant is still in time. The store is not asked, so it is quick enough to ask before each step of a long work.
///
/// It tells the end of the lease, and not that somebody removed, transferred or resumed the lock: this handle learns of that
/// by its next call for the lock, or with DSS_LOCK_KEEPALIVE by the next renewal. After this handle's dss_lock_transfer() it
/// tells the lease of the new owner.
///
/// @param[in]   handle       DSS handle.
/// @param[in]   lock_id      Lock identifier, as for dss_lock().
/// @param[in]   token        Token of the grant, or 0 for whichever this handle has of that lock.
/// @param[out]  ret_left_ms  The time left in milliseconds, more than 0; INT64_MAX for a lock that never expires. 0 on
///                           failure, but untouched after a bad handle or argument. It may be NULL.
/// @return                   0 while a grant that this handle made or refreshed is in time,
///                          -ENOLCK if its lease is over, its loss is known, or it is not this
///                           handle's in this process; in a forked child that is so for all that
///                           was taken before the fork: dss_last_error() says whether the parent
///                           renews it,
///                          -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_lock_left(
    handle: *mut dss_handle,
    lock_id: *const c_char,
    token: u64,
    ret_left_ms: *mut i64,
) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid, and strings end with NUL.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let id = guard::lock_id(lock_id)?;
            put(ret_left_ms, 0);
            put(ret_left_ms, handle.left_ms(&id, token, inside)?);
            Ok(())
        })
    }
}

/// A file descriptor that is readable (poll(2), epoll(7)) while events wait.
///
/// Events come from locks that this handle took with DSS_LOCK_KEEPALIVE. Take them with dss_event_next() until it gives 0.
///
/// A forked child gets a descriptor of its own by this call, and never its parent's events: its own
/// are one DSS_EVENT_LOST with DSS_REASON_FORKED for each lock that the parent renews. They wait
/// from the child's first call on the handle, so the new descriptor is readable at once. A lock
/// that the child takes over, transfers or unlocks before it takes the event gives none.
///
/// The parent's descriptor stays open in the child and is of no use there: it is readable while
/// events wait in the parent, and tells nothing of the child's. Take it out of the child's poll(2)
/// set and put the new one in; the child may close it. An epoll(7) set that was made before the
/// fork is shared with the parent, and so is each change of it: make a new one.
///
/// @param[in]   handle  DSS handle.
/// @return              The descriptor, the same one each time in a process. It is the handle's: do
///                      not read, write or close it; dss_fini() closes it. It is close-on-exec. A
///                      program that closes all descriptors (closefrom(3)) gets a new one by this
///                      call; no event is lost,
///                     -EMFILE, -ENOMEM if none can be had,
///                     -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_event_fd(handle: *mut dss_handle) -> c_int {
    // SAFETY: by the contract of dss.h, the handle is NULL or valid.
    unsafe { guard::with_handle(handle, |handle, inside| handle.event_fd(inside)) }
}

/// Take the oldest event that waits.
///
/// A handle keeps 65536 events; beyond that the oldest are dropped. Of a lock that was at risk and safe again several times,
/// the last turn is kept. Events wait also before the first dss_event_fd().
///
/// @param[in]   handle     DSS handle.
/// @param[out]  ret_event  The event, or NULL to drop it. Zero if there is none.
/// @return                 1 if there was an event, 0 if there was none; it does not wait,
///                        -EBADF and others: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_event_next(handle: *mut dss_handle, ret_event: *mut dss_event) -> c_int {
    // SAFETY: by the contract of dss.h, pointers are NULL or valid.
    unsafe {
        guard::with_handle(handle, |handle, inside| {
            let event = handle.next_event(inside)?;
            if !ret_event.is_null() {
                ptr::write_bytes(ret_event, 0, 1);
                event.iter().for_each(|event| fill(&mut *ret_event, event));
            }
            Ok(c_int::from(event.is_some()))
        })
    }
}

fn fill(out: &mut dss_event, event: &Event) {
    (out.r#type, out.reason) = match event.kind {
        Kind::AtRisk => (DSS_EVENT_AT_RISK, 0),
        Kind::Safe => (DSS_EVENT_SAFE, 0),
        Kind::Lost(End::Expired) => (DSS_EVENT_LOST, DSS_REASON_EXPIRED),
        Kind::Lost(End::Forced) => (DSS_EVENT_LOST, DSS_REASON_FORCED),
        Kind::Lost(End::Transferred) => (DSS_EVENT_LOST, DSS_REASON_TRANSFERRED),
        Kind::Lost(End::Resumed) => (DSS_EVENT_LOST, DSS_REASON_RESUMED),
        Kind::Lost(End::Unlocked) => (DSS_EVENT_LOST, DSS_REASON_UNLOCKED),
        Kind::Forked => (DSS_EVENT_LOST, DSS_REASON_FORKED),
    };
    (out.token, out.left_ms) = (event.token, event.left_ms);
    for (place, byte) in out.lock_id.iter_mut().zip(event.id.as_bytes()) {
        *place = *byte as c_char;
    }
}
