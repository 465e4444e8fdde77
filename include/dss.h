/*
 * dss.h: libdss, a Distributed State Service. Named locks and small state in a store that many processes share.
 *
 * Made from the sources of libdss: do not edit. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * THE MODEL
 *
 * A lock is an entry (lock_id, lock_owner, timestamp, token) in a store, and not something that a process, a thread or
 * a connection holds. It belongs to an owner's name. It survives the process that took it, and stays until it is
 * unlocked, or until its lease runs out, if it was taken with one. So a daemon that crashed and was started again under
 * the same owner's name finds its locks as it left them, and nobody else got them meanwhile; and a lock without a lease
 * whose holder is gone for good has to be cleared away, by dss_unlock() with a NULL owner or by dss_lock_clean().
 *
 *                            | no such lock | held, same owner | held, other owner
 *     dss_lock               | 0            | -EEXIST          | -EEXIST
 *     dss_lock_refresh       | -ENOLCK      | 0                | -EACCES
 *     dss_unlock             | -ENOLCK      | 0                | -EACCES
 *     dss_unlock, owner NULL | -ENOLCK      | 0                | 0 (forced)
 *     dss_lock_status        | -ENOLCK      | 0                | 0
 *
 * Mutual exclusion: a lock has one holder until it is unlocked, transferred or removed by force, or its lease is over
 * if it has one, whatever pauses or crashes. What a call answered with 0 survives the end (kill -9) of any process, and
 * a power cut if the disk keeps what it has flushed. On a server that is what its settings promise: etcd's majority
 * does; PostgreSQL's synchronous_commit=on does, but for the promotion of a standby that is not synchronous, which may
 * lack the last locks.
 *
 * LEASES AND TOKENS
 *
 * dss_lockv() can take a lock for a time (ttl_ms) that dss_lock_refresh() starts anew. When it is over, the lock does
 * not exist any more, and the next caller gets it; DSS_GRANT_OWNERDEAD tells it that what the lock protects may be half
 * done. The store's one clock decides. On SQLite it is a clock of the host that nobody sets (CLOCK_BOOTTIME), so a step
 * of the wall clock ends no lease early or late, and all are over when the host is started anew.
 * Where a process can't see the kernel's boot id (systemd-nspawn and LXC hide it; a chroot without
 * /proc has none), a lease that it takes or looks at may last after that, at most until the host
 * has been up for as long as it had been at the grant, and ttl_ms more. On PostgreSQL it is the
 * server's wall clock: let it be slewed, not stepped. On etcd its leader counts, in whole seconds,
 * and a change of leader makes leases longer.
 *
 * No lease can stop a holder that was paused past its end and goes on believing that it holds the lock. A fence can:
 * each grant of a lock has a token, greater than that of every earlier grant of the same lock, whatever ended it. A
 * resource that remembers the greatest token it has seen, and refuses any smaller one, is safe from such a holder.
 * dss_lock_left() tells a holder how long its lease still runs, without asking the store.
 *
 * On SQLite tokens follow the wall clock where that is ahead, so they grow also when the file is made anew or restored
 * from a copy, unless the clock was set back meanwhile. On PostgreSQL they grow also when a standby is promoted. After a
 * restore of PostgreSQL or etcd raise them as docs/stores.md says. A token takes 63 bits: write it as a string into JSON.
 *
 * STATE
 *
 * dss_set() and dss_get() keep small values under keys beside the locks: which tape is in drive 3, how far a migration
 * came. dss_set() can check a lock's token in the transaction that writes (DSS_GUARD_LOCK): there the fence needs no
 * help from the resource, and a holder that has lost the lock can't overwrite its successor's value. DSS_GUARD_VERSION
 * makes it a compare-and-set.
 *
 *     struct dss_guard guard = { .size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = "drive3", .token = token };
 *
 *     rc = dss_set(&dss, "drive3/tape", "B00042", 6, &guard, NULL); // -ESTALE: the lock is lost, stop
 *
 * KEEPALIVE
 *
 * With DSS_LOCK_KEEPALIVE the library renews a lock by itself, from one thread of its own that is started with the
 * first such lock, blocks all signals, and ends in the last dss_fini(). dss_event_fd() becomes readable when a lock is
 * at risk (DSS_EVENT_AT_RISK), is safe again (DSS_EVENT_SAFE) or is lost (DSS_EVENT_LOST), which tells every end of the
 * lock but those that this handle made itself. Refreshing such a lock starts its lease anew; unlocking or transferring
 * it, and dss_fini(), ends its renewal. Only the process that took it renews it. In a forked child
 * each such lock gives one DSS_EVENT_LOST with DSS_REASON_FORKED, on a descriptor of the child's
 * own: call dss_event_fd() again there. A daemon that leaves its terminal by fork(2) takes the lock
 * over in the child with DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE; a parent that still runs then gets
 * DSS_REASON_RESUMED.
 *
 * A PROGRAM
 *
 *     struct dss_handle dss;
 *     int rc = dss_init_uri(&dss, "sqlite:/var/lib/tapes/locks.db"); // many hosts: "postgresql://db1/locks"
 *
 *     if (rc == 0 && (rc = dss_lock(&dss, "drive3", "mover@host7")) == 0) {
 *         work_with("drive3");
 *         rc = dss_unlock(&dss, "drive3", "mover@host7");
 *     }
 *     if (rc != 0)
 *         fprintf(stderr, "%s\n", dss_last_error()); // at -EEXIST it says who holds drive3, and since when
 *     dss_fini(&dss);
 *
 * Link with -ldss, or with what "pkg-config --cflags --libs dss" prints.
 *
 * THREADS, PROCESSES, SIGNALS
 *
 * Every call may be made from any thread, with one handle or many. A call blocks for at most timeout_ms (an option of
 * the connection string), its wait_ms, and about a second; time in which the kernel holds the thread aside, or in
 * which the name of a server is looked up, is not counted. A connection that breaks is made anew inside the call, and
 * a change whose answer was lost is neither lost nor made twice. After fork(2) both processes may go on with their
 * handles; a memory: handle stays with the parent (-ECHILD). Make no call in a child of vfork(2), _Fork(3) or a bare
 * clone(2) before it has called exec. No call may be made from a signal handler; signals that arrive during a call
 * are handled when it ends, or while it waits. Thread cancellation acts after the call. The library prints nothing,
 * does not end the process (but see -ENOMEM), starts no thread but that of DSS_LOCK_KEEPALIVE, and changes no locale,
 * umask, working folder, signal mask or signal disposition. The program may open and close the store's file itself,
 * use it with its own SQLite, carry a second libdss, close the descriptors 0 to 2 and unload the library.
 *
 * STRUCTS
 *
 * A struct that the caller fills begins with its size: set it to sizeof, and all that is not used to 0. So it can grow
 * in later versions. Outputs named ret_... may be NULL.
 *
 * ERRORS OF EVERY CALL
 *
 * A call returns 0 (dss_event_fd() a descriptor, dss_event_next() 0 or 1, a list what its callback returned) or a
 * negative errno, each of which is one state of the world. 0 means applied, -EINPROGRESS means unknown, every other
 * error means that nothing was changed: of dss_lock_refreshv() and dss_unlockv(), which treat each lock for itself, this is
 * true of each lock by its own rc; and what a dss_lock_clean() has removed before it failed stays removed, as its callback
 * was told. dss_last_error() has the whole story of the calling thread's last failure. Besides those that are listed with
 * a call:
 *
 *     -EBADF            the handle is NULL or not open: call dss_init() first, and nothing after
 *                       dss_fini(). Or it was closed through a copy of the struct, or dh_conn is
 *                       nothing that this library has given, as in a struct of another library:
 *                       dss_last_error() says which
 *     -EINVAL           a name is NULL (where one is needed) or empty
 *     -ENAMETOOLONG     a lock_id or key of more than 2048 bytes, or a lock_owner of more than 256
 *     -EBUSY            the call was not done within timeout_ms, though the store can be reached:
 *                       SQLite could not get a lock on the file, another transaction of PostgreSQL
 *                       held a lock on a row or table, etcd's keys kept changing, or other threads
 *                       of this process were ahead; or a lease was so short that it was over before
 *                       its grant arrived. dss_last_error() says what was seen: try again, or allow
 *                       more time
 *     -EINPROGRESS      the disk did not confirm the change within timeout_ms, or another process that was doing it together
 *                       with its own was stopped (SIGSTOP), or the request went out to a server and no answer came, nor
 *                       could any be had within timeout_ms: it may have been applied. After dss_lock() or
 *                       dss_lockv() you do not hold the lock: what the call may have taken is released ahead of this
 *                       process's next call on the store, or by dss_fini(), which tries once (after DSS_LOCK_RESUME your
 *                       former lock may be gone as well), so call again. If the process ends before that, the lock stays
 *                       until its lease is over, or until it is removed if it has none. After dss_set() ask dss_get(),
 *                       after any other call dss_lock_status(), or dss_lock_list() for the token
 *     -EIDRM            the file was moved, replaced or removed while open: dss_fini(), then dss_init() again; locks of
 *                       the former file are not in the new one. Or its FILE-wal or FILE-shm was: no lock is
 *                       lost, the next call opens the store anew, and until all processes that have it open
 *                       have noticed (each in its next call) or ended, that may give -EIDRM as well
 *     -EMLINK           the file got a second name (hard link): remove it; then the handle goes on
 *     -EUCLEAN          the file, schema or prefix is damaged, or is no dss store (any more): restore it
 *     -EPROTONOSUPPORT  a newer libdss has changed the store meanwhile: update this one
 *     -ENOTCONN         the server can't be reached, or the file can't be opened any more (rights were taken away, a folder or
 *                       a database is gone): put it right, and the handle goes on
 *     -ENOSPC -EDQUOT -EROFS -EMFILE -EIO
 *                       as the system says, and as the server does (-ENOSPC: its disk, or etcd's quota, is full; -EROFS: it
 *                       is a standby): make room, and so on; the handle goes on when the cause is gone
 *     -ECHILD           a memory: handle in a forked child, or a process that _Fork(3) or clone(2) made
 *     -EINTR            in the child, if a signal handler forked this process during the call: call again there; in the
 *                       parent the call goes on. Also where a call says so itself
 *     -ENOMEM           no memory, or no thread for DSS_LOCK_KEEPALIVE: raise the limit. A call that has begun uses a reserve;
 *                       the process ends only if that is not enough
 *     -ENOTRECOVERABLE  a defect inside the library was contained: dss_fini() each handle of the store, then dss_init()
 *                       again; please report it
 *
 * Where several apply: the handle first, then the arguments in their order, then the store, then the lock. On failure
 * outputs are zero or NULL, but each lock of a dss_lockv(), dss_lock_refreshv() or dss_unlockv() has its own rc (dss_grant.rc,
 * ret_rcs), and where that is 0 its grant is filled. After a bad handle or argument, and in a process that _Fork(3) or
 * clone(2) made, outputs are untouched, but a lock_owner or ret_value output is NULL.
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
 * The most lock ids in one call.
 */
