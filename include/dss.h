/*
 * dss.h: libdss, a Distributed State Service. Named locks in a store that many processes share.
 *
 * Made from the sources of libdss: do not edit. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * THE MODEL
 *
 * A lock is an entry (lock_id, lock_owner, timestamp) in a store, and not something that a process, a thread or a
 * connection holds. It belongs to an owner's name. It survives the process that took it, and stays until it is unlocked.
 * So a daemon that crashed and was started again under the same owner's name finds its locks as it left them, and nobody
 * else got them meanwhile; and a holder that is gone for good has to be cleared away by dss_unlock() with a NULL owner.
 *
 *                            | no such lock | held, same owner | held, other owner
 *     dss_lock               | 0            | -EEXIST          | -EEXIST
 *     dss_lock_refresh       | -ENOLCK      | 0                | -EACCES
 *     dss_unlock             | -ENOLCK      | 0                | -EACCES
 *     dss_unlock, owner NULL | -ENOLCK      | 0                | 0 (forced)
 *     dss_lock_status        | -ENOLCK      | 0                | 0
 *
 * Mutual exclusion: a lock has one holder until it is unlocked or forced, whatever pauses or crashes. What a call
 * answered with 0 survives the end (kill -9) of any process, and a power cut if the disk keeps what it has flushed.
 *
 * A PROGRAM
 *
 *     struct dss_handle dss;
 *     int rc = dss_init_uri(&dss, "sqlite:/var/lib/tapes/locks.db");
 *
 *     if (rc == 0 && (rc = dss_lock(&dss, "drive3", "mover@host7")) == 0) {
 *         work_with("drive3");
 *         rc = dss_unlock(&dss, "drive3", "mover@host7");
 *     }
 *     if (rc != 0)
 *         fprintf(stderr, "%s\n", dss_last_error());    at -EEXIST it says who holds drive3, and since when
 *     dss_fini(&dss);
 *
 * Link with -ldss, or with what "pkg-config --cflags --libs dss" prints.
 *
 * THREADS, PROCESSES, SIGNALS
 *
 * Every call may be made from any thread, with one handle or many. A call blocks for at most timeout_ms (an option of the
 * connection string) and about a second; time in which the kernel holds the thread aside. After fork(2) both processes may
 * go on with their handles; a memory: handle stays with the parent (-ECHILD). Between vfork(2), or _Fork(3) or a bare
 * clone(2), and exec make no call. No call may be made from a signal handler; signals that arrive during a call are handled
 * when it ends, or while it waits. Thread cancellation acts after the call. The library prints nothing, never ends the
 * process, starts no thread, and changes no locale, umask, working folder, signal mask or signal disposition.
 *
 * ERRORS OF EVERY CALL
 *
 * A call returns 0 or a negative errno, each of which is one state of the world. 0 means applied, -EINPROGRESS means
 * unknown, every other error means that nothing was changed. dss_last_error() has the whole story of the calling thread's
 * last failure. Besides those that are listed with a call:
 *
 *     -EBADF            the handle is NULL or not open: call dss_init() first, and nothing after dss_fini()
 *     -EINVAL           a name is NULL (where one is needed) or empty
 *     -ENAMETOOLONG     a lock_id of more than 2048 bytes, or a lock_owner of more than 256
 *     -EBUSY            other processes kept the store locked beyond timeout_ms: try again, or allow more time
 *     -EINPROGRESS      the disk did not confirm the change within timeout_ms: ask dss_lock_status(). A lock that the
 *                       failed call may have taken is released with the handle's next call
 *     -EIDRM            the file was moved, replaced or removed while open: dss_fini(), then dss_init() again; locks of
 *                       the former file are not in the new one
 *     -EMLINK           the file got a second name (hard link): remove it; then the handle goes on
 *     -EUCLEAN          the file is damaged, or is no dss store (any more): restore it
 *     -EPROTONOSUPPORT  a newer libdss has changed the store meanwhile: update this one
 *     -ENOTCONN         the file can't be opened any more (rights were taken away, a folder is gone)
 *     -ENOSPC -EDQUOT -EROFS -EMFILE -EIO
 *                       as the system says: make room, and so on; the handle goes on when the cause is gone
 *     -ECHILD           a memory: handle in a forked child, or a process that _Fork(3), clone(2) or vfork(2) made
 *     -EINTR            a signal handler forked this process during the call: the call goes on in the parent
 *     -ENOMEM           no memory for SQLite or for the owner's string (memory that libdss itself can't get ends
 *                       the process)
 *     -ENOTRECOVERABLE  a defect inside the library was contained: dss_fini() the handle; please report it
 *
 * Where several apply: the handle first, then the arguments in their order, then the store, then the lock. On failure
 * outputs are zero or NULL; after a bad handle or argument they are untouched, but a lock_owner output is NULL.
 */


