//! inotify(7): the kernel's word when something happens to a file's names.

use super::{above_standard, c_path, checked};
use std::{
    fs::{self, File},
    io::{self, Read},
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

/// Tells whether a file was renamed, linked, unlinked or removed, or a folder above it renamed, since it was asked last.
///
/// All descriptors of this kind have one inode, so what tells ours is the inode that it watches. The host
/// may have closed the descriptor: it is neither read nor closed before that was looked at.
pub struct NameEvents {
    file: ManuallyDrop<File>,
    watched_inode: u64,
}

impl NameEvents {
    /// Watches what the full path names now. Fails where the user has no more inotify instances, or may not read one of
    /// the folders.
    pub fn watch(path: &Path) -> io::Result<NameEvents> {
        let watched_inode = fs::symlink_metadata(path)?.ino();
        // SAFETY: the flags are those of the call.
        let fd = above_standard(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) });
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened, and is nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        let moves = libc::IN_MOVE_SELF | libc::IN_DELETE_SELF | libc::IN_DONT_FOLLOW;
        add(&file, path, moves | libc::IN_ATTRIB)?;
        path.ancestors().skip(1).try_for_each(|folder| add(&file, folder, moves))?;
        Ok(NameEvents { file: ManuallyDrop::new(file), watched_inode })
    }

    /// Watches another file's name too.
    pub fn also(&self, path: &Path) -> io::Result<()> {
        add(&self.file, path, libc::IN_MOVE_SELF | libc::IN_DELETE_SELF | libc::IN_DONT_FOLLOW | libc::IN_ATTRIB)
    }

    /// Whether there was an event; an error if the descriptor is lost. The kernel queues an event before the call that
    /// caused it returns, so whoever renamed the file and goes on is seen.
    pub fn any(&self) -> io::Result<bool> {
        let mut waiting: libc::c_int = 0;
        // SAFETY: the operation writes a number, and changes nothing, whatever file this is.
        checked(unsafe { libc::ioctl(self.file.as_raw_fd(), libc::FIONREAD, &mut waiting) }.min(0))?;
        if waiting == 0 {
            return Ok(false);
        }
        if !self.is_ours() {
            return Err(io::ErrorKind::NotFound.into());
        }
        // Room for one event, the largest (inotify(7)); what it says does not matter, nor how many follow.
        let mut buffer = [0; 16 + 256];
        Ok((&*self.file).read(&mut buffer)? > 0)
    }

    /// proc(5): a line for each watch, as `inotify wd:1 ino:9e7e sdev:800013 mask:...`. False where /proc
    /// does not tell.
    fn is_ours(&self) -> bool {
        let watch = format!(" ino:{:x} ", self.watched_inode);
        fs::read_to_string(format!("/proc/self/fdinfo/{}", self.file.as_raw_fd()))
            .is_ok_and(|info| info.lines().any(|line| line.starts_with("inotify ") && line.contains(&watch)))
    }
}

fn add(file: &File, path: &Path, events: u32) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path ends with NUL.
    checked(unsafe { libc::inotify_add_watch(file.as_raw_fd(), path.as_ptr(), events) }.min(0))
}

impl Drop for NameEvents {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: dropped here alone, and once.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}
