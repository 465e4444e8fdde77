//! The descriptors that SQLite, and we beside it, have open on the files of stores.
//!
//! A host that closes descriptors it does not know, and opens files of its own under their numbers,
//! must not have them read, written or locked. So each system call on a descriptor in this table
//! first checks its mark ([`crate::sys::mark`]). A number that is no longer ours stays in the table
//! until its owner gives it up, and is never closed; until then no other file of ours gets it,
//! since SQLite knows its files by number.
//!
//! SQLite's locks for writers outlive the descriptor: they belong to the open file description of
//! the log's index (open(2)), which SQLite has mapped. So nobody else can write before the
//! transaction in which descriptors were lost has been given up with its connection.

use crate::sys::mark::{Mark, Marked};
use std::{
    cell::Cell,
    ffi::CStr,
    hash::{DefaultHasher, Hasher},
    io,
    mem::MaybeUninit,
    os::fd::RawFd,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// What tells a file from all others.
pub type Identity = (u64, u64);

/// A path as SQLite opened it, in so far as it has to be told from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathHash(u64);

impl PathHash {
    pub fn of(path: &[u8]) -> PathHash {
        let mut hasher = DefaultHasher::new();
        hasher.write(path);
        PathHash(hasher.finish())
    }
}

/// An open file of a store.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub marked: Marked,
    pub identity: Identity,
    pub path: PathHash,
}

impl Descriptor {
    /// Whether the number still is that of the file, or becomes lost by this look.
    pub fn is_ours(&self) -> bool {
        note(self.marked.is_ours())
    }
}

/// One that is open, who opened it, and when.
struct Entry {
    descriptor: Descriptor,
    thread: libc::pid_t,
    serial: u64,
}

static OPEN: RwLock<Vec<Entry>> = RwLock::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);
/// The marks of the lower numbers once more, 0 for none: they are looked up in each system call.
static MARKS: [AtomicI64; 1024] = [const { AtomicI64::new(0) }; 1024];

thread_local! {
    /// A descriptor was found to be no longer ours.
    static LOST: Cell<bool> = const { Cell::new(false) };
}

fn read() -> RwLockReadGuard<'static, Vec<Entry>> {
    OPEN.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Vec<Entry>> {
    OPEN.write().unwrap_or_else(PoisonError::into_inner)
}

fn find(fd: RawFd) -> Option<Descriptor> {
    read().iter().map(|entry| entry.descriptor).find(|descriptor| descriptor.marked.fd == fd)
}

fn shown_mark(fd: RawFd) -> Option<&'static AtomicI64> {
    usize::try_from(fd).ok().and_then(|index| MARKS.get(index))
}

fn mark_of(fd: RawFd) -> Option<Mark> {
    match shown_mark(fd) {
        Some(mark) => Mark::of_number(mark.load(Ordering::Acquire)),
        None => find(fd).map(|descriptor| descriptor.marked.mark),
    }
}

fn note(is_ours: bool) -> bool {
    if !is_ours {
        LOST.set(true);
    }
    is_ours
}

/// Whether a check of this thread has found a descriptor lost since this was asked last.
pub fn take_lost() -> bool {
    LOST.take()
}

/// The same; it can be asked again.
pub fn is_lost() -> bool {
    LOST.get()
}

/// Enters a file that was just opened, and gives the number that it has from now on; -1 with errno
/// if it can't be marked.
pub fn enter(fd: RawFd, path: &CStr) -> RawFd {
    let fd = apart_from_lost(fd);
    if fd < 0 {
        return fd;
    }
    match describe(fd, PathHash::of(path.to_bytes())) {
        Ok(Some(descriptor)) => {
            let serial = NEXT.fetch_add(1, Ordering::Relaxed);
            write().push(Entry { descriptor, thread: thread(), serial });
            shown_mark(fd).iter().for_each(|mark| mark.store(descriptor.marked.mark.number(), Ordering::Release));
            fd
        }
        // A folder or a device.
        Ok(None) => fd,
        Err(error) => {
            // SAFETY: just opened, and known to nobody.
            unsafe { libc::close(fd) };
            crate::sys::set_errno(error.raw_os_error().unwrap_or(libc::EIO));
            -1
        }
    }
}