#define DSS_LOCK_IDS_MAX 64

/**
 * The longest note, in bytes without its NUL.
 */
#define DSS_NOTE_MAX 1024

/**
 * The shortest lease, in milliseconds.
 */
#define DSS_TTL_MIN_MS 1000

/**
 * The longest lease, in milliseconds: 366 days.
 */
#define DSS_TTL_MAX_MS 31622400000

/**
 * dss_lock_opts.flags: take one of the ids, the first that is free, instead of all of them. A pool of four drives is four
 * ids; a semaphore of N is N ids.
 */
#define DSS_LOCK_ANY 1

/**
 * dss_lock_opts.flags: take over a live lock of the same lock_owner, with a new token, this call's ttl_ms, note and flags.
 * A program that was started again finds its locks by it, and its former incarnation, should it still run, is fenced. With
 * DSS_LOCK_ANY: the first one that this owner holds, else the first that is free. What nobody holds is taken as usual, what
 * another owner holds is in the way.
 */
#define DSS_LOCK_RESUME 2

/**
 * dss_lock_opts.flags: the library renews the lease, at a third of its ttl_ms, until the lock is unlocked, transferred or
 * lost, or the handle closed. dss_event_fd() tells of trouble. It needs a ttl_ms. See "KEEPALIVE" above.
 */
#define DSS_LOCK_KEEPALIVE 4

/**
 * dss_grant.flags: the lock was taken over from the same owner (DSS_LOCK_RESUME).
 */
#define DSS_GRANT_RESUMED 1

/**
 * dss_grant.flags: the previous holder's lease ran out without an unlock, or its lock was removed by force or cleaned. What
 * the lock protects may be half done: look before you use it. It is told once, with the next grant: dss_lock(), and dss_lockv()
 * with a NULL ret_grants, take the lock without telling it, and a later DSS_LOCK_RESUME does not repeat it.
 */
#define DSS_GRANT_OWNERDEAD 2

/**
 * dss_filter.flags: the filter's lock_id is the beginning of the ids to match; an empty one matches all.
 */
#define DSS_FILTER_ID_PREFIX 1

/**
 * dss_filter.flags: the filter's lock_owner is the beginning of the owners to match; an empty one matches all.
 */
#define DSS_FILTER_OWNER_PREFIX 2

/**
 * dss_filter.flags: dss_lock_clean() may remove every lock of the store.
 */
