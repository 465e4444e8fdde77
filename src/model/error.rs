//! Errors: one table from each state of the world to its errno and its fixed text.

use std::{ffi::CStr, fmt};

/// A state of the world that a call reports. The value is the system's errno; C sees it negated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Code {
    /// The lock is held.
    Held = libc::EEXIST,
    /// There is no such lock.
    NoLock = libc::ENOLCK,
    /// The lock has another owner; from init: permission denied.
    Denied = libc::EACCES,
    /// Right owner, but the token is not the current one.
    Stale = libc::ESTALE,
    /// The wait ran out; nothing changed.
    TimedOut = libc::ETIMEDOUT,
    /// Not taken, since another id of the same call was held.
    Canceled = libc::ECANCELED,
    /// Too many lock ids in one call.
    TooMany = libc::E2BIG,
    /// Refused without its explicit flag; from init: a file that names the store is not root's alone.
    NeedsFlag = libc::EPERM,
    /// A signal handler ran while the call waited; nothing changed.
    Interrupted = libc::EINTR,
    /// The version is not the one expected; nothing changed.
    Outdated = libc::EAGAIN,
    /// No such key; from init: no such folder.
    Missing = libc::ENOENT,
    Invalid = libc::EINVAL,
    TooLong = libc::ENAMETOOLONG,
    TooLarge = libc::EFBIG,
    OutOfRange = libc::ERANGE,
    /// The handle is not open.
    NotOpen = libc::EBADF,
    /// The handle is of a process that this one was forked from, and can't be used here.
    Forked = libc::ECHILD,
    /// Others kept the store's write lock for too long; nothing changed.
    Busy = libc::EBUSY,
    /// The store can't be reached; nothing changed.
    Unreachable = libc::ENOTCONN,
    /// The SQLite file has a second name.
    SecondName = libc::EMLINK,
    /// The SQLite file was moved or removed.
    Moved = libc::EIDRM,
    /// The one error after which the change may have been applied.
    Unknown = libc::EINPROGRESS,
    Io = libc::EIO,
    NoSpace = libc::ENOSPC,
    ReadOnly = libc::EROFS,
    Quota = libc::EDQUOT,
    TooManyFiles = libc::EMFILE,
    /// The file is not a dss store, or is damaged.
    NotAStore = libc::EUCLEAN,
    /// The store was written by a newer version, or is of a kind that this library has not got.
    Unsupported = libc::EPROTONOSUPPORT,
    /// SQLite on a network file system.
    Network = libc::EREMOTE,
    NoMemory = libc::ENOMEM,
    /// A defect inside the library was contained.
    Defect = libc::ENOTRECOVERABLE,
}

impl Code {
    pub const fn errno(self) -> i32 {
        self as i32
    }

    /// What an errno of the system means when something is to be opened or made.
    pub fn of_errno(errno: i32) -> Code {
        match errno {
            libc::EACCES | libc::EPERM => Code::Denied,
            libc::ENOENT | libc::ENOTDIR | libc::ELOOP => Code::Missing,
            libc::ENOSPC => Code::NoSpace,
            libc::EDQUOT => Code::Quota,
            libc::EROFS => Code::ReadOnly,
            libc::EMFILE | libc::ENFILE => Code::TooManyFiles,
            libc::ENOMEM => Code::NoMemory,
            libc::ENAMETOOLONG => Code::TooLong,
            _ => Code::Io,
        }
    }
}

/// Why a call failed: its code, and a text that names the thing, the cause and the cure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub code: Code,
    pub text: String,
}

impl Error {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Error { code, text: text.into() }
    }
}

