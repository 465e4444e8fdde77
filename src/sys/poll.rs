//! Waiting for the socket of a connection, up to a moment.

use super::identity::Descriptor;
use crate::{clock, mutant};
use std::{
    io,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum For {
    Reading,
    /// Both, as who writes has to read what comes meanwhile.
    Writing,
}

/// poll(2) looks the number up again each time that it wakes: if the host closes the socket and opens
/// something else under its number, the caller would sleep until the deadline.
const RECHECK: Duration = Duration::from_millis(250);

/// Whether the socket is ready, or broken, or closed by the host, before the deadline. It is looked at
/// once in any case.
pub fn ready(socket: Descriptor, purpose: For, deadline: Instant) -> io::Result<bool> {
    let events = if purpose == For::Writing { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
    let mut watched = libc::pollfd { fd: socket.number(), events, revents: 0 };
    while is_there(socket) {
        let left = deadline.saturating_duration_since(clock::instant());
        let sleep = if mutant::on("foreign_poll") { left } else { left.min(RECHECK) };
        // Not a moment too early.
        let sleep_ms = sleep.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX);
        // SAFETY: one descriptor, as said.
        match unsafe { libc::poll(&mut watched, 1, sleep_ms) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            0 if sleep == left => return Ok(false),
            0 => {}
            _ => return Ok(true),
        }
    }
    Ok(true)
}

/// Whether a connection's socket still is ours.
pub fn is_there(socket: Descriptor) -> bool {
    socket.is_ours() || mutant::on("foreign_socket")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        os::{fd::AsRawFd, unix::net::UnixStream},
        thread,
    };

    /// A thread waited for an answer; the host closed the socket, and opened one that stayed silent.
    #[test]
    fn a_wait_ends_when_the_host_closes_the_socket() {
        let (ours, mut server) = UnixStream::pair().unwrap();
        let (theirs, _other) = UnixStream::pair().unwrap();
        let socket = Descriptor::of(ours.as_raw_fd()).unwrap();
        let soon = || clock::instant() + Duration::from_millis(20);
        assert!(!ready(socket, For::Reading, soon()).unwrap() && ready(socket, For::Writing, soon()).unwrap());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| ready(socket, For::Reading, clock::instant() + Duration::from_secs(60)));
            // SAFETY: both are open; the first one's number becomes one of the host's socket.
            assert!(unsafe { libc::dup2(theirs.as_raw_fd(), ours.as_raw_fd()) } >= 0);
            let _ = server.write_all(b"answer");
            let begin = Instant::now();
            assert!(waiter.join().unwrap().unwrap());
            assert!(begin.elapsed() < Duration::from_secs(30));
        });
    }
}
