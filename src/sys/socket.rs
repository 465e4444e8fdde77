//! A TCP connection to a server. Each call first makes sure that the descriptor still is the socket
//! that was opened: the host may have closed it and opened something else under its number.

use super::{
    above_standard, checked,
    identity::Descriptor,
    inherited,
    poll::{self, For},
};
use crate::clock;
use std::{
    io::{self, Read, Write},
    mem::{self, ManuallyDrop},
    net::{SocketAddr, TcpStream},
    os::fd::FromRawFd,
    time::Duration,
};

pub struct Socket {
    stream: ManuallyDrop<TcpStream>,
    descriptor: Descriptor,
    serial: inherited::Serial,
}

impl Socket {
    pub fn connect(address: &SocketAddr, longest: Duration) -> io::Result<Socket> {
        let socket = Socket::new(address)?;
        let (name, length) = name_of(address);
        // SAFETY: the name is as long as said.
        let begun = checked(unsafe { libc::connect(socket.descriptor.number(), (&raw const name).cast(), length) });
        match begun {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => socket.await_connection(longest)?,
            other => other?,
        }
        socket.stream()?.set_nonblocking(false)?;
        Ok(socket)
    }

    fn new(address: &SocketAddr) -> io::Result<Socket> {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // What is noted changes outside the gate here: a fork waits until it is whole.
        let _changing = inherited::changing();
        // SAFETY: takes numbers.
        let fd = above_standard(unsafe { libc::socket(family, kind, 0) });
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let descriptor = Descriptor::of_new(fd)?;
        // SAFETY: just opened, and nobody else's.
        let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) });
        Ok(Socket { stream, descriptor, serial: inherited::note(fd) })
    }

    fn await_connection(&self, longest: Duration) -> io::Result<()> {
        if !poll::ready(self.descriptor, For::Writing, clock::instant() + longest)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream()?.take_error()?.map_or(Ok(()), Err)
    }

    /// Its number and identity.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// False if the host has closed it.
    pub fn is_there(&self) -> bool {
        poll::is_there(self.descriptor)
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        if self.is_there() { Ok(&self.stream) } else { Err(closed_by_host()) }
    }

    pub fn set_nodelay(&self) -> io::Result<()> {
        self.stream()?.set_nodelay(true)
    }

    pub fn set_write_timeout(&self, longest: Duration) -> io::Result<()> {
        self.stream()?.set_write_timeout(Some(longest))
    }

    pub fn set_read_timeout(&self, longest: Duration) -> io::Result<()> {
        self.stream()?.set_read_timeout(Some(longest))
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    pub fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream()?.read(bytes)
    }

    /// Reads, or with `peek` looks at, what has come, without waiting for more. 0 bytes: the other end
    /// has closed; WouldBlock: nothing has come.
    pub fn read_now(&self, bytes: &mut [u8], peek: bool) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | if peek { libc::MSG_PEEK } else { 0 };
        self.stream()?;
        // SAFETY: the buffer is as long as said.
        let got = unsafe { libc::recv(self.descriptor.number(), bytes.as_mut_ptr().cast(), bytes.len(), flags) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _changing = inherited::changing();
        if inherited::is_ours(self.serial) {
            // SAFETY: dropped here alone, and once.
            unsafe { ManuallyDrop::drop(&mut self.stream) };
        }
    }
}

fn closed_by_host() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this program has closed the descriptor of the connection")
}

fn name_of(address: &SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeroed memory is a valid address of every kind.
    let mut name: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = match address {
        SocketAddr::V4(address) => {
            // SAFETY: a sockaddr_storage has room for it, and is aligned for it.
            let name = unsafe { &mut *(&raw mut name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_flowinfo = address.flowinfo();
            name.sin6_scope_id = address.scope_id();
            name.sin6_addr.s6_addr = address.ip().octets();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (name, length as libc::socklen_t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpListener, os::fd::AsRawFd, os::unix::net::UnixStream};

    fn connected(address: &str) -> Option<(Socket, TcpStream)> {
        let listener = TcpListener::bind(address).ok()?;
        let socket = Socket::connect(&listener.local_addr().unwrap(), Duration::from_secs(60)).unwrap();
        Some((socket, listener.accept().unwrap().0))
    }

    #[test]
    fn it_connects_by_both_protocols() {
        // A host may have no IPv6.
        for (socket, mut server) in ["127.0.0.1:0", "[::1]:0"].into_iter().filter_map(connected) {
            assert_eq!(socket.read_now(&mut [0], true).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(socket.write(b"ask").unwrap(), 3);
            server.read_exact(&mut [0; 3]).unwrap();
            server.write_all(b"answer").unwrap();
            assert_eq!(socket.read(&mut [0; 16]).unwrap(), 6);
        }
    }

    #[test]
    fn a_port_without_a_server_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = Socket::connect(&address, Duration::from_secs(60));
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn what_the_host_has_closed_is_left_alone() {
        let (socket, _server) = connected("127.0.0.1:0").unwrap();
        let (ours, other) = UnixStream::pair().unwrap();
        let number = socket.descriptor().number();
        // SAFETY: both are open; the socket's number becomes another descriptor of the host's.
        assert!(unsafe { libc::dup2(ours.as_raw_fd(), number) } >= 0);
        assert!(!socket.is_there() && socket.write(b"ask").is_err() && socket.read(&mut [0]).is_err());
        assert!(socket.read_now(&mut [0], true).is_err() && socket.set_read_timeout(Duration::from_secs(1)).is_err());
        drop(socket);
        assert!(Descriptor::of(number).is_ok() && ours.read_timeout().unwrap().is_none());
        other.set_nonblocking(true).unwrap();
        assert_eq!((&other).read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
