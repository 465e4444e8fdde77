//! The process between this command and the one that it runs. It is forked before anything else, and uses nothing of the library.

use super::{
    output,
    process::{self, Descendants, Shared, Signals},
};
use std::{
    ffi::{OsStr, OsString},
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, net::UnixStream, process::ExitStatusExt},
    },
    process::{Child, Command, ExitStatus},
    time::Duration,
};

/// The watcher, as the process that holds the locks sees it.
pub struct Watcher {
    pub socket: UnixStream,
}

/// What it is told. Each has a length, so that it comes whole.
pub enum Order {
    /// Starts the command.
    Go { variables: Vec<(&'static str, Vec<u8>)> },
    /// The shared memory has news.
    Look,
}

impl Watcher {
    pub fn start(shared: &Shared, command: &[OsString]) -> io::Result<Watcher> {
        let (ours, theirs) = UnixStream::pair()?;
        if process::fork()? {
            return Ok(Watcher { socket: ours });
        }
        drop(ours);
        let code = watch(shared, command, theirs).unwrap_or_else(|error| {
            output::say(&format!("the command can't be watched: {error}"));
            super::FAILED
        });
        std::process::exit(code.into());
    }

    pub fn tell(&mut self, order: &Order) -> io::Result<()> {
        let mut bytes = Vec::new();
        if let Order::Go { variables } = order {
            for (name, value) in variables {
                bytes.extend_from_slice(name.as_bytes());
                bytes.push(b'=');
                bytes.extend_from_slice(value);
                bytes.push(0);
            }
        }
        let mut message = (bytes.len() as u32).to_ne_bytes().to_vec();
        message.append(&mut bytes);
        match self.socket.write_all(&message) {
            // It has ended just now, and has said how.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    }

    /// The exit code of the command; None if the watcher is gone without a word.
    pub fn ended(&mut self) -> Option<u8> {
        let mut code = [0];
        self.socket.read_exact(&mut code).ok()?;
        Some(code[0])
    }
}

fn read_order(socket: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = vec![0; u32::from_ne_bytes(length) as usize];
    socket.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

// ---- In the watcher ----

/// What happened to the command, as far as this has done it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Runs,
    Asked,
    Killed,
}

fn watch(shared: &Shared, command: &[OsString], mut socket: UnixStream) -> io::Result<u8> {
    let signals = Signals::of_children()?;
    process::adopt_orphans()?;
    // Nothing was granted: there is nothing to run.
    let Some(variables) = read_order(&mut socket)? else { return Ok(0) };
    let code = match start(command, &variables) {
        Ok(child) => {
            shared.set_child(child.id());
            watch_child(shared, child, &signals, &mut socket)?
        }
        Err(error) => {
            output::say(&format!("{}: {error}", command[0].display()));
            if error.kind() == ErrorKind::NotFound { 127 } else { 126 }
        }
    };
    // If nobody is there to hear it, it is as good.
    let _ = socket.write_all(&[code]);
    Ok(code)
}

fn start(command: &[OsString], variables: &[u8]) -> io::Result<Child> {
    let mut new = Command::new(&command[0]);
    new.args(&command[1..]);
    for variable in variables.split(|byte| *byte == 0) {
        if let Some(end) = variable.iter().position(|byte| *byte == b'=') {
            new.env(OsStr::from_bytes(&variable[..end]), OsStr::from_bytes(&variable[end + 1..]));
        }
    }
    process::end_with_parent(&mut new);
    new.spawn()
}

fn watch_child(shared: &Shared, mut child: Child, signals: &Signals, socket: &mut UnixStream) -> io::Result<u8> {
    let (mut stage, mut holder_is_gone) = (Stage::Runs, false);
    loop {
        if let Some(status) = child.try_wait()? {
            if stage != Stage::Runs {
                Descendants::kill_all();
            }
            return Ok(code_of(status));
        }
        // The end of a socket whose other end is gone is always ready.
        let fds = [signals.as_fd(), socket.as_fd()];
        let count = if holder_is_gone { 1 } else { 2 };
        let ready = process::wait(&fds[..count], shared.until_something_is_due(stage == Stage::Runs))?;
        if ready[0] {
            signals.next()?;
            process::reap_orphans(child.id());
        }
        holder_is_gone |= ready.get(1) == Some(&true) && read_order(socket)?.is_none();
        if holder_is_gone {
            // Nobody renews the locks. (Again at each turn: what is to be killed may have started something meanwhile.)
            Descendants::kill_all();
            stage = Stage::Killed;
        }
        stage = stop_in_time(shared, stage);
    }
}

/// Stops the command when its locks are lost, or about to be.
fn stop_in_time(shared: &Shared, stage: Stage) -> Stage {
    if shared.must_be_dead() && stage < Stage::Killed {
        shared.note_stopped();
        Descendants::kill_all();
        return Stage::Killed;
    }
    if shared.should_end() && stage < Stage::Asked {
        shared.note_stopped();
        Descendants::of_this_process().signal(libc::SIGTERM);
        return Stage::Asked;
    }
    stage
}

fn code_of(status: ExitStatus) -> u8 {
    let signal = status.signal().unwrap_or(0);
    status.code().unwrap_or(128 + signal).clamp(0, 255) as u8
}

/// Where nothing is due.
pub const IDLE: Duration = Duration::from_millis(1000);
