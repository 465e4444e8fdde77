//! Where the processes of a store see who waits, and publish requests for each other: a segment of
//! shared
//! memory, which the file FILE-wait beside the database names.
//!
//! No lock depends on it. So the file may be missing, be another one than our neighbours', or hold
//! nonsense, and the segment may be out of reach (in another IPC namespace), and all that is lost is time:
//! see [`Waiters`] and [`PublicationList`]. Each process that uses the segment shares a lock on a
//! byte of the file;
//! a segment is made by a process that finds this byte unlocked.

use super::{
    beside::Beside,
    descriptors::Identity,
    paths::{identity, make_side_file, side_file},
    place::Place,
};
use crate::{
    clock, mutant,
    shared::{
        combiner::{self, PublicationList},
        wait_queue::{self, Waiters},
    },
    sys::{
        self, byte_lock,
        mark::Marked,
        segment::{Rights, Segment},
    },
};
use std::{
    fs::{self, Metadata},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

pub struct WaitFile {
    path: PathBuf,
    place: Place,
    /// None where it could not be had, and this process's waiters see each other only.
    shared: Option<Shared>,
    waiters: Arc<Waiters>,
    followed_until: Option<Instant>,
    process: u32,
}

/// What this process shares with others.
struct Shared {
    /// The file that names the segment.
    file: Identity,
    record: Record,
    /// When its inode last changed, if the record has been seen in it since then.
    seen: Option<Changed>,
    publications: Arc<PublicationList>,
}

impl Shared {
    fn is_named_by(&self, found: &Metadata) -> bool {
        let is_same = (found.dev(), found.ino()) == self.file;
        (is_same || mutant::on("wait_follow")) && self.publications.is_open()
    }

    /// Writes the record anew if others have changed the content. A file whose inode has not changed need not be
    /// opened.
    fn mend(&mut self, path: &Path, found: &Metadata) -> io::Result<()> {
        if self.seen.is_some() && self.seen == changed(found) {
            return Ok(());
        }
        let file = Beside::open_own(path, libc::O_RDWR)?;
        self.seen = changed(&file.file().metadata()?);
        if Record::read(&file) != Some(self.record) && !mutant::on("wait_mend") {
            self.seen = None;
            self.record.write(&file)?;
        }
        Ok(())
    }
}

/// When an inode changed: seconds and nanoseconds (`st_ctime`, inode(7)).
type Changed = (i64, i64);

/// None of a change so fresh that the next one could carry the same time: the kernel stamps files by a clock
/// that moves on once in 1 to 10 ms.
fn changed(found: &Metadata) -> Option<Changed> {
    const FRESH_US: i64 = 20_000;
    let age_us = clock::now_us() - (found.ctime() * 1_000_000 + found.ctime_nsec() / 1000);
    (age_us > FRESH_US).then(|| (found.ctime(), found.ctime_nsec()))
}

/// The words of the segment: its number to know it by, those who wait, the publication list. Each
/// part begins at a cache line.
const NONCE_WORD: usize = 0;
const WAITERS: Range<usize> = 8..8 + wait_queue::LENGTH;
const PUBLICATIONS: Range<usize> = {
    let begin = WAITERS.end.next_multiple_of(8);
    begin..begin + combiner::LENGTH
};
const BYTES: usize = (PUBLICATIONS.end * size_of::<u64>()).next_multiple_of(4096);

/// Bytes of the file, far behind its end: locked while the segment is looked for or made; and shared by all who use it.
const TURN: libc::off_t = 1 << 42;
const IN_USE: libc::off_t = TURN + 1;

/// How long a look at the file's name is good for.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// What the file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    /// Segments have numbers within one IPC namespace (ipc_namespaces(7)).
    namespace: u64,
    segment: i32,
    nonce: u64,
}

/// The last digit is the version of the segment's layout, and grows with each change of it. A
/// process that finds another version shares nothing with those that use it, and leaves the file to
/// them.
const MAGIC: u64 = u64::from_le_bytes(*b"dsswait2");
const RECORD: usize = 4 * size_of::<u64>();

impl Record {
    fn read(file: &Beside) -> Option<Record> {
        let mut bytes = [0; RECORD];
        file.file().read_exact_at(&mut bytes, 0).ok()?;
        let word = |index: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[index * 8 + byte]));
        let record = Record { namespace: word(1), segment: i32::try_from(word(2)).ok()?, nonce: word(3) };
        (word(0) == MAGIC).then_some(record)
    }

    fn write(&self, file: &Beside) -> io::Result<()> {
        let words = [MAGIC, self.namespace, self.segment as u64, self.nonce];
        file.file().write_all_at(&words.map(u64::to_ne_bytes).concat(), 0)
    }
}

impl WaitFile {
    pub fn open(place: &Place) -> WaitFile {
        let path = side_file(&place.path, "-wait");
        let mut file = WaitFile {
            path,
            place: place.clone(),
            shared: None,
            waiters: Arc::new(Waiters::of_process()),
            followed_until: None,
            process: std::process::id(),
        };
        // Who only opens and closes the store, or reads from it, need not make the file.
        if file.path.exists() {
            file.follow_now_and_then();
        }
        file
    }

    /// Whether the file is there and can't be used.
    pub fn is_refused(&self) -> bool {
        self.shared.is_none() && self.path.exists()
    }

    /// The host has closed descriptors: the file may have to be opened anew.
    pub fn look_again(&mut self) {
        self.followed_until = None;
    }

