//! How SQLite's C side talks to the system here: some of its system calls are ours.
//!
//! * `fcntl`: see [`super::file_locks`].
//! * `close`: our close(2) would drop the POSIX locks that the host's own SQLite holds on the same file. A file that the
//!   process holds such locks on is put aside and closed later.
//! * `open`: keeps the descriptors 0 to 2 free, which a daemon may have closed and others write to; and makes side files
//!   with their mode from the start, whatever the umask. Nor is a file opened for reading only because it could not be opened for
//!   writing: one failure of open(2) would make a store read-only for as long as it is open.
//! * `pread`: SQLite calls a file damaged if the disk fails to read it.
//! * `pwrite`, `ftruncate`: note that a limit of file sizes was hit, since the kernel sends a signal then. Nothing is
//!   appended to a log that has lost its end: see [`super::log`].
//! * These, `fstat` and `mmap` first make sure that the descriptor still is SQLite's: see [`super::descriptors`].
//! * sleeping, which SQLite does for up to ten seconds while others change their read marks: the engine waits instead, with
//!   its own deadline and where a fork can pass.

use super::{
    descriptors, file_locks,
    log::{self, Before},
};
use crate::{
    model::error::{Code, Error},
    mutant,
    sys::{self, byte_lock, signals},
};
use once_cell::sync::OnceCell;
use rusqlite::{Connection, ffi};
use std::{
    cell::Cell,
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    fs::File,
    io::{self, Read},
    mem::{self, MaybeUninit},
    os::{fd::RawFd, unix::ffi::OsStrExt},
    path::Path,
    ptr,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the SQLite store needs 64-bit Linux: its struct flock has 64-bit offsets");

/// Files that wait for the end of the host's own locks on them.
static PUT_ASIDE: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Puts our system calls in place, once in a process, before the first connection.
pub fn install() -> Result<(), Error> {
    static DONE: OnceCell<()> = OnceCell::new();
    DONE.get_or_try_init(|| {
        if rusqlite::version_number() < 3_051_003 {
            let text = format!("SQLite {} has the WAL-reset bug: libdss needs 3.51.3 or newer", rusqlite::version());
            return Err(Error::new(Code::Unsupported, text));
        }
        // SAFETY: the name ends with NUL; SQLite gives its own VFS object, which lives as long as the process.
        let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
        // SAFETY: as above, or NULL; nobody uses SQLite yet.
        if let Some(unix) = unsafe { vfs.as_mut() }
            && !mutant::on("long_sleep")
        {
            unix.xSleep = Some(our_sleep);
        }
        let calls: [(&CStr, *const c_void); 10] = [
            (c"fcntl", file_locks::fcntl as *const c_void),
            (c"close", our_close as *const c_void),
            (c"open", our_open as *const c_void),
            (c"pread", our_pread as *const c_void),
            // SQLite calls the one that it was compiled for.
            (c"pread64", our_pread as *const c_void),
            (c"pwrite", our_pwrite as *const c_void),
            (c"pwrite64", our_pwrite as *const c_void),
            (c"ftruncate", our_ftruncate as *const c_void),
            (c"fstat", our_fstat as *const c_void),
            (c"mmap", our_mmap as *const c_void),
        ];
        calls.into_iter().filter(|(name, _)| !spared(name)).try_for_each(|(name, call)| set(vfs, name, call))
    })
    .copied()
}

fn spared(name: &CStr) -> bool {
    (name == c"fcntl" && mutant::on("posix_locks")) || (name == c"open" && mutant::on("low_fds"))
}

fn set(vfs: *mut ffi::sqlite3_vfs, name: &CStr, call: *const c_void) -> Result<(), Error> {
    // SAFETY: `vfs` is NULL or SQLite's unix VFS, which has xSetSystemCall since 3.7.7. The functions have the types
    // that SQLite calls these by (aSyscall in os_unix.c); for fcntl, declared with "...", see there.
    let rc = unsafe {
        match vfs.as_ref().and_then(|unix| unix.xSetSystemCall) {
            Some(replace) => {
                replace(vfs, name.as_ptr(), Some(mem::transmute::<*const c_void, unsafe extern "C" fn()>(call)))
            }
            None => ffi::SQLITE_NOTFOUND,
        }
    };
    if rc == ffi::SQLITE_OK {
        return Ok(());
    }
    // It has no VFS as long as it had no memory for its beginning.
    let code = if vfs.is_null() { Code::NoMemory } else { Code::Defect };
    Err(Error::new(code, format!("SQLite does not let its {} be replaced", name.to_string_lossy())))
}

thread_local! {
    /// The path, as SQLite named it, that could not be opened for writing just now, and the errno.
    static REFUSED: Cell<(usize, c_int)> = const { Cell::new((0, 0)) };
}

unsafe extern "C" fn our_open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let (refused, cause) = REFUSED.take();
    let reads_only = flags & libc::O_ACCMODE == libc::O_RDONLY;
    if reads_only && refused == path.addr() && !mutant::on("opened_to_read") {
        sys::set_errno(cause);
        return -1;
    }
    // SAFETY: as SQLite called it.
    let fd = unsafe { open_file(path, flags, mode) };
    if fd < 0 && !reads_only {
        REFUSED.set((path.addr(), errno()));
    }
    fd
}

