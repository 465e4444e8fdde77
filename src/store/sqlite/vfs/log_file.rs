//! The log, as a file of our own: SQLite writes its frames by these methods.
//!
//! SQLite takes no locks on it and maps none of it, so a file that is read, written and flushed is
//! enough. It is made, and its folder flushed, as the "unix" VFS does that.

use crate::{
    store::sqlite::{
        beside::Beside,
        descriptors::Descriptor,
        log::{self, Before},
        paths,
    },
    sys::{self, signals},
};
use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64};
use std::{
    ffi::{OsStr, c_int, c_void},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    slice,
};

/// What SQLite hears where the log has lost what was in it: no file system says that.
pub const CUT_LOG: c_int = libc::ENOTUNIQ;

/// What SQLite has in hand.
#[repr(C)]
pub struct LogFile {
    base: sqlite3_file,
    log: *mut Log,
}

pub struct Log {
    /// It is closed when this is dropped.
    _file: Beside,
    pub descriptor: Descriptor,
    path: PathBuf,
    /// The folder has not been flushed since the file was opened, which may have made it.
    is_new: bool,
}

impl Log {
    fn open(path: &Path) -> io::Result<Log> {
        let file = match Beside::open_own(path, libc::O_RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let database = path.as_os_str().as_bytes().strip_suffix(b"-wal").ok_or(error)?;
                paths::make_side_file(Path::new(OsStr::from_bytes(database)), "-wal")?;
                Beside::open_own(path, libc::O_RDWR)?
            }
            opened => opened?,
        };
        let descriptor = file.descriptor().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Log { _file: file, descriptor, path: path.into(), is_new: true })
    }

    fn check(&self) -> io::Result<()> {
        if self.descriptor.is_ours() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let before = match bytes.try_into() {
            Ok(header) => log::before(&self.descriptor, header, offset)?,
            Err(_) => Before::Own,
        };
        // The frame before this one, which only the log has, is a mark as good as any.
        if before != Before::Last {
            self.check()?;
        }
        if before == Before::Missing {
            log::invalidate(&self.descriptor);
            return Err(io::Error::from_raw_os_error(CUT_LOG));
        }
        self.descriptor.write_at(bytes, offset)
    }

    /// Flushes it to the disk.
    pub fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        self.descriptor.flush()?;
        if self.is_new {
            // As SQLite does: what can't be flushed so is not told by the folder either.
            let _ = self.path.parent().map(|folder| sys::open(folder, libc::O_RDONLY)?.sync_all());
            self.is_new = false;
        }
        Ok(())
    }
}

/// The methods of a log's file.
pub static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: None,
    xUnlock: None,
    xCheckReservedLock: None,
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Opens the log for SQLite.
///
/// # Safety
/// `file` points to memory for a [`LogFile`], and nobody else uses it.
pub unsafe fn open(path: &Path, file: *mut sqlite3_file) -> c_int {
    let (methods, log, rc) = match Log::open(path) {
        Ok(log) => (&raw const METHODS, Box::into_raw(Box::new(log)), ffi::SQLITE_OK),
        Err(error) => (std::ptr::null(), std::ptr::null_mut(), failed(&error, ffi::SQLITE_CANTOPEN)),
    };
    // SAFETY: as the caller says.
    unsafe { file.cast::<LogFile>().write(LogFile { base: sqlite3_file { pMethods: methods }, log }) };
    rc
}

/// The log behind a file of SQLite's; None if it is another file.
///
/// # Safety
/// `file` is open, and the connection that it is of is this thread's own as long as the log is used.
pub unsafe fn of<'a>(file: *mut sqlite3_file) -> Option<&'a mut Log> {
    // SAFETY: as the caller says; a file with these methods is a LogFile, and its log lives until it is closed.
    unsafe {
        let is_log = std::ptr::eq(file.as_ref()?.pMethods, &raw const METHODS);
        if is_log { file.cast::<LogFile>().as_ref()?.log.as_mut() } else { None }
    }
}

/// Does something with the log of an open file; SQLite's code for a failure, with errno set.
fn with_log(file: *mut sqlite3_file, code: c_int, work: impl FnOnce(&mut Log) -> io::Result<c_int>) -> c_int {
    // SAFETY: SQLite calls these methods with the file that it opened, from the thread that has the connection.
    let Some(log) = (unsafe { of(file) }) else { return code };
    work(log).unwrap_or_else(|error| failed(&error, code))
}

fn failed(error: &io::Error, code: c_int) -> c_int {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    sys::set_errno(errno);
    match (errno, code) {
        (libc::ENOSPC, ffi::SQLITE_IOERR_WRITE) => ffi::SQLITE_FULL,
        _ => code,
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: an open LogFile, which SQLite closes once.
    unsafe {
        let log = (*file.cast::<LogFile>()).log;
        (*file).pMethods = std::ptr::null();
        drop(Box::from_raw(log));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, count: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: SQLite gives a buffer of so many bytes.
    let buffer = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), count as usize) };
    with_log(file, ffi::SQLITE_IOERR_READ, |log| {
        log.check()?;
        let filled = log.descriptor.read_some_at(buffer, offset as u64)?;
        buffer[filled..].fill(0);
        Ok(if filled == buffer.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ })
    })
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, count: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: SQLite gives so many bytes.
    let bytes = unsafe { slice::from_raw_parts(from.cast::<u8>(), count as usize) };
    with_log(file, ffi::SQLITE_IOERR_WRITE, |log| {
        noted(log.write(bytes, offset as u64))?;
        Ok(ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    with_log(file, ffi::SQLITE_IOERR_TRUNCATE, |log| {
        log.check()?;
        noted(log.descriptor.truncate(length as u64))?;
        Ok(ffi::SQLITE_OK)
    })
}

/// The kernel sends a signal where a limit of file sizes is hit.
fn noted(result: io::Result<()>) -> io::Result<()> {
    if result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG)) {
        signals::raised();
    }
    result
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    with_log(file, ffi::SQLITE_IOERR_FSYNC, |log| log.flush().map(|()| ffi::SQLITE_OK))
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    with_log(file, ffi::SQLITE_IOERR_FSTAT, |log| {
        log.check()?;
        let length = log.descriptor.length().ok_or(io::ErrorKind::Other)?;
        // SAFETY: SQLite gives the place.
        unsafe { *size = length as sqlite3_int64 };
        Ok(ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _operation: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    4096
}

/// What the "unix" VFS says of its files.
unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