#ifndef DSS_H
#define DSS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

/** The version of this header, as numbers and as text; dss_version() tells the library's. */
#define DSS_VERSION_MAJOR 0
#define DSS_VERSION_MINOR 1
#define DSS_VERSION_PATCH 0
#define DSS_VERSION "0.1.0"

/** The written specification of the four calls spells two errors in its own way; these are the system's names. */
#ifndef ENOLOCK
#define ENOLOCK ENOLCK
#endif
#ifndef EACCESS
#define EACCESS EACCES
#endif

/**
 * The longest lock_id, in bytes without its NUL.
 */
#define DSS_LOCK_ID_MAX 2048

/**
 * The longest lock_owner, in bytes without its NUL.
 */
#define DSS_LOCK_OWNER_MAX 256

/**
 * An open store. It may live on the stack, in a static variable or in another struct.
 *
 * dss_init() or dss_init_uri() fills it, dss_fini() empties it. Any number of threads may use one handle at the same
 * time, and any number of handles may be open on one store.
 */
struct dss_handle {
    /**
     * Private. NULL when the handle is not open.
     */
    void *dh_conn;
};

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Open the store that the environment variable DSS_URI names.
 *
 * With DSS_URI unset or empty the store is an SQLite file: /var/lib/dss/dss.db for root (the folder is made with mode
 * 0755), else dss/dss.db in $XDG_STATE_HOME or, where that is unset or no full path, in ~/.local/state (folders are made
 * with mode 0700). THIS DEFAULT DIFFERS FROM USER TO USER: programs that run as different users and are to share their
 * locks must set DSS_URI. The environment is read by secure_getenv(3), so a set-user-ID program sees none of it.
 *
 * @param[out]  handle  Handle to fill; whatever was in it is overwritten. On failure it is not open: its dh_conn is NULL.
 * @return              0 on success, else as dss_init_uri(); also -EINVAL if the default is needed and HOME is unset.
 */
int dss_init(struct dss_handle *handle);

/**
 * Open the store that a connection string names.
 *
 *     sqlite:/path/file.db        an SQLite file, for the processes of one host; also a bare path without "sqlite:"
 *     memory:  memory:NAME        a store of this process alone: handles of one NAME (also the empty one) share it, and
 *                                 it is gone with the last of them; for unit tests of programs that use the library
 *
 * Options follow a '?' and are joined by '&', as in "sqlite:/path/file.db?mode=0660&timeout_ms=2000". The path is taken
 * literally up to the '?' (no percent signs are decoded); a bare path is literal to its end and takes no options.
 *
 *     timeout_ms=N    how long any one call may spend before it gives up, 0 to 86400000 milliseconds; default 10000
 *     mode=OCTAL      the mode of a file that has to be created, such as 0660; default 0600, whatever the umask
 *
 * A file that does not exist is created, its folder is not. SQLite keeps two more files beside it while it is open, FILE-wal
 * and FILE-shm, with the same mode: the user needs the right to write in the folder. Keep the file on a local file system;
 * do not rename, remove, hard-link or bind-mount it while it is open: each is found out and refused.
 *
 * @param[out]  handle  Handle to fill; whatever was in it is overwritten. On failure it is not open: its dh_conn is NULL.
 * @param[in]   uri     Connection string.
 * @return              0 on success,
 *                     -EINVAL if handle or uri is NULL, or uri is empty, of an unknown scheme, or has an unknown or
 *                      malformed option: dss_last_error() names the part,
 *                     -ERANGE if timeout_ms is too large,
 *                     -ENAMETOOLONG if the file's full path is longer than 503 bytes, or its name than 247: use a shorter one,
 *                     -ENOENT if the folder does not exist: make it,
 *                     -EACCES if the user may not write the file or its folder,
 *                     -EROFS, -ENOSPC, -EDQUOT, -EMFILE, -EIO as the system says,
 *                     -EUCLEAN if the file is not a dss store or is damaged: it is left untouched,
 *                     -EPROTONOSUPPORT if the file was written by a newer libdss (it is left untouched: update), or this
 *                      library was built without that kind of store,
 *                     -EREMOTE if the file would be on a network file system (NFS, Lustre, GPFS, CIFS, 9p, ...), where
 *                      SQLite's locks do not hold,
 *                     -EMLINK if the file has a second name (hard link, bind mount of the file): remove it,
 *                     -EBUSY if other processes kept the file locked beyond timeout_ms,
 *                     -ECHILD in a process that was made by _Fork(3), clone(2) or vfork(2),
 *                     -ENOMEM, -ENOTRECOVERABLE.
 */