/// Moves a new file away from the numbers that lost files still have here.
fn apart_from_lost(mut fd: RawFd) -> RawFd {
    while fd >= 0 && find(fd).is_some() {
        // SAFETY: both calls take a descriptor that nobody else knows.
        fd = unsafe {
            let other = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, fd + 1);
            let errno = io::Error::last_os_error().raw_os_error();
            libc::close(fd);
            crate::sys::set_errno(errno.unwrap_or(0));
            other
        };
    }
    fd
}

/// How long the file is; None if that can't be told.
pub fn length(fd: RawFd) -> Option<u64> {
    stat(fd).ok().map(|found| found.st_size as u64)
}

/// Fills the buffer from this place of a file; false if the file ends before. One pread(2) may read
/// less than there is.
pub fn read_at(fd: RawFd, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: fills at most the rest of the buffer; a bad descriptor is an error.
        let read =
            unsafe { libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), (offset + filled as u64) as libc::off_t) };
        match read {
            0 => return Ok(false),
            read if read > 0 => filled += read as usize,
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(true)
}

/// As far as the system lets it.
pub fn write_and_flush(fd: RawFd, bytes: &[u8], offset: u64) {
    // SAFETY: reads the bytes; a bad descriptor is an error.
    unsafe {
        libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), offset as libc::off_t);
        libc::fdatasync(fd);
    }
}

fn stat(fd: RawFd) -> io::Result<libc::stat> {
    let mut found = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: fills the buffer; a bad descriptor is an error.
    if unsafe { libc::fstat(fd, found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid stat, and the call succeeded.
    Ok(unsafe { found.assume_init() })
}

fn describe(fd: RawFd, path: PathHash) -> io::Result<Option<Descriptor>> {
    let found = stat(fd)?;
    if found.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(None);
    }
    Ok(Some(Descriptor { marked: Marked::of(fd)?, identity: (found.st_dev, found.st_ino), path }))
}

/// What the body opens in this thread, and is still open after it; in its order.
pub fn record<T>(body: impl FnOnce() -> T) -> (T, Vec<Descriptor>) {
    let first = NEXT.load(Ordering::Relaxed);
    let result = body();
    let open = read();
    let mut opened: Vec<&Entry> =
        open.iter().filter(|entry| entry.serial >= first && entry.thread == thread()).collect();
    opened.sort_by_key(|entry| entry.serial);
    (result, opened.into_iter().map(|entry| entry.descriptor).collect())
}

/// One that is open already.
pub fn find_file(path: PathHash, identity: Identity) -> Option<Descriptor> {
    let open = read();
    open.iter().map(|entry| entry.descriptor).find(|other| other.path == path && other.identity == identity)
}

fn thread() -> libc::pid_t {
    // SAFETY: has no preconditions.
    unsafe { libc::gettid() }
}

/// To be asked before each system call on a descriptor. One that is not entered is a folder or a
/// device, which SQLite opens and closes at once.
pub fn is_ours(fd: RawFd) -> bool {
    mark_of(fd).is_none_or(|mark| note(mark.is_on(fd)))
}

/// What was entered under this number.
pub fn entered(fd: RawFd) -> Option<Descriptor> {
    find(fd)
}

/// The lock relative to the file's mark, which the kernel refuses where the number is another
/// file's.
pub fn relative(fd: RawFd, lock: &libc::flock) -> libc::flock {
    mark_of(fd).map_or(*lock, |mark| mark.relative(lock))
}

/// Gives a number up. True if it is to be closed.
pub fn leave(fd: RawFd) -> bool {
    let mut open = write();
    let Some(index) = open.iter().position(|entry| entry.descriptor.marked.fd == fd) else { return true };
    shown_mark(fd).iter().for_each(|mark| mark.store(0, Ordering::Release));
    open.swap_remove(index).descriptor.marked.is_ours()
}
