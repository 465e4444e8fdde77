//! Opening and closing: dss_init, dss_init_uri, dss_fini; which store it is: dss_uri.

use super::guard;
pub use crate::engine::default_store::choose_and_prepare as default_uri;
use crate::{
    engine::{
        self,
        gate::Inside,
        handle::{self, Handle, Opening},
    },
    model::{
        error::{Code, Error},
        uri::Uri,
    },
};
use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
    sync::atomic::Ordering,
};

/// An open store. It may live on the stack, in a static variable or in another struct.
///
/// dss_init() or dss_init_uri() fills it, dss_fini() empties it. Any number of threads may use one handle at the same
/// time, and any number of handles may be open on one store.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct dss_handle {
    /// Private. NULL when the handle is not open.
    pub dh_conn: *mut c_void,
}

/// Open the store of this site. Its connection string is, in this order:
///
///     1. the environment variable DSS_URI, if it is set and not empty;
///     2. the first line of /etc/dss/uri that is neither empty nor a comment (which begins with '#'),
///        if there is such a file: one store for all users of the host;
///     3. an SQLite file of the effective user: /var/lib/dss/dss.db for root (the folder is made with
///        mode 0755), else dss/dss.db in $XDG_STATE_HOME or, if that is unset or no full path, in
///        ~/.local/state (folders are made with mode 0700).
///
/// THE THIRD DIFFERS FROM USER TO USER: programs that run as different users and share their locks
/// need DSS_URI or /etc/dss/uri, and so does every program on a store that several hosts share.
/// dss_uri() says which store was opened. The environment is read by secure_getenv(3), so a
/// set-user-ID program ignores it and reads /etc/dss/uri.
///
/// /etc/dss/uri must be an ordinary file or a link to one, owned by root and writable by nobody
/// else, readable by all who use the library, and at most 65536 bytes long. Blanks around the
/// string do not count. It names a file by its full path, and no memory: store. Lines after the
/// string are ignored. A file that can't be read, that holds no string or a wrong one is an error:
/// the library does not go on to the user's own file then.
///
/// @param[out]  handle  Handle to fill. What was in it is overwritten and not closed: call dss_fini() before, or the former
///                      handle stays open until the process ends. On failure its dh_conn is NULL.
/// @return              0 on success, else as dss_init_uri() or as below; a text about a wrong string
///                      begins with $DSS_URI, or with /etc/dss/uri and the number of the line,
///                     -EPERM if /etc/dss/uri is not owned by root, or its group or others can write
///                      it: use chown(1) and chmod(1),
///                     -EACCES if the user may not read /etc/dss/uri or search its folder: give the
///                      right, or set DSS_URI,
///                     -EMFILE if there is no free descriptor to read it: close files, or raise the
///                      limit,
///                     -ENOENT if it is a symbolic link that leads to no file, or /etc/dss is no folder:
///                      repair or remove it,
///                     -EINVAL if it is no ordinary file, too long, or holds no string; or if the
///                      user's own file is needed and HOME is unset or empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_init(handle: *mut dss_handle) -> c_int {
    // SAFETY: the handle is NULL or a struct of the caller's.
    unsafe { open(handle, default_uri) }
}

