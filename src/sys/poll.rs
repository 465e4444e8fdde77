//! Waiting for a descriptor, up to a moment.

use crate::clock;
use std::{io, os::fd::RawFd, time::Instant};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    Reading,
    /// Both, as who writes has to read what comes meanwhile.
    Writing,
}

/// Whether the descriptor is ready, or broken, before the deadline. It is looked at once in any case.
pub fn ready(fd: RawFd, purpose: For, deadline: Instant) -> io::Result<bool> {
    let events = if purpose == For::Writing { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
    let mut watched = libc::pollfd { fd, events, revents: 0 };
    loop {
        let left = deadline.saturating_duration_since(clock::instant());
        // Not a moment too early.
        let left_ms = left.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX);
        // SAFETY: one descriptor, as said.
        match unsafe { libc::poll(&mut watched, 1, left_ms) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            0 => return Ok(false),
            _ => return Ok(true),
        }
    }
}
