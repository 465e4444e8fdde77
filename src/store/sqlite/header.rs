//! A look at the first bytes of a file before SQLite may open it.
//!
//! SQLite finishes whatever it finds half done when it opens a file: a foreign database would be changed by that.

use super::{beside::Beside, paths::side_file, schema};
use crate::mutant;
use std::{fs, io, os::unix::fs::FileExt, path::Path};

/// What the file is.
#[derive(PartialEq, Eq, Debug)]
pub enum Header {
    /// Empty, or a store whose making is under way, or was cut off.
    Unfinished,
    Ours,
    /// Ours, written by a newer version of the library.
    Newer(u32),
    Foreign(&'static str),
}

/// The parts of SQLite's header that matter here (sqlite.org/fileformat2.html, "The Database Header").
const LENGTH: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const PAGE_SIZE: usize = 16;
const WRITE_VERSION: usize = 18;
const READ_VERSION: usize = 19;
const WAL: u8 = 2;
const PAGES: usize = 28;
const USER_VERSION: usize = 60;
const APPLICATION_ID: usize = 68;
/// How a rollback journal begins (the same page, "The Rollback Journal").
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

pub fn look(path: &Path) -> io::Result<Header> {
    let head = read_head(path)?;
    Ok(match classify(&head) {
        Header::Ours if is_cut_short(path, &head)? => Header::Foreign("its end is missing"),
        // The power failed while the file was being made: its journal takes SQLite back to the empty file.
        Header::Foreign(_) if head.iter().all(|byte| *byte == 0) && has_journal(path) => Header::Unfinished,
        header => header,
    })
}

fn classify(head: &[u8]) -> Header {
    if head.is_empty() {
        return Header::Unfinished;
    }
    if !head.starts_with(MAGIC) {
        return Header::Foreign("it has no SQLite header");
    }
    if head.len() < LENGTH {
        return Header::Foreign("it is cut short");
    }
    let number = |place: usize| u32::from_be_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]]);
    match (number(APPLICATION_ID), number(USER_VERSION)) {
        (schema::APPLICATION_ID, version) if version > schema::VERSION => Header::Newer(version),
        (schema::APPLICATION_ID, _) if head[WRITE_VERSION..=READ_VERSION] != [WAL, WAL] => Header::Unfinished,
        (schema::APPLICATION_ID, _) => Header::Ours,
        _ => Header::Foreign("it is the SQLite database of another program"),
    }
}

/// SQLite fills a page whose end is missing with zeros, and may not notice. Pages that the header counts may still be in
/// the log alone, so this is asked of a file without one. (Looked at in this order, a file that others work with is well:
/// its log goes after its pages have come.)
fn is_cut_short(path: &Path, head: &[u8]) -> io::Result<bool> {
    let pages = u64::from(u32::from_be_bytes([head[PAGES], head[PAGES + 1], head[PAGES + 2], head[PAGES + 3]]));
    let page_size = match u64::from(u16::from_be_bytes([head[PAGE_SIZE], head[PAGE_SIZE + 1]])) {
        1 => 65536,
        size => size,
    };
    let has_log = fs::metadata(side_file(path, "-wal")).is_ok_and(|found| found.len() > 0);
    let length = fs::metadata(path)?.len();
    Ok(!has_log
        && !mutant::on("cut_database")
        && (length < pages * page_size || page_size == 0 || length % page_size != 0))
}

fn has_journal(path: &Path) -> bool {
    read_head(&side_file(path, "-journal")).is_ok_and(|head| head.starts_with(&JOURNAL_MAGIC))
}

fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    let (mut head, mut length) = (vec![0; LENGTH], 0);
    let file = Beside::open(path, libc::O_RDONLY)?;
    while length < LENGTH {
        match file.file().read_at(&mut head[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(length);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temp_dir::TempDir;

    fn head(application: u32, version: u32) -> Vec<u8> {
        let mut head = vec![0; LENGTH];
        head[..16].copy_from_slice(MAGIC);
        head[WRITE_VERSION..=READ_VERSION].fill(WAL);
        head[USER_VERSION..][..4].copy_from_slice(&version.to_be_bytes());
        head[APPLICATION_ID..][..4].copy_from_slice(&application.to_be_bytes());
        head
    }

    #[test]
    fn files_are_told_apart() {
        assert_eq!(classify(b""), Header::Unfinished);
        assert_eq!(classify(&head(schema::APPLICATION_ID, schema::VERSION)), Header::Ours);
        let mut not_yet_wal = head(schema::APPLICATION_ID, schema::VERSION);
        not_yet_wal[READ_VERSION] = 1;
        assert_eq!(classify(&not_yet_wal), Header::Unfinished);
        assert_eq!(classify(&head(schema::APPLICATION_ID, 99)), Header::Newer(99));
        assert!(matches!(classify(&head(0, 0)), Header::Foreign(_)));
        assert!(matches!(classify(&head(schema::APPLICATION_ID, 1)[..99]), Header::Foreign(_)));
        assert!(matches!(classify(b"just text"), Header::Foreign(_)));
    }

    #[test]
    fn a_file_whose_making_was_cut_off_is_empty_if_its_journal_is_there() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db");
        std::fs::write(&path, [0; 8192]).unwrap();
        assert!(matches!(look(&path).unwrap(), Header::Foreign(_)));
        std::fs::write(folder.path().join("x.db-journal"), JOURNAL_MAGIC).unwrap();
        assert_eq!(look(&path).unwrap(), Header::Unfinished);
    }
}
