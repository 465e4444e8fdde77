//! Paths of a store's files, and what they name now.

use super::descriptors::Identity;
use crate::{
    model::error::{Code, Error, Shown},
    sys,
};
use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Which file the path names; None if there is none, or it can't be looked at.
pub fn identity(path: &Path) -> Option<Identity> {
    look(path).ok().flatten()
}

/// The same, where a file that is not there has to be told from one that can't be looked at.
pub fn look(path: &Path) -> io::Result<Option<Identity>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file that SQLite keeps beside the database under this suffix.
pub fn side_file(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes such a file if it is not there, for those who may use the database.
pub fn make_side_file(database: &Path, suffix: &str) -> io::Result<()> {
    let path = side_file(database, suffix);
    if look(&path)?.is_none() {
        let found = fs::symlink_metadata(database)?;
        sys::make_file(&path, found.mode() & 0o666, Some(&found))?;
    }
    Ok(())
}

/// A path as part of a text.
pub trait PathText {
    fn shown(&self) -> String;
}

impl PathText for Path {
    fn shown(&self) -> String {
        Shown(self.as_os_str().as_bytes()).to_string()
    }
}

/// What the system said about a path when a store was to be opened.
pub fn at(path: &Path, what: &str, error: &io::Error) -> Error {
    let code = match error.raw_os_error() {
        Some(errno) => Code::of_errno(errno),
        None if error.kind() == io::ErrorKind::NotFound => Code::Missing,
        None => Code::Invalid,
    };
    let cure = match code {
        Code::Denied => "; run as a user who may, or choose another path",
        Code::Missing => "; make the folder first, or choose another path",
        Code::ReadOnly => "; choose a path on a file system that can be written",
        Code::NoSpace | Code::Quota => "; make room first",
        _ => "",
    };
    Error::new(code, format!("{} {what}: {error}{cure}", path.shown()))
}