#define DSS_FILTER_EVERYTHING 4

/**
 * The longest key, in bytes without its NUL.
 */
#define DSS_KEY_MAX 2048

/**
 * The longest value, in bytes.
 */
#define DSS_VALUE_MAX 1048576

/**
 * dss_guard.flags: write only if the key's version is dss_guard.version.
 */
#define DSS_GUARD_VERSION 1

/**
 * dss_guard.flags: write only if the lock dss_guard.lock_id is held by the grant of dss_guard.token.
 */
#define DSS_GUARD_LOCK 2

/**
 * dss_event.type: the lock was not renewed for two thirds of its ttl; the store is slow or out of reach. left_ms is what
 * is left of the lease: bring to an end what must not be half done.
 */
#define DSS_EVENT_AT_RISK 1

/**
 * dss_event.type: a lock that was at risk has been renewed.
 */
#define DSS_EVENT_SAFE 2

/**
 * dss_event.type: the lock is lost; whoever uses what it protects must stop. reason says how. What others did is found by
 * the next renewal: within a third of the ttl_ms if the store answers. It may come without a DSS_EVENT_AT_RISK before it.
 */
#define DSS_EVENT_LOST 3

/**
 * dss_event.reason: the lease ran out before it could be renewed.
 */
#define DSS_REASON_EXPIRED 1

/**
 * dss_event.reason: somebody removed the lock by force, or cleaned it away.
 */
#define DSS_REASON_FORCED 2

/**
 * dss_event.reason: somebody gave the lock to another owner.
 */
#define DSS_REASON_TRANSFERRED 3

/**
 * dss_event.reason: another incarnation of the same owner took the lock over (DSS_LOCK_RESUME).
 */
#define DSS_REASON_RESUMED 4

/**
 * dss_event.reason: the lock was unlocked in its owner's name, through another handle.
 */
#define DSS_REASON_UNLOCKED 5

/**
 * dss_event.reason: this process was forked from the one that took the lock and renews it. That
 * one goes on renewing it, if it still runs. Take the lock anew in this process with
 * DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE, or leave it alone.
 */
#define DSS_REASON_FORKED 6

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

/**
 * How dss_lockv() shall take locks. What is not needed is 0:
 *
 *     struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = 30000, .wait_ms = 5000};
 */
struct dss_lock_opts {
    /**
     * sizeof(struct dss_lock_opts): which fields the caller's compiler knew.
     */
    size_t size;
    /**
     * DSS_LOCK_ANY, DSS_LOCK_RESUME, DSS_LOCK_KEEPALIVE, or 0.
     */
    uint64_t flags;
    /**
     * The lease in milliseconds: DSS_TTL_MIN_MS to DSS_TTL_MAX_MS, or 0 for a lock that never expires. A store may grant more:
     * etcd counts in whole seconds, and not less than 2 as a rule.
     */
    uint64_t ttl_ms;
    /**
     * How long to wait for locks that others hold, in milliseconds: 0 not at all, less than 0 for ever.
     */
    int64_t wait_ms;
    /**
     * A text for people who list the locks, up to DSS_NOTE_MAX bytes, or NULL. It is copied.
     */
    const char *note;
};

/**
 * What was granted for one lock id.
 */
struct dss_grant {
    /**
     * The fence: never 0, below 2^63, and greater than that of every earlier grant of this lock id. 0 where nothing was
     * granted.
     */
    uint64_t token;
    /**
     * How long the lease still runs, in milliseconds, more than 0; INT64_MAX for a lock that never expires; 0 where nothing
     * was granted. It is counted from before the request left, so the store does not give the lock to others earlier.
     */
    int64_t left_ms;
    /**
     * DSS_GRANT_RESUMED, DSS_GRANT_OWNERDEAD, or 0.
     */
    uint32_t flags;
    /**
     * What became of this id: 0 or a negative errno.
     */
    int32_t rc;
    /**
     * Room for later versions; 0.
     */
    uint64_t reserved[2];
};

/**
 * Which locks to list or to clean. Fill it with zeros and set what you need; all that is set has to match.
 */
struct dss_filter {
    /**
     * sizeof(struct dss_filter): which fields the caller's compiler knew.
     */
    size_t size;
    /**
     * DSS_FILTER_ID_PREFIX, DSS_FILTER_OWNER_PREFIX, DSS_FILTER_EVERYTHING, or 0.
     */
    uint64_t flags;
    /**
     * The lock's id, or NULL for any; with DSS_FILTER_ID_PREFIX its first bytes.
     */
    const char *lock_id;
    /**
     * The lock's owner, or NULL for any; with DSS_FILTER_OWNER_PREFIX its first bytes.
     */
    const char *lock_owner;
    /**
     * Only locks that were last taken or refreshed at least so many milliseconds ago; 0: of any age. On SQLite a step of the
     * wall clock does not count, but for locks from before the host's last boot, whose age the wall clock tells. On PostgreSQL
     * it is the server's wall clock, on etcd those of the hosts that take, refresh and list.
     */
    uint64_t min_age_ms;
};

/**
 * A lock in a list. It and its strings are valid while the callback runs. Strings are never NULL.
 */
struct dss_lock_info {
    /**
     * The size of this struct, set by the library: a field is there if it ends within it.
     */
    size_t size;
    /**
     * The lock's id.
     */
    const char *lock_id;
    /**
     * The name of its owner.
     */
    const char *lock_owner;
    /**
     * What its holder left for people to read, or "".
     */
    const char *note;
    /**
     * Who took, resumed or transferred it: host, process id and program, as in "host7:4711:mover". For people: nothing is
     * decided by it.
     */
    const char *client;
    /**
     * The token of the grant: what dss_unlockv() with a NULL owner takes to remove this very one.
     */
    uint64_t token;
    /**
     * When this grant was made (taken, resumed or transferred): UTC, in microseconds since 1970.
     */
    int64_t taken_us;
    /**
     * When it was taken or last refreshed: UTC, in microseconds since 1970.
     */
    int64_t refreshed_us;
    /**
     * Its lease in milliseconds, as granted; 0 if it never expires.
     */
    uint64_t ttl_ms;
    /**
     * How long the lease still ran when the list began, in milliseconds; INT64_MAX if it never expires.
     */
    int64_t left_ms;
};

/**
 * What dss_lock_list() and dss_lock_clean() call for each lock. It may call the library, also with the same handle, and
 * must return: no longjmp(3), no exception. A result other than 0 ends the list.
 */
typedef int (*dss_lock_cb)(const struct dss_lock_info *info, void *arg);

/**
 * What must be so for dss_set() to write. It is checked in the transaction that writes. Fill it with zeros and set what you
 * need.
 */
