//! Tells whether a descriptor still is the open file description that the library made under this
//! number: a host may close every descriptor that it does not know (closefrom(3)) and then open files
//! of its own under the same numbers.
//!
//! The mark is the file offset, which belongs to the description (open(2)) and which pread(2) and
//! pwrite(2) leave alone: a random offset far behind the end of every file. lseek(2) reads it, at half
//! the price of fstat(2), and also tells our description from another one of the same file, which has
//! none of our locks. A lock that is given relative to the offset (SEEK_CUR) needs no check before it:
//! on any other description its start would be negative, and the kernel refuses it.

use super::random_bytes;
use crate::mutant;
use std::{io, os::fd::RawFd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(libc::off_t);

/// Where marks begin: as far behind every file as the file system's largest offset lets them. (ext4
/// ends at 2^44 with blocks of 4 KiB and at 2^34 with block maps of 1 KiB, FAT at 2^32.)
const BEGINS: [u32; 4] = [61, 43, 33, 31];

impl Mark {
    /// Puts a mark on a regular file that was just opened.
    pub fn put_on(fd: RawFd) -> io::Result<Mark> {
        let random = u64::from_ne_bytes(random_bytes()?);
        let mut failure = io::ErrorKind::InvalidInput.into();
        for bits in BEGINS {
            let begin: libc::off_t = 1 << bits;
            let mark = Mark(begin + (random % (begin as u64 / 2)) as libc::off_t);
            // SAFETY: takes numbers.
            if unsafe { libc::lseek(fd, mark.0, libc::SEEK_SET) } == mark.0 {
                return Ok(mark);
            }
            failure = io::Error::last_os_error();
        }
        Err(failure)
    }

    /// For a table of numbers: not 0.
    pub fn number(self) -> i64 {
        self.0
    }

    /// What [`Self::number`] gave; None for 0.
    pub fn of_number(number: i64) -> Option<Mark> {
        (number != 0).then_some(Mark(number))
    }

    pub fn is_on(self, fd: RawFd) -> bool {
        // SAFETY: takes numbers, and moves nothing.
        mutant::on("foreign_descriptor") || unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) } == self.0
    }

    /// A lock on the same bytes, given relative to the mark.
    pub fn relative(self, lock: &libc::flock) -> libc::flock {
        if mutant::on("foreign_descriptor") {
            return *lock;
        }
        let mut relative = *lock;
        relative.l_whence = libc::SEEK_CUR as libc::c_short;
        relative.l_start = lock.l_start - self.0;
        relative
    }
}

/// A descriptor and the mark of the file that was opened under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marked {
    pub fd: RawFd,
    pub mark: Mark,
}

impl Marked {
    /// Marks a regular file that was just opened.
    pub fn of(fd: RawFd) -> io::Result<Marked> {
        Ok(Marked { fd, mark: Mark::put_on(fd)? })
    }

    pub fn is_ours(self) -> bool {
        self.mark.is_on(self.fd)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::file_of_test, *};
    use std::{fs::File, os::fd::AsRawFd};

    #[test]
    fn a_mark_is_on_one_description_alone() {
        let open = file_of_test();
        let (one, other) = (open(), open());
        let mark = Mark::put_on(one.as_raw_fd()).unwrap();
        let (copy, pipe) = (one.try_clone().unwrap(), io::pipe().unwrap());
        assert!(mark.is_on(one.as_raw_fd()) && mark.is_on(copy.as_raw_fd()));
        assert!(!mark.is_on(other.as_raw_fd()) && !mark.is_on(pipe.0.as_raw_fd()) && !mark.is_on(-1));
        assert_ne!(Mark::put_on(other.as_raw_fd()).unwrap(), mark);
    }

    fn try_lock(file: &File, lock: &mut libc::flock) -> io::Result<()> {
        // SAFETY: the argument is what the command wants.
        super::super::checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, lock) })
    }

    #[test]
    fn a_relative_lock_is_refused_on_every_other_file() {
        let open = file_of_test();
        let (one, other) = (open(), open());
        let mark = Mark::put_on(one.as_raw_fd()).unwrap();
        // SAFETY: zeroed memory is a valid flock.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as libc::c_short, 120, 1);
        let refused = try_lock(&other, &mut mark.relative(&lock)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        try_lock(&one, &mut mark.relative(&lock)).unwrap();
        let conflict = try_lock(&other, &mut lock).unwrap_err();
        assert_eq!(conflict.raw_os_error(), Some(libc::EAGAIN), "it is the byte that was meant");
    }
}
