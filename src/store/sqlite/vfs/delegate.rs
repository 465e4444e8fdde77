//! Files of SQLite's "unix" VFS: the database, its index, and the journal while a store is made.
//!
//! Each method first makes sure that the descriptor still is that of the file, and then does what
//! the "unix" VFS does. That one keeps its descriptors to itself: they are learned from the calls of
//! fcntl(2) that it makes.

use super::unix;
use crate::{
    mutant,
    store::sqlite::{
        descriptors::{self, Descriptor, Identity},
        paths,
        system_calls::{errno, seen_in, within},
    },
    sys::{self, inherited, signals},
};
use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64};
use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
};

/// What SQLite has in hand; the file of the "unix" VFS lies right behind it.
#[repr(C)]
pub struct Delegate {
    base: sqlite3_file,
    /// SQLite keeps it as long as the file is open.
    name: *const c_char,
    /// Of which database the file is; None for a journal, which is not checked.
    store: Option<Identity>,
    database: Option<Descriptor>,
    pub index: Option<Descriptor>,
}

pub static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The delegate behind a file of SQLite's; None if it is another file.
///
/// # Safety
/// `file` is open, and the connection that it is of is this thread's own as long as it is used.
pub unsafe fn of<'a>(file: *mut sqlite3_file) -> Option<&'a Delegate> {
    // SAFETY: as the caller says; a file with these methods is a Delegate.
    unsafe {
        let is_delegate = ptr::eq(file.as_ref()?.pMethods, &raw const METHODS);
        if is_delegate { file.cast::<Delegate>().as_ref() } else { None }
    }
}

/// The file of the "unix" VFS behind ours.
fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // It has memory behind a Delegate, as szOsFile says.
    file.cast::<Delegate>().wrapping_add(1).cast()
}

/// Calls a method of the "unix" VFS for the file; the code where there is none.
macro_rules! delegate {
    ($file:expr, $method:ident, $none:expr $(, $argument:expr)*) => {{
        let (file, inner) = ($file, inner($file));
        // SAFETY: SQLite calls the methods of an open file, with what they take.
        unsafe {
            let store = (*file.cast::<Delegate>()).store;
            match (*inner).pMethods.as_ref().and_then(|methods| methods.$method) {
                Some(method) => within(store, || method(inner $(, $argument)*)),
                None => $none,
            }
        }
    }};
}

/// Opens a file for SQLite.
///
/// # Safety
/// As for xOpen of a VFS: `file` points to memory of szOsFile bytes, `name` ends with NUL or is NULL.
pub unsafe fn open(name: *const c_char, file: *mut sqlite3_file, flags: c_int, out_flags: *mut c_int) -> c_int {
    // SAFETY: as the caller says.
    unsafe {
        let base = sqlite3_file { pMethods: ptr::null() };
        file.cast::<Delegate>().write(Delegate { base, name, store: None, database: None, index: None });
        let rc = open_inner(name, file, flags, out_flags);
        if rc == ffi::SQLITE_OK {
            (*file).pMethods = &raw const METHODS;
        }
        rc
    }
}

unsafe fn open_inner(name: *const c_char, file: *mut sqlite3_file, flags: c_int, out_flags: *mut c_int) -> c_int {
    let inner = inner(file);
    let Some(unix) = unix() else { return ffi::SQLITE_ERROR };
    let mut opened = 0;
    // SAFETY: as the caller says; the rest of the memory is the inner file's, which is not open yet.
    let rc = unsafe {
        (*inner).pMethods = ptr::null();
        let open =
            |opened| unix.xOpen.map_or(ffi::SQLITE_ERROR, |open| open(unix.pointer(), name, inner, flags, opened));
        above_standard(|| open(&raw mut opened))
    };
    if flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
        // SAFETY: NULL, or SQLite's place for it.
        unsafe { out_flags.as_mut() }.into_iter().for_each(|flags| *flags = opened);
        return rc;
    }
    // SAFETY: the name of a database is never NULL, and ends with NUL.
    let store = paths::identity(unsafe { path_of(name) });
    if rc != ffi::SQLITE_OK {
        // SQLite uses a number again that another connection could not close yet, and the host may have closed it.
        store.into_iter().for_each(descriptors::notice_lost);
        return rc;
    }
    // SQLite opens for reading only what could not be opened for writing: one failure of open(2) would make a store
    // read-only for as long as it is open.
    let reads_only = opened & ffi::SQLITE_OPEN_READONLY != 0 && flags & ffi::SQLITE_OPEN_READWRITE != 0;
    // SAFETY: as above.
    unsafe { (*file.cast::<Delegate>()).store = store };
    let known = store
        .filter(|_| !reads_only || mutant::on("opened_to_read"))
        .and_then(|store| learn_database(file, store))
        .filter(|database| store == Some(database.identity));
    match known {
        Some(database) => {
            // SAFETY: as above.
            unsafe {
                (*file.cast::<Delegate>()).database = Some(database);
                out_flags.as_mut().into_iter().for_each(|flags| *flags = opened);
            }
            ffi::SQLITE_OK
        }
        None => {
            let errno = errno();
            delegate!(file, xClose, ffi::SQLITE_ERROR);
            sys::set_errno(errno);
            ffi::SQLITE_CANTOPEN
        }
    }
}

/// SQLite looks for a lock on the file, and nothing else comes of it.
fn learn_database(file: *mut sqlite3_file, store: Identity) -> Option<Descriptor> {
    let mut reserved = 0;
    let fd = seen_in(|| delegate!(file, xCheckReservedLock, ffi::SQLITE_ERROR, &raw mut reserved))?;
    descriptors::enter(store, fd).map_err(keep_errno).ok()
}