pub(super) unsafe fn open_file(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    let creates = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL == 0;
    // SAFETY: as SQLite called it; the mode is read only where the flags create.
    let open = |flags| sys::above_standard(unsafe { libc::open(path, flags | libc::O_CLOEXEC, mode) });
    // SAFETY: SQLite's path ends with NUL.
    let name = unsafe { CStr::from_ptr(path) };
    if creates {
        let fd = open(flags & !libc::O_CREAT);
        if fd >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::NotFound {
            return descriptors::enter(fd, name);
        }
        // SQLite would correct the mode after the fact, and another process could be refused in between.
        let _ = sys::make_file(Path::new(OsStr::from_bytes(name.to_bytes())), mode as u32 & 0o777);
    }
    descriptors::enter(open(flags), name)
}

/// Sets errno where the number is no longer that of SQLite's file.
fn is_ours(fd: c_int) -> bool {
    let is_ours = descriptors::is_ours(fd);
    if !is_ours {
        sys::set_errno(libc::EBADF);
    }
    is_ours
}

/// What SQLite hears where the disk can't read (EIO, ENXIO): it would call the file damaged.
pub const UNREAD: c_int = libc::EREMOTEIO;

unsafe extern "C" fn our_pread(fd: c_int, to: *mut c_void, count: usize, offset: libc::off_t) -> isize {
    if !is_ours(fd) {
        return -1;
    }
    // SAFETY: as SQLite called it.
    let read = unsafe { libc::pread(fd, to, count, offset) };
    if read < 0 && matches!(errno(), libc::EIO | libc::ENXIO) && !mutant::on("unread_is_damage") {
        sys::set_errno(UNREAD);
    }
    read
}

thread_local! {
    /// Where the page of a frame comes, whose header was just written.
    static PAGE_COMES: Cell<(c_int, libc::off_t)> = const { Cell::new((-1, 0)) };
}

/// What SQLite hears where the log has lost what was in it: no file system says that.
pub const CUT_LOG: c_int = libc::ENOTUNIQ;

/// SQLite writes a frame of the log as a header of 24 bytes and the page behind it. The page follows at once, so one check
/// serves both.
unsafe extern "C" fn our_pwrite(fd: c_int, bytes: *const c_void, count: usize, offset: libc::off_t) -> isize {
    let is_page = PAGE_COMES.replace((-1, 0)) == (fd, offset);
    // SAFETY: SQLite gives so many bytes.
    let header = (count == log::FRAME_HEADER).then(|| unsafe { &*bytes.cast::<[u8; log::FRAME_HEADER]>() });
    let before = header.map_or(Ok(Before::Own), |header| log::before(fd, header, offset as u64));
    // The frame before this one, which only the log has, is a mark as good as any.
    let is_ours = is_page || matches!(before, Ok(Before::Last)) || is_ours(fd);
    match before {
        _ if !is_ours => return -1,
        Ok(Before::Missing) => {
            log::invalidate(fd);
            sys::set_errno(CUT_LOG);
            return -1;
        }
        Err(error) => {
            sys::set_errno(error.raw_os_error().unwrap_or(libc::EIO));
            return -1;
        }
        Ok(_) => {}
    }
    if header.is_some() {
        PAGE_COMES.set((fd, offset + log::FRAME_HEADER as libc::off_t));
    }
    // SAFETY: as SQLite called it.
    let written = unsafe { libc::pwrite(fd, bytes, count, offset) };
    if written < 0 && errno() == libc::EFBIG {
        signals::raised();
    }
    written
}

unsafe extern "C" fn our_ftruncate(fd: c_int, length: libc::off_t) -> c_int {
    if !is_ours(fd) {
        return -1;
    }
    // SAFETY: as SQLite called it.
    let result = unsafe { libc::ftruncate(fd, length) };
    if result < 0 && errno() == libc::EFBIG {
        signals::raised();
    }
    result
}

unsafe extern "C" fn our_fstat(fd: c_int, found: *mut libc::stat) -> c_int {
    // SAFETY: as SQLite called it.
    if is_ours(fd) { unsafe { libc::fstat(fd, found) } } else { -1 }
}

