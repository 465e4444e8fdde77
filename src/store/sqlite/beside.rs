//! Files that we open ourselves, beside those that SQLite opens.

use super::{
    descriptors::{self, Descriptor},
    vfs::{close_ours, open_file, our_close},
};
use crate::sys::inherited;
use std::{
    ffi::{CString, c_int},
    fs::File,
    io,
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// A file that we open beside SQLite, as it would. Closing it takes away no lock that the host's own SQLite has on it.
pub struct Beside {
    file: ManuallyDrop<File>,
    /// Whether the host's own SQLite may have locks on it.
    host_may_lock: bool,
    descriptor: Option<Descriptor>,
    /// A forked child closes it before anything else, if it is noted.
    noted: Option<inherited::Serial>,
}

impl Beside {
    pub fn open(path: &Path, flags: c_int) -> io::Result<Beside> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path ends with NUL.
        let fd = unsafe { open_file(path.as_ptr(), flags | libc::O_NOFOLLOW, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
        Ok(Beside { file, host_may_lock: true, descriptor: descriptors::entered(fd), noted: None })
    }

    /// The same for a file that only libdss uses. It is closed without a look for the host's locks, which costs
    /// the more the more locks the system's processes hold.
    pub fn open_own(path: &Path, flags: c_int) -> io::Result<Beside> {
        let mut file = Beside::open(path, flags)?;
        file.host_may_lock = false;
        Ok(file)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// To be asked before each use of a file that stays open while calls end.
    pub fn is_ours(&self) -> bool {
        self.descriptor.is_none_or(|descriptor| descriptor.is_ours())
    }

    /// None of what is no regular file.
    pub fn descriptor(&self) -> Option<Descriptor> {
        self.descriptor
    }

    /// For one that stays open while calls end and processes fork.
    pub fn keep(mut self) -> Beside {
        self.noted = Some(inherited::note(self.file.as_raw_fd()));
        self
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let fd = self.file.as_raw_fd();
        if self.noted.is_none_or(inherited::is_ours) {
            // The file is dropped here alone, so the descriptor is closed once.
            if self.host_may_lock {
                // SAFETY: as said above.
                unsafe { our_close(fd) };
            } else {
                close_ours(fd);
            }
        } else {
            descriptors::leave(fd);
        }
    }
}