struct dss_guard {
    /**
     * sizeof(struct dss_guard): which fields the caller's compiler knew.
     */
    size_t size;
    /**
     * DSS_GUARD_VERSION, DSS_GUARD_LOCK, both, or 0. A field whose flag is not set is not looked at.
     */
    uint64_t flags;
    /**
     * With DSS_GUARD_VERSION: the version that dss_get() or dss_set() gave last, or 0: nothing may stand under the key.
     */
    uint64_t version;
    /**
     * With DSS_GUARD_LOCK: the lock that protects the value.
     */
    const char *lock_id;
    /**
     * With DSS_GUARD_LOCK: the token that dss_lockv() gave. The lock must be held by that very grant, and its lease, if it
     * has one, must not be over.
     */
    uint64_t token;
};

/**
 * A key in a list. It and its string are valid while the callback runs.
 */
struct dss_key_info {
    /**
     * The size of this struct, set by the library: a field is there if it ends within it.
     */
    size_t size;
    /**
     * The key.
     */
    const char *key;
    /**
     * The version of its value.
     */
    uint64_t version;
    /**
     * How many bytes its value has.
     */
    size_t len;
};

/**
 * What dss_list() calls for each key. It may call the library, also with the same handle, and must return: no longjmp(3), no
 * exception. A result other than 0 ends the list.
 */
typedef int (*dss_key_cb)(const struct dss_key_info *info, void *arg);

/**
 * What happened to a lock that was taken with DSS_LOCK_KEEPALIVE.
 */
struct dss_event {
    /**
     * DSS_EVENT_AT_RISK, DSS_EVENT_SAFE or DSS_EVENT_LOST.
     */
    uint32_t type;
    /**
     * With DSS_EVENT_LOST one of DSS_REASON_..., else 0.
     */
    uint32_t reason;
    /**
     * The token of the grant.
     */
    uint64_t token;
    /**
     * What was left of the lease when the event came about, in milliseconds; 0 with DSS_EVENT_LOST.
     */
    int64_t left_ms;
    /**
     * Room for later versions; 0.
     */
    uint64_t reserved[4];
    /**
     * The lock's id, ended by NUL.
     */
    char lock_id[2056];
};

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Open the store of this site. Its connection string is, in this order:
 *
 *     1. the environment variable DSS_URI, if it is set and not empty;
 *     2. the first line of /etc/dss/uri that is neither empty nor a comment (which begins with '#'),
 *        if there is such a file: one store for all users of the host;
 *     3. an SQLite file of the effective user: /var/lib/dss/dss.db for root (the folder is made with
 *        mode 0755), else dss/dss.db in $XDG_STATE_HOME or, if that is unset or no full path, in
 *        ~/.local/state (folders are made with mode 0700).
 *
 * THE THIRD DIFFERS FROM USER TO USER: programs that run as different users and share their locks
 * need DSS_URI or /etc/dss/uri, and so does every program on a store that several hosts share.
 * dss_uri() says which store was opened. The environment is read by secure_getenv(3), so a
 * set-user-ID program ignores it and reads /etc/dss/uri.
 *
 * /etc/dss/uri must be an ordinary file or a link to one, owned by root and writable by nobody
 * else, readable by all who use the library, and at most 65536 bytes long. Blanks around the
 * string do not count. It names a file by its full path, and no memory: store. Lines after the
 * string are ignored. A file that can't be read, that holds no string or a wrong one is an error:
 * the library does not go on to the user's own file then.
 *
 * @param[out]  handle  Handle to fill. What was in it is overwritten and not closed: call dss_fini() before, or the former
 *                      handle stays open until the process ends. On failure its dh_conn is NULL.
 * @return              0 on success, else as dss_init_uri() or as below; a text about a wrong string
 *                      begins with $DSS_URI, or with /etc/dss/uri and the number of the line,
 *                     -EPERM if /etc/dss/uri is not owned by root, or its group or others can write
 *                      it: use chown(1) and chmod(1),
 *                     -EACCES if the user may not read /etc/dss/uri or search its folder: give the
 *                      right, or set DSS_URI,
 *                     -EMFILE if there is no free descriptor to read it: close files, or raise the
 *                      limit,
 *                     -ENOENT if it is a symbolic link that leads to no file, or /etc/dss is no folder:
 *                      repair or remove it,
 *                     -EINVAL if it is no ordinary file, too long, or holds no string; or if the
 *                      user's own file is needed and HOME is unset or empty.
 */
int dss_init(struct dss_handle *handle);

