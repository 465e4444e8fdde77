//! The VFS "dss": how SQLite talks to the system here (sqlite.org/vfs.html).
//!
//! It is a shim over SQLite's own "unix" VFS. The log is a file of our own ([`log_file`]), every
//! other file one of the "unix" VFS behind our checks ([`delegate`]). Two system calls of the "unix"
//! VFS are replaced, since guarantees rest on them ([`super::system_calls`]).

mod delegate;
pub mod log_file;

use super::{descriptors::Descriptor, system_calls};
use crate::{
    model::error::{Code, Error},
    mutant, sys,
};
use once_cell::sync::OnceCell;
use rusqlite::{
    Connection, OpenFlags,
    ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_vfs},
};
use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    io, mem,
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr, slice, thread,
    time::Duration,
};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the SQLite store needs 64-bit Linux: its struct flock has 64-bit offsets");

const NAME: &CStr = c"dss";

/// SQLite's "unix" VFS, which lives as long as the process.
pub struct Unix(ptr::NonNull<sqlite3_vfs>);

// SAFETY: it is not changed once it is here, but for what SQLite keeps in it under its own mutexes.
unsafe impl Send for Unix {}
// SAFETY: as above.
unsafe impl Sync for Unix {}

impl Unix {
    fn pointer(&self) -> *mut sqlite3_vfs {
        self.0.as_ptr()
    }
}

impl std::ops::Deref for Unix {
    type Target = sqlite3_vfs;

    fn deref(&self) -> &sqlite3_vfs {
        // SAFETY: it lives as long as the process.
        unsafe { self.0.as_ref() }
    }
}

static UNIX: OnceCell<Unix> = OnceCell::new();

fn unix() -> Option<&'static Unix> {
    UNIX.get()
}

/// Puts the VFS in place, once in a process, before the first connection.
pub fn install() -> Result<(), Error> {
    static DONE: OnceCell<()> = OnceCell::new();
    DONE.get_or_try_init(|| {
        if rusqlite::version_number() < 3_051_003 {
            let text = format!("SQLite {} has the WAL-reset bug: libdss needs 3.51.3 or newer", rusqlite::version());
            return Err(Error::new(Code::Unsupported, text));
        }
        let unix = UNIX.get_or_try_init(find_unix)?;
        replace(unix, c"fcntl", system_calls::fcntl as *const c_void)?;
        replace(unix, c"close", system_calls::close as *const c_void)?;
        // SQLite asks the default VFS for random bytes, whichever the connection has.
        // SAFETY: what is registered lives as long as the process.
        match unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(shim(unix))), 1) } {
            ffi::SQLITE_OK => Ok(()),
            code => Err(Error::new(Code::NoMemory, format!("SQLite does not take another VFS ({code})"))),
        }
    })
    .copied()
}

fn find_unix() -> Result<Unix, Error> {
    // SAFETY: the name ends with NUL; SQLite gives its own object, which lives as long as the process.
    let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
    // It has none as long as it had no memory for its beginning.
    ptr::NonNull::new(vfs).map(Unix).ok_or_else(|| Error::new(Code::NoMemory, "SQLite has no memory to begin with"))
}

fn replace(unix: &Unix, name: &CStr, call: *const c_void) -> Result<(), Error> {
    // SAFETY: SQLite's unix VFS has xSetSystemCall since 3.7.7. The functions have the types that SQLite calls these by
    // (aSyscall in os_unix.c); for fcntl, declared with "...", see there.
    let rc = unsafe {
        let call = mem::transmute::<*const c_void, unsafe extern "C" fn()>(call);
        unix.xSetSystemCall.map_or(ffi::SQLITE_NOTFOUND, |set| set(unix.pointer(), name.as_ptr(), Some(call)))
    };
    if rc == ffi::SQLITE_OK {
        return Ok(());
    }
    Err(Error::new(Code::Defect, format!("SQLite does not let its {} be replaced", name.to_string_lossy())))
}

