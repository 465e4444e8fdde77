//! The store that `dss_init` opens: that of `$DSS_URI`, else of `/etc/dss/uri`, else a file of the
//! effective user.

use crate::{
    model::{
        error::{Code, Error, Shown},
        uri::{MODE_DEFAULT, Target, Uri},
    },
    mutant, sys,
};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Metadata, Permissions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// The site's one store for all users: the first line that is neither empty nor a comment.
pub const SITE_FILE: &str = "/etc/dss/uri";
const SITE_FILE_MAX: u64 = 65536;

/// Where the choice of the store comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `$DSS_URI`
    Environment,
    /// [`SITE_FILE`]
    Site,
    /// Neither exists: the file of the effective user.
    User,
}

/// The store, and where the choice comes from. Makes nothing.
pub fn choose() -> Result<(Uri, Origin), Error> {
    if let Some(text) = sys::environment(c"DSS_URI") {
        let uri = Uri::parse(text.as_bytes()).map_err(|error| of("$DSS_URI", error))?;
        return Ok((uri, Origin::Environment));
    }
    if let Some(uri) = of_site()? {
        return Ok((uri, Origin::Site));
    }
    let (base, _) = user_base()?;
    Ok((Uri::file(base.join("dss/dss.db"), MODE_DEFAULT), Origin::User))
}

/// The store to open or make: also makes the folder of the user's own file.
pub fn choose_and_prepare() -> Result<Uri, Error> {
    let (uri, origin) = choose()?;
    if origin == Origin::User {
        make_user_folder()?;
    }
    Ok(uri)
}

/// Names the source of a connection string in front of the error.
fn of(place: &str, error: Error) -> Error {
    Error::new(error.code, format!("{place}: {}", error.text))
}

/// None only if there is no such file: any other failure to read it must not lead to another store.
fn of_site() -> Result<Option<Uri>, Error> {
    let Some(file) = open_site_file()? else { return Ok(None) };
    let found = file.metadata().map_err(|error| unreadable(&error))?;
    check_site_file(&found)?;
    let mut content = Vec::new();
    file.take(SITE_FILE_MAX + 1).read_to_end(&mut content).map_err(|error| unreadable(&error))?;
    if content.len() as u64 > SITE_FILE_MAX {
        return Err(invalid(format!("{SITE_FILE} is longer than {SITE_FILE_MAX} bytes: it needs one line")));
    }
    let (number, line) = first_line(&content)?;
    parse_site_line(line).map(Some).map_err(|error| of(&format!("{SITE_FILE}, line {number}"), error))
}

fn open_site_file() -> Result<Option<File>, Error> {
    let leads_nowhere = |path: &Path| path.is_symlink() && !path.exists();
    match sys::open_for_reading(Path::new(SITE_FILE)) {
        Ok(file) => Ok(Some(file)),
        Err(_) if mutant::on("site_error") => Ok(None),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(&error)),
        Err(_) if Path::new(SITE_FILE).ancestors().any(leads_nowhere) => {
            let text = format!("{SITE_FILE} is a symbolic link that leads to no file: repair or remove it");
            Err(Error::new(Code::Missing, text))
        }
        Err(_) => Ok(None),
    }
}

fn unreadable(error: &io::Error) -> Error {
    let code = error.raw_os_error().map_or(Code::Io, Code::of_errno);
    let cure = match code {
        Code::Denied => ": let all users read it (chmod a+r; its folder a+rx), or set DSS_URI",
        Code::TooManyFiles => ": close files first, or raise the limit",
        _ => "",
    };
    Error::new(code, format!("{SITE_FILE} can't be read: {error}{cure}"))
}

