//! SQLite's file locks, as open-file-description locks and with fewer system calls.
//!
//! POSIX locks belong to the process, and any close(2) of the file by anyone in it drops them all: a second SQLite, a
//! second copy of this library, or a host that only copies the file would make two holders of one lock.
//! Open-file-description locks (fcntl(2)) belong to the file as SQLite opened it.
//!
//! In WAL mode every transaction makes six of these calls, a quarter of its time where the disk is fast. Two of them are
//! the first halves of pairs, which one call can do: a read mark is locked exclusively, unlocked, and at once locked
//! shared again; and the write lock is released just before the read mark. So while a [`Joined`] stands, the unlock of one
//! of these bytes is held back until the thread's next lock call, and joined with it if the two make such a pair.

use super::{beside::Beside, descriptors};
use crate::sys::{self, byte_lock};
use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    io,
    marker::PhantomData,
    mem,
    os::fd::RawFd,
};

/// The bytes of the -shm file that SQLite locks (wal.c and os_unix.c: UNIX_SHM_BASE is 120): the lock of writers, those
/// of the checkpoint and of recovery, then the read marks.
const WRITE_LOCK: libc::off_t = 120;
const FIRST_READ_MARK: libc::off_t = 123;
const LAST_READ_MARK: libc::off_t = 127;

/// An unlock that has not been done yet.
#[derive(Clone, Copy)]
struct HeldBack {
    fd: RawFd,
    byte: libc::off_t,
}

thread_local! {
    static JOINING: Cell<bool> = const { Cell::new(false) };
    static HELD_BACK: Cell<Option<HeldBack>> = const { Cell::new(None) };
}

/// Lock calls of this thread are joined until it is dropped. It spans one transaction, at whose end nothing is held back.
pub struct Joined(PhantomData<*const ()>);

impl Joined {
    pub fn begin() -> Joined {
        JOINING.set(true);
        Joined(PhantomData)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        JOINING.set(false);
        release_held_back();
    }
}

/// fcntl(2) for SQLite.
///
/// SQLite calls it through a variadic type. On the Linux ABIs that this library is built for, the first arguments of a
/// variadic call travel in the same registers as those of a plain one.
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: *mut c_void) -> c_int {
    let command = match command {
        libc::F_SETLK => libc::F_OFD_SETLK,
        libc::F_SETLKW => libc::F_OFD_SETLKW,
        libc::F_GETLK => libc::F_OFD_GETLK,
        _ if !descriptors::is_ours(fd) => {
            sys::set_errno(libc::EBADF);
            return -1;
        }
        // SAFETY: as SQLite called it.
        other => return unsafe { libc::fcntl(fd, other, argument) },
    };
    // SAFETY: with these commands SQLite's argument points to its own struct flock, which nobody else uses meanwhile.
    let lock = unsafe { &mut *argument.cast::<libc::flock>() };
    let held = HELD_BACK.get();
    if JOINING.get() && command == libc::F_OFD_SETLK && join(fd, lock) {
        return 0;
    }
    let result = call(fd, command, lock);
    if let (-1, Some(held)) = (result, held)
        && command == libc::F_OFD_SETLK
    {
        // The two were one call, or the first is done already, which can be done twice.
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        unlock(held);
        sys::set_errno(errno);
    }
    result
}

/// The call itself, which reaches no file but the one that SQLite means.
fn call(fd: RawFd, command: c_int, lock: &mut libc::flock) -> c_int {
    let mut relative = descriptors::relative(fd, lock);
    // The kernel wants it so.
    relative.l_pid = 0;
    // SAFETY: the argument is what the command wants.
    let result = unsafe { libc::fcntl(fd, command, &mut relative) };
    if result == -1 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let is_refused = matches!(errno, libc::EINVAL | libc::EBADF);
        let is_lost = is_refused && !descriptors::is_ours(fd);
        sys::set_errno(if is_lost { libc::EBADF } else { errno });
    } else if command == libc::F_OFD_GETLK {
        (lock.l_type, lock.l_pid) = (relative.l_type, relative.l_pid);
    }
    result
}

/// Joins the call with the unlock that was held back, or holds it back itself (true). What does not fit is done first.
fn join(fd: RawFd, lock: &mut libc::flock) -> bool {
    let is_unlock = lock.l_type == libc::F_UNLCK as libc::c_short;
    let byte = lock.l_start;
    let is_read_mark = (FIRST_READ_MARK..=LAST_READ_MARK).contains(&byte) && lock.l_len == 1;
    match HELD_BACK.take() {
        // Exclusive to shared in one step; the kernel converts a lock of the same owner.
        Some(held) if held.fd == fd && held.byte == byte && !is_unlock && lock.l_len == 1 => return false,
        // Both ends of one span. What lies between, a connection that ends its transaction does not hold; the process has
        // no other connection to the file.
        Some(held) if held.fd == fd && held.byte == WRITE_LOCK && is_unlock && is_read_mark => {
            (lock.l_start, lock.l_len) = (WRITE_LOCK, byte - WRITE_LOCK + 1);
            return false;
        }
        Some(held) => unlock(held),
        None => {}
    }
    let hold_back = is_unlock && lock.l_len == 1 && (byte == WRITE_LOCK || is_read_mark);
    if hold_back {
        HELD_BACK.set(Some(HeldBack { fd, byte }));
    }
    hold_back
}