/**
 * Open the store that a connection string names.
 *
 *     sqlite:/path/file.db                   an SQLite file, for the processes of one host; also a bare path without
 *                                            "sqlite:", if there is a '/' in it: /path/file.db or ./file.db
 *     postgresql://user@host:port/database   a PostgreSQL server, 13 or newer, for all hosts that reach it; also
 *                                            postgres://...
 *     host=... dbname=... user=...           the same, as a keyword string of its client library libpq
 *     etcd://host:port,host:port/prefix      an etcd cluster, 3.4 or newer, for all hosts that reach it
 *     memory:  memory:NAME                   a store of this process alone: handles of one NAME (also the empty one) share it,
 *                                            and it is gone with the last of them; for unit tests of programs that use the
 *                                            library
 *
 * Options follow a '?' and are joined by '&', as in "sqlite:/path/file.db?mode=0660&timeout_ms=2000"; in a keyword string they
 * are keywords as the others.
 *
 *     timeout_ms=N    how long any one call may spend before it gives up, 0 to 86400000 milliseconds; default 10000. With 0
 *                     it tries once, and gives -EBUSY if the store is busy; a server is given up
 *                     to 400 ms
 *     mode=OCTAL      sqlite: the mode of a file that has to be created, three or four octal digits such as 0660: its owner
 *                     may read and write it, nobody may execute it; default 0600. The umask does not count
 *     schema=NAME     postgresql: the schema that holds the store, 1 to 63 small letters, digits and '_'; default dss
 *     tls=on|off      etcd: whether to speak TLS; default on if one of the next three is given, else off
 *     cacert=FILE     etcd: who has signed the servers' certificates (PEM); without it the usual public authorities
 *     cert=FILE       etcd: the client's certificate (PEM), together with key=FILE
 *     key=FILE        etcd: its private key (PEM)
 *     user=NAME       etcd: the user, together with password_file=FILE
 *     password_file=FILE   etcd: the file whose first line is the user's password
 *
 * No string is taken for the name of a file by mistake. A scheme ("name:") that is not in this list
 * is refused; so is a word without a '/' that is no keyword string, such as etcd, memory, localhost
 * or locks.db (write ./locks.db), and a bare path with an option (write sqlite:./locks.db?mode=0660).
 * The text says what was probably meant. A keyword string begins with a keyword of libpq and '='.
 *
 * sqlite: The path is taken literally up to the '?' (no percent signs are decoded); a bare path is
 * literal to its end. A relative path is resolved once, from the working folder at this call, and so
 * are symbolic links. A file that does not exist is created, its folder is not. Beside it stand more
 * files while it is open, with the same mode:
 * SQLite's FILE-wal and FILE-shm, and FILE-wait, in which processes see who waits for locks and leave requests for the one
 * that is at work. So the user needs the right to write in the folder. Keep the file on a local file system; do not rename,
 * remove or hard-link it while it is open: that is found out at the next call. The three files beside it may be removed or
 * replaced at any time: calls may fail with -EIDRM, and no lock is lost or granted twice. But do not truncate or overwrite
 * the database, FILE-wal or FILE-shm in place. What is cut off FILE-wal may be the latest locks: all calls then give -EUCLEAN,
 * and nothing is granted any more until an administrator has removed FILE-wal. The kernel ends (SIGBUS) each process that is
 * using the part of FILE-shm that was cut off, as it does with every program that uses SQLite. A file of an older libdss is
 * brought to this version's form; the older one gives -EPROTONOSUPPORT then.
 *
 * A program may close the library's descriptors (closefrom(3), as some daemons do), also while calls are under way: the
 * library notices before it uses a number again, opens the store anew, and never closes or uses a descriptor of the
 * program's own. No lock is lost by that; a dss_lock_list() that is under way ends with -EINTR.
 *
 * postgresql: All options but timeout_ms and schema are libpq's, and so are the environment (PGHOST, PGUSER, ...), ~/.pgpass
 * and service files. libpq.so.5 is loaded by the first such string (Debian's package libpq5). The first call makes the schema
 * where there is none and the role may; else an administrator makes it. Where the string names several hosts, the one that can
 * be written to is used (target_session_attrs=read-write, unless it says otherwise); then set tcp_user_timeout, too.
 *
 * etcd: Name all members of the cluster. The port is 2379 where it is left out; all keys begin with the prefix (letters, digits
 * and . _ - /), dss where there is none. etcd's JSON gateway has to be on, as it is by default.
 *
 * Passwords are in no text that the library gives. docs/stores.md says for each store how to set it up, what it guarantees and
 * costs, and what to do when something goes wrong.
 *
 * @param[out]  handle  Handle to fill. What was in it is overwritten and not closed: call dss_fini() before, or the former
 *                      handle stays open until the process ends. On failure its dh_conn is NULL.
 * @param[in]   uri     Connection string.
 * @return              0 on success,
 *                     -EINVAL if handle or uri is NULL, or uri is empty, of an unknown scheme, a word
 *                      without a '/', or has an unknown or malformed option, one twice, or one behind
 *                      a bare path: dss_last_error() names the part,
 *                     -ERANGE if timeout_ms is out of range,
 *                     -ENAMETOOLONG if the file's full path is longer than 503 bytes, or its name than 247: use a shorter one,
 *                     -ENOENT if the folder, the database or a file of an option does not exist: make it,
 *                     -ENOENT if /proc is not mounted and the kernel does not say that the process is in the host's
 *                      time namespace (before Linux 6.11): mount it (SQLite),
 *                     -EACCES if the user may not write the file or its folder, if the password is wrong, if etcd has users
 *                      and the client certificate has a common name, or if the role may neither make nor use the store:
 *                      give the rights, another certificate (docs/stores.md), or another path,
 *                     -ENOTCONN if the server can't be reached, does not answer within timeout_ms, or one side wants TLS and
 *                      the other does not: start it, or put the string right,
 *                     -EROFS if the server is a standby: name the primary, or all hosts,
 *                     -EROFS, -ENOSPC, -EDQUOT, -EMFILE, -EIO as the system says: make room, and so on,
 *                     -EUCLEAN if the file, schema or prefix is not a dss store or is damaged: it is left untouched; give
 *                      another one, or restore it,
 *                     -EPROTONOSUPPORT if the store was written by a newer libdss (it is left untouched: update), the server is
 *                      too old, libpq is not installed, or this library was built without that kind of store,
 *                     -EREMOTE if the file would be on a network file system (NFS, Lustre, GPFS, CIFS, 9p, ...), where
 *                      SQLite's locks do not hold: give a path on a local one,
 *                     -EMLINK if the file has a hard link: remove it; or is itself a bind mount: mount its folder instead,
 *                     -EIDRM if FILE-wal or FILE-shm was removed or replaced while other processes have the store open,
 *                      and one of them has not noticed within timeout_ms: try again, or end the idle ones,
 *                     -EBUSY if the locks on the file could not be had within timeout_ms: try
 *                      again, or allow more time,
 *                     -ECHILD in a process that was made by _Fork(3) or clone(2),
 *                     -ENOMEM, -ENOTRECOVERABLE: see "ERRORS OF EVERY CALL" above.
 */
int dss_init_uri(struct dss_handle *handle, const char *uri);

/**
 * The store that a handle has opened. The text is a connection string, for messages, logs and
 * dss_init_uri():
 *
 *     sqlite:/path/file.db       the full path, without symbolic links; a path with a '?' in it is given bare
 *     postgresql://user@host:port/database?schema=NAME    as it was given, without passwords
 *     host=... dbname=... schema=NAME                     likewise
 *     etcd://host:port,host:port/prefix?user=NAME&password_file=FILE    the password in the file is not in it
 *     memory:NAME
 *
 * Left out are mode and timeout_ms, schema=dss, every password or other secret, what libpq does
 * not know, and a database's name that is a connection string itself. What libpq reads elsewhere
 * (environment, service file, ~/.pgpass) is not in it. Names are given as they are, also bytes
 * that are not printable.
 *
 * No I/O: it does not find out whether the store can still be reached. A forked child gets the
 * same text, also of a memory: store.
 *
 * @param[in]  handle  Open handle.
 * @return             The text; valid until dss_fini() of this handle, which no other thread may call
 *                     while the text is in use: do not free it. NULL if the handle is not open; then
 *                     dss_last_error() says so.
 */
const char *dss_uri(struct dss_handle *handle);

/**
 * Close a handle. No lock is released by it: a lock belongs to its owner's name, not to a handle or a process.
 *
 * Calls that other threads have under way on the handle end as they would have, but a dss_lockv() that waits for others'
 * locks ends at once with -EBADF; later calls give -EBADF. The memory of the struct may be used again as soon as no thread
 * will begin another call with it. A copy of the struct is the same handle and is closed with it. The last dss_fini() of the
 * process waits for the end of the keepalive thread. The last one of a store on a server takes leave of it, within about a
 * second. NULL, a handle that is not open, and a second call are harmless.
 *
 * @param[in,out]  handle  Handle to close, or NULL. Its dh_conn is NULL afterwards.
 */