fn shim(unix: &Unix) -> sqlite3_vfs {
    let delegate = size_of::<delegate::Delegate>() as c_int + unix.szOsFile;
    sqlite3_vfs {
        iVersion: 2,
        szOsFile: delegate.max(size_of::<log_file::LogFile>() as c_int),
        mxPathname: unix.mxPathname,
        pNext: ptr::null_mut(),
        zName: NAME.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: None,
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives memory of szOsFile bytes, and a name that ends with NUL or is NULL.
    unsafe {
        if flags & ffi::SQLITE_OPEN_WAL == 0 || name.is_null() {
            return delegate::open(name, file, flags, out_flags);
        }
        let rc = log_file::open(Path::new(OsStr::from_bytes(CStr::from_ptr(name).to_bytes())), file);
        out_flags.as_mut().into_iter().for_each(|out| *out = flags);
        rc
    }
}

/// A method of the "unix" VFS, called with its own object.
macro_rules! delegated {
    ($name:ident, $method:ident, $($argument:ident: $type:ty),*) => {
        unsafe extern "C" fn $name(_: *mut sqlite3_vfs, $($argument: $type),*) -> c_int {
            let unix = unix().and_then(|unix| Some((unix, unix.$method?)));
            // SAFETY: SQLite calls the method with what it takes.
            unix.map_or(ffi::SQLITE_ERROR, |(unix, method)| unsafe { method(unix.pointer(), $($argument),*) })
        }
    };
}

delegated!(unix_delete, xDelete, name: *const c_char, flushes: c_int);
delegated!(access, xAccess, name: *const c_char, flags: c_int, result: *mut c_int);
delegated!(full_path_name, xFullPathname, name: *const c_char, length: c_int, full: *mut c_char);
delegated!(last_error, xGetLastError, length: c_int, to: *mut c_char);
delegated!(current_time, xCurrentTimeInt64, now: *mut sqlite3_int64);

/// The "unix" VFS opens and flushes the folder.
unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, flushes: c_int) -> c_int {
    // SAFETY: as SQLite called it.
    delegate::above_standard(|| unsafe { unix_delete(vfs, name, flushes) })
}

/// The "unix" VFS opens a device for that, whatever its number becomes.
unsafe extern "C" fn randomness(_: *mut sqlite3_vfs, length: c_int, to: *mut c_char) -> c_int {
    // SAFETY: SQLite gives a buffer of so many bytes.
    let buffer = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), length as usize) };
    let mut filled = 0;
    for chunk in buffer.chunks_mut(size_of::<u64>()) {
        let Ok(bytes) = sys::random_bytes() else { break };
        chunk.copy_from_slice(&bytes[..chunk.len()]);
        filled += chunk.len();
    }
    filled as c_int
}

/// SQLite sleeps for up to ten seconds while others change their read marks: the engine waits instead, with its own
/// deadline and where a fork can pass. A hundred of these and SQLite says SQLITE_PROTOCOL, which is "busy" to the engine.
unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    const LONGEST: c_int = 50;
    let slept = if mutant::on("long_sleep") { microseconds } else { microseconds.clamp(0, LONGEST) };
    thread::sleep(Duration::from_micros(slept as u64));
    slept
}

/// Opens a file that is there; SQLite must never make one in its place, nor follow a link to another.
pub fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags_and_vfs(path, flags, NAME)
}

/// A file of the connection, by SQLite's operation that tells it.
fn file_of(sql: &Connection, operation: c_int) -> *mut sqlite3_file {
    let mut file: *mut sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open and this thread's own; with these operations the call writes the pointer, or leaves it.
    unsafe { ffi::sqlite3_file_control(sql.handle(), c"main".as_ptr(), operation, (&raw mut file).cast()) };
    file
}

/// The log and its index, which SQLite has opened for the connection; None where it has not.
pub fn log_and_index(sql: &Connection) -> Option<(Descriptor, Descriptor)> {
    // SAFETY: the files are open as long as the connection is, which is this thread's own.
    let (log, database) = unsafe {
        let log = log_file::of(file_of(sql, ffi::SQLITE_FCNTL_JOURNAL_POINTER))?;
        (log, delegate::of(file_of(sql, ffi::SQLITE_FCNTL_FILE_POINTER))?)
    };
    Some((log.descriptor, database.index?))
}

/// Flushes the log, if there is anything in it.
pub fn flush_log(sql: &Connection) -> io::Result<()> {
    // SAFETY: as above.
    match unsafe { log_file::of(file_of(sql, ffi::SQLITE_FCNTL_JOURNAL_POINTER)) } {
        Some(log) if !mutant::on("unflushed_log") && log.descriptor.length() != Some(0) => log.flush(),
        _ => Ok(()),
    }
}