/// A byte that SQLite never locks, far behind the end of any file.
const MAKING: libc::off_t = 1 << 62;

/// Locks the right to make a store of an empty file, until the file is closed. False if another process has it.
pub fn may_make(file: &Beside) -> io::Result<bool> {
    let descriptor = file.descriptor().ok_or(io::ErrorKind::InvalidInput)?;
    byte_lock::try_lock(descriptor.marked, MAKING)
}

fn release_held_back() {
    if let Some(held) = HELD_BACK.take() {
        unlock(held);
    }
}

fn unlock(held: HeldBack) {
    release(held.fd, held.byte, 1);
}

/// Gives up whatever is locked in the span; a length of 0 reaches to the end of the file.
pub fn release(fd: RawFd, start: libc::off_t, length: libc::off_t) {
    // SAFETY: zeroed memory is a valid flock.
    let mut span: libc::flock = unsafe { mem::zeroed() };
    (span.l_type, span.l_start, span.l_len) = (libc::F_UNLCK as libc::c_short, start, length);
    call(fd, libc::F_OFD_SETLK, &mut span);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::fd::AsRawFd};

    fn opened_twice() -> (File, File) {
        let open = sys::file_of_test();
        (open(), open())
    }

    fn call(file: &File, kind: c_int, byte: libc::off_t) -> c_int {
        // SAFETY: zeroed memory is a valid flock.
        let mut lock: libc::flock = unsafe { mem::zeroed() };
        (lock.l_type, lock.l_start, lock.l_len) = (kind as libc::c_short, byte, 1);
        // SAFETY: the argument is what the command wants.
        unsafe { fcntl(file.as_raw_fd(), libc::F_SETLK, (&raw mut lock).cast()) }
    }

    /// Which kind of lock another opener of the file runs into.
    fn seen(file: &File, byte: libc::off_t) -> c_int {
        // SAFETY: zeroed memory is a valid flock; the argument is what the command wants.
        unsafe {
            let mut lock: libc::flock = mem::zeroed();
            (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as libc::c_short, byte, 1);
            assert_eq!(fcntl(file.as_raw_fd(), libc::F_GETLK, (&raw mut lock).cast()), 0);
            lock.l_type.into()
        }
    }

    /// A transaction's lock calls have the same effect joined as one by one.
    #[test]
    fn joined_calls_do_what_single_calls_do() {
        let (ours, other) = opened_twice();
        let joined = Joined::begin();
        assert_eq!(call(&ours, libc::F_WRLCK, 124), 0);
        assert_eq!(call(&ours, libc::F_UNLCK, 124), 0);
        assert_eq!(call(&ours, libc::F_RDLCK, 124), 0);
        assert_eq!(seen(&other, 124), libc::F_RDLCK);
        assert_eq!(call(&ours, libc::F_WRLCK, WRITE_LOCK), 0);
        assert_eq!(seen(&other, WRITE_LOCK), libc::F_WRLCK);
        assert_eq!(call(&ours, libc::F_UNLCK, WRITE_LOCK), 0);
        assert_eq!(call(&ours, libc::F_UNLCK, 124), 0);
        assert_eq!((seen(&other, WRITE_LOCK), seen(&other, 124)), (libc::F_UNLCK, libc::F_UNLCK));
        drop(joined);
    }

    /// The lock that should become a shared one did not, and stayed exclusive: nobody else could read until the process ended.
    #[test]
    fn what_was_held_back_is_done_where_its_partner_fails() {
        let (ours, other) = opened_twice();
        let joined = Joined::begin();
        assert_eq!(call(&ours, libc::F_WRLCK, 124), 0);
        assert_eq!(call(&ours, libc::F_UNLCK, 124), 0);
        // No lock of this kind exists.
        assert_eq!(call(&ours, 99, 124), -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(seen(&other, 124), libc::F_UNLCK);
        drop(joined);
    }

    #[test]
    fn nothing_stays_held_back() {
        let (ours, other) = opened_twice();
        let joined = Joined::begin();
        assert_eq!(call(&ours, libc::F_WRLCK, WRITE_LOCK), 0);
        assert_eq!(call(&ours, libc::F_UNLCK, WRITE_LOCK), 0);
        assert_eq!(call(&ours, libc::F_WRLCK, 126), 0);
        assert_eq!(seen(&other, WRITE_LOCK), libc::F_UNLCK, "the next call that is no partner lets it go");
        assert_eq!(call(&ours, libc::F_UNLCK, 126), 0);
        drop(joined);
        assert_eq!(seen(&other, 126), libc::F_UNLCK, "and so does the end of the transaction");
    }
}