/// Open the store that a connection string names.
///
///     sqlite:/path/file.db                   an SQLite file, for the processes of one host; also a bare path without
///                                            "sqlite:", if there is a '/' in it: /path/file.db or ./file.db
///     postgresql://user@host:port/database   a PostgreSQL server, 13 or newer, for all hosts that reach it; also
///                                            postgres://...
///     host=... dbname=... user=...           the same, as a keyword string of its client library libpq
///     etcd://host:port,host:port/prefix      an etcd cluster, 3.4 or newer, for all hosts that reach it
///     memory:  memory:NAME                   a store of this process alone: handles of one NAME (also the empty one) share it,
///                                            and it is gone with the last of them; for unit tests of programs that use the
///                                            library
///
/// Options follow a '?' and are joined by '&', as in "sqlite:/path/file.db?mode=0660&timeout_ms=2000"; in a keyword string they
/// are keywords as the others.
///
///     timeout_ms=N    how long any one call may spend before it gives up, 0 to 86400000 milliseconds; default 10000. With 0
///                     it tries once, and gives -EBUSY if the store is busy; a server is given up
///                     to 400 ms
///     mode=OCTAL      sqlite: the mode of a file that has to be created, three or four octal digits such as 0660: its owner
///                     may read and write it, nobody may execute it; default 0600. The umask does not count
///     schema=NAME     postgresql: the schema that holds the store, 1 to 63 small letters, digits and '_'; default dss
///     tls=on|off      etcd: whether to speak TLS; default on if one of the next three is given, else off
///     cacert=FILE     etcd: who has signed the servers' certificates (PEM); without it the usual public authorities
///     cert=FILE       etcd: the client's certificate (PEM), together with key=FILE
///     key=FILE        etcd: its private key (PEM)
///     user=NAME       etcd: the user, together with password_file=FILE
///     password_file=FILE   etcd: the file whose first line is the user's password
///
/// No string is taken for the name of a file by mistake. A scheme ("name:") that is not in this list
/// is refused; so is a word without a '/' that is no keyword string, such as etcd, memory, localhost
/// or locks.db (write ./locks.db), and a bare path with an option (write sqlite:./locks.db?mode=0660).
/// The text says what was probably meant. A keyword string begins with a keyword of libpq and '='.
///
/// sqlite: The path is taken literally up to the '?' (no percent signs are decoded); a bare path is
/// literal to its end. A relative path is resolved once, from the working folder at this call, and so
/// are symbolic links. A file that does not exist is created, its folder is not. Beside it stand more
/// files while it is open, with the same mode:
/// SQLite's FILE-wal and FILE-shm, and FILE-wait, in which processes see who waits for locks and leave requests for the one
/// that is at work. So the user needs the right to write in the folder. Keep the file on a local file system; do not rename,
/// remove or hard-link it while it is open: that is found out at the next call. The three files beside it may be removed or
/// replaced at any time: calls may fail with -EIDRM, and no lock is lost or granted twice. But do not truncate or overwrite
/// the database, FILE-wal or FILE-shm in place. What is cut off FILE-wal may be the latest locks: all calls then give -EUCLEAN,
/// and nothing is granted any more until an administrator has removed FILE-wal. The kernel ends (SIGBUS) each process that is
/// using the part of FILE-shm that was cut off, as it does with every program that uses SQLite. A file of an older libdss is
/// brought to this version's form; the older one gives -EPROTONOSUPPORT then.
///
/// A program may close the library's descriptors (closefrom(3), as some daemons do), also while calls are under way: the
/// library notices before it uses a number again, opens the store anew, and never closes or uses a descriptor of the
/// program's own. No lock is lost by that; a dss_lock_list() that is under way ends with -EINTR.
///
/// postgresql: All options but timeout_ms and schema are libpq's, and so are the environment (PGHOST, PGUSER, ...), ~/.pgpass
/// and service files. libpq.so.5 is loaded by the first such string (Debian's package libpq5). The first call makes the schema
/// where there is none and the role may; else an administrator makes it. Where the string names several hosts, the one that can
/// be written to is used (target_session_attrs=read-write, unless it says otherwise); then set tcp_user_timeout, too.
///
/// etcd: Name all members of the cluster. The port is 2379 where it is left out; all keys begin with the prefix (letters, digits
/// and . _ - /), dss where there is none. etcd's JSON gateway has to be on, as it is by default.
///
/// Passwords are in no text that the library gives. docs/stores.md says for each store how to set it up, what it guarantees and
/// costs, and what to do when something goes wrong.
///
/// @param[out]  handle  Handle to fill. What was in it is overwritten and not closed: call dss_fini() before, or the former
///                      handle stays open until the process ends. On failure its dh_conn is NULL.
/// @param[in]   uri     Connection string.
/// @return              0 on success,
///                     -EINVAL if handle or uri is NULL, or uri is empty, of an unknown scheme, a word
///                      without a '/', or has an unknown or malformed option, one twice, or one behind
///                      a bare path: dss_last_error() names the part,
///                     -ERANGE if timeout_ms is out of range,
///                     -ENAMETOOLONG if the file's full path is longer than 503 bytes, or its name than 247: use a shorter one,
///                     -ENOENT if the folder, the database or a file of an option does not exist: make it,
///                     -ENOENT if /proc is not mounted and the kernel does not say that the process is in the host's
///                      time namespace (before Linux 6.11): mount it (SQLite),
///                     -EACCES if the user may not write the file or its folder, if the password is wrong, if etcd has users
///                      and the client certificate has a common name, or if the role may neither make nor use the store:
///                      give the rights, another certificate (docs/stores.md), or another path,
///                     -ENOTCONN if the server can't be reached, does not answer within timeout_ms, or one side wants TLS and
///                      the other does not: start it, or put the string right,
///                     -EROFS if the server is a standby: name the primary, or all hosts,
///                     -EROFS, -ENOSPC, -EDQUOT, -EMFILE, -EIO as the system says: make room, and so on,
///                     -EUCLEAN if the file, schema or prefix is not a dss store or is damaged: it is left untouched; give
///                      another one, or restore it,
///                     -EPROTONOSUPPORT if the store was written by a newer libdss (it is left untouched: update), the server is
///                      too old, libpq is not installed, or this library was built without that kind of store,
///                     -EREMOTE if the file would be on a network file system (NFS, Lustre, GPFS, CIFS, 9p, ...), where
///                      SQLite's locks do not hold: give a path on a local one,
///                     -EMLINK if the file has a hard link: remove it; or is itself a bind mount: mount its folder instead,
///                     -EIDRM if FILE-wal or FILE-shm was removed or replaced while other processes have the store open,
///                      and one of them has not noticed within timeout_ms: try again, or end the idle ones,
///                     -EBUSY if the locks on the file could not be had within timeout_ms: try
///                      again, or allow more time,
///                     -ECHILD in a process that was made by _Fork(3) or clone(2),
///                     -ENOMEM, -ENOTRECOVERABLE: see "ERRORS OF EVERY CALL" above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_init_uri(handle: *mut dss_handle, uri: *const c_char) -> c_int {
    // SAFETY: the handle is NULL or a struct of the caller's, and the uri NULL or a string.
    unsafe { open(handle, || Uri::parse(guard::text("uri", uri)?)) }
}

