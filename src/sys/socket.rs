//! Reading from a socket what is there, without waiting for more.

use std::{io, os::fd::RawFd};

/// Reads, or with `peek` looks at, what has come. 0 bytes: the other end has closed; WouldBlock: nothing has come.
pub fn read_now(fd: RawFd, bytes: &mut [u8], peek: bool) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | if peek { libc::MSG_PEEK } else { 0 };
    // SAFETY: the buffer is as long as said.
    let got = unsafe { libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), flags) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}
