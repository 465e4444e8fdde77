//! How the command ends: its exit codes, and what it says where it fails.

use super::store::Store;
use dss::model::error::{Code, Error};
use std::process::ExitCode;

/// The exit codes. dss(1) has the same list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Done,
    /// Somebody holds the lock, or the value has another version.
    Held,
    Usage,
    /// There is no such lock or key.
    NotFound,
    /// The lock is another one's, or its token is another one.
    NotYours,
    TimedOut,
    /// The store can't be reached, or is busy: nothing was changed.
    Down,
    /// The store can be reached and can't be used: rights, a full disk, a foreign file.
    Unusable,
    /// The outcome is unknown: the change may have been made.
    Unknown,
    /// A defect, or an answer of the system that nothing else fits.
    Other,
    /// Ended by SIGINT and the like while it waited.
    Interrupted,
    /// Any other: that of a command that was run, or chosen by -E.
    Chosen(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Held => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::NotYours => 4,
            Exit::TimedOut => 5,
            Exit::Down => 6,
            Exit::Unusable => 7,
            Exit::Unknown => 8,
            Exit::Other => 9,
            Exit::Interrupted => 130,
            Exit::Chosen(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A failure: one line for people, and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into() }
    }

    /// What the store said when it was to be opened: rights and missing folders are the store's there.
    pub fn of_store(error: Error) -> Failure {
        match error.code {
            Code::Denied | Code::Missing => Failure::new(Exit::Unusable, error.text),
            _ => error.into(),
        }
    }

    /// That something is not there, and where it was looked for.
    pub fn in_store(error: Error, store: &Store) -> Failure {
        let where_to = match error.code {
            Code::NoLock | Code::Missing => format!(" in {}", store.name),
            _ => String::new(),
        };
        let failure = Failure::from(error);
        Failure { text: failure.text + &where_to, ..failure }
    }

    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, text)
    }

    /// Whether it is one of the answers that a script asks for: --quiet says nothing then.
    pub fn is_an_answer(&self) -> bool {
        matches!(self.exit, Exit::Held | Exit::NotFound | Exit::TimedOut | Exit::Interrupted)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let exit = match error.code {
            Code::Held | Code::Canceled | Code::Outdated => Exit::Held,
            Code::NoLock | Code::Missing => Exit::NotFound,
            Code::Denied | Code::Stale => Exit::NotYours,
            Code::TimedOut => Exit::TimedOut,
            Code::Interrupted => Exit::Interrupted,
            Code::Busy | Code::Unreachable => Exit::Down,
            Code::Unknown => Exit::Unknown,
            Code::TooMany | Code::Invalid | Code::TooLong | Code::TooLarge | Code::OutOfRange | Code::NeedsFlag => {
                Exit::Usage
            }
            Code::SecondName
            | Code::Moved
            | Code::Io
            | Code::NoSpace
            | Code::ReadOnly
            | Code::Quota
            | Code::TooManyFiles
            | Code::NotAStore
            | Code::Unsupported
            | Code::Network => Exit::Unusable,
            Code::NotOpen | Code::Forked | Code::NoMemory | Code::Defect => Exit::Other,
        };
        Failure::new(exit, error.text)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Other, error.to_string())
    }
}
