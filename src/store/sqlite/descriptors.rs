//! The descriptors that SQLite, and we beside it, have open on the files of stores.
//!
//! A host that closes descriptors it does not know, and opens files of its own under their numbers,
//! must not have them read, written or locked. So each use of a descriptor first checks its mark
//! ([`crate::sys::mark`]). A number that is no longer ours is never closed.
//!
//! SQLite's locks for writers outlive the descriptor: they belong to the open file description of
//! the log's index (open(2)), which SQLite has mapped. So nobody else can write before the
//! transaction in which descriptors were lost has been given up with its connection.

use crate::sys::mark::Marked;
use std::{
    cell::Cell,
    io,
    mem::MaybeUninit,
    os::fd::RawFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What tells a file from all others.
pub type Identity = (u64, u64);

/// An open file of a store.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub marked: Marked,
    pub identity: Identity,
}

impl Descriptor {
    /// Marks a file that was just opened. Fails if it is no regular file.
    pub fn of(fd: RawFd) -> io::Result<Descriptor> {
        let found = stat(fd)?;
        if found.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Descriptor { marked: Marked::of(fd)?, identity: (found.st_dev, found.st_ino) })
    }

    /// Whether the number still is that of the file, or becomes lost by this look.
    pub fn is_ours(&self) -> bool {
        note(self.marked.is_ours())
    }

    pub fn fd(&self) -> RawFd {
        self.marked.fd
    }

    /// Whether it was opened for reading only, as far as that can be told.
    pub fn reads_only(&self) -> bool {
        // SAFETY: takes numbers.
        let flags = unsafe { libc::fcntl(self.fd(), libc::F_GETFL) };
        flags >= 0 && flags & libc::O_ACCMODE == libc::O_RDONLY
    }

    /// How long the file is; None if that can't be told.
    pub fn length(&self) -> Option<u64> {
        stat(self.fd()).ok().map(|found| found.st_size as u64)
    }

    /// Fills the buffer from this place of the file; false if the file ends before.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        Ok(self.read_some_at(buffer, offset)? == buffer.len())
    }

    /// The same; how many bytes there were. One pread(2) may read less than there is.
    pub fn read_some_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (rest, place) = (&mut buffer[filled..], offset + filled as u64);
            // SAFETY: fills at most the rest of the buffer; a bad descriptor is an error.
            let read = unsafe { libc::pread(self.fd(), rest.as_mut_ptr().cast(), rest.len(), place as libc::off_t) };
            match again_if_interrupted(read)? {
                Some(0) => break,
                more => filled += more.unwrap_or(0),
            }
        }
        Ok(filled)
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (rest, place) = (&bytes[done..], offset + done as u64);
            // SAFETY: reads the bytes; a bad descriptor is an error.
            let written = unsafe { libc::pwrite(self.fd(), rest.as_ptr().cast(), rest.len(), place as libc::off_t) };
            match again_if_interrupted(written)? {
                Some(0) => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                more => done += more.unwrap_or(0),
            }
        }
        Ok(())
    }

    pub fn truncate(&self, length: u64) -> io::Result<()> {
        // SAFETY: takes numbers.
        checked(|| unsafe { libc::ftruncate(self.fd(), length as libc::off_t) })
    }

    pub fn flush(&self) -> io::Result<()> {
        // SAFETY: takes a number.
        checked(|| unsafe { libc::fdatasync(self.fd()) })
    }
}

fn again_if_interrupted(result: isize) -> io::Result<Option<usize>> {
    match usize::try_from(result) {
        Ok(count) => Ok(Some(count)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            error => Err(error),
        },
    }
}

fn checked(call: impl Fn() -> i32) -> io::Result<()> {
    while again_if_interrupted(call() as isize)?.is_none() {}
    Ok(())
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

thread_local! {
    /// A descriptor was found to be no longer ours.
    static LOST: Cell<bool> = const { Cell::new(false) };
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

// ---- Those that SQLite opens, and locks and closes by their numbers ----------------------------------------------

/// With the database that each belongs to: a number that one store has lost can be another one's file.
static OPEN: Mutex<Vec<(Identity, Descriptor)>> = Mutex::new(Vec::new());

fn open() -> MutexGuard<'static, Vec<(Identity, Descriptor)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters what SQLite has open for a database. It may use a number again that is entered already:
/// that still is the file, or lost.
pub fn enter(database: Identity, fd: RawFd) -> io::Result<Descriptor> {
    if let Some(known) = find(database, fd) {
        return if known.is_ours() { Ok(known) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) };
    }
    let descriptor = Descriptor::of(fd)?;
    open().push((database, descriptor));
    Ok(descriptor)
}

pub fn find(database: Identity, fd: RawFd) -> Option<Descriptor> {
    open().iter().find(|(store, other)| *store == database && other.fd() == fd).map(|(_, found)| *found)
}

/// Looks whether any of a database's is lost.
pub fn notice_lost(database: Identity) {
    for (_, descriptor) in open().iter().filter(|(store, _)| *store == database) {
        descriptor.is_ours();
    }
}

/// Takes out what SQLite closes.
pub fn leave(database: Identity, fd: RawFd) -> Option<Descriptor> {
    let mut open = open();
    let index = open.iter().position(|(store, other)| *store == database && other.fd() == fd)?;
    Some(open.swap_remove(index).1)
}