void dss_fini(struct dss_handle *handle);

/**
 * Take a lock.
 *
 * Atomic: of any number of callers, in any threads and processes that share the store, exactly one gets 0. The lock is an
 * entry in the store: it never expires, it stays when the process that took it ends, and it is not re-entrant. The call
 * does not wait for the holder. dss_lockv() takes locks with a lease, waits for them, and tells their tokens.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier: 1 to DSS_LOCK_ID_MAX bytes, any but NUL, compared byte by byte.
 * @param[in]   lock_owner      Name of the lock owner: 1 to DSS_LOCK_OWNER_MAX bytes, any but NUL. Choose one that is
 *                              different for each holder, such as host, program and process id, or a stable one that the
 *                              program finds again after a restart.
 * @return                      0 on success: the lock is held, and will be after a crash or a power cut (on a server, if its
 *                              settings promise that),
 *                             -EEXIST if the lock is held, also by the same owner; dss_last_error() says by whom and
 *                              since when. Try again after its dss_unlock(),
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lock(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Refresh a lock timestamp.
 *
 * The new timestamp is strictly newer than the old one, also within one microsecond and after the clock was set back. The
 * lease of a lock that was taken with one starts anew.
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[in]   lock_owner      Name of the lock owner, as for dss_lock().
 * @return                      0 on success,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked, perhaps by force, or its lease
 *                              is over; whoever refreshes believed to hold it and must stop,
 *                             -EACCES (EACCESS) if the lock owner does not match: another owner holds the lock now,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lock_refresh(struct dss_handle *handle, const char *lock_id, const char *lock_owner);

/**
 * Release a lock.
 *
 * If \a lock_owner is NULL, remove the lock without considering the previous owner. This is for a holder that is gone
 * for good: one that still works would go on without protection. The next holder is
 * told, if it takes the lock with dss_lockv() (DSS_GRANT_OWNERDEAD).
 *
 * @param[in]   handle          DSS handle.
 * @param[in]   lock_id         Lock identifier, as for dss_lock().
 * @param[in]   lock_owner      Name of the lock owner, as for dss_lock(), or NULL.
 * @return                      0 on success,
 *                             -ENOLCK (ENOLOCK) if the lock does not exist: it was unlocked before, perhaps by force, or its
 *                              lease is over,
 *                             -EACCES (EACCESS) if the lock owner does not match: nothing was released,
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
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
 *                             -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lock_status(struct dss_handle *handle, const char *lock_id, char **lock_owner, struct timeval *lock_timestamp);

/**
 * Take several locks at once: all of them or none, or with DSS_LOCK_ANY one of them.
 *
 * It is one transaction: nobody ever sees a part of it, and callers of overlapping sets can't deadlock. With a wait_ms the
 * call waits for those who hold the locks. Callers that wait are served in the order in which they came; one that waits for
 * several locks and can't have them all lets others pass for most of the time. A call that does not wait, such as dss_lock(),
 * takes what is free even if others wait for it, and so does DSS_LOCK_RESUME. A lock that the same lock_owner holds is in the
 * way, too, unless DSS_LOCK_RESUME is set: with a wait_ms of less than 0 a caller may wait for itself for ever. While waiting,
 * signal handlers run, and dss_fini() of the handle from another thread ends the wait; thread cancellation waits for the end
 * of the call.
 *
 * @param[in]   handle      DSS handle.
 * @param[in]   lock_ids    Lock identifiers, each as for dss_lock(), no two of them the same.
 * @param[in]   count       How many: 1 to DSS_LOCK_IDS_MAX.
 * @param[in]   lock_owner  Name of the lock owner, as for dss_lock().
 * @param[in]   opts        How to take them, or NULL: without lease or wait, as dss_lock() does.
 * @param[out]  ret_grants  Array of count grants, or NULL. On success the rc of each lock that was taken is 0; with
 *                          DSS_LOCK_ANY that of the others is -EEXIST. On -EEXIST, -ETIMEDOUT, -EINTR and the -EBADF of a
 *                          handle that was closed meanwhile, rc is -EEXIST for the locks that were in the way and -ECANCELED
 *                          for the others; on other failures it is what the call returns. Untouched after a bad handle or
 *                          argument.
 * @return                  0 on success; never with a lease that is over already,
 *                         -EEXIST if wait_ms is 0 and a lock is held, or with DSS_LOCK_ANY all are; dss_last_error() says by
 *                          whom: try again later, or give a wait_ms,
 *                         -ETIMEDOUT if wait_ms has passed; nothing was taken: try again,
 *                         -EINTR if a signal handler ran while the call waited, with or without SA_RESTART; nothing was
 *                          taken: call again to go on waiting. A signal that came before the call does not end it, and one
 *                          that comes when the locks are just had gives 0: look at a flag of your own, too,
 *                         -EINVAL if lock_ids or one of its elements is NULL, count is 0, an id stands in it twice, opts->size
 *                          is smaller than in the first release or larger and has unknown fields that are not 0, flags has
 *                          unknown bits, or DSS_LOCK_KEEPALIVE comes without a ttl_ms,
 *                         -E2BIG if count is more than DSS_LOCK_IDS_MAX,
 *                         -ERANGE if ttl_ms is out of range,
 *                         -ENAMETOOLONG also if the note is too long,
 *                         -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lockv(struct dss_handle *handle, const char *const *lock_ids, size_t count, const char *lock_owner,
              const struct dss_lock_opts *opts, struct dss_grant *ret_grants);

/**
 * Refresh several locks: their timestamps get strictly newer, and their leases start anew.
 *
 * As many as possible are refreshed, each for itself. A lock whose lease is over does not exist, even if nobody has taken
 * it: take it again with dss_lockv(), and look at what it protects before.
 *
 * @param[in]   handle      DSS handle.
 * @param[in]   lock_ids    Lock identifiers, as for dss_lockv().
 * @param[in]   count       How many: 1 to DSS_LOCK_IDS_MAX.
 * @param[in]   lock_owner  Name of the lock owner, as for dss_lock().
 * @param[in]   tokens      Array of count tokens, each that of the grant that is meant, or 0 to leave it unchecked; NULL: all
 *                          unchecked. Without tokens, an owner whose lock was lost and taken anew under the same name
 *                          refreshes the other one's lock.
 * @param[out]  ret_grants  Array of count grants, or NULL: token and left_ms of each that was refreshed, and the rc of each;
 *                          flags is 0.
 *                          Untouched after a bad handle or argument.
 * @return                  0 on success, else the rc of the first lock that could not be refreshed:
 *                         -ENOLCK if the lock does not exist (any more): whoever refreshes has lost it and must stop,
 *                         -EACCES if it is another owner's,
 *                         -ESTALE if it is this owner's, but under another token: another incarnation holds it,
 *                         -EINVAL, -E2BIG, -ENAMETOOLONG as dss_lockv(),
 *                         -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lock_refreshv(struct dss_handle *handle, const char *const *lock_ids, size_t count, const char *lock_owner,
                      const uint64_t *tokens, struct dss_grant *ret_grants);

/**
 * Release several locks.
 *
 * As many as possible are released, each for itself. With a NULL lock_owner they are removed whoever holds them, and the
 * next holder of each is told so (DSS_GRANT_OWNERDEAD).
 *
 * @param[in]   handle      DSS handle.
 * @param[in]   lock_ids    Lock identifiers, as for dss_lockv().
 * @param[in]   count       How many: 1 to DSS_LOCK_IDS_MAX.
 * @param[in]   lock_owner  Name of the lock owner, as for dss_lock(), or NULL.
 * @param[in]   tokens      Array of count tokens, as for dss_lock_refreshv(), or NULL.
 * @param[out]  ret_rcs     Array of count codes, or NULL: what became of each. Untouched after a bad handle or argument.
 * @return                  0 on success, else the first code in ret_rcs that is not 0:
 *                         -ENOLCK if the lock does not exist (any more),
 *                         -EACCES if it is another owner's,
 *                         -ESTALE if its token is another one,
 *                         -EINVAL, -E2BIG, -ENAMETOOLONG as dss_lockv(),
 *                         -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_unlockv(struct dss_handle *handle, const char *const *lock_ids, size_t count, const char *lock_owner,
                const uint64_t *tokens, int *ret_rcs);

/**
 * Give a lock to another owner, with no gap in which a third could enter.
 *
 * The lock gets a new token, so the former holder is fenced. Its ttl_ms and note stay, its lease starts anew, and a renewal
 * by the library ends.
 *
 * @param[in]   handle      DSS handle.
 * @param[in]   lock_id     Lock identifier, as for dss_lock().
 * @param[in]   from_owner  Name of the owner who gives it, or NULL: whoever holds it.
 * @param[in]   from_token  Token of the grant that is meant, or 0 to leave it unchecked.
 * @param[in]   to_owner    Name of the new owner, as for dss_lock(); it may be the same.
 * @param[out]  ret_grant   The new grant, or NULL. Zero after a failure but for its rc; untouched after a bad handle or
 *                          argument.
 * @return                  0 on success,
 *                         -ENOLCK if the lock does not exist (any more),
 *                         -EACCES if it is not from_owner's,
 *                         -ESTALE if its token is not from_token,
 *                         -EINPROGRESS also if the process was stopped within the call for longer than the lease lasts: the
 *                         lock was given on, and to_owner has no time left: look at dss_lock_status(),
 *                         -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lock_transfer(struct dss_handle *handle, const char *lock_id, const char *from_owner, uint64_t from_token,
                      const char *to_owner, struct dss_grant *ret_grant);

/**
 * List the locks of the store, in the order of their ids.
 *
 * The list is one consistent snapshot of the moment at which it began. It takes little memory for any number of locks, and
 * nothing that a writer waits for is held while the callback runs; a long list may delay the moment at which SQLite's log
 * gets shorter, or PostgreSQL's VACUUM removes old rows. Locks whose lease is over are not in it.
 *
 * @param[in]   handle    DSS handle.
 * @param[in]   filter    Which locks, or NULL for all.
 * @param[in]   callback  Called for each lock, in the calling thread.
 * @param[in]   arg       Passed to callback as it is.
 * @return                0 at the end of the list, else what callback returned: choose a positive number, to tell it from
 *                        an error,
 *                       -EINVAL if callback is NULL, filter->size is smaller than in the first release or larger and has
 *                        unknown fields that are not 0, flags has unknown bits, or a name is empty and its ..._PREFIX flag
 *                        is not set,
 *                       -ENAMETOOLONG if a name is too long,
 *                       -EINTR if the list was cut short because this process forked, or because etcd has compacted the
 *                        revision that the list was of: start it again,
 *                       -EBADF and others: see "ERRORS OF EVERY CALL" above; timeout_ms counts for each page of some locks.
 */
