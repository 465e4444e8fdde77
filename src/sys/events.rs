//! eventfd(2): a descriptor that can be read, poll(2) and epoll(7) say, while something waits.

use super::above_standard;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, FromRawFd, RawFd},
};

pub struct Signpost(File);

impl Signpost {
    pub fn new() -> io::Result<Signpost> {
        // SAFETY: takes numbers.
        let fd = above_standard(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) });
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        Ok(Signpost(unsafe { File::from_raw_fd(fd) }))
    }

    /// Makes it readable. What a host may do wrong with the descriptor is not our failure.
    pub fn raise(&self) {
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    pub fn lower(&self) {
        let _ = (&self.0).read(&mut [0; 8]);
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