impl Error {
    /// After init, lost rights or a lost folder mean that the store can't be reached.
    pub fn after_init(mut self) -> Error {
        if matches!(self.code, Code::Denied | Code::Missing) {
            self.code = Code::Unreachable;
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The fixed text of each code that a call of `dss.h` may return, now or in a later release of this interface.
const TEXTS: &[(i32, &CStr)] = &[
    (0, c"success"),
    (libc::EEXIST, c"the lock is held"),
    (libc::ENOLCK, c"there is no such lock"),
    (libc::EACCES, c"the lock has another owner (from init: permission denied)"),
    (
        libc::ESTALE,
        c"the token is not the current one: the lock was lost, or another incarnation of this owner holds it",
    ),
    (libc::ETIMEDOUT, c"the wait ran out; nothing changed"),
    (libc::EINTR, c"a signal handler ran while the call waited; nothing changed"),
    (libc::EAGAIN, c"the version is not the one expected; nothing changed"),
    (libc::ENOENT, c"there is no such key (from init: no such folder or database)"),
    (libc::EINVAL, c"bad argument"),
    (libc::ENAMETOOLONG, c"a name is too long"),
    (libc::E2BIG, c"too many lock ids in one call"),
    (libc::EFBIG, c"the value is too large"),
    (libc::ERANGE, c"a number is out of its range"),
    (libc::EPERM, c"refused without its explicit flag (from init: /etc/dss/uri is not root's alone)"),
    (libc::EBADF, c"the handle is not open"),
    (libc::ECHILD, c"the handle belongs to the process that forked this one"),
    (libc::ECANCELED, c"not taken, since another id of the same call was held"),
    (libc::EBUSY, c"the store was busy beyond timeout_ms; nothing changed"),
    (libc::ENOTCONN, c"the store can't be reached; nothing changed"),
    (libc::EMLINK, c"the SQLite file has a second name; nothing changed"),
    (libc::EIDRM, c"the SQLite file was moved or removed while open: open it again"),
    (libc::EINPROGRESS, c"the outcome is unknown: the change may have been applied"),
    (libc::EIO, c"input/output error; nothing changed"),
    (libc::ENOSPC, c"no space left for the store; nothing changed"),
    (libc::EROFS, c"the store is read-only; nothing changed"),
    (libc::EDQUOT, c"the disk quota is used up; nothing changed"),
    (libc::EMFILE, c"too many open files; nothing changed"),
    (libc::EUCLEAN, c"the file, schema or prefix is not a dss store, or is damaged; it is left untouched"),
    (libc::EPROTONOSUPPORT, c"the store is too new for this library, too old, or its client library is missing"),
    (libc::EREMOTE, c"SQLite on a network file system is refused"),
    (libc::ENOMEM, c"out of memory"),
    (libc::ENOTRECOVERABLE, c"a defect inside the library was contained: close the handle"),
];

/// The fixed text for what a call returned: 0 or a negative errno.
pub fn text_of(rc: i32) -> &'static CStr {
    let errno = rc.checked_neg().unwrap_or(i32::MAX);
    let known = TEXTS.iter().find(|(code, _)| *code == errno);
    known.map_or(c"unknown error code", |(_, text)| text)
}

/// Writes bytes that came from outside into a text: printable UTF-8 as it is, everything else as `\xNN`.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\\' => out.write_str("\\\\")?,
                    '"' => out.write_str("\\\"")?,
                    _ if letter.is_control() => escape(out, letter.encode_utf8(&mut [0; 4]).as_bytes())?,
                    _ => write!(out, "{letter}")?,
                }
            }
            escape(out, chunk.invalid())?;
        }
        Ok(())
    }
}

fn escape(out: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_text_of_its_own() {
        for (place, (code, text)) in TEXTS.iter().enumerate() {
            assert!(!text.is_empty());
            assert_eq!(text_of(-code), *text);
            assert!(TEXTS[..place].iter().all(|(other, said)| other != code && said != text));
        }
    }

    #[test]
    fn codes_nobody_knows_have_a_text() {
        for rc in [i32::MIN, i32::MAX, 1, -4095, libc::EEXIST] {
            assert_eq!(text_of(rc), c"unknown error code");
        }
    }

    #[test]
    fn shown_bytes_are_printable() {
        let shown = |bytes: &[u8]| Shown(bytes).to_string();
        assert_eq!(shown("tape é".as_bytes()), "tape é");
        assert_eq!(shown(b"a\nb\t\x7f"), "a\\x0ab\\x09\\x7f");
        assert_eq!(shown(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(shown("\u{85}".as_bytes()), "\\xc2\\x85");
        assert_eq!(shown(b"say \"hi\" \\"), "say \\\"hi\\\" \\\\");
    }
}