int dss_lock_list(struct dss_handle *handle, const struct dss_filter *filter, dss_lock_cb callback, void *arg);

/**
 * Remove the locks that a filter lets through, whoever holds them: those of owners who are gone for good.
 *
 * Each is removed only if its token is still the one that was seen: a lock that was unlocked and taken anew meanwhile
 * stays; with a min_age_ms, so does one that was refreshed. The next holder of each is told so (DSS_GRANT_OWNERDEAD).
 * With a callback, each lock is removed by itself and shown after that; without one, many are removed together, which
 * is faster. What was removed before a failure or the callback's end of it stays removed.
 *
 * @param[in]   handle    DSS handle.
 * @param[in]   filter    Which locks. One that names neither id nor owner nor age (an empty prefix names nothing) removes
 *                        every lock, and needs DSS_FILTER_EVERYTHING.
 * @param[in]   callback  Called for each lock when it was removed, in the order of the ids, or NULL.
 * @param[in]   arg       Passed to callback as it is.
 * @return                0 at the end, else what callback returned; no further lock is removed then,
 *                       -EPERM if filter is NULL or empty and DSS_FILTER_EVERYTHING is not set; nothing was removed,
 *                       -EINVAL as dss_lock_list(), but callback may be NULL; -ENAMETOOLONG, -EINTR as dss_lock_list(),
 *                       -EBADF and others: see "ERRORS OF EVERY CALL" above; timeout_ms counts for each removal.
 */
int dss_lock_clean(struct dss_handle *handle, const struct dss_filter *filter, dss_lock_cb callback, void *arg);

