//! Locks on single bytes of a file, of the kind that belongs to an open file description: the kernel gives one up when its
//! last descriptor is closed, however its process ends.

use super::mark::Marked;
use std::{ffi::c_int, io, mem, os::fd::RawFd};

fn byte_of(kind: c_int, byte: libc::off_t) -> libc::flock {
    span_of(kind, byte, 1)
}

fn span_of(kind: c_int, start: libc::off_t, length: libc::off_t) -> libc::flock {
    // SAFETY: zeroed memory is a valid flock.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (kind as libc::c_short, start, length);
    lock
}

/// False if another opener of the file has it.
pub fn try_lock(file: Marked, byte: libc::off_t) -> io::Result<bool> {
    try_set(file, byte_of(libc::F_WRLCK, byte))
}

/// The same, for a lock that any number of openers may have together.
pub fn try_share(file: Marked, byte: libc::off_t) -> io::Result<bool> {
    try_set(file, byte_of(libc::F_RDLCK, byte))
}

/// Gives it up.
pub fn unlock(file: Marked, byte: libc::off_t) {
    // It can't fail but on a file that is no longer ours, which has no such lock.
    let _ = try_set(file, byte_of(libc::F_UNLCK, byte));
}

/// Gives up all locks on the file.
pub fn unlock_all(file: Marked) {
    // A length of 0 reaches to the end of the file.
    let _ = try_set(file, span_of(libc::F_UNLCK, 0, 0));
}

fn try_set(file: Marked, lock: libc::flock) -> io::Result<bool> {
    let mut lock = file.mark.relative(&lock);
    // SAFETY: the argument is what the command wants.
    if unsafe { libc::fcntl(file.fd, libc::F_OFD_SETLK, &mut lock) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        error => Err(error),
    }
}

/// Whether another opener of the file has it.
pub fn is_locked(file: Marked, byte: libc::off_t) -> bool {
    others_have(file, byte, 1).unwrap_or(false)
}

/// Whether another opener of the file has a lock on any of so many bytes.
pub fn others_have(file: Marked, start: libc::off_t, length: libc::off_t) -> io::Result<bool> {
    let lock = file.mark.relative(&span_of(libc::F_WRLCK, start, length));
    meets(file.fd, lock).map_err(io::Error::from_raw_os_error)
}

/// Whether anybody but this open file description has any lock on the file, of this kind or a process's own (POSIX).
pub fn others_have_any(fd: RawFd) -> io::Result<bool> {
    meets(fd, span_of(libc::F_WRLCK, 0, 0)).map_err(io::Error::from_raw_os_error)
}

/// Whether another's lock stands against this one; or the system's errno.
fn meets(fd: RawFd, mut lock: libc::flock) -> Result<bool, i32> {
    // SAFETY: the argument is what the command wants; a bad descriptor is an error.
    match unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::file_of_test, *};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_byte_has_one_holder() {
        let open = file_of_test();
        let (first, second) = (open(), open());
        let [one, other] = [&first, &second].map(|file| Marked::of(file.as_raw_fd()).unwrap());
        assert!(try_lock(one, 7).unwrap() && !try_lock(other, 7).unwrap() && try_lock(other, 8).unwrap());
        assert!(is_locked(other, 7) && !is_locked(one, 7));
        assert!(others_have(other, 0, 8).unwrap() && !others_have(other, 0, 7).unwrap());
        assert!(others_have_any(one.fd).unwrap() && others_have_any(other.fd).unwrap());
        drop(first);
        assert!(!others_have_any(other.fd).unwrap());
        assert!(!is_locked(other, 7) && try_lock(other, 7).unwrap());
    }

    #[test]
    fn a_shared_byte_has_many() {
        let open = file_of_test();
        let (first, second) = (open(), open());
        let [one, other] = [&first, &second].map(|file| Marked::of(file.as_raw_fd()).unwrap());
        assert!(try_share(one, 7).unwrap() && try_share(other, 7).unwrap() && !try_lock(one, 7).unwrap());
    }
}
