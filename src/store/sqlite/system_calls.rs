//! The two system calls of SQLite's "unix" VFS that guarantees rest on.
//!
//! `fcntl`: POSIX locks belong to the process, and any close(2) of the file by anyone in it drops
//! them all: a second SQLite, a second copy of this library, or a host that only copies the file
//! would make two holders of one lock. Open-file-description locks (fcntl(2)) belong to the file as
//! SQLite opened it.
//!
//! `close`: our close(2) would drop the POSIX locks that the host's own SQLite holds on the same
//! file. A file that the process holds such locks on is put aside and closed later.

use crate::{
    mutant,
    store::sqlite::descriptors::{self, Descriptor, Identity},
    sys::{self, byte_lock},
};
use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    fs::File,
    io::{self, Read},
    os::fd::RawFd,
    sync::{Mutex, PoisonError},
};

thread_local! {
    /// The database that SQLite works on in this thread.
    static DATABASE: Cell<Option<Identity>> = const { Cell::new(None) };
    /// What fcntl was called on last.
    static SEEN: Cell<Option<RawFd>> = const { Cell::new(None) };
}

/// Lets SQLite call the system for the files of this database.
pub fn within<T>(database: Option<Identity>, body: impl FnOnce() -> T) -> T {
    let outer = DATABASE.replace(database);
    let result = body();
    DATABASE.set(outer);
    result
}

/// The descriptor on which SQLite calls fcntl(2) in the body, which is the only way to learn it.
pub fn seen_in(body: impl FnOnce() -> c_int) -> Option<RawFd> {
    SEEN.set(None);
    body();
    SEEN.take()
}

fn find(fd: RawFd) -> Option<Descriptor> {
    DATABASE.get().and_then(|database| descriptors::find(database, fd))
}

/// fcntl(2) for SQLite.
///
/// SQLite calls it through a variadic type. On the Linux ABIs that this library is built for, the
/// first arguments of a variadic call travel in the same registers as those of a plain one.
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    SEEN.set(Some(fd));
    let known = find(fd);
    let command = match command {
        libc::F_SETLK | libc::F_SETLKW | libc::F_GETLK if mutant::on("posix_locks") => command,
        libc::F_SETLK => libc::F_OFD_SETLK,
        libc::F_SETLKW => libc::F_OFD_SETLKW,
        libc::F_GETLK => libc::F_OFD_GETLK,
        _ if known.is_some_and(|file| !file.is_ours()) => return bad_descriptor(),
        // SAFETY: as SQLite called it.
        other => return unsafe { libc::fcntl(fd, other, argument) },
    };
    // SAFETY: with these commands SQLite's argument points to its own struct flock, which nobody else uses meanwhile.
    let lock = unsafe { &mut *argument.cast::<libc::flock>() };
    let mut relative = known.map_or(*lock, |file| file.marked.mark.relative(lock));
    // The kernel wants it so.
    relative.l_pid = 0;
    // SAFETY: the argument is what the command wants.
    let result = unsafe { libc::fcntl(fd, command, &mut relative) };
    if result == -1 {
        let errno = errno();
        let is_refused = matches!(errno, libc::EINVAL | libc::EBADF);
        if is_refused && known.is_some_and(|file| !file.is_ours()) {
            return bad_descriptor();
        }
        sys::set_errno(errno);
    } else if matches!(command, libc::F_OFD_GETLK | libc::F_GETLK) {
        (lock.l_type, lock.l_pid) = (relative.l_type, relative.l_pid);
    }
    result
}

fn bad_descriptor() -> c_int {
    sys::set_errno(libc::EBADF);
    -1
}

pub fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Files that wait for the end of the host's own locks on them.
static PUT_ASIDE: Mutex<Vec<Descriptor>> = Mutex::new(Vec::new());

pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    match DATABASE.get().and_then(|database| descriptors::leave(database, fd)) {
        Some(file) => close_file(file),
        // SAFETY: SQLite's, and given up by that.
        None => unsafe { libc::close(fd) },
    }
}

/// Closes a file that the host may have locks on, unless the host has closed it: then the number may
/// be another file's.
pub fn close_file(file: Descriptor) -> c_int {
    let mut aside = PUT_ASIDE.lock().unwrap_or_else(PoisonError::into_inner);
    aside.retain(|file| {
        let wait = host_has_locks(file);
        if !wait {
            close_own(file);
        }
        wait
    });
    if host_has_locks(&file) {
        byte_lock::unlock_all(file.marked);
        aside.push(file);
        return 0;
    }
    close_own(&file)
}

/// The same for a file that only libdss uses.
pub fn close_own(file: &Descriptor) -> c_int {
    if !file.is_ours() {
        return 0;
    }
    // SAFETY: ours, and given up by its owner.
    unsafe { libc::close(file.fd()) }
}

/// Whether this process holds POSIX locks on the file, which are not ours, since we have none of
/// that kind.
fn host_has_locks(file: &Descriptor) -> bool {
    if !file.is_ours() || mutant::on("close_drops") {
        return false;
    }
    // Most files are locked by nobody else, and that is told at once. But it tells one lock only, perhaps another process's.
    if byte_lock::others_have_any(file.fd()).is_ok_and(|any| !any) {
        return false;
    }
    let (inode, process) = (file.identity.1.to_string(), std::process::id().to_string());
    // The kernel gives the list piece by piece, and a lock that another process gives up in between can hide its
    // neighbour: so pieces are large, and a "no" is asked for twice.
    (0..2).any(|_| all_locks().lines().any(|line| is_posix_lock(line, &process, &inode)))
}

fn all_locks() -> String {
    let mut locks = String::with_capacity(1 << 16);
    // Without /proc nothing can be known, and files are closed as anyone would close them.
    let _ = File::open("/proc/locks").and_then(|mut list| list.read_to_string(&mut locks));
    locks
}

/// A line of /proc/locks (proc(5)): `1: POSIX  ADVISORY  WRITE 708 08:01:1234 0 EOF`. The device is
/// not compared: some file systems show another number than stat(2), and to close a file later than
/// needed does no harm.
fn is_posix_lock(line: &str, process: &str, inode: &str) -> bool {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.len() == 8 && words[1] == "POSIX" && words[4] == process && words[5].rsplit(':').next() == Some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_lines_are_read() {
        let line = "12: POSIX  ADVISORY  WRITE 708 fe:00:1234 1073741825 1073741825";
        assert!(is_posix_lock(line, "708", "1234"));
        assert!(!is_posix_lock(line, "709", "1234"));
        assert!(!is_posix_lock(line, "708", "234"));
        assert!(!is_posix_lock("1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF", "-1", "1234"));
        assert!(!is_posix_lock("1: -> POSIX  ADVISORY  WRITE 708 fe:00:1234 0 EOF", "708", "1234"));
    }
}