int dss_init_uri(struct dss_handle *handle, const char *uri);

/**
 * Close a handle. No lock is released by it: a lock belongs to its owner's name, not to a handle or a process.
 *
 * Calls that other threads have under way on the handle end as they would have, later ones give -EBADF. NULL, a handle
 * that is not open, and a second call are harmless.
 *
 * @param[in,out]  handle  Handle to close, or NULL. Its dh_conn is NULL afterwards.
 */
void dss_fini(struct dss_handle *handle);

/**
 * Take a lock.
 *
 * Atomic: of any number of callers, in any threads and processes that share the store, exactly one gets 0. The lock is an
 * entry in the store: it never expires, it stays when the process that took it ends, and it is not re-entrant. The call
 * does not wait for the holder.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier: 1 to DSS_LOCK_ID_MAX bytes, any but NUL, compared byte by byte.
 * @param[in]   lock_owner      Name of the lock owner: 1 to DSS_LOCK_OWNER_MAX bytes, any but NUL. Choose one that is
 *                              different for each holder, such as host, program and process id, or a stable one that the
 *                              program finds again after a restart.
 * @return                      0 on success: the lock is held, and will be after a crash or a power cut,
 *                             -EEXIST if the lock is held, also by the same owner; dss_last_error() says by whom and
 *                              since when. Try again after its dss_unlock(),
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_lock(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Refresh a lock timestamp.
 *
 * The new timestamp is strictly newer than the old one, also within one microsecond and after the clock was set back.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[in]   lock_owner      Name of the lock owner, as for dss_lock().
 * @return                      0 on success,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked, perhaps by force; whoever
 *                              refreshes believed to hold it and must stop,
 *                             -EACCES (EACCESS) if the lock owner does not match: another owner holds the lock now,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_lock_refresh(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Release a lock.
 *
 * If \a lock_owner is NULL, remove the lock without considering the previous owner. This is for a holder that is gone
 * for good: one that still works would go on without protection.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[in]   lock_owner      Name of the lock owner, as for dss_lock(), or NULL.
 * @return                      0 on success,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked before, perhaps by force,
 *                             -EACCES (EACCESS) if the lock owner does not match: nothing was released,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_unlock(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Retrieve the status of a lock.
 *
 * If \a lock_owner is NULL, the string is not allocated.
 * If \a lock_timestamp is NULL, the structure is not filled.
 * The call takes no lock that a writer needs, and does not wait for one.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[out]  lock_owner      Name of the lock owner, must be freed by the caller with free(3). NULL after any failure.
 * @param[out]  lock_timestamp  Date when the lock was taken or last refreshed: UTC, in seconds and microseconds since
 *                              1970. Zero after a failure, but untouched after a bad handle or argument.
 * @return                      0 on success,
 *                             -ENOMEM if the \a lock_owner string cannot be allocated,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_lock_status(struct dss_handle *handle, const char *lock_id, char **lock_owner, struct timeval *lock_timestamp);

/**
 * A short fixed text for what a call returned.
 *
 * @param[in]   rc  What a dss_* call returned: 0 or a negative errno.
 * @return          A text in English, never NULL, also for a code that no call returns. It is constant: do not
 *                  free it. May be called from any thread at any time.
 */
