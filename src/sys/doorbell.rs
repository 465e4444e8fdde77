//! A thread waits, and another one, of any process of the host, wakes it by a name.
//!
//! It is a datagram socket with a name of its own in the kernel's table (unix(7), "abstract"): nothing of it stays when its
//! process is killed, a ring at one that is gone is told so, and ppoll(2) waits for it and lets the host's signals in in one
//! step, so that none is missed. Processes in different network namespaces can't ring for each other.

use super::{identity::Descriptor, inherited, signals::SignalMask};
use crate::mutant;
use std::{fmt::Write, io, mem, os::fd::RawFd, time::Duration};

/// The name of a doorbell: as random as an attempt's, so that nobody rings at another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address(pub [u64; 2]);

impl Address {
    pub fn of_name(name: [u8; 16]) -> Address {
        Address([0, 8].map(|from| u64::from_ne_bytes(std::array::from_fn(|place| name[from + place]))))
    }

    pub fn name(self) -> [u8; 16] {
        std::array::from_fn(|place| self.0[place / 8].to_ne_bytes()[place % 8])
    }
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    Rung,
    /// There are news where the caller asked to look for them too.
    News,
    TimeIsUp,
    /// A signal handler of the host ran.
    BySignal,
}

pub struct Doorbell {
    socket: Descriptor,
    serial: inherited::Serial,
}

impl Doorbell {
    /// Fails where the process has no descriptors left, or may have no such socket.
    pub fn hang(address: Address) -> io::Result<Doorbell> {
        let socket = Descriptor::of_new(socket()?)?;
        let doorbell = Doorbell { socket, serial: inherited::note(socket.number()) };
        let (name, length) = name_of(address);
        // SAFETY: the name is as long as said.
        super::checked(unsafe { libc::bind(socket.number(), (&raw const name).cast(), length) })?;
        Ok(doorbell)
    }

    /// False if the host has closed it: then nobody can ring any more, and the address is free.
    pub fn is_there(&self) -> bool {
        self.socket.is_ours() || mutant::on("foreign_doorbell")
    }

    fn fd(&self) -> Option<RawFd> {
        self.is_there().then(|| self.socket.number())
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        if inherited::is_ours(self.serial) {
            // SAFETY: ours, and closed once.
            unsafe { libc::close(self.socket.number()) };
        }
    }
}

/// Waits, with the host's signals let in, until somebody rings or the descriptor `news` can be read, for at most that long.
/// Without a doorbell nobody can ring.
pub fn wait(doorbell: Option<&Doorbell>, news: Option<RawFd>, longest: Duration, signals: &SignalMask) -> Woken {
    let seconds = longest.as_secs().try_into().unwrap_or(libc::time_t::MAX);
    let timeout = libc::timespec { tv_sec: seconds, tv_nsec: longest.subsec_nanos().into() };
    let watch = |fd: Option<RawFd>| libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
    let mut watched = [watch(doorbell.and_then(Doorbell::fd)), watch(news)];
    let mut poll = |count| {
        // SAFETY: as many descriptors as said, a time and a mask that live as long as the call.
        let found = unsafe { libc::ppoll(watched.as_mut_ptr(), count, &timeout, signals.as_ptr()) };
        if found < 0 { Err(io::Error::last_os_error().kind()) } else { Ok(()) }
    };
    let count = if news.is_some() { 2 } else { doorbell.is_some().into() };
    let polled = match poll(count) {
        // A process may have lowered its limit of descriptors below what it has open.
        Err(kind) if kind != io::ErrorKind::Interrupted => poll(0),
        polled => polled,
    };
    if polled == Err(io::ErrorKind::Interrupted) {
        return Woken::BySignal;
    }
    let mut rung = false;
    if watched[0].revents & libc::POLLIN != 0 {
        // The host may have closed it during the wait.
        while doorbell.and_then(Doorbell::fd).is_some_and(take_one) {
            rung = true;
        }
    }
    match rung {
        true => Woken::Rung,
        false if watched[1].revents != 0 => Woken::News,
        false => Woken::TimeIsUp,
    }
}

