//! Where a SQLite store's file is, and everything that must hold about it before and while SQLite uses it.

use super::{
    header::{self, Header},
    network,
    paths::{PathText, at, side_file},
};
use crate::{
    model::error::{Code, Error},
    mutant,
    store::contract::no_store,
    sys::{self, Pin},
};
use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

/// The longest path: SQLite's own limit (MAX_PATHNAME in os_unix.c), less what `-journal` needs.
const PATH_MAX: usize = 512 - 9;
/// The longest name within a folder, with the same room.
const NAME_MAX: usize = 255 - 8;

/// The file of a store: its full path, and the identity that the path must keep.
#[derive(Clone, Debug)]
pub struct Place {
    pub path: PathBuf,
    pub device: u64,
    pub inode: u64,
    /// As long as it is open, no other file can get the inode's number.
    _pin: Arc<Pin>,
}

impl Place {
    /// Finds the file, makes it empty with this mode if there is none, and refuses what could not be used safely.
    /// What is refused is left untouched.
    pub fn find(asked: &Path, mode: u32) -> Result<Place, Error> {
        Place::find_or(asked, |path, folder| create(path, folder, mode))
    }

    /// The same for a store that is there: nothing is made. A file whose making is under way, or
    /// was cut off, is none.
    pub fn find_finished(asked: &Path) -> Result<Place, Error> {
        let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        if fs::metadata(asked).is_err_and(is_missing) {
            return Err(no_store(&asked.shown()));
        }
        let place = Place::find_or(asked, |path, _| Err(no_store(&path.shown())))?;
        match header::look(&place.path).map_err(|error| at(&place.path, "can't be read", &error))? {
            Header::Unfinished => Err(no_store(&place.path.shown())),
            _ => Ok(place),
        }
    }

    fn find_or(asked: &Path, create: impl FnOnce(&Path, &Path) -> Result<(), Error>) -> Result<Place, Error> {
        let path = resolve(asked).map_err(|error| at(asked, "can't be found", &error))?;
        let name = path.file_name().map_or(0, OsStr::len);
        if path.as_os_str().len() > PATH_MAX || name > NAME_MAX {
            let text = format!(
                "the full path of {} is longer than {PATH_MAX} bytes, or its last part than {NAME_MAX}: use a shorter one",
                asked.shown()
            );
            return Err(Error::new(Code::TooLong, text));
        }
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        network::refuse(&folder)?;
        if !path.exists() {
            create(&path, &folder)?;
        }
        let pin = Pin::of(&path).map_err(|error| at(&path, "can't be looked at", &error))?;
        let found = pin.metadata().map_err(|error| at(&path, "can't be looked at", &error))?;
        let place = Place { device: found.dev(), inode: found.ino(), path, _pin: Arc::new(pin) };
        place.admit(&found, &folder)?;
        Ok(place)
    }

    fn admit(&self, found: &Metadata, folder: &Path) -> Result<(), Error> {
        if !found.is_file() {
            let text = format!("{} is not a file: a dss store is an ordinary file", self.path.shown());
            return Err(Error::new(Code::NotAStore, text));
        }
        refuse_second_name(&self.path, found)?;
        self.refuse_mount()?;
        sys::check_writable(&self.path).map_err(|error| at(&self.path, "can't be read and written", &error))?;
        // SQLite keeps the files -wal and -shm beside the database.
        sys::check_writable(folder).map_err(|error| at(&self.path, "needs a folder that can be written", &error))?;
        match header::look(&self.path).map_err(|error| at(&self.path, "can't be read", &error))? {
            Header::Unfinished | Header::Ours => Ok(()),
            Header::Newer(version) => Err(super::schema::too_new(&self.path, version)),
            Header::Foreign(_) if mutant::on("foreign_file") => Ok(()),
            Header::Foreign(what) => {
                let text = format!(
                    "{} is not a dss store, or is damaged ({what}): it was left untouched; give another path, or \
                     restore the file",
                    self.path.shown()
                );
                Err(Error::new(Code::NotAStore, text))
            }
        }
    }

