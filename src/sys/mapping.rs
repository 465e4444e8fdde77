//! A file as memory that processes share.

use super::signals;
use std::{
    fs::File,
    io,
    ops::Deref,
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    slice,
    sync::atomic::AtomicU64,
};

/// Some words of a file. It goes on when the file is closed or removed.
pub struct Mapping {
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: all access is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// So many bytes from a place on that a page begins at. Makes the file that long first if it is shorter, with room on the
    /// disk, since a write to memory can't fail.
    pub fn of(file: &File, begin: usize, bytes: usize) -> io::Result<Mapping> {
        let length = begin + bytes;
        if file.metadata()?.len() < length as u64 {
            // SAFETY: takes a descriptor and numbers.
            match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length as libc::off_t) } {
                0 => {}
                errno => {
                    if errno == libc::EFBIG {
                        signals::raised();
                    }
                    return Err(io::Error::from_raw_os_error(errno));
                }
            }
        }
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: the kernel chooses the place; the file is at least as long.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, file.as_raw_fd(), begin as libc::off_t) };
        match NonNull::new(address.cast()) {
            Some(words) if address != libc::MAP_FAILED => Ok(Mapping { words, count: bytes / size_of::<AtomicU64>() }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Deref for Mapping {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: mapped until the drop, on a page's boundary, and every pattern of bits is an integer. Other processes
        // change it atomically too. (Who cuts the file short ends its users, as with SQLite's -shm.)
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length, and no reference outlives it.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}
