//! inotify(7): the kernel's word when something happens to a file's names.

use super::{above_standard, c_path, checked};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd},
    path::Path,
};

/// Tells whether a file was renamed, linked, unlinked or removed, or a folder above it renamed, since it was asked last.
pub struct NameEvents(File);

impl NameEvents {
    /// Watches what the full path names now. Fails where the user has no more inotify instances, or may not read one of
    /// the folders.
    pub fn watch(path: &Path) -> io::Result<NameEvents> {
        // SAFETY: the flags are those of the call.
        let fd = above_standard(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) });
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened, and is nobody else's.
        let events = NameEvents(unsafe { File::from_raw_fd(fd) });
        let moves = libc::IN_MOVE_SELF | libc::IN_DELETE_SELF | libc::IN_DONT_FOLLOW;
        events.add(path, moves | libc::IN_ATTRIB)?;
        path.ancestors().skip(1).try_for_each(|folder| events.add(folder, moves))?;
        Ok(events)
    }

    /// Watches another file's name too.
    pub fn also(&self, path: &Path) -> io::Result<()> {
        self.add(path, libc::IN_MOVE_SELF | libc::IN_DELETE_SELF | libc::IN_DONT_FOLLOW | libc::IN_ATTRIB)
    }

    fn add(&self, path: &Path, events: u32) -> io::Result<()> {
        let path = c_path(path)?;
        // SAFETY: the path ends with NUL.
        checked(unsafe { libc::inotify_add_watch(self.0.as_raw_fd(), path.as_ptr(), events) }.min(0))
    }

    /// Whether there was an event, or none can be read any more. The kernel queues an event before the call that caused
    /// it returns, so whoever renamed the file and goes on is seen.
    pub fn any(&self) -> bool {
        // Room for one event, the largest (inotify(7)); what it says does not matter, nor how many follow.
        let mut buffer = [0; 16 + 256];
        let read = (&self.0).read(&mut buffer);
        !read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
