//! Sees to it, in every transaction, that the file still is where it was found.

use super::{
    descriptors::Identity,
    files::Files,
    paths::{self, PathText, side_file},
    place::Place,
};
use crate::{
    clock,
    model::error::{Code, Error},
    sys::inotify::NameEvents,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Asks what [`Place::check`] asks, at a fifth of its price: as long as the kernel reports nothing about the file's name
/// and the folders above, the path is walked only now and then, since something may have been mounted over it.
pub struct Watch {
    place: Place,
    /// The log and its index, which SQLite has open: who finds others under their names has other locks. SQLite itself
    /// removes them only when it closes the last connection of all.
    sides: [(PathBuf, Identity); 2],
    /// None at first, and where the kernel does not tell this user: then the path is walked each time.
    events: Option<NameEvents>,
    walks: u32,
    /// The last walk found all well, and is good until then.
    good_until: Option<Instant>,
}

/// After so many walks the kernel is asked to report. Before, it does not pay: to end its reports takes it milliseconds, and
/// many programs open a store for a few calls.
const WALKS_BEFORE_EVENTS: u32 = 8;

/// How long a walk of the path is good for.
const GOOD_FOR: Duration = Duration::from_millis(100);

impl Watch {
    pub fn begin(place: &Place, files: &Files) -> Watch {
        let sides = [("-wal", &files.log), ("-shm", &files.index)];
        let sides = sides.map(|(suffix, side)| (side_file(&place.path, suffix), side.identity));
        Watch { place: place.clone(), sides, events: None, walks: 0, good_until: None }
    }

    fn ask_for_events(&self) -> io::Result<NameEvents> {
        let events = NameEvents::watch(&self.place.path)?;
        self.sides.iter().try_for_each(|(side, _)| events.also(side))?;
        Ok(events)
    }

    pub fn path(&self) -> &Path {
        &self.place.path
    }

    pub fn check(&mut self) -> Result<(), Error> {
        let quiet = match self.events.as_ref().map(NameEvents::any) {
            Some(Ok(any)) => !any,
            Some(Err(_)) => {
                (self.events, self.walks) = (None, 0);
                false
            }
            None => false,
        };
        let now = clock::instant();
        if quiet && self.good_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.good_until = None;
        self.walks = self.walks.saturating_add(1);
        if self.walks == WALKS_BEFORE_EVENTS {
            // Before the walk: what happens after it is reported.
            self.events = self.ask_for_events().ok();
        }
        self.place.check()?;
        for (side, before) in &self.sides {
            if look(side)? != Some(*before) {
                self.place.moved(side)?;
            }
        }
        self.good_until = Some(now + GOOD_FOR);
        Ok(())
    }

    pub fn index_cut_short(&self) -> Error {
        let text = format!(
            "{} was cut short while it was open: the store is opened anew with the next call",
            self.sides[1].0.shown()
        );
        Error::new(Code::Moved, text)
    }

    /// Whether the log still has its name.
    pub fn log_is_in_place(&self) -> bool {
        let (path, log) = &self.sides[0];
        look(path).is_ok_and(|found| found == Some(*log))
    }

    /// Takes another file away from the log's name.
    pub fn clear_log_name(&self) {
        if !self.log_is_in_place() {
            // Where it can't be removed, the next one to open the store says what it is.
            let _ = fs::remove_file(&self.sides[0].0);
        }
    }
}

fn look(side: &Path) -> Result<Option<Identity>, Error> {
    paths::look(side).map_err(|error| paths::at(side, "can't be looked at", &error).after_init())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::error::Code, store::sqlite::beside::Beside};
    use temp_dir::TempDir;

    /// A file with its side files, as SQLite has them.
    fn found(path: &Path) -> (Place, Files) {
        let place = Place::find(path, 0o600).unwrap();
        let [log, index] = ["-wal", "-shm"].map(|suffix| {
            fs::write(side_file(path, suffix), "").unwrap();
            Beside::open(&side_file(path, suffix), libc::O_RDWR).unwrap().descriptor().unwrap()
        });
        (place, Files { log, index })
    }

    /// One that the kernel reports to.
    fn watching((place, files): &(Place, Files)) -> Watch {
        let mut watch = Watch::begin(place, files);
        (0..WALKS_BEFORE_EVENTS).for_each(|_| watch.check().unwrap());
        watch
    }

    /// An administrator cleared away "old" -shm and -wal files; the next program to come made its own, and got locks that
    /// were held.
    #[test]
    fn a_side_file_that_goes_is_seen() {
        for suffix in ["-wal", "-shm"] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("x.db");
            let mut watch = watching(&found(&path));
            assert_eq!(code(&mut watch), None);
            let _open_as_in_sqlite = fs::File::open(side_file(&path, suffix)).unwrap();
            fs::remove_file(side_file(&path, suffix)).unwrap();
            assert_eq!((code(&mut watch), code(&mut watch)), (Some(Code::Moved), Some(Code::Moved)));
            fs::write(side_file(&path, suffix), "").unwrap();
            assert_eq!(code(&mut watch), Some(Code::Moved));
        }
    }

    fn code(watch: &mut Watch) -> Option<Code> {
        watch.check().err().map(|error| error.code)
    }

    #[test]
    fn what_happens_to_the_names_is_seen_at_once() {
        let folder = TempDir::new().unwrap();
        let (path, other) = (folder.path().join("x.db"), folder.path().join("y.db"));
        let place = found(&path);
        for walks_each_time in [false, true] {
            let mut watch = watching(&place);
            assert!(watch.events.is_some());
            if walks_each_time {
                watch.events = None;
            }
            for _ in 0..3 {
                assert_eq!(code(&mut watch), None);
                fs::hard_link(&path, &other).unwrap();
                assert_eq!((code(&mut watch), code(&mut watch)), (Some(Code::SecondName), Some(Code::SecondName)));
                fs::remove_file(&other).unwrap();
                assert_eq!(code(&mut watch), None);
                fs::rename(&path, &other).unwrap();
                assert_eq!((code(&mut watch), code(&mut watch)), (Some(Code::Moved), Some(Code::Moved)));
                fs::rename(&other, &path).unwrap();
            }
        }
    }

    #[test]
    fn a_file_in_its_place_is_seen() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db");
        let mut watch = watching(&found(&path));
        assert_eq!(code(&mut watch), None);
        fs::write(folder.path().join("new"), "").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(code(&mut watch), Some(Code::Moved));
    }

    #[test]
    fn a_renamed_folder_is_seen() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        let mut watch = watching(&found(&folder.path().join("a/x.db")));
        assert_eq!(code(&mut watch), None);
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_eq!(code(&mut watch), Some(Code::Moved));
    }
}
