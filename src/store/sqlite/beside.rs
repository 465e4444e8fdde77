//! Files that we open ourselves, beside those that SQLite opens.

use super::{
    descriptors::Descriptor,
    system_calls::{close_file, close_own},
};
use crate::sys::{self, inherited};
use std::{ffi::c_int, fs::File, io, mem::ManuallyDrop, os::fd::AsRawFd, path::Path};

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
        let file = sys::open(path, flags | libc::O_NOFOLLOW)?;
        let descriptor = match Descriptor::of(file.as_raw_fd()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
            marked => Some(marked?),
        };
        Ok(Beside { file: ManuallyDrop::new(file), host_may_lock: true, descriptor, noted: None })
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
        if self.noted.is_some_and(|noted| !inherited::is_ours(noted)) {
            return;
        }
        match &self.descriptor {
            Some(file) if self.host_may_lock => drop(close_file(*file)),
            Some(file) => drop(close_own(file)),
            // SAFETY: the file is dropped here alone, and once.
            None => unsafe { ManuallyDrop::drop(&mut self.file) },
        }
    }
}
