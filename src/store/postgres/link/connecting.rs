//! How a connection is begun, step by step.

use super::Link;
use crate::{
    model::{
        error::{Code, Error},
        uri::postgres::Postgres as Target,
    },
    store::postgres::{
        errors,
        libpq::{self, Libpq, PgResult},
        rows::string,
    },
    sys::{
        identity::Descriptor,
        inherited, language,
        poll::{self, For},
    },
};
use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr,
    time::Instant,
};

/// The server's notes are for people at a terminal; libpq would print them.
unsafe extern "C" fn ignore_notice(_: *mut c_void, _: *const PgResult) {}

impl Link {
    /// Begins to connect, to this one of several hosts where one is named.
    pub fn begin(target: &Target, host: &[(&CStr, CString)]) -> Result<Link, Error> {
        let libpq = libpq::load()?;
        // What it says is looked at.
        let _english = language::english();
        let conninfo = checked_conninfo(libpq, target)?;
        // Of the same keyword the last one counts, so those before `dbname` are only defaults.
        let mut parameters = vec![(c"fallback_application_name", c"libdss"), (c"dbname", conninfo.as_c_str())];
        if !host.is_empty() {
            parameters.insert(0, (c"target_session_attrs", c"read-write"));
            parameters.extend(host.iter().map(|(keyword, value)| (*keyword, value.as_c_str())));
        }
        let mut link = Link {
            libpq,
            conn: ptr::null_mut(),
            socket: None,
            place: String::new(),
            prepared: Vec::new(),
            forgot: 0,
            as_text: false,
        };
        link.start(&parameters)?;
        Ok(link)
    }

    /// What libpq has made of the connection string, its files and the environment.
    pub fn setting(&self, keyword: &CStr) -> Option<String> {
        // SAFETY: the connection is there; what libpq gives is a list that ends with a keyword of NULL, and is given back once.
        unsafe {
            let all = (self.libpq.PQconninfo)(self.conn);
            let mut option = all;
            while !option.is_null() && !(*option).keyword.is_null() && CStr::from_ptr((*option).keyword) != keyword {
                option = option.add(1);
            }
            let there = !option.is_null() && !(*option).keyword.is_null() && !(*option).value.is_null();
            let value = there.then(|| string((*option).value));
            (self.libpq.PQconninfoFree)(all);
            value
        }
    }

    fn start(&mut self, parameters: &[(&CStr, &CStr)]) -> Result<(), Error> {
        let list = |which: fn(&(&CStr, &CStr)) -> *const c_char| -> Vec<*const c_char> {
            parameters.iter().map(which).chain([ptr::null()]).collect()
        };
        let (keywords, values) = (list(|(key, _)| key.as_ptr()), list(|(_, value)| value.as_ptr()));
        let _changing = inherited::changing();
        // SAFETY: two lists of strings, as long as each other, that end with NULL.
        self.conn =
            inherited::opening(|| unsafe { (self.libpq.PQconnectStartParams)(keywords.as_ptr(), values.as_ptr(), 1) });
        if self.conn.is_null() {
            return Err(Error::new(Code::NoMemory, "no memory for a connection to PostgreSQL"));
        }
        // SAFETY: the connection is there; the receiver has the type that is asked for.
        unsafe {
            (self.libpq.PQsetErrorVerbosity)(self.conn, libpq::ERRORS_VERBOSE);
            (self.libpq.PQsetNoticeReceiver)(self.conn, Some(ignore_notice), ptr::null_mut());
        }
        self.note_socket();
        match self.socket {
            None => errors::of_options(&self.message()).map_or(Ok(()), Err),
            Some(_) => Ok(()),
        }
    }

    pub fn finish(&mut self, deadline: Instant) -> Result<(), Error> {
        let _english = language::english();
        let mut purpose = For::Writing;
        loop {
            self.place = self.tell_place();
            if self.socket.is_none() {
                return Err(errors::of_connecting(&self.message(), &self.place));
            }
            if !poll::ready(self.check_socket()?, purpose, deadline)
                .map_err(|error| errors::of_system(&error, &self.place))?
            {
                return Err(errors::no_answer(&self.place));
            }
            let changing = inherited::changing();
            self.check_socket()?;
            // SAFETY: the connection is there.
            let step = inherited::opening(|| unsafe { (self.libpq.PQconnectPoll)(self.conn) });
            self.note_socket();
            drop(changing);
            purpose = match step {
                libpq::POLLING_OK => break,
                libpq::POLLING_FAILED => return Err(errors::of_connecting(&self.message(), &self.place)),
                libpq::POLLING_READING => For::Reading,
                _ => For::Writing,
            };
        }
        self.place = self.tell_place();
        // SAFETY: the connection is there, and nothing is under way.
        unsafe { (self.libpq.PQsetnonblocking)(self.conn, 1) };
        Ok(())
    }

    /// libpq goes from one socket to the next while it tries hosts, and the next one may get the same
    /// number.
    fn note_socket(&mut self) {
        // SAFETY: the connection is there.
        let fd = unsafe { (self.libpq.PQsocket)(self.conn) };
        if self.socket.is_some_and(|(known, _)| known.number() == fd && known.is_ours()) {
            return;
        }
        if let Some((_, former)) = self.socket.take() {
            inherited::is_ours(former);
        }
        // Without an identity it can't be used, and the connection is given up.
        self.socket = Descriptor::of(fd).ok().map(|socket| (socket, inherited::note(fd)));
    }
}

/// The connection string, if libpq understands it.
fn checked_conninfo(libpq: &Libpq, target: &Target) -> Result<CString, Error> {
    let conninfo = CString::new(&target.conninfo[..])
        .map_err(|_| Error::new(Code::Invalid, "the connection string has a NUL in it"))?;
    let mut message = ptr::null_mut();
    // SAFETY: the string ends with NUL; what libpq gives is given back once.
    unsafe {
        let options = (libpq.PQconninfoParse)(conninfo.as_ptr(), &mut message);
        if !options.is_null() {
            (libpq.PQconninfoFree)(options);
            return Ok(conninfo);
        }
        let said = string(message);
        (libpq.PQfreemem)(message.cast());
        Err(errors::of_conninfo(&said))
    }
}