/**
 * Get the value that stands under a key.
 *
 * The call takes no lock that a writer needs, and does not wait for one. What it gives was the last value that was set, at a
 * moment between the call and its return.
 *
 * @param[in]   handle       DSS handle.
 * @param[in]   key          The key: 1 to DSS_KEY_MAX bytes, any but NUL, compared byte by byte. Keys and lock ids have nothing
 *                           to do with each other, so a value may have the name of the lock that protects it.
 * @param[out]  ret_value    The value, with a NUL behind it that is not counted in its length; must be freed by the caller with
 *                           free(3). NULL after any failure.
 * @param[out]  ret_len      How many bytes the value has, 0 to DSS_VALUE_MAX.
 * @param[out]  ret_version  Its version, never 0: for dss_guard.version.
 * @return                   0 on success,
 *                          -ENOENT if nothing stands under the key: it was never set, or was deleted,
 *                          -ENOMEM if the value cannot be allocated,
 *                          -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_get(struct dss_handle *handle, const char *key, void **ret_value, size_t *ret_len, uint64_t *ret_version);

/**
 * Set the value that stands under a key, or delete it.
 *
 * Atomic and durable as dss_lock(): a reader sees the old value or the new one. Each value has a version, greater than that of
 * every earlier value of the same key, also of those that were deleted. With a guard, the write happens only if the guard holds
 * in the same transaction:
 *
 * DSS_GUARD_VERSION makes it a compare-and-set: of several who read the same version and write, one gets 0.
 *
 * DSS_GUARD_LOCK makes it a fence: a holder that was paused past its lease, and does not know that somebody else holds the lock
 * now, gets -ESTALE, and its successor's value stands.
 *
 * @param[in]   handle       DSS handle.
 * @param[in]   key          The key, as for dss_get().
 * @param[in]   value        The new value: any bytes. NULL, with a len of 0, deletes; an empty value is a pointer that is not
 *                           NULL, with a len of 0. The library keeps no pointer to it.
 * @param[in]   len          How many bytes the value has, at most DSS_VALUE_MAX.
 * @param[in]   guard        What must be so, or NULL: write in any case.
 * @param[out]  ret_version  The version of the new value; 0 if it was deleted. After -EAGAIN the version that stands there now,
 *                           0 if nothing does; 0 after any other failure.
 * @return                   0 on success,
 *                          -EAGAIN if the version is not the guard's; nothing changed: get it again, and decide anew,
 *                          -ESTALE if the guard's lock is not held with the guard's token, or not any more; nothing changed:
 *                           stop using what the lock protects,
 *                          -ENOENT if there is nothing to delete,
 *                          -EFBIG if len is greater than DSS_VALUE_MAX, or than an etcd takes whose limit was lowered,
 *                          -EINVAL if value is NULL and len is not 0, guard->size is smaller than in the first release or larger
 *                           and has unknown fields that are not 0, guard->flags has unknown bits, or guard->token is 0 with
 *                           DSS_GUARD_LOCK,
 *                          -EINPROGRESS if it may have been written or not. It is not sent again, so it can't overwrite what
 *                           others set later. Get it, and decide by its version,
 *                          -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_set(struct dss_handle *handle, const char *key, const void *value, size_t len, const struct dss_guard *guard,
            uint64_t *ret_version);

/**
 * List the keys that have values, in the order of their bytes, without the values.
 *
 * The list is one consistent snapshot of the moment at which it began, takes little memory for any number of keys, and holds up
 * no writer, as dss_lock_list().
 *
 * @param[in]   handle      DSS handle.
 * @param[in]   key_prefix  Only keys that begin so; NULL or "" for all.
 * @param[in]   callback    Called for each key, in the calling thread.
 * @param[in]   arg         Passed to callback as it is.
 * @return                  0 at the end of the list, else what callback returned: choose a positive number, to tell it from an
 *                          error,
 *                         -EINVAL if callback is NULL,
 *                         -ENAMETOOLONG if key_prefix is longer than DSS_KEY_MAX,
 *                         -EINTR as dss_lock_list(): start it again,
 *                         -EBADF and others: see "ERRORS OF EVERY CALL" above; timeout_ms counts for each page of some keys.
 */
int dss_list(struct dss_handle *handle, const char *key_prefix, dss_key_cb callback, void *arg);

/**
 * How long a grant is still in time. The store is not asked, so it is quick enough to ask before each step of a long work.
 *
 * It tells the end of the lease, and not that somebody removed, transferred or resumed the lock: this handle learns of that
 * by its next call for the lock, or with DSS_LOCK_KEEPALIVE by the next renewal. After this handle's dss_lock_transfer() it
 * tells the lease of the new owner.
 *
 * @param[in]   handle       DSS handle.
 * @param[in]   lock_id      Lock identifier, as for dss_lock().
 * @param[in]   token        Token of the grant, or 0 for whichever this handle has of that lock.
 * @param[out]  ret_left_ms  The time left in milliseconds, more than 0; INT64_MAX for a lock that never expires. 0 on
 *                           failure, but untouched after a bad handle or argument. It may be NULL.
 * @return                   0 while a grant that this handle made or refreshed is in time,
 *                          -ENOLCK if its lease is over, its loss is known, or it is not this
 *                           handle's in this process; in a forked child that is so for all that
 *                           was taken before the fork: dss_last_error() says whether the parent
 *                           renews it,
 *                          -EINVAL, -ENAMETOOLONG, -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_lock_left(struct dss_handle *handle, const char *lock_id, uint64_t token, int64_t *ret_left_ms);

/**
 * A file descriptor that is readable (poll(2), epoll(7)) while events wait.
 *
 * Events come from locks that this handle took with DSS_LOCK_KEEPALIVE. Take them with dss_event_next() until it gives 0.
 *
 * A forked child gets a descriptor of its own by this call, and never its parent's events: its own
 * are one DSS_EVENT_LOST with DSS_REASON_FORKED for each lock that the parent renews. They wait
 * from the child's first call on the handle, so the new descriptor is readable at once. A lock
 * that the child takes over, transfers or unlocks before it takes the event gives none.
 *
 * The parent's descriptor stays open in the child and is of no use there: it is readable while
 * events wait in the parent, and tells nothing of the child's. Take it out of the child's poll(2)
 * set and put the new one in; the child may close it. An epoll(7) set that was made before the
 * fork is shared with the parent, and so is each change of it: make a new one.
 *
 * @param[in]   handle  DSS handle.
 * @return              The descriptor, the same one each time in a process. It is the handle's: do
 *                      not read, write or close it; dss_fini() closes it. It is close-on-exec. A
 *                      program that closes all descriptors (closefrom(3)) gets a new one by this
 *                      call; no event is lost,
 *                     -EMFILE, -ENOMEM if none can be had,
 *                     -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_event_fd(struct dss_handle *handle);

/**
 * Take the oldest event that waits.
 *
 * A handle keeps 65536 events; beyond that the oldest are dropped. Of a lock that was at risk and safe again several times,
 * the last turn is kept. Events wait also before the first dss_event_fd().
 *
 * @param[in]   handle     DSS handle.
 * @param[out]  ret_event  The event, or NULL to drop it. Zero if there is none.
 * @return                 1 if there was an event, 0 if there was none; it does not wait,
 *                        -EBADF and others: see "ERRORS OF EVERY CALL" above.
 */
int dss_event_next(struct dss_handle *handle, struct dss_event *ret_event);

/**
 * A short fixed text for what a call returned.
 *
 * @param[in]   rc  What a dss_* call returned: 0 or a negative errno.
 * @return          A text in English, never NULL, also for a code that no call returns. It is constant: do not
 *                  free it. May be called from any thread, also without an open handle.
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