unsafe extern "C" fn our_mmap(
    address: *mut c_void,
    length: usize,
    access: c_int,
    kind: c_int,
    fd: c_int,
    offset: libc::off_t,
) -> *mut c_void {
    if !is_ours(fd) {
        return libc::MAP_FAILED;
    }
    // SAFETY: as SQLite called it.
    unsafe { libc::mmap(address, length, access, kind, fd, offset) }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A hundred of these and SQLite says SQLITE_PROTOCOL, which is "busy" to the engine.
unsafe extern "C" fn our_sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    const LONGEST: c_int = 50;
    let slept = microseconds.clamp(0, LONGEST);
    thread::sleep(Duration::from_micros(slept as u64));
    slept
}

pub(super) unsafe extern "C" fn our_close(fd: c_int) -> c_int {
    let mut aside = PUT_ASIDE.lock().unwrap_or_else(PoisonError::into_inner);
    aside.retain(|fd| {
        let wait = descriptors::is_ours(*fd) && host_has_locks(*fd);
        if !wait {
            close_ours(*fd);
        }
        wait
    });
    if descriptors::is_ours(fd) && host_has_locks(fd) {
        file_locks::release(fd, 0, 0);
        aside.push(fd);
        return 0;
    }
    close_ours(fd)
}

/// Closes what SQLite gave up, unless the host has closed it already and the number may be another file's.
pub(super) fn close_ours(fd: RawFd) -> c_int {
    if !descriptors::leave(fd) {
        return 0;
    }
    // SAFETY: SQLite's or ours, and given up by that.
    unsafe { libc::close(fd) }
}

/// Whether this process holds POSIX locks on the file, which are not ours, since we have none of that kind.
fn host_has_locks(fd: RawFd) -> bool {
    if mutant::on("close_drops") {
        return false;
    }
    // Most files are locked by nobody else, and that is told at once. But it tells one lock only, perhaps another process's.
    if byte_lock::others_have_any(fd).is_ok_and(|any| !any) {
        return false;
    }
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: fills the buffer; a bad descriptor is an error.
    if unsafe { libc::fstat(fd, found.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: zeroed memory is a valid stat, and the call succeeded.
    let inode = unsafe { found.assume_init() }.st_ino.to_string();
    let process = std::process::id().to_string();
    // The kernel gives the list piece by piece, and a lock that another process gives up in between can hide its
    // neighbour: so pieces are large, and a "no" is asked for twice.
    (0..2).any(|_| all_locks().lines().any(|line| is_posix_lock(line, &process, &inode)))
}

fn all_locks() -> String {
    let mut locks = String::with_capacity(1 << 16);
    // Without /proc nothing can be known, and files are closed as anyone would close them.
    let _ = File::open("/proc/locks").and_then(|mut list| list.read_to_string(&mut locks));
    locks
}

/// A line of /proc/locks (proc(5)): `1: POSIX  ADVISORY  WRITE 708 08:01:1234 0 EOF`. The device is not compared: some
/// file systems show another number than stat(2), and to close a file later than needed does no harm.
fn is_posix_lock(line: &str, process: &str, inode: &str) -> bool {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.len() == 8 && words[1] == "POSIX" && words[4] == process && words[5].rsplit(':').next() == Some(inode)
}

/// Flushes the log, through SQLite's own file, if there is anything in it.
pub fn flush_log(sql: &Connection) -> io::Result<()> {
    if mutant::on("unflushed_log") {
        return Ok(());
    }
    let mut log: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open and this thread's own; with this operation the call writes the pointer to its log, or
    // leaves it. The file's methods are SQLite's, and take the file that they are of.
    unsafe {
        let operation = ffi::SQLITE_FCNTL_JOURNAL_POINTER;
        ffi::sqlite3_file_control(sql.handle(), c"main".as_ptr(), operation, (&raw mut log).cast());
        let Some(methods) = log.as_ref().and_then(|log| log.pMethods.as_ref()) else { return Ok(()) };
        let (Some(size_of), Some(sync)) = (methods.xFileSize, methods.xSync) else { return Ok(()) };
        let mut size = 0;
        if size_of(log, &mut size) == ffi::SQLITE_OK && size == 0 {
            return Ok(());
        }
        match sync(log, ffi::SQLITE_SYNC_NORMAL) {
            ffi::SQLITE_OK => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_lines_are_read() {
        let line = "12: POSIX  ADVISORY  WRITE 708 fe:00:1234 1073741825 1073741825";
        assert!(is_posix_lock(line, "708", "1234"));
        assert!(!is_posix_lock(line, "709", "1234"));
        assert!(!is_posix_lock(line, "708", "234"));
        assert!(!is_posix_lock("1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF", "-1", "1234"));
        assert!(!is_posix_lock("1: -> POSIX  ADVISORY  WRITE 708 fe:00:1234 0 EOF", "708", "1234"));
    }
}