fn take_one(fd: RawFd) -> bool {
    let mut byte = 0u8;
    // SAFETY: room for one byte; the rest of a longer datagram is dropped.
    unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT) >= 0 }
}

/// Wakes the one who waits at this name. Fails if nobody has it any more, or no socket can be had to ring it.
pub fn ring(address: Address) -> io::Result<()> {
    let fd = socket()?;
    let (name, length) = name_of(address);
    // SAFETY: one byte to a name as long as said; the socket is ours and closed once.
    let sent = unsafe {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = libc::sendto(fd, c"!".as_ptr().cast(), 1, flags, (&raw const name).cast(), length);
        let error = io::Error::last_os_error();
        libc::close(fd);
        if sent < 0 { Err(error) } else { Ok(()) }
    };
    // Full of rings that were not heard yet.
    sent.or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) })
}

fn socket() -> io::Result<RawFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers.
    match super::above_standard(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }) {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd),
    }
}

/// A name of the abstract kind begins with NUL and has no end but its length.
fn name_of(address: Address) -> (libc::sockaddr_un, libc::socklen_t) {
    let mut text = String::with_capacity(48);
    let _ = write!(text, "\0libdss/{:016x}{:016x}", address.0[0], address.0[1]);
    // SAFETY: zeroed memory is a valid sockaddr_un.
    let mut name: libc::sockaddr_un = unsafe { mem::zeroed() };
    name.sun_family = libc::AF_UNIX as libc::sa_family_t;
    name.sun_path.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte as libc::c_char);
    let length = mem::offset_of!(libc::sockaddr_un, sun_path) + text.len();
    (name, length as libc::socklen_t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::fd::AsRawFd, thread, time::Instant};

    fn address() -> Address {
        Address([0, 0].map(|_: u64| u64::from_ne_bytes(super::super::random_bytes().unwrap())))
    }

    #[test]
    fn a_ring_is_heard_also_before_the_wait() {
        let here = address();
        let doorbell = Doorbell::hang(here).unwrap();
        let mask = SignalMask::current();
        ring(here).unwrap();
        assert_eq!(wait(Some(&doorbell), None, Duration::from_secs(60), &mask), Woken::Rung);
        thread::scope(|scope| {
            scope.spawn(|| ring(here).unwrap());
            assert_eq!(wait(Some(&doorbell), None, Duration::from_secs(60), &mask), Woken::Rung);
        });
    }

    #[test]
    fn a_wait_ends_by_itself() {
        let begin = Instant::now();
        assert_eq!(wait(None, None, Duration::from_millis(20), &SignalMask::current()), Woken::TimeIsUp);
        assert!((20..30_000).contains(&begin.elapsed().as_millis()));
    }

    /// A host closed all descriptors during a wait and opened a socket under the doorbell's number:
    /// its datagrams were read away, and after that the wait never slept.
    #[test]
    fn a_doorbell_that_the_host_has_closed_is_left_alone() {
        let here = address();
        let doorbell = Doorbell::hang(here).unwrap();
        let (theirs, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        other.send(b"theirs").unwrap();
        // SAFETY: both are open; the doorbell's number becomes one of the host's socket.
        assert!(unsafe { libc::dup2(theirs.as_raw_fd(), doorbell.socket.number()) } >= 0);
        let begin = Instant::now();
        assert_eq!(wait(Some(&doorbell), None, Duration::from_millis(20), &SignalMask::current()), Woken::TimeIsUp);
        assert!(begin.elapsed().as_millis() >= 20);
        let again = Doorbell::hang(here).unwrap();
        drop(doorbell);
        ring(here).unwrap();
        assert_eq!(wait(Some(&again), None, Duration::from_secs(60), &SignalMask::current()), Woken::Rung);
        assert_eq!(theirs.recv(&mut [0; 8]).unwrap(), 6);
    }

    #[test]
    fn many_rings_do_not_wait_and_one_at_nobody_is_told() {
        let here = address();
        let doorbell = Doorbell::hang(here).unwrap();
        for _ in 0..10_000 {
            ring(here).unwrap();
        }
        drop(doorbell);
        assert!(ring(here).is_err());
    }
}