/// The same for the locks of readers, on the index.
fn learn_index(file: *mut sqlite3_file, store: Identity) -> Option<Descriptor> {
    let mut readers: c_int = 0;
    let ask = (&raw mut readers).cast::<c_void>();
    let fd = seen_in(|| delegate!(file, xFileControl, ffi::SQLITE_ERROR, ffi::SQLITE_FCNTL_EXTERNAL_READER, ask))?;
    descriptors::enter(store, fd).map_err(keep_errno).ok()
}

/// # Safety
/// The name ends with NUL, and is longer there than what is returned.
unsafe fn path_of<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: as the caller says.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

fn keep_errno(error: io::Error) {
    sys::set_errno(error.raw_os_error().unwrap_or(libc::EIO));
}

/// Has the body open no file under the numbers 0 to 2, which a daemon may have closed and others
/// write to.
pub fn above_standard<T>(body: impl FnOnce() -> T) -> T {
    if mutant::on("low_fds") { body() } else { inherited::opening(body) }
}

/// Whether the descriptor is the file's. If not, errno says so.
fn is_open(file: *mut sqlite3_file) -> bool {
    // SAFETY: SQLite calls the methods of an open file.
    let is_open = unsafe { (*file.cast::<Delegate>()).database.is_none_or(|database| database.is_ours()) };
    if !is_open {
        sys::set_errno(libc::EBADF);
    }
    is_open
}

/// The kernel sends a signal where a limit of file sizes is hit.
fn noted(rc: c_int) -> c_int {
    if rc != ffi::SQLITE_OK && errno() == libc::EFBIG {
        signals::raised();
    }
    rc
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    delegate!(file, xClose, ffi::SQLITE_ERROR)
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, count: c_int, offset: sqlite3_int64) -> c_int {
    if !is_open(file) {
        return ffi::SQLITE_IOERR_READ;
    }
    match delegate!(file, xRead, ffi::SQLITE_IOERR_READ, to, count, offset) {
        // The disk fails to read, which says nothing of the file system.
        ffi::SQLITE_IOERR_CORRUPTFS if !mutant::on("unread_is_damage") => ffi::SQLITE_IOERR_READ,
        rc => rc,
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, count: c_int, offset: sqlite3_int64) -> c_int {
    if !is_open(file) {
        return ffi::SQLITE_IOERR_WRITE;
    }
    noted(delegate!(file, xWrite, ffi::SQLITE_IOERR_WRITE, from, count, offset))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    if !is_open(file) {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    noted(delegate!(file, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, length))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    if !is_open(file) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    // The first one of a journal also opens and flushes its folder.
    above_standard(|| delegate!(file, xSync, ffi::SQLITE_IOERR_FSYNC, flags))
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    if is_open(file) { delegate!(file, xFileSize, ffi::SQLITE_IOERR_FSTAT, size) } else { ffi::SQLITE_IOERR_FSTAT }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, kind: c_int) -> c_int {
    delegate!(file, xLock, ffi::SQLITE_IOERR_LOCK, kind)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, kind: c_int) -> c_int {
    delegate!(file, xUnlock, ffi::SQLITE_IOERR_UNLOCK, kind)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, found: *mut c_int) -> c_int {
    delegate!(file, xCheckReservedLock, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK, found)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    delegate!(file, xFileControl, ffi::SQLITE_NOTFOUND, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    delegate!(file, xSectorSize, 4096)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    delegate!(file, xDeviceCharacteristics, 0)
}

// ---- The index of the log ------------------------------------------------------------------------------------------

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite calls the methods of an open file.
    let (path, store, index) = unsafe {
        let delegate = &*file.cast::<Delegate>();
        (path_of(delegate.name), delegate.store, delegate.index)
    };
    let Some(store) = store else { return ffi::SQLITE_IOERR_SHMMAP };
    let map = || noted(delegate!(file, xShmMap, ffi::SQLITE_IOERR_SHMMAP, region, size, extend, memory));
    if let Some(index) = index {
        return if index.is_ours() { map() } else { ffi::SQLITE_IOERR_SHMMAP };
    }
    // SQLite would set the mode of a new file after the fact, and another process could be refused in between.
    let _ = paths::make_side_file(path, "-shm");
    let rc = above_standard(map);
    // An index that SQLite could only open for reading would leave this connection, and all later ones of the process, without
    // the locks of a writer.
    let learned = if rc == ffi::SQLITE_OK { learn_index(file, store) } else { None };
    match learned.filter(|index| !index.reads_only() || mutant::on("opened_to_read")) {
        Some(found) => {
            // SAFETY: as above.
            unsafe { (*file.cast::<Delegate>()).index = Some(found) };
            rc
        }
        None if rc == ffi::SQLITE_OK || rc & 0xff == ffi::SQLITE_READONLY => {
            delegate!(file, xShmUnmap, ffi::SQLITE_OK, 0);
            ffi::SQLITE_CANTOPEN
        }
        None => rc,
    }
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    delegate!(file, xShmLock, ffi::SQLITE_IOERR_SHMLOCK, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    delegate!(file, xShmBarrier, ());
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, removes: c_int) -> c_int {
    // SAFETY: SQLite calls the methods of an open file.
    unsafe { (*file.cast::<Delegate>()).index = None };
    delegate!(file, xShmUnmap, ffi::SQLITE_OK, removes)
}