    /// Whether the path still names this very file, and no other name does.
    pub fn check(&self) -> Result<(), Error> {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.moved(&self.path),
            Err(error) => return Err(at(&self.path, "can't be looked at", &error).after_init()),
        };
        if (found.dev(), found.ino()) != (self.device, self.inode) {
            return self.moved(&self.path);
        }
        refuse_second_name(&self.path, &found)
    }

    /// What is said when this file, or one that belongs to it, is not there any more.
    pub fn moved(&self, gone: &Path) -> Result<(), Error> {
        if mutant::on("moved") {
            return Ok(());
        }
        let text = format!(
            "{} was moved, replaced or removed while it was open: close the handle and open it again; locks taken in \
             the former file are not in the new one",
            gone.shown()
        );
        Err(Error::new(Code::Moved, text))
    }

    /// A file that is itself a mount point has its side files under another name elsewhere.
    fn refuse_mount(&self) -> Result<(), Error> {
        let mounted = sys::is_mount_root(&self.path).map_err(|error| at(&self.path, "can't be looked at", &error))?;
        if !mounted || mutant::on("mount_root") {
            return Ok(());
        }
        let text = format!(
            "{} is a bind mount of a single file, so the file has a second name that libdss can't see: mount its folder \
             instead",
            self.path.shown()
        );
        Err(Error::new(Code::SecondName, text))
    }
}

/// Two names of one file have two sets of side files, and SQLite would grant each lock twice.
fn refuse_second_name(path: &Path, found: &Metadata) -> Result<(), Error> {
    if found.nlink() <= 1 || mutant::on("hard_link") {
        return Ok(());
    }
    let text = format!(
        "{} has {} names (hard links): programs that use different names would each get the same lock; remove the other \
         names",
        path.shown(),
        found.nlink()
    );
    Err(Error::new(Code::SecondName, text))
}

/// Makes an empty file. Side files that lie about under its name are those of a former file that was moved or removed:
/// they go first, or SQLite would read them as the new one's. The folder's lock (flock(2)) sees to it that nobody takes
/// away those of a file that another process has just made.
fn create(path: &Path, folder: &Path, mode: u32) -> Result<(), Error> {
    sys::check_writable(folder).map_err(|error| at(path, "can't be created in its folder", &error))?;
    let lock = File::open(folder).and_then(lock_patiently);
    let stale =
        ["-wal", "-shm", "-journal"].map(|suffix| side_file(path, suffix)).map(|side| (version_of(&side), side));
    if lock.is_ok() && !path.exists() {
        for (before, side) in stale {
            // Only what was there before the file was missed. What can't be removed is SQLite's to complain of.
            if before.is_some() && before == version_of(&side) {
                let _ = fs::remove_file(side);
            }
        }
    }
    sys::make_file(path, mode, None).map(drop).map_err(|error| at(path, "can't be created", &error))
}

/// What tells a file also from a later one that got the same number.
fn version_of(path: &Path) -> Option<(u64, i64, i64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.ino(), found.ctime(), found.ctime_nsec()))
}

/// Others hold the lock for no longer than `create` takes. Who keeps a folder locked for other reasons is not waited for.
fn lock_patiently(folder: File) -> io::Result<File> {
    for _ in 0..100 {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// The full path, free of symbolic links, also where the file does not exist yet.
fn resolve(asked: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(asked) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere is no name for a new file. (A file may have come to be since.)
            if fs::symlink_metadata(asked).is_ok_and(|found| found.is_symlink()) {
                return Err(error);
            }
            let name = asked.file_name().ok_or(error)?;
            let folder = asked.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if asked.as_os_str().as_bytes().ends_with(b"/") {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(fs::canonicalize(folder)?.join(name))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use temp_dir::TempDir;

    #[test]
    fn paths_are_resolved_before_the_file_exists() {
        let folder = TempDir::new().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        std::os::unix::fs::symlink(real.join("nowhere"), real.join("dangling")).unwrap();
        assert_eq!(resolve(&real.join("link/x.db")).unwrap(), real.join("x.db"));
        assert!(resolve(&real.join("missing/x.db")).is_err());
        assert!(resolve(&real.join("dangling")).is_err());
        assert!(resolve(&real.join("new/")).is_err());
    }

    #[test]
    fn a_second_name_is_refused_while_it_exists() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db");
        let place = Place::find(&path, 0o600).unwrap();
        fs::hard_link(&path, folder.path().join("y.db")).unwrap();
        assert_eq!(place.check().unwrap_err().code, Code::SecondName);
        assert_eq!(Place::find(&path, 0o600).unwrap_err().code, Code::SecondName);
        fs::remove_file(folder.path().join("y.db")).unwrap();
        assert!(place.check().is_ok());
        fs::rename(&path, folder.path().join("z.db")).unwrap();
        assert_eq!(place.check().unwrap_err().code, Code::Moved);
    }
}
