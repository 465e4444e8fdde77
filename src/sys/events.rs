//! A descriptor that can be read, poll(2) and epoll(7) say, while something waits.
//!
//! It is one end of a pair of sockets, and not an eventfd(2): a socket has an identity of its own, by
//! which the library notices that the host has closed it.

use super::{above_standard, identity::Descriptor};
use crate::mutant;
use std::{io, os::fd::RawFd};

pub struct Signpost {
    /// The host's end.
    shown: Descriptor,
    /// Our end.
    hidden: Descriptor,
}

impl Signpost {
    pub fn new() -> io::Result<Signpost> {
        let mut ends = [-1; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the array has room for the two.
        super::checked(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        Signpost::of(ends).map_err(|error| match error.raw_os_error() {
            // valgrind gives numbers above the limit of descriptors, and refuses each call on them.
            Some(libc::EBADF) => io::Error::from_raw_os_error(libc::EMFILE),
            Some(libc::ENOMEM) => error,
            // Nothing that fstat(2) says of a new socket is about rights.
            _ => io::Error::from_raw_os_error(libc::EIO),
        })
    }

    fn of(ends: [RawFd; 2]) -> io::Result<Signpost> {
        let hidden = Descriptor::of_new(above_standard(ends[1]));
        let shown =
            Descriptor::of_new(above_standard(ends[0])).inspect_err(|_| hidden.iter().for_each(|end| end.close()))?;
        let hidden = hidden.inspect_err(|_| shown.close())?;
        Ok(Signpost { shown, hidden })
    }

    /// Whether both ends still are ours.
    pub fn is_there(&self) -> bool {
        (self.shown.is_ours() && self.hidden.is_ours()) || mutant::on("foreign_event_fd")
    }

    /// Makes it readable. What a host may do wrong with the descriptor is not our failure.
    pub fn raise(&self) {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        if self.is_there() {
            // SAFETY: one byte. Where there is no room for more, it is readable already.
            unsafe { libc::send(self.hidden.number(), c"!".as_ptr().cast(), 1, flags) };
        }
    }

    pub fn lower(&self) {
        let mut bytes = [0u8; 512];
        // SAFETY: the buffer is as long as said.
        let mut read = |fd| unsafe { libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) };
        while self.is_there() && read(self.shown.number()) > 0 {}
    }

    pub fn fd(&self) -> RawFd {
        self.shown.number()
    }
}

impl Drop for Signpost {
    fn drop(&mut self) {
        self.shown.close();
        self.hidden.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

    fn is_readable(fd: RawFd) -> bool {
        let mut watched = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, as said.
        unsafe { libc::poll(&mut watched, 1, 0) == 1 }
    }

    #[test]
    fn it_is_readable_from_the_first_raise_to_the_next_lower() {
        let signpost = Signpost::new().unwrap();
        for _ in 0..3 {
            assert!(!is_readable(signpost.fd()));
            (0..10_000).for_each(|_| signpost.raise());
            assert!(is_readable(signpost.fd()));
            signpost.lower();
        }
    }

    /// A host closed all descriptors and opened sockets: bytes appeared in them, and others vanished.
    #[test]
    fn what_the_host_has_closed_is_left_alone() {
        let signpost = Signpost::new().unwrap();
        let (mut ours, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"theirs").unwrap();
        // SAFETY: all are open; the two numbers become other descriptors of the host's socket.
        assert!(unsafe { libc::dup2(ours.as_raw_fd(), signpost.shown.number()) } >= 0);
        assert!(unsafe { libc::dup2(ours.as_raw_fd(), signpost.hidden.number()) } >= 0);
        assert!(!signpost.is_there());
        signpost.raise();
        signpost.lower();
        let mut theirs = [0; 16];
        assert_eq!(ours.read(&mut theirs).unwrap(), 6);
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut theirs).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let numbers = [signpost.shown.number(), signpost.hidden.number()];
        drop(signpost);
        assert!(numbers.into_iter().all(|number| Descriptor::of(number).is_ok()));
    }
}
