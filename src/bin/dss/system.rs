//! What the standard library does not have.

use std::{
    ffi::OsString,
    fs, io, mem,
    os::{
        fd::{IntoRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    sync::atomic::{AtomicBool, Ordering},
};

/// As other commands do: who writes to a pipe that nobody reads ends without a word.
pub fn let_broken_pipes_end_us() {
    // SAFETY: no handler is set, only the default action.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// From now on a write to a broken pipe, or beyond the limit of a file's size, fails instead of
/// ending the process: a command that has changed the store must still say so, or undo it.
pub fn survive_failed_writes() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: no handler is set, only the signal is ignored.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Closes a descriptor and returns the error, which a network file system may report only here.
pub fn close(fd: OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is owned, and nobody uses it after this.
    match unsafe { libc::close(fd.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub fn user_number() -> u32 {
    // SAFETY: the call has no conditions.
    unsafe { libc::getuid() }
}

/// Whether there is a process of this number, also if /proc does not show it to us.
pub fn is_process(number: u32) -> bool {
    let Ok(number @ 1..) = i32::try_from(number) else { return false };
    // SAFETY: signal 0 is sent to nobody.
    let rc = unsafe { libc::kill(number, 0) };
    rc == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// The unit of times in /proc.
pub fn ticks_per_second() -> u64 {
    // SAFETY: the call has no conditions.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64
}

pub fn host_name() -> OsString {
    let name = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    OsString::from_vec(name.trim_ascii_end().to_vec())
}

/// How wide the terminal is, if standard output is one.
pub fn terminal_width() -> Option<usize> {
    // SAFETY: the kernel fills the struct, which is ours; where it is no terminal it leaves it alone.
    unsafe {
        let mut size: libc::winsize = mem::zeroed();
        let is_terminal = libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) == 0;
        is_terminal.then_some(if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) })
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A signal that comes just before a wait does not end it: so the alarm interrupts whatever waits
/// each second from then on.
extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
    // SAFETY: alarm(2) has no conditions and may be called in a signal handler.
    unsafe { libc::alarm(1) };
}

/// From now on SIGINT, SIGTERM, SIGHUP and SIGALRM end a wait for a lock, and not the process: so
/// no lock is left that nobody knows of.
pub fn note_interruptions() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGALRM] {
        // SAFETY: the struct is filled before it is used, and the handler does nothing but to set a flag.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

pub fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