    pub fn waiters(&mut self) -> Arc<Waiters> {
        self.follow_now_and_then();
        self.waiters.clone()
    }

    pub fn publications(&mut self) -> Option<Arc<PublicationList>> {
        self.follow_now_and_then();
        self.shared.as_ref().map(|shared| shared.publications.clone())
    }

    fn follow_now_and_then(&mut self) {
        let now = clock::instant();
        if self.followed_until.is_none_or(|until| now >= until) {
            self.follow();
            self.followed_until = Some(now + GOOD_FOR);
        }
    }

    /// Joins those who use the file that is there now, if it is another one or the host has closed ours; and mends what
    /// others have done to its content.
    fn follow(&mut self) {
        if let Some(shared) = &mut self.shared
            && let Ok(found) = fs::symlink_metadata(&self.path)
            && shared.is_named_by(&found)
        {
            let _ = shared.mend(&self.path, &found);
        } else if let Ok((waiters, shared)) = self.join() {
            (self.waiters, self.shared) = (Arc::new(waiters), Some(shared));
        }
    }

    fn join(&self) -> io::Result<(Waiters, Shared)> {
        let store = fs::symlink_metadata(&self.place.path)?;
        make_side_file(&self.place.path, "-wait")?;
        let file = Beside::open_own(&self.path, libc::O_RDWR)?;
        let found = file.file().metadata()?;
        if !is_trusted(&found, &store) && !mutant::on("wait_stranger") {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let marked = file.descriptor().ok_or(ErrorKind::InvalidData)?.marked;
        take_turn(marked)?;
        let joined = self.attach(&file, marked, &store);
        byte_lock::unlock(marked, TURN);
        let (segment, record) = joined?;
        let segment = Arc::new(segment);
        let waiters = Waiters::shared(segment.part(WAITERS));
        let publications = Arc::new(PublicationList::open(segment.part(PUBLICATIONS), file.file(), marked.mark)?);
        let seen = changed(&found);
        Ok((waiters, Shared { file: (found.dev(), found.ino()), record, seen, publications }))
    }

    /// The segment that the file names; or a new one, if nobody uses that. In its own turn.
    fn attach(&self, file: &Beside, marked: Marked, store: &Metadata) -> io::Result<(Segment, Record)> {
        let namespace = fs::metadata("/proc/self/ns/ipc").map_or(0, |found| found.ino());
        let is_used = byte_lock::others_have(marked, IN_USE, 1)?;
        let named = Record::read(file).filter(|record| record.namespace == namespace);
        let attached = named.and_then(|record| Some((attach(&record, store).ok()?, record)));
        let (segment, record) = match attached {
            Some(found) => found,
            None if is_used => return Err(ErrorKind::NotFound.into()),
            None => make(file, namespace, store)?,
        };
        byte_lock::try_share(marked, IN_USE)?;
        Ok((segment, record))
    }

    /// Takes the file away, if nobody seems to have the store open any more: the database stands alone then. (Somebody who
    /// has just come makes it anew at the next look.) A forked child leaves its parent's alone.
    pub fn remove(&self) {
        let named = self.shared.as_ref().map(|shared| shared.file);
        if self.process == std::process::id()
            && named.is_some()
            && identity(&self.path) == named
            && identity(&side_file(&self.place.path, "-shm")).is_none()
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Others have the turn for no longer than a few calls take. One that was stopped in it is not waited for.
fn take_turn(file: Marked) -> io::Result<()> {
    for _ in 0..20 {
        if byte_lock::try_lock(file, TURN)? {
            return Ok(());
        }
        thread::sleep(Duration::from_micros(500));
    }
    Err(ErrorKind::WouldBlock.into())
}

fn attach(record: &Record, store: &Metadata) -> io::Result<Segment> {
    let by_whom = |rights: Rights| {
        let is_trusted = rights.user == store.uid() || sys::is_user(rights.user) || rights.user == 0;
        is_trusted || mutant::on("foreign_segment")
    };
    let segment = Segment::attach(record.segment, BYTES, by_whom)?;
    let segment = Arc::new(segment);
    let is_named = segment.part(0..8)[NONCE_WORD].load(Ordering::Acquire) == record.nonce;
    Arc::into_inner(segment).filter(|_| is_named).ok_or(ErrorKind::InvalidData.into())
}

fn make(file: &Beside, namespace: u64, store: &Metadata) -> io::Result<(Segment, Record)> {
    let rights = Rights { user: store.uid(), group: store.gid(), mode: store.mode() & 0o666 };
    let (segment, id) = Segment::create(BYTES, rights)?;
    let segment = Arc::new(segment);
    let record = Record { namespace, segment: id, nonce: u64::from_ne_bytes(sys::random_bytes()?) };
    segment.part(0..8)[NONCE_WORD].store(record.nonce, Ordering::Release);
    record.write(file)?;
    Ok((Arc::into_inner(segment).ok_or(ErrorKind::InvalidData)?, record))
}

/// A stranger's file could lead us to a stranger's memory.
fn is_trusted(found: &Metadata, store: &Metadata) -> bool {
    let by_owner = found.uid() == store.uid() || sys::is_user(found.uid()) || found.uid() == 0;
    let by_group = found.gid() == store.gid() && found.mode() & 0o002 == 0;
    let open_to_others = found.mode() & !store.mode() & 0o022 != 0;
    found.is_file() && found.nlink() == 1 && (by_owner || by_group) && !open_to_others
}

#[cfg(test)]
mod tests;
