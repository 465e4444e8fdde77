//! Descriptors that are of no use in a forked child, and would keep something of its parent's alive there: the child closes
//! them first of all, while their numbers can't be anybody else's.

use std::{
    fs::File,
    mem::ManuallyDrop,
    ops::Deref,
    os::fd::{AsRawFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Each with a number of its own: a child opens files under the numbers of those that it has closed.
static OPEN: Mutex<Vec<(Serial, RawFd)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

pub type Serial = u64;

/// Held while descriptors are opened, noted and closed by code that does not say when it does so, and during each fork: a child
/// must not close a number that has become another file's.
static CHANGING: Mutex<()> = Mutex::new(());

pub fn changing() -> MutexGuard<'static, ()> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open() -> MutexGuard<'static, Vec<(Serial, RawFd)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that opens descriptors of its own, with 0 to 2 taken: a daemon may have closed these, and others write to them.
#[cfg(any(feature = "postgres", feature = "etcd"))]
pub fn opening<T>(open: impl FnOnce() -> T) -> T {
    let mut taken = Vec::new();
    loop {
        // SAFETY: the path ends with NUL. One that can't be opened leaves things as they are.
        let fd = unsafe { libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        if fd >= 0 {
            taken.push(fd);
        }
        if !(0..2).contains(&fd) {
            break;
        }
    }
    let opened = open();
    for fd in taken {
        // SAFETY: opened above, and closed once.
        unsafe { libc::close(fd) };
    }
    opened
}

/// To be said when such a descriptor was opened.
pub fn note(fd: RawFd) -> Serial {
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    open().push((serial, fd));
    serial
}

/// To be said before it is closed. False in a forked child, where it is closed already and the number may be that of another
/// file.
pub fn is_ours(serial: Serial) -> bool {
    let mut open = open();
    let place = open.iter().position(|(other, _)| *other == serial);
    place.is_some_and(|place| open.swap_remove(place).0 == serial)
}

/// In a forked child.
pub fn close_all() {
    for (_, fd) in open().drain(..) {
        // SAFETY: the child has the same files under the same numbers as its parent, and has closed none of them yet.
        unsafe { libc::close(fd) };
    }
}

/// A file that is closed with its owner, but in a forked child at once.
pub struct Kept {
    file: ManuallyDrop<File>,
    serial: Serial,
}

impl Kept {
    pub fn new(file: File) -> Kept {
        Kept { serial: note(file.as_raw_fd()), file: ManuallyDrop::new(file) }
    }
}

impl Deref for Kept {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if is_ours(self.serial) {
            // SAFETY: dropped here alone, and once.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child closed its parent's descriptors, opened its own under the same numbers, and then closed those with what it had
    /// inherited.
    #[test]
    fn a_number_that_is_used_again_is_another_ones() {
        let former = note(1_000_000);
        assert!(is_ours(former) && !is_ours(former));
        let (later, again) = (note(1_000_000), note(1_000_001));
        assert!(!is_ours(former) && is_ours(later) && is_ours(again));
    }
}