/// Who can write the file decides where the locks of all users are.
fn check_site_file(found: &Metadata) -> Result<(), Error> {
    if !found.is_file() {
        return Err(invalid(format!(
            "{SITE_FILE} is not an ordinary file: make it one that holds a connection string"
        )));
    }
    let refused = |why: String| Err(Error::new(Code::NeedsFlag, format!("{SITE_FILE} {why}")));
    match (found.uid(), found.mode() & 0o7777) {
        _ if mutant::on("site_owner") => Ok(()),
        (0, mode) if mode & 0o022 == 0 => Ok(()),
        (0, mode) => refused(format!(
            "can be written by its group or by others (mode {mode:04o}), who could lead all users to another store: \
             chmod go-w {SITE_FILE}"
        )),
        (user, _) => refused(format!(
            "is owned by user {user}, who could lead all users to another store: chown root {SITE_FILE}"
        )),
    }
}

/// The line with the connection string, without the blanks around it, and its number.
fn first_line(content: &[u8]) -> Result<(usize, &[u8]), Error> {
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let mut said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"));
    match said.next() {
        Some((place, line)) => Ok((place + 1, line)),
        None => Err(invalid(format!("{SITE_FILE} holds no connection string: write one into it, or remove it"))),
    }
}

/// The file is read by all users, in whatever folder they work.
fn parse_site_line(line: &[u8]) -> Result<Uri, Error> {
    if line.contains(&0) {
        return Err(invalid("the line holds a NUL byte: write plain text"));
    }
    let uri = Uri::parse(line)?;
    match &uri.target {
        Target::Sqlite { path, .. } if !path.is_absolute() && !mutant::on("site_line") => Err(invalid(format!(
            "\"{}\" is a relative path, another file in each folder: write the full path",
            Shown(path.as_os_str().as_bytes())
        ))),
        Target::Memory { .. } if !mutant::on("site_line") => {
            Err(invalid("a memory: store is of one process alone: name one that all can share"))
        }
        _ => Ok(uri),
    }
}

fn user_base() -> Result<(PathBuf, u32), Error> {
    if sys::is_root() {
        return Ok(("/var/lib".into(), 0o755));
    }
    let full_path = |value: &OsString| Path::new(value).is_absolute();
    if let Some(state) = sys::environment(c"XDG_STATE_HOME").filter(full_path) {
        return Ok((state.into(), 0o700));
    }
    match sys::environment(c"HOME") {
        Some(home) => Ok((PathBuf::from(home).join(".local/state"), 0o700)),
        None => Err(invalid("neither DSS_URI nor HOME is set: set DSS_URI to name the store")),
    }
}

fn make_user_folder() -> Result<(), Error> {
    let (base, mode) = user_base()?;
    let folder = base.join("dss");
    make_folder(&folder, mode).map_err(|error| {
        let code = error.raw_os_error().map_or(Code::Missing, Code::of_errno);
        let shown = Shown(folder.as_os_str().as_bytes());
        Error::new(code, format!("the folder {shown} can't be made: {error}; set DSS_URI to name another place"))
    })
}

/// Makes the folder, and those above it that are missing, with this mode whatever the umask.
fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above, mode)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_says_something_counts() {
        let line = |content: &'static str| first_line(content.as_bytes()).unwrap();
        assert_eq!(line("etcd://h"), (1, &b"etcd://h"[..]));
        assert_eq!(line("# ours\r\n\r\n \t# x\r\n  sqlite:/x#y \t\r\nmemory:\n"), (4, &b"sqlite:/x#y"[..]));
        for content in ["", "\n", "# etcd://h", " \r\n\t\n#"] {
            assert_eq!(first_line(content.as_bytes()).unwrap_err().code, Code::Invalid, "{content:?}");
        }
    }

    #[test]
    fn a_line_names_one_store_for_all() {
        for line in ["sqlite:/x", "/x", "etcd://h", "postgresql://h/d", "dbname=d"] {
            assert!(parse_site_line(line.as_bytes()).is_ok(), "{line}");
        }
        for line in ["sqlite:x", "./x", "memory:", "memory:x", "foo:", "etcd", "/x\0"] {
            assert_eq!(parse_site_line(line.as_bytes()).unwrap_err().code, Code::Invalid, "{line}");
        }
    }
}
