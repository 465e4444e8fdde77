//! Whether a descriptor still is the file, socket or pipe that it was opened as.
//!
//! A host may close every descriptor of its process (closefrom(3)) and open its own: they get the
//! same numbers. Device and inode tell them apart, since each file, socket and pipe has an inode of
//! its own. All descriptors of eventfd(2), epoll(7) and inotify(7) share one inode: these can't be
//! told apart in this way.

use std::{io, mem::MaybeUninit, os::fd::RawFd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl Identity {
    pub fn of(fd: RawFd) -> io::Result<Identity> {
        let mut found = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the buffer is of the type that the call fills.
        super::checked(unsafe { libc::fstat(fd, found.as_mut_ptr()) })?;
        // SAFETY: zeroed memory is a valid stat, and the call succeeded.
        let found = unsafe { found.assume_init() };
        Ok(Identity { device: found.st_dev, inode: found.st_ino })
    }
}

/// A number, and the identity of what was opened under it.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    number: RawFd,
    identity: Identity,
}

impl Descriptor {
    /// Of a number that was opened just now.
    pub fn of(number: RawFd) -> io::Result<Descriptor> {
        Ok(Descriptor { number, identity: Identity::of(number)? })
    }

    /// The same of a number that nothing else closes: a failure closes it.
    pub fn of_new(number: RawFd) -> io::Result<Descriptor> {
        Descriptor::of(number).inspect_err(|_| {
            // SAFETY: the caller's, and opened just now. A number that is none (-1) is refused.
            unsafe { libc::close(number) };
        })
    }

    pub fn number(self) -> RawFd {
        self.number
    }

    /// Call before each use of the number: false if the host has closed it, whatever it is now.
    pub fn is_ours(self) -> bool {
        Identity::of(self.number).is_ok_and(|found| found == self.identity)
    }

    /// Closes the number if it still is ours.
    pub fn close(self) {
        if self.is_ours() || crate::mutant::on("foreign_close") {
            // SAFETY: ours. The owner closes it once.
            unsafe { libc::close(self.number) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::{fd::AsRawFd, unix::net::UnixDatagram};

    #[test]
    fn a_number_that_was_closed_and_used_again_is_not_ours() {
        let (one, other) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        let ours = Descriptor::of(one.as_raw_fd()).unwrap();
        assert!(ours.is_ours());
        // SAFETY: both are open; the first one's number becomes one of the second socket.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), ours.number()) }, ours.number());
        assert!(!ours.is_ours());
        ours.close();
        assert!(Identity::of(ours.number()).is_ok(), "another's number was closed");
    }

    #[test]
    fn a_descriptor_closes_its_own_number() {
        let socket = UnixDatagram::unbound().unwrap();
        // SAFETY: takes an open descriptor. Other tests open no number that high.
        let number = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 700) };
        let ours = Descriptor::of_new(number).unwrap();
        ours.close();
        assert!(!ours.is_ours() && Descriptor::of_new(-1).is_err());
    }
}
