//! What the standard library does not have.

use std::{
    ffi::OsString,
    fs, mem,
    os::unix::ffi::OsStringExt,
    sync::atomic::{AtomicBool, Ordering},
};

/// As other commands do: who writes to a pipe that nobody reads ends without a word.
pub fn let_broken_pipes_end_us() {
    // SAFETY: no handler is set, only the default action.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

pub fn user_number() -> u32 {
    // SAFETY: the call has no conditions.
    unsafe { libc::getuid() }
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

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// From now on SIGINT, SIGTERM and SIGHUP end a wait for a lock, and not the process: so no lock is left that nobody knows of.
pub fn note_interruptions() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
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