const char *dss_strerror(int rc);

/**
 * The last failure of the calling thread, in full: what failed, why, and what to do about it; at -EEXIST for instance who
 * holds the lock and since when.
 *
 * @return  A text in English, never NULL: "" before the thread's first failure. Calls that succeed leave it alone. It
 *          stays valid until this thread's next dss_* call that fails, or the thread's end: do not free it. Bytes of names
 *          that are not printable UTF-8 are written as \xNN.
 */
const char *dss_last_error(void);

/**
 * The version of the library that is loaded, such as "0.1.0"; DSS_VERSION is that of the header.
 *
 * @return  A constant text: do not free it.
 */
const char *dss_version(void);

/**
 * Open the store that the environment variable DSS_URI names.
 *
 * With DSS_URI unset or empty the store is an SQLite file: /var/lib/dss/dss.db for root (the folder is made with mode
 * 0755), else dss/dss.db in $XDG_STATE_HOME or, where that is unset or no full path, in ~/.local/state (folders are made
 * with mode 0700). THIS DEFAULT DIFFERS FROM USER TO USER: programs that run as different users and are to share their
 * locks must set DSS_URI. The environment is read by secure_getenv(3), so a set-user-ID program sees none of it.
 *
 * @param[out]  handle  Handle to fill; whatever was in it is overwritten. On failure it is not open: its dh_conn is NULL.
 * @return              0 on success, else as dss_init_uri(); also -EINVAL if the default is needed and HOME is unset.
 */
int dss_init(struct dss_handle *handle);

/**
 * Open the store that a connection string names.
 *
 *     sqlite:/path/file.db        an SQLite file, for the processes of one host; also a bare path without "sqlite:"
 *     memory:  memory:NAME        a store of this process alone: handles of one NAME (also the empty one) share it, and
 *                                 it is gone with the last of them; for unit tests of programs that use the library
 *
 * Options follow a '?' and are joined by '&', as in "sqlite:/path/file.db?mode=0660&timeout_ms=2000". The path is taken
 * literally up to the '?' (no percent signs are decoded); a bare path is literal to its end and takes no options.
 *
 *     timeout_ms=N    how long any one call may spend before it gives up, 0 to 86400000 milliseconds; default 10000
 *     mode=OCTAL      the mode of a file that has to be created, such as 0660; default 0600, whatever the umask
 *
 * A file that does not exist is created, its folder is not. SQLite keeps two more files beside it while it is open, FILE-wal
 * and FILE-shm, with the same mode: the user needs the right to write in the folder. Keep the file on a local file system;
 * do not rename, remove, hard-link or bind-mount it while it is open: each is found out and refused.
 *
 * @param[out]  handle  Handle to fill; whatever was in it is overwritten. On failure it is not open: its dh_conn is NULL.
 * @param[in]   uri     Connection string.
 * @return              0 on success,
 *                     -EINVAL if handle or uri is NULL, or uri is empty, of an unknown scheme, or has an unknown or
 *                      malformed option: dss_last_error() names the part,
 *                     -ERANGE if timeout_ms is too large,
 *                     -ENAMETOOLONG if the file's full path is longer than 503 bytes, or its name than 247: use a shorter one,
 *                     -ENOENT if the folder does not exist: make it,
 *                     -EACCES if the user may not write the file or its folder,
 *                     -EROFS, -ENOSPC, -EDQUOT, -EMFILE, -EIO as the system says,
 *                     -EUCLEAN if the file is not a dss store or is damaged: it is left untouched,
 *                     -EPROTONOSUPPORT if the file was written by a newer libdss (it is left untouched: update), or this
 *                      library was built without that kind of store,
 *                     -EREMOTE if the file would be on a network file system (NFS, Lustre, GPFS, CIFS, 9p, ...), where
 *                      SQLite's locks do not hold,
 *                     -EMLINK if the file has a second name (hard link, bind mount of the file): remove it,
 *                     -EBUSY if other processes kept the file locked beyond timeout_ms,
 *                     -ECHILD in a process that was made by _Fork(3), clone(2) or vfork(2),
 *                     -ENOMEM, -ENOTRECOVERABLE.
 */
