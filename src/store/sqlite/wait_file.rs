//! The file in which the processes of a store see who waits, and leave requests for each other: FILE-wait, beside the database.
//!
//! No lock depends on it. So it may be missing, or be another one than our neighbours', and all that is lost is time: see
//! [`Waiters`] and [`Desks`].

use super::{
    place::{Identity, Place, identity, side_file},
    vfs::Beside,
};
use crate::{
    clock, mutant,
    store::{
        desks::Desks,
        waiters::{self, Waiters},
    },
    sys::{self, mapping::Mapping},
};
use std::{
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, fchown},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

pub struct WaitFile {
    path: PathBuf,
    place: Place,
    /// The file that is mapped; None where it could not be had, and this process's waiters see each other only.
    mapped: Option<Identity>,
    waiters: Arc<Waiters>,
    desks: Option<Arc<Desks>>,
    followed_until: Option<Instant>,
    process: u32,
}

/// Where the desks begin, behind those who wait: on a page's boundary, however large pages are.
const FIRST_DESK: usize = 1 << 17;
const _: () = assert!(waiters::LENGTH <= FIRST_DESK);

/// How long a look at the file's name is good for.
const GOOD_FOR: Duration = Duration::from_millis(100);

impl WaitFile {
    pub fn open(place: &Place) -> WaitFile {
        let path = side_file(&place.path, "-wait");
        let waiters = Arc::new(Waiters::of_process());
        let mut file = WaitFile {
            path,
            place: place.clone(),
            mapped: None,
            waiters,
            desks: None,
            followed_until: None,
            process: std::process::id(),
        };
        // Who only opens and closes the store, or reads from it, need not make the file.
        if file.path.exists() {
            file.follow();
        }
        file
    }

    /// Whether the file is there and can't be used.
    pub fn is_refused(&self) -> bool {
        self.mapped.is_none() && self.path.exists()
    }

    pub fn waiters(&mut self) -> Arc<Waiters> {
        self.follow_now_and_then();
        self.waiters.clone()
    }

    pub fn desks(&mut self) -> Option<Arc<Desks>> {
        self.follow_now_and_then();
        self.desks.clone()
    }

    fn follow_now_and_then(&mut self) {
        let now = clock::instant();
        if self.followed_until.is_none_or(|until| now >= until) {
            self.follow();
            self.followed_until = Some(now + GOOD_FOR);
        }
    }

    /// Maps the file that is there now, if it is another one: it was removed perhaps, and others made it anew.
    fn follow(&mut self) {
        if self.mapped.is_some() && (identity(&self.path) == self.mapped || mutant::on("wait_follow")) {
            return;
        }
        if let Ok((waiters, desks, identity)) = self.map() {
            (self.waiters, self.desks, self.mapped) = (Arc::new(waiters), Some(Arc::new(desks)), Some(identity));
        }
    }

    fn map(&self) -> io::Result<(Waiters, Desks, Identity)> {
        let store = fs::symlink_metadata(&self.place.path)?;
        let made = identity(&self.path).is_none() && sys::make_file(&self.path, store.mode() & 0o666)?;
        let beside = Beside::open(&self.path, libc::O_RDWR)?;
        if made {
            // It belongs to whom the store belongs to, as SQLite's side files do, where we may give it away.
            let _ = fchown(beside.file(), Some(store.uid()), Some(store.gid()))
                .or_else(|_| fchown(beside.file(), None, Some(store.gid())));
        }
        let found = beside.file().metadata()?;
        if !is_trusted(&found, &store) && !mutant::on("wait_stranger") {
            return Err(ErrorKind::PermissionDenied.into());
        }
        // The last part first, so that the file gets its whole length.
        let desks = Desks::open(beside.file(), FIRST_DESK).inspect_err(|_| {
            // The disk has no room for it.
            if made {
                let _ = fs::remove_file(&self.path);
            }
        })?;
        let mapping = Mapping::of(beside.file(), 0, waiters::LENGTH)?;
        let waiters = Waiters::shared(mapping).ok_or(ErrorKind::InvalidData)?;
        Ok((waiters, desks, (found.dev(), found.ino())))
    }

    /// Takes the file away, if nobody seems to have the store open any more: the database stands alone then. (Somebody who
    /// has just come makes it anew at the next look.) A forked child leaves its parent's alone.
    pub fn remove(&self) {
        if self.process == std::process::id()
            && self.mapped.is_some()
            && identity(&self.path) == self.mapped
            && identity(&side_file(&self.place.path, "-shm")).is_none()
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A stranger who could cut the file short would end our process, as one could who is let at SQLite's -shm.
fn is_trusted(found: &Metadata, store: &Metadata) -> bool {
    let by_owner = found.uid() == store.uid() || sys::is_user(found.uid()) || found.uid() == 0;
    let by_group = found.gid() == store.gid() && found.mode() & 0o002 == 0;
    let open_to_others = found.mode() & !store.mode() & 0o022 != 0;
    found.is_file() && found.nlink() == 1 && (by_owner || by_group) && !open_to_others
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};

    fn found(folder: &Path) -> Place {
        Place::find(&folder.join("x.db"), 0o640).unwrap()
    }

    fn followed(place: &Place) -> WaitFile {
        let mut file = WaitFile::open(place);
        file.waiters();
        file
    }

    #[test]
    fn two_of_a_store_share_it_and_follow_its_removal() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (WaitFile::open(&found(folder.path())), WaitFile::open(&found(folder.path())));
        assert!(one.mapped.is_none() && !one.path.exists());
        one.waiters();
        other.waiters();
        assert!(one.mapped.is_some() && one.mapped == other.mapped);
        assert_eq!(fs::metadata(&one.path).unwrap().mode() & 0o777, 0o640);
        fs::remove_file(&one.path).unwrap();
        other.follow();
        one.follow();
        assert!(one.mapped.is_some() && one.mapped == other.mapped && identity(&one.path) == one.mapped);
        one.remove();
        assert!(!other.path.exists());
    }

    /// In a folder that all may write to, a stranger's file under this name is not mapped: cut short, it would end us.
    #[test]
    fn a_file_that_others_could_cut_short_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = found(folder.path());
        let path = side_file(&place.path, "-wait");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert_eq!(followed(&place).mapped, None);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("x.db"), &path).unwrap();
        assert_eq!(followed(&place).mapped, None);
    }
}
