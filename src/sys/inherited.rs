//! Descriptors that are of no use in a forked child, and would keep something of its parent's alive there: the child closes
//! them first of all, while their numbers can't be anybody else's.

use std::{
    fs::File,
    mem::ManuallyDrop,
    ops::Deref,
    os::fd::{AsRawFd, RawFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

static OPEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

fn open() -> MutexGuard<'static, Vec<RawFd>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be said when such a descriptor was opened.
pub fn note(fd: RawFd) {
    open().push(fd);
}

/// To be said before it is closed. False in a forked child, where it is closed already and the number may be that of another
/// file.
pub fn is_ours(fd: RawFd) -> bool {
    let mut open = open();
    let place = open.iter().position(|other| *other == fd);
    place.is_some_and(|place| open.swap_remove(place) == fd)
}

/// In a forked child.
pub fn close_all() {
    for fd in open().drain(..) {
        // SAFETY: the child has the same files under the same numbers as its parent, and has closed none of them yet.
        unsafe { libc::close(fd) };
    }
}

/// A file that is closed with its owner, but in a forked child at once.
pub struct Kept(ManuallyDrop<File>);

impl Kept {
    pub fn new(file: File) -> Kept {
        note(file.as_raw_fd());
        Kept(ManuallyDrop::new(file))
    }
}

impl Deref for Kept {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if is_ours(self.0.as_raw_fd()) {
            // SAFETY: dropped here alone, and once.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