int dss_init_uri(struct dss_handle *handle, const char *uri);

/**
 * Close a handle. No lock is released by it: a lock belongs to its owner's name, not to a handle or a process.
 *
 * Calls that other threads have under way on the handle end as they would have, later ones give -EBADF. NULL, a handle
 * that is not open, and a second call are harmless.
 *
 * @param[in,out]  handle  Handle to close, or NULL. Its dh_conn is NULL afterwards.
 */
void dss_fini(struct dss_handle *handle);

/**
 * Take a lock.
 *
 * Atomic: of any number of callers, in any threads and processes that share the store, exactly one gets 0. The lock is an
 * entry in the store: it never expires, it stays when the process that took it ends, and it is not re-entrant. The call
 * does not wait for the holder.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier: 1 to DSS_LOCK_ID_MAX bytes, any but NUL, compared byte by byte.
 * @param[in]   lock_owner      Name of the lock owner: 1 to DSS_LOCK_OWNER_MAX bytes, any but NUL. Choose one that is
 *                              different for each holder, such as host, program and process id, or a stable one that the
 *                              program finds again after a restart.
 * @return                      0 on success: the lock is held, and will be after a crash or a power cut,
 *                             -EEXIST if the lock is held, also by the same owner; dss_last_error() says by whom and
 *                              since when. Try again after its dss_unlock(),
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_lock(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Refresh a lock timestamp.
 *
 * The new timestamp is strictly newer than the old one, also within one microsecond and after the clock was set back.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[in]   lock_owner      Name of the lock owner, as for dss_lock().
 * @return                      0 on success,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked, perhaps by force; whoever
 *                              refreshes believed to hold it and must stop,
 *                             -EACCES (EACCESS) if the lock owner does not match: another owner holds the lock now,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_lock_refresh(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Release a lock.
 *
 * If \a lock_owner is NULL, remove the lock without considering the previous owner. This is for a holder that is gone
 * for good: one that still works would go on without protection.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[in]   lock_owner      Name of the lock owner, as for dss_lock(), or NULL.
 * @return                      0 on success,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked before, perhaps by force,
 *                             -EACCES (EACCESS) if the lock owner does not match: nothing was released,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_unlock(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Retrieve the status of a lock.
 *
 * If \a lock_owner is NULL, the string is not allocated.
 * If \a lock_timestamp is NULL, the structure is not filled.
 * The call takes no lock that a writer needs, and does not wait for one.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[out]  lock_owner      Name of the lock owner, must be freed by the caller with free(3). NULL after any failure.
 * @param[out]  lock_timestamp  Date when the lock was taken or last refreshed: UTC, in seconds and microseconds since
 *                              1970. Zero after a failure, but untouched after a bad handle or argument.
 * @return                      0 on success,
 *                             -ENOMEM if the \a lock_owner string cannot be allocated,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "Errors of every call" above.
 */
int dss_lock_status(struct dss_handle *handle, const char *lock_id, char **lock_owner, struct timeval *lock_timestamp);

/**
 * A short fixed text for what a call returned.
 *
 * @param[in]   rc  What a dss_* call returned: 0 or a negative errno.
 * @return          A text in English, never NULL, also for a code that no call returns. It is constant: do not
 *                  free it. May be called from any thread at any time.
 */
const char *dss_strerror(int rc);

/**
 * The last failure of the calling thread, in full: what failed, why, and what to do about it; at -EEXIST for instance who
 * holds the lock and since when.
 *
 * @return  A text in English, never NULL: "" before the thread's first failure. Calls that succeed leave it alone. It
 *          stays valid until this thread's next dss_* call that fails, or the thread's end: do not free it. Bytes of names
 *          that are not printable UTF-8 are written as \xNN.
 */
const char *dss_last_error(void);

/**
 * The version of the library that is loaded, such as "0.1.0"; DSS_VERSION is that of the header.
 *
 * @return  A constant text: do not free it.
 */
const char *dss_version(void);

#ifdef __cplusplus
}
#endif  /* __cplusplus */

#endif  /* DSS_H */
