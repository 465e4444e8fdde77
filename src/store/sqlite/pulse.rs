//! The pulse of a SQLite store: the header of the log's index, which every commit of any process changes when it shows.

use super::{
    beside::Beside,
    paths::{identity, side_file},
    place::Place,
};
use crate::store::pulse::{Beat, Pulse};
use std::{
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    sync::atomic::{AtomicBool, Ordering},
};

/// The -shm file begins with it: its version, a counter of commits, the log's length, salts and sums (sqlite.org/walformat.html,
/// "The WAL-Index Header").
const HEADER: usize = size_of::<Beat>();

/// It is read as a file and not as memory, because SQLite cuts the file short when it is opened anew.
pub struct IndexHeader {
    file: Beside,
    /// The connection that it belongs to is closed: the file may be another one's by now.
    is_over: AtomicBool,
}

impl IndexHeader {
    /// To be called while SQLite has the file open.
    pub fn open(place: &Place) -> io::Result<IndexHeader> {
        let path = side_file(&place.path, "-shm");
        let file = Beside::open(&path, libc::O_RDONLY)?;
        let found = file.file().metadata()?;
        if identity(&path) != Some((found.dev(), found.ino())) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(IndexHeader { file: file.keep(), is_over: AtomicBool::new(false) })
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

impl Pulse for IndexHeader {
    fn beat(&self) -> Option<Beat> {
        let mut bytes = [0; HEADER];
        if !self.file.is_ours() {
            return None;
        }
        let read = self.file.file().read_exact_at(&mut bytes, 0);
        if read.is_err() || self.is_over.load(Ordering::Acquire) {
            return None;
        }
        let words = std::array::from_fn(|word| std::array::from_fn(|byte| bytes[word * 8 + byte]));
        Some(words.map(u64::from_ne_bytes))
    }
}
