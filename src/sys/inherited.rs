//! Descriptors that are of no use in a forked child, and would keep something of its parent's alive there: the child closes
//! them first of all, while their numbers can't be anybody else's.

use super::identity::Descriptor;
use crate::mutant;
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
/// The identity tells a number that the host has closed and opened again.
static OPEN: Mutex<Vec<(Serial, Descriptor)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

pub type Serial = u64;

/// Held while descriptors are opened, noted and closed by code that does not say when it does so, and during each fork: a child
/// must not close a number that has become another file's.
static CHANGING: Mutex<()> = Mutex::new(());

pub fn changing() -> MutexGuard<'static, ()> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open() -> MutexGuard<'static, Vec<(Serial, Descriptor)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something that opens descriptors of its own, with 0 to 2 taken: a daemon may have closed these, and others write to them.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "etcd"))]
pub fn opening<T>(open: impl FnOnce() -> T) -> T {
    let taken: Vec<Descriptor> = std::iter::from_fn(take_standard).collect();
    let opened = open();
    taken.into_iter().for_each(Descriptor::close);
    opened
}

/// Takes one of 0 to 2 that is free, by a socket, whose identity differs from what the host may put
/// in its place meanwhile.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "etcd"))]
fn take_standard() -> Option<Descriptor> {
    // SAFETY: takes numbers. Without a socket things are left as they are.
    let taken =
        Descriptor::of_new(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }).ok()?;
    if taken.number() > 2 {
        taken.close();
        return None;
    }
    Some(taken)
}

/// To be said when such a descriptor was opened.
pub fn note(fd: RawFd) -> Serial {
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    // One that the host has closed already is nobody's to close.
    open().extend(Descriptor::of(fd).ok().map(|descriptor| (serial, descriptor)));
    serial
}

/// Call before it is closed. False in a forked child, where it is closed already, and after the host
/// has closed it: then the number may be that of another file.
pub fn is_ours(serial: Serial) -> bool {
    let mut open = open();
    let place = open.iter().position(|(other, _)| *other == serial);
    place.map(|place| open.swap_remove(place).1).is_some_and(|noted| noted.is_ours() || mutant::on("foreign_close"))
}

/// In a forked child: it has the same files under the same numbers as its parent, and has closed
/// none of them yet.
pub fn close_all() {
    open().drain(..).for_each(|(_, noted)| noted.close());
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
    use std::os::unix::net::UnixDatagram;

    /// A child closed its parent's descriptors, opened its own under the same numbers, and then closed those with what it had
    /// inherited.
    #[test]
    fn a_number_that_is_used_again_is_another_ones() {
        let (one, two) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        let former = note(one.as_raw_fd());
        assert!(is_ours(former) && !is_ours(former));
        let (later, again) = (note(one.as_raw_fd()), note(two.as_raw_fd()));
        assert!(!is_ours(former) && is_ours(later) && is_ours(again));
    }

    /// A host closed all descriptors and opened its own; the library closed those by their numbers.
    #[test]
    fn a_number_that_the_host_has_used_again_is_not_ours() {
        let (one, other) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        let noted = note(one.as_raw_fd());
        // SAFETY: both are open; the first one's number becomes one of the second socket.
        assert!(unsafe { libc::dup2(other.as_raw_fd(), one.as_raw_fd()) } >= 0);
        assert!(!is_ours(noted));
    }
}
