//! Memory that processes share and that no file stands behind (shmget(2)): nobody can cut it short, and
//! no file system runs out of room for it, so a write to it never ends the process with SIGBUS. The
//! kernel frees it with the last process that has it, however that ends.

use super::checked;
use std::{
    io,
    mem::MaybeUninit,
    ops::{Deref, Range},
    ptr::{self, NonNull},
    slice,
    sync::{Arc, atomic::AtomicU64},
};

/// Whom a segment is for: as a file's owner, group and mode.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    pub user: u32,
    pub group: u32,
    pub mode: u32,
}

pub struct Segment {
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: all access is atomic.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes a segment of so many bytes, all of them 0, and gives its number, by which others attach it.
    pub fn create(bytes: usize, rights: Rights) -> io::Result<(Segment, i32)> {
        // SAFETY: takes numbers.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, bytes, (rights.mode & 0o666) as libc::c_int) };
        checked(id.min(0))?;
        let segment = Segment::map(id, bytes);
        let _ = give(id, rights);
        // Nothing of it is left when the last process detaches it. Linux lets others attach it until then.
        // SAFETY: the command takes nothing more.
        unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
        Ok((segment?, id))
    }

    /// The segment of that number, if it has the size and is one that `is_trusted` accepts.
    pub fn attach(id: i32, bytes: usize, is_trusted: impl FnOnce(Rights) -> bool) -> io::Result<Segment> {
        let found = status(id)?;
        let (user, group) = (found.shm_perm.uid, found.shm_perm.gid);
        let rights = Rights { user, group, mode: found.shm_perm.mode.into() };
        if found.shm_segsz != bytes || !is_trusted(rights) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Segment::map(id, bytes)
    }

    fn map(id: i32, bytes: usize) -> io::Result<Segment> {
        // SAFETY: the kernel chooses the place.
        let address = unsafe { libc::shmat(id, ptr::null(), 0) };
        match NonNull::new(address.cast()) {
            Some(words) if address.addr() != usize::MAX => Ok(Segment { words, count: bytes / size_of::<AtomicU64>() }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Some words of it.
    pub fn part(self: &Arc<Self>, words: Range<usize>) -> Part {
        assert!(words.start <= words.end && words.end <= self.count);
        // SAFETY: the words are within the segment, as was just made sure.
        let first = unsafe { self.words.add(words.start) };
        Part { _segment: self.clone(), first, count: words.len() }
    }
}

fn status(id: i32) -> io::Result<libc::shmid_ds> {
    let mut found = MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: the command fills the struct.
    checked(unsafe { libc::shmctl(id, libc::IPC_STAT, found.as_mut_ptr()) })?;
    // SAFETY: zeroed memory is a valid shmid_ds, and the call succeeded.
    Ok(unsafe { found.assume_init() })
}

fn give(id: i32, rights: Rights) -> io::Result<()> {
    let mut found = status(id)?;
    (found.shm_perm.uid, found.shm_perm.gid) = (rights.user, rights.group);
    // SAFETY: the command reads the struct.
    checked(unsafe { libc::shmctl(id, libc::IPC_SET, &mut found) })
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: attached by `map`, and no reference outlives it.
        unsafe { libc::shmdt(self.words.as_ptr().cast()) };
    }
}

/// Some words of a segment, which stays as long as any part of it does.
#[derive(Clone)]
pub struct Part {
    _segment: Arc<Segment>,
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: all access is atomic, and the segment stays with the part.
unsafe impl Send for Part {}
// SAFETY: as above.
unsafe impl Sync for Part {}

impl Deref for Part {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: attached for as long as the part lives, aligned as words are, and every pattern of bits is an
        // integer. Other processes change it atomically too.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

/// Memory for a test of one process.
#[cfg(test)]
pub fn of_test(words: usize) -> Part {
    // SAFETY: have no preconditions.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let (segment, _) = Segment::create(words * size_of::<u64>(), Rights { user, group, mode: 0o600 }).unwrap();
    Arc::new(segment).part(0..words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_segment_is_shared_until_the_last_one_leaves_it() {
        // SAFETY: have no preconditions.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let (one, id) = Segment::create(8192, Rights { user, group, mode: 0o640 }).unwrap();
        let other = Segment::attach(id, 8192, |rights| rights.user == user && rights.mode & 0o777 == 0o640).unwrap();
        assert!(Segment::attach(id, 4096, |_| true).is_err() && Segment::attach(id, 8192, |_| false).is_err());
        let parts = [Arc::new(one).part(8..16), Arc::new(other).part(8..1024)];
        parts[0][3].store(7, Ordering::Relaxed);
        assert_eq!((parts[0].len(), parts[1].len(), parts[1][3].load(Ordering::Relaxed)), (8, 1016, 7));
        drop(parts);
        assert!(Segment::attach(id, 8192, |_| true).is_err());
    }
}
