//! What libdss itself looks at in SQLite's log (sqlite.org/fileformat2.html, "The Write-Ahead
//! Log").
//!
//! A log that somebody cuts short or writes over has lost acknowledged changes: until they are
//! moved into the database they are nowhere else. SQLite does not notice. It appends behind the
//! gap, and with the next recovery goes on from an older state, in which locks are free that have
//! holders. So before the first frame of a transaction is appended, the frame before it must be
//! there, and before a connection is closed, the last one. Where it is not, a text takes the place
//! of the log's header, and no process opens the store until somebody has removed the log.

use super::{
    beside::Beside,
    descriptors::Descriptor,
    paths::{PathText, side_file},
    place::Place,
    schema,
};
use crate::{
    model::error::{Code, Error},
    mutant,
};
use std::{
    cell::Cell,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
};

pub const FRAME_HEADER: usize = 24;
const LOG_HEADER: u64 = 32;
/// Each log has salts of its own. They stand in its header, and from this place on in the header of
/// each frame.
const SALTS_OF_LOG: u64 = 16;
const SALTS_OF_FRAME: usize = 8;
type Salts = [u8; 8];
const PAGE_SIZE_OF_LOG: u64 = 8;

/// As long as the log's header, in the place of which it is written.
const INVALID: &[u8; LOG_HEADER as usize] = b"libdss: acknowledged locks lost\n";

thread_local! {
    /// The next frame that this thread appends is the first one of a transaction.
    static BEGINS: Cell<bool> = const { Cell::new(false) };
}

/// To be called when a transaction has the right to write.
pub fn transaction_begins() {
    BEGINS.set(true);
}

/// What stands before a frame that is to be appended.
#[derive(PartialEq, Eq)]
pub enum Before {
    /// This thread has written it just now.
    Own,
    /// The last frame of the transaction before, or the log's header.
    Last,
    /// It is not there, or the descriptor is another file's.
    Missing,
}

/// To be asked before a frame with this header is written at this place.
pub fn before(log: &Descriptor, frame: &[u8; FRAME_HEADER], offset: u64) -> io::Result<Before> {
    if !BEGINS.replace(false) {
        return Ok(Before::Own);
    }
    let mut salts = Salts::default();
    salts.copy_from_slice(&frame[SALTS_OF_FRAME..SALTS_OF_FRAME + size_of::<Salts>()]);
    let mut is_there = ends_with(log, offset, schema::PAGE_BYTES, salts)?;
    if !is_there
        && !mutant::on("other_page_size")
        && let Some(page_bytes) = other_page_bytes(log)?
    {
        is_there = ends_with(log, offset, page_bytes, salts)?;
    }
    Ok(if is_there || mutant::on("cut_log") { Before::Last } else { Before::Missing })
}

/// Whether the log has a frame with these salts, or its header, right before this place.
fn ends_with(log: &Descriptor, end: u64, page_bytes: usize, salts: Salts) -> io::Result<bool> {
    const LONGEST: usize = FRAME_HEADER + schema::PAGE_BYTES;
    let length = if end == LOG_HEADER {
        (LOG_HEADER - SALTS_OF_LOG) as usize
    } else {
        FRAME_HEADER - SALTS_OF_FRAME + page_bytes
    };
    let Some(begin) = end.checked_sub(length as u64) else { return Ok(false) };
    let (mut short, mut long) = ([0; LONGEST], Vec::new());
    let found = match short.get_mut(..length) {
        Some(found) => found,
        None => {
            long.resize(length, 0);
            &mut long[..]
        }
    };
    Ok(log.read_at(found, begin)? && found.starts_with(&salts))
}

/// The size of a page, as the log's header says, where it is not the usual one.
fn other_page_bytes(log: &Descriptor) -> io::Result<Option<usize>> {
    let mut bytes = [0; 4];
    let is_read = log.read_at(&mut bytes, PAGE_SIZE_OF_LOG)?;
    let size = u32::from_be_bytes(bytes) as usize;
    let is_other = size != schema::PAGE_BYTES && size.is_power_of_two() && (512..=65536).contains(&size);
    Ok((is_read && is_other).then_some(size))
}

/// What the index says of the log (sqlite.org/walformat.html, "The WAL-Index Header"): twice the
/// same, and then how many frames are in the database as well.
struct Index([u8; 2 * Index::HEADER + 4]);

impl Index {
    const HEADER: usize = 48;

    fn read(index: &Descriptor) -> Option<Index> {
        let mut bytes = [0; 2 * Index::HEADER + 4];
        let is_read = index.read_at(&mut bytes, 0).unwrap_or(false);
        // While it is changed the two are not the same.
        (is_read && bytes[..Index::HEADER] == bytes[Index::HEADER..2 * Index::HEADER]).then_some(Index(bytes))
    }

    fn number(&self, place: usize) -> u32 {
        u32::from_ne_bytes(std::array::from_fn(|byte| self.0[place + byte]))
    }

    fn is_made(&self) -> bool {
        self.0[12] != 0
    }

    fn page_bytes(&self) -> usize {
        match u16::from_ne_bytes([self.0[14], self.0[15]]) {
            1 => 65536,
            size => size.into(),
        }
    }

    fn frames(&self) -> u32 {
        self.number(16)
    }

    fn salts(&self) -> Salts {
        std::array::from_fn(|byte| self.0[32 + byte])
    }

    fn frames_in_database(&self) -> u32 {
        self.number(2 * Index::HEADER)
    }

    /// Where the last frame ends.
    fn end_of_log(&self) -> u64 {
        LOG_HEADER + u64::from(self.frames()) * (FRAME_HEADER + self.page_bytes()) as u64
    }
}

/// Whether the last frame that the index knows of is in the log, as far as that can be told.
pub fn is_whole(log: &Descriptor, index: &Descriptor) -> bool {
    /// Others may append meanwhile, or begin the log anew.
    const LOOKS: u32 = 100;
    for _ in 0..LOOKS {
        let before = (log.is_ours() && index.is_ours()).then(|| Index::read(index)).flatten();
        let Some(before) = before.filter(Index::is_made) else { return true };
        if before.frames() <= before.frames_in_database()
            || ends_with(log, before.end_of_log(), before.page_bytes(), before.salts()).unwrap_or(true)
        {
            return true;
        }
        if Index::read(index).is_some_and(|after| after.0 == before.0) {
            return mutant::on("cut_log_at_close");
        }
    }
    true
}

/// Writes into the log that it has lost what was in it: no process opens the store from then on.
pub fn invalidate(log: &Descriptor) {
    // As far as the system lets it.
    let _ = log.write_at(INVALID, 0).and_then(|()| log.flush());
}

/// Fails if the log has been invalidated.
pub fn refuse_invalid(place: &Place) -> Result<(), Error> {
    let path = side_file(&place.path, "-wal");
    let mut head = [0; INVALID.len()];
    let read = Beside::open_own(&path, libc::O_RDONLY).and_then(|file| file.file().read_exact_at(&mut head, 0));
    match read {
        Ok(()) if head == *INVALID && !mutant::on("cut_log_mark") => Err(lost(&place.path.shown())),
        Err(error) if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::UnexpectedEof => {
            Err(super::paths::at(&path, "can't be read", &error))
        }
        _ => Ok(()),
    }
}

pub fn lost(path: &str) -> Error {
    let text = format!(
        "{path}-wal was cut short or overwritten while processes had the store open, and acknowledged locks are lost: stop all \
         programs that use it, see who works on what, then remove {path}-wal to go on from an older state"
    );
    Error::new(Code::NotAStore, text)
}
