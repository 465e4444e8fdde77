//! SQLite's writes into the log, with fewer system calls.
//!
//! A frame of the log is a header of 24 bytes and a page behind it (sqlite.org/fileformat2.html, "The Write-Ahead Log"), and
//! SQLite writes the two one by one. While writes are joined ([`begin`] to [`end`]), a header is held back until the page
//! comes, and both are written in one call. Whatever comes instead is done after the header.

use crate::sys::signals;
use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    io,
};

const HEADER: usize = 24;

/// A header that has not been written yet.
#[derive(Clone, Copy)]
struct HeldBack {
    fd: c_int,
    bytes: [u8; HEADER],
    offset: libc::off_t,
}

thread_local! {
    static JOINING: Cell<bool> = const { Cell::new(false) };
    static HELD_BACK: Cell<Option<HeldBack>> = const { Cell::new(None) };
}

pub fn begin() {
    JOINING.set(true);
}

/// Of a transaction that broke off between the two, a header of no frame is left.
pub fn end() {
    JOINING.set(false);
    if let Some(held) = HELD_BACK.take() {
        // SAFETY: the header is ours.
        unsafe { libc::pwrite(held.fd, held.bytes.as_ptr().cast(), HEADER, held.offset) };
    }
}

/// pwrite(2) for SQLite. It notes when a limit of file sizes was hit, since the kernel sends a signal then.
pub unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: usize, offset: libc::off_t) -> isize {
    // SAFETY: as SQLite called it.
    let written = unsafe { joined(fd, bytes, count, offset) };
    if written < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFBIG) {
        signals::raised();
    }
    written
}

unsafe fn joined(fd: c_int, bytes: *const c_void, count: usize, offset: libc::off_t) -> isize {
    if let Some(held) = HELD_BACK.take() {
        if held.fd == fd && held.offset + HEADER as libc::off_t == offset {
            // SAFETY: as SQLite called it.
            return unsafe { write_frame(&held, bytes, count) };
        }
        // SAFETY: the header is ours.
        let written = unsafe { libc::pwrite(held.fd, held.bytes.as_ptr().cast(), HEADER, held.offset) };
        if written != HEADER as isize {
            return -1;
        }
    }
    if count == HEADER && JOINING.get() {
        let mut held = HeldBack { fd, bytes: [0; HEADER], offset };
        // SAFETY: SQLite gives as many bytes as it says.
        unsafe { held.bytes.as_mut_ptr().copy_from_nonoverlapping(bytes.cast(), HEADER) };
        HELD_BACK.set(Some(held));
        return HEADER as isize;
    }
    // SAFETY: as SQLite called it.
    unsafe { libc::pwrite(fd, bytes, count, offset) }
}

/// Both parts in one call. SQLite hears how much of the page was written, and goes on behind that.
unsafe fn write_frame(held: &HeldBack, bytes: *const c_void, count: usize) -> isize {
    let header = libc::iovec { iov_base: held.bytes.as_ptr().cast_mut().cast(), iov_len: HEADER };
    let page = libc::iovec { iov_base: bytes.cast_mut(), iov_len: count };
    // SAFETY: both parts are as long as said, and are only read.
    let written = unsafe { libc::pwritev(held.fd, [header, page].as_ptr(), 2, held.offset) };
    if (0..HEADER as isize).contains(&written) {
        // Not even the header: there is no more room. SQLite takes 0 bytes for a full disk.
        return 0;
    }
    if written < 0 { written } else { written - HEADER as isize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::fd::AsRawFd};

    fn write(file: &fs::File, bytes: &[u8], offset: libc::off_t) -> isize {
        // SAFETY: the bytes are as many as said.
        unsafe { pwrite(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) }
    }

    #[test]
    fn joined_writes_leave_what_single_writes_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        begin();
        assert_eq!(write(file.as_file(), &[1; HEADER], 32), HEADER as isize);
        assert_eq!(fs::metadata(file.path()).unwrap().len(), 0);
        assert_eq!(write(file.as_file(), &[2; 100], 32 + HEADER as libc::off_t), 100);
        assert_eq!(write(file.as_file(), &[3; HEADER], 156), HEADER as isize);
        assert_eq!(write(file.as_file(), &[4; 8], 0), 8);
        assert_eq!(write(file.as_file(), &[5; HEADER], 180), HEADER as isize);
        end();
        let bytes = fs::read(file.path()).unwrap();
        let expected =
            [vec![4; 8], vec![0; 24], vec![1; HEADER], vec![2; 100], vec![3; HEADER], vec![5; HEADER]].concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_full_disk_is_told() {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        begin();
        assert_eq!(write(&full, &[1; HEADER], 0), HEADER as isize);
        assert_eq!(write(&full, &[2; 100], HEADER as libc::off_t), -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSPC));
        end();
    }
}
