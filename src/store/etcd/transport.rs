//! The sockets under ureq: with the deadline of the exchange that is under way, and a note of whether any of its request has
//! left. A forked child closes them unseen.

use super::errors::TIME_IS_UP;
use crate::{
    clock,
    sys::{identity::Descriptor, socket::Socket},
};
use std::{
    cell::Cell,
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

/// The exchange that this thread has under way.
#[derive(Clone, Copy)]
struct Exchange {
    deadline: Option<Instant>,
    /// Only what has come already is read.
    at_once: bool,
    /// A connection is being made: what is sent belongs to the handshake.
    connecting: bool,
    sent: bool,
}

thread_local! {
    static EXCHANGE: Cell<Exchange> =
        const { Cell::new(Exchange { deadline: None, at_once: false, connecting: false, sent: false }) };
}

/// To be said before each exchange.
pub fn begin(deadline: Instant) {
    EXCHANGE.set(Exchange { deadline: Some(deadline), at_once: false, connecting: false, sent: false });
}

/// To be said before what has come is read from a stream: it ends with WouldBlock.
pub fn begin_at_once() {
    begin(clock::instant());
    EXCHANGE.set(Exchange { at_once: true, ..EXCHANGE.get() });
}

/// Whether any of the request may have reached a server.
pub fn was_sent() -> bool {
    EXCHANGE.get().sent
}

fn set_connecting(connecting: bool) {
    EXCHANGE.set(Exchange { connecting, ..EXCHANGE.get() });
}

/// What is left of the time, or the error that there is none.
fn left() -> io::Result<Duration> {
    let deadline = EXCHANGE.get().deadline;
    let left = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(clock::instant()));
    if left.is_zero() { Err(time_is_up()) } else { Ok(left) }
}

fn time_is_up() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, TIME_IS_UP)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Names are looked up on the calling thread: ureq's own resolver would start another one.
#[derive(Debug)]
pub struct Names;

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut found = self.empty();
        let addresses = authority.to_socket_addrs()?;
        addresses.take(16).for_each(|address| found.push(address));
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

/// Makes the sockets.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// Where the descriptor of the last one is noted.
    pub last: Option<Arc<Mutex<Option<Descriptor>>>>,
}

impl Connector for Sockets {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, Error> {
        set_connecting(true);
        let socket = first_of(&details.addrs)?;
        socket.set_nodelay()?;
        if let Some(last) = &self.last {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.descriptor());
        }
        Ok(Some(Wire::new(socket, details.config)))
    }
}

/// Several addresses of one name share the time.
fn first_of(addresses: &[SocketAddr]) -> io::Result<Socket> {
    const LONGEST: Duration = Duration::from_secs(2);
    let mut last = io::ErrorKind::NotFound.into();
    for (place, address) in addresses.iter().enumerate() {
        let share = left()? / (addresses.len() - place) as u32;
        match Socket::connect(address, share.clamp(Duration::from_millis(1), LONGEST)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Stands behind the TLS handshake: what is sent from now on is of the request.
#[derive(Debug)]
pub struct Ready;

impl<In: Transport> Connector<In> for Ready {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<In>, Error> {
        set_connecting(false);
        Ok(chained)
    }
}

/// A socket.
pub struct Wire {
    socket: Socket,
    buffers: LazyBuffers,
    /// What waits to be sent: head and body of a request leave together.
    held: Vec<u8>,
    /// What the socket was told last about how long to read.
    patience: Duration,
}

/// What is held back at most.
const HELD_MOST: usize = 1 << 18;
/// What an idle connection takes without waiting.
const SURELY_FITS: usize = 8192;

impl Wire {
    fn new(socket: Socket, config: &Config) -> Wire {
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Wire { socket, buffers, held: Vec::new(), patience: Duration::ZERO }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut rest = &self.held[..];
        let mut waited = false;
        while !rest.is_empty() {
            if waited || rest.len() > SURELY_FITS {
                self.socket.set_write_timeout(left()?)?;
            }
            if self.socket.is_there() {
                let exchange = EXCHANGE.get();
                EXCHANGE.set(Exchange { sent: exchange.sent || !exchange.connecting, ..exchange });
            }
            match self.socket.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => waited = true,
                Err(error) => return Err(error),
            }
        }
        self.held.clear();
        Ok(())
    }

    /// Reads something, or nothing at the end.
    fn fill(&mut self) -> io::Result<usize> {
        if EXCHANGE.get().at_once {
            let count = self.socket.read_now(self.buffers.input_append_buf(), false)?;
            self.buffers.input_appended(count);
            return Ok(count);
        }
        loop {
            let left = left()?;
            // Told anew only where it makes a difference, which spares a system call.
            if self.patience > left || self.patience < left / 2 {
                self.socket.set_read_timeout(left)?;
                self.patience = left;
            }
            match self.socket.read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(count);
                }
                Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.held.extend_from_slice(&self.buffers.output()[..amount]);
        if self.held.len() > HELD_MOST {
            self.flush()?;
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        self.flush()?;
        Ok(self.fill()? > 0)
    }

    /// One that the server or the host has closed meanwhile, or on which something came that nobody
    /// asked for, is used no more.
    fn is_open(&mut self) -> bool {
        let nothing = self.socket.read_now(&mut [0], true);
        nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Wire({})", self.socket.descriptor().number())
    }
}