/// The store that a handle has opened. The text is a connection string, for messages, logs and
/// dss_init_uri():
///
///     sqlite:/path/file.db       the full path, without symbolic links; a path with a '?' in it is given bare
///     postgresql://user@host:port/database?schema=NAME    as it was given, without passwords
///     host=... dbname=... schema=NAME                     likewise
///     etcd://host:port,host:port/prefix?user=NAME&password_file=FILE    the password in the file is not in it
///     memory:NAME
///
/// Left out are mode and timeout_ms, schema=dss, every password or other secret, what libpq does
/// not know, and a database's name that is a connection string itself. What libpq reads elsewhere
/// (environment, service file, ~/.pgpass) is not in it. Names are given as they are, also bytes
/// that are not printable.
///
/// No I/O: it does not find out whether the store can still be reached. A forked child gets the
/// same text, also of a memory: store.
///
/// @param[in]  handle  Open handle.
/// @return             The text; valid until dss_fini() of this handle, which no other thread may call
///                     while the text is in use: do not free it. NULL if the handle is not open; then
///                     dss_last_error() says so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_uri(handle: *mut dss_handle) -> *const c_char {
    let mut uri = ptr::null();
    let get = |handle: &Handle, _: &mut Inside| {
        uri = handle.uri().as_ptr();
        Ok(())
    };
    // SAFETY: the handle is NULL or a struct of the caller's.
    unsafe { guard::with_handle(handle, get) };
    uri
}

/// Close a handle. No lock is released by it: a lock belongs to its owner's name, not to a handle or a process.
///
/// Calls that other threads have under way on the handle end as they would have, but a dss_lockv() that waits for others'
/// locks ends at once with -EBADF; later calls give -EBADF. The memory of the struct may be used again as soon as no thread
/// will begin another call with it. A copy of the struct is the same handle and is closed with it. The last dss_fini() of the
/// process waits for the end of the keepalive thread. The last one of a store on a server takes leave of it, within about a
/// second. NULL, a handle that is not open, and a second call are harmless.
///
/// @param[in,out]  handle  Handle to close, or NULL. Its dh_conn is NULL afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dss_fini(handle: *mut dss_handle) {
    // SAFETY: the handle is NULL or a struct of the caller's.
    let Some(conn) = (unsafe { guard::conn_of(handle) }) else { return };
    let number = conn.swap(ptr::null_mut(), Ordering::AcqRel) as usize;
    if number != 0 {
        guard::quiet_call(|| engine::close(number, &mut guard::enter()?));
    }
}

/// # Safety
/// `raw` is NULL or points to a `struct dss_handle`.
unsafe fn open(raw: *mut dss_handle, uri: impl FnOnce() -> Result<Uri, Error>) -> c_int {
    // SAFETY: as the caller says.
    let conn = unsafe { guard::conn_of(raw) };
    conn.inspect(|conn| conn.store(ptr::null_mut(), Ordering::Release));
    guard::call(|| {
        let conn =
            conn.ok_or_else(|| Error::new(Code::Invalid, "handle is NULL: give the address of a struct dss_handle"))?;
        // What is opened to find the string is opened inside too, where no fork can leave it to a child.
        let mut inside = guard::enter()?;
        let number = handle::open(&uri()?, Opening::default(), &mut inside)?;
        conn.store(number as *mut c_void, Ordering::Release);
        Ok(())
    })
}
