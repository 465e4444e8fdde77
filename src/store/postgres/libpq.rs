//! PostgreSQL's own client library, loaded when the first connection string asks for it: so libdss needs nothing but libc to be
//! loaded itself, and users have the libpq that they know, with its files and environment variables.

use crate::model::error::{Code, Error};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use once_cell::sync::OnceCell;
use std::ffi::{c_char, c_int, c_uint, c_void};

/// What libpq hides behind pointers.
pub enum Conn {}
pub enum PgResult {}

/// `PGnotify`.
#[repr(C)]
pub struct Notify {
    pub relname: *mut c_char,
    pub be_pid: c_int,
    pub extra: *mut c_char,
    next: *mut Notify,
}

/// `PQconninfoOption`.
#[repr(C)]
pub struct ConninfoOption {
    pub keyword: *const c_char,
    envvar: *const c_char,
    compiled: *const c_char,
    pub value: *const c_char,
    label: *const c_char,
    dispchar: *const c_char,
    dispsize: c_int,
}

pub type NoticeReceiver = unsafe extern "C" fn(*mut c_void, *const PgResult);

// libpq-fe.h.
pub const CONNECTION_OK: c_int = 0;
pub const POLLING_FAILED: c_int = 0;
pub const POLLING_READING: c_int = 1;
pub const POLLING_OK: c_int = 3;
pub const EMPTY_QUERY: c_int = 0;
pub const COMMAND_OK: c_int = 1;
pub const TUPLES_OK: c_int = 2;
pub const ERRORS_VERBOSE: c_int = 2;
// postgres_ext.h.
pub const DIAG_SQLSTATE: c_int = b'C' as c_int;
pub const DIAG_MESSAGE_PRIMARY: c_int = b'M' as c_int;

macro_rules! functions {
    ($($name:ident: fn($($arg:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions that are used, by their names in libpq-fe.h.
        #[allow(non_snake_case)]
        pub struct Libpq {
            $(pub $name: unsafe extern "C" fn($($arg),*) $(-> $result)?,)*
        }

        impl Libpq {
            /// # Safety
            /// The library is libpq, and stays loaded.
            unsafe fn of(library: &Library) -> Result<Libpq, libloading::Error> {
                // SAFETY: the types are those of libpq-fe.h, which are libpq's ABI since its version 5.
                unsafe { Ok(Libpq { $($name: *library.get(concat!(stringify!($name), "\0").as_bytes())?,)* }) }
            }
        }
    };
}

functions! {
    PQconnectStartParams: fn(*const *const c_char, *const *const c_char, c_int) -> *mut Conn;
    PQconnectPoll: fn(*mut Conn) -> c_int;
    PQconninfo: fn(*mut Conn) -> *mut ConninfoOption;
    PQconninfoParse: fn(*const c_char, *mut *mut c_char) -> *mut ConninfoOption;
    PQconninfoFree: fn(*mut ConninfoOption);
    PQfinish: fn(*mut Conn);
    PQstatus: fn(*const Conn) -> c_int;
    PQsocket: fn(*const Conn) -> c_int;
    PQhost: fn(*const Conn) -> *const c_char;
    PQport: fn(*const Conn) -> *const c_char;
    PQdb: fn(*const Conn) -> *const c_char;
    PQerrorMessage: fn(*const Conn) -> *const c_char;
    PQsetErrorVerbosity: fn(*mut Conn, c_int) -> c_int;
    PQserverVersion: fn(*const Conn) -> c_int;
    PQbackendPID: fn(*const Conn) -> c_int;
    PQsetNoticeReceiver: fn(*mut Conn, Option<NoticeReceiver>, *mut c_void) -> Option<NoticeReceiver>;
    PQsetnonblocking: fn(*mut Conn, c_int) -> c_int;
    PQsendQuery: fn(*mut Conn, *const c_char) -> c_int;
    PQsendQueryParams:
        fn(*mut Conn, *const c_char, c_int, *const c_uint, *const *const c_char, *const c_int, *const c_int, c_int) -> c_int;
    PQsendPrepare: fn(*mut Conn, *const c_char, *const c_char, c_int, *const c_uint) -> c_int;
    PQsendQueryPrepared: fn(*mut Conn, *const c_char, c_int, *const *const c_char, *const c_int, *const c_int, c_int) -> c_int;
    PQflush: fn(*mut Conn) -> c_int;
    PQconsumeInput: fn(*mut Conn) -> c_int;
    PQisBusy: fn(*mut Conn) -> c_int;
    PQgetResult: fn(*mut Conn) -> *mut PgResult;
    PQnotifies: fn(*mut Conn) -> *mut Notify;
    PQfreemem: fn(*mut c_void);
    PQresultStatus: fn(*const PgResult) -> c_int;
    PQresultErrorField: fn(*const PgResult, c_int) -> *const c_char;
    PQntuples: fn(*const PgResult) -> c_int;
    PQnfields: fn(*const PgResult) -> c_int;
    PQgetvalue: fn(*const PgResult, c_int, c_int) -> *const c_char;
    PQgetlength: fn(*const PgResult, c_int, c_int) -> c_int;
    PQgetisnull: fn(*const PgResult, c_int, c_int) -> c_int;
    PQclear: fn(*mut PgResult);
}

const NAME: &str = "libpq.so.5";

pub fn load() -> Result<&'static Libpq, Error> {
    static LOADED: OnceCell<Libpq> = OnceCell::new();
    LOADED.get_or_try_init(|| {
        // SAFETY: it runs what libpq and the libraries that it needs do when they are loaded, which every program that is linked
        // with them runs too.
        let library = unsafe { Library::open(Some(NAME), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| absent(&error))?;
        // SAFETY: it is that library, and is never unloaded.
        let functions = unsafe { Libpq::of(&library) }.map_err(|error| absent(&error))?;
        std::mem::forget(library);
        Ok(functions)
    })
}

fn absent(error: &libloading::Error) -> Error {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let text = format!(
        "PostgreSQL's client library {NAME} can't be loaded ({cause}): install it (Debian and Ubuntu: the package libpq5; Fedora \
         and RHEL: libpq)"
    );
    Error::new(Code::Unsupported, text)
}
