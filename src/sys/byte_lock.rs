//! Locks on single bytes of a file, of the kind that belongs to an open file description: the kernel gives one up when its
//! last descriptor is closed, however its process ends.

use std::{
    ffi::c_int,
    fs::File,
    io, mem,
    os::fd::{AsRawFd, RawFd},
};

fn byte_of(kind: c_int, byte: libc::off_t) -> libc::flock {
    // SAFETY: zeroed memory is a valid flock.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (kind as libc::c_short, byte, 1);
    lock
}

/// False if another opener of the file has it.
pub fn try_lock(file: &File, byte: libc::off_t) -> io::Result<bool> {
    let mut lock = byte_of(libc::F_WRLCK, byte);
    // SAFETY: the argument is what the command wants.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &mut lock) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        error => Err(error),
    }
}

/// Whether another opener of the file has it.
pub fn is_locked(file: &File, byte: libc::off_t) -> bool {
    meets(file.as_raw_fd(), byte_of(libc::F_WRLCK, byte)) == Ok(true)
}

/// Whether anybody but this open file description has any lock on the file, of this kind or a process's own (POSIX).
pub fn others_have_any(fd: RawFd) -> io::Result<bool> {
    let mut whole = byte_of(libc::F_WRLCK, 0);
    whole.l_len = 0;
    meets(fd, whole).map_err(io::Error::from_raw_os_error)
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
    use super::*;

    #[test]
    fn a_byte_has_one_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, other) = (file.reopen().unwrap(), file.reopen().unwrap());
        assert!(try_lock(&one, 7).unwrap() && !try_lock(&other, 7).unwrap() && try_lock(&other, 8).unwrap());
        assert!(is_locked(&other, 7) && !is_locked(&one, 7));
        assert!(others_have_any(one.as_raw_fd()).unwrap() && others_have_any(other.as_raw_fd()).unwrap());
        drop(one);
        assert!(!others_have_any(other.as_raw_fd()).unwrap());
        assert!(!is_locked(&other, 7) && try_lock(&other, 7).unwrap());
    }
}
