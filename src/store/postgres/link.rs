//! One connection to a server. Nothing here waits beyond its deadline, but for the look-up of names.

mod connecting;

use super::{
    arrays::Parameter,
    errors::{self, SqlState, Trouble},
    libpq::{self, Conn, Libpq},
    rows::{Rows, string},
    statement::Statement,
};
use crate::{
    clock,
    model::error::{Code, Error},
    sys::{
        identity::Descriptor,
        inherited,
        poll::{self, For},
    },
};
use std::{
    ffi::{CStr, CString, c_char, c_int},
    ptr,
    time::Instant,
};

pub struct Link {
    libpq: &'static Libpq,
    conn: *mut Conn,
    /// Its socket, which a forked child closes.
    socket: Option<(Descriptor, inherited::Serial)>,
    /// host:port/database, for texts.
    place: String,
    /// The ids of the statements that were prepared on it.
    prepared: Vec<u128>,
    /// How often it did not know a prepared statement, and whether they are sent as text for that.
    forgot: u32,
    as_text: bool,
}

// SAFETY: libpq lets any one thread at a time use a connection.
unsafe impl Send for Link {}

impl Link {
    /// Its socket; None if it has none any more. Call before each step in which libpq may read or
    /// write: the host may have closed the socket, and its number may be that of another file.
    pub fn socket(&self) -> Option<Descriptor> {
        self.socket.map(|(socket, _)| socket).filter(|socket| poll::is_there(*socket))
    }

    fn check_socket(&self) -> Result<Descriptor, Error> {
        let closed = || match self.has_socket() {
            true => errors::lost("this program has closed its descriptor", &self.place),
            false => errors::lost(&self.message(), &self.place),
        };
        self.socket().ok_or_else(closed)
    }

    /// Whether libpq has a socket, as far as it knows.
    fn has_socket(&self) -> bool {
        // SAFETY: libpq gives -1 for a connection without a socket, and for none.
        unsafe { (self.libpq.PQsocket)(self.conn) >= 0 }
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    fn tell_place(&self) -> String {
        // SAFETY: the three give strings that live with the connection, or NULL.
        let [host, port, database] = unsafe {
            [(self.libpq.PQhost)(self.conn), (self.libpq.PQport)(self.conn), (self.libpq.PQdb)(self.conn)]
                .map(|text| string(text))
        };
        format!("{host}:{port}/{database}")
    }

    fn message(&self) -> String {
        // SAFETY: as above.
        unsafe { string((self.libpq.PQerrorMessage)(self.conn)) }
    }

    pub fn server_version(&self) -> i32 {
        // SAFETY: the connection is there.
        unsafe { (self.libpq.PQserverVersion)(self.conn) }
    }

    /// The server's process for this connection, as it was told when it began.
    pub fn backend(&self) -> i32 {
        // SAFETY: the connection is there.
        unsafe { (self.libpq.PQbackendPID)(self.conn) }
    }

    fn is_dead(&self) -> bool {
        // SAFETY: as above.
        unsafe { (self.libpq.PQstatus)(self.conn) != libpq::CONNECTION_OK }
    }

    /// Runs statements in one go; gives the rows of the last one that has any.
    pub fn run(&mut self, sql: &str, deadline: Instant) -> Result<Option<Rows>, Trouble> {
        let sql = CString::new(sql).map_err(|_| Trouble::Unsent(Error::new(Code::Defect, "SQL with a NUL")))?;
        let (libpq, conn) = (self.libpq, self.conn);
        // SAFETY: the string ends with NUL, and libpq copies it.
        self.exchange(|| unsafe { (libpq.PQsendQuery)(conn, sql.as_ptr()) }, deadline)
    }

    pub fn prepare(&mut self, statement: &Statement, deadline: Instant) -> Result<(), Trouble> {
        let (libpq, conn) = (self.libpq, self.conn);
        let (name, sql, types) = (statement.name.as_ptr(), statement.sql.as_ptr(), statement.types);
        // SAFETY: the strings end with NUL, the list is as long as said, and libpq copies them.
        let send = || unsafe { (libpq.PQsendPrepare)(conn, name, sql, types.len() as c_int, types.as_ptr()) };
        match self.exchange(send, deadline) {
            // Behind a pooler another client has prepared it: the same name means the same text.
            Err(Trouble::Refused { state, .. }) if state == SqlState::DUPLICATE_STATEMENT => {}
            other => drop(other?),
        }
        self.prepared.push(statement.id);
        Ok(())
    }

    /// Runs a prepared statement with parameters in binary form (None: NULL); text results unless `binary`. It is prepared now where
    /// that was not done before.
    pub fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
        binary: bool,
        deadline: Instant,
    ) -> Result<Rows, Trouble> {
        if !self.as_text && !self.prepared.contains(&statement.id) {
            self.prepare(statement, deadline).map_err(Trouble::of_preparation)?;
        }
        let values: Vec<*const c_char> =
            parameters.iter().map(|value| value.as_ref().map_or(ptr::null(), |bytes| bytes.as_ptr().cast())).collect();
        let lengths: Vec<c_int> =
            parameters.iter().map(|value| value.as_ref().map_or(0, |bytes| bytes.len()) as c_int).collect();
        let formats = vec![1; parameters.len()];
        let count = parameters.len() as c_int;
        let (libpq, conn, as_text) = (self.libpq, self.conn, self.as_text);
        let (name, sql, types) = (statement.name.as_ptr(), statement.sql.as_ptr(), statement.types.as_ptr());
        // SAFETY: four lists as long as said; libpq copies what they point to.
        let send = || unsafe {
            let (values, lengths, formats) = (values.as_ptr(), lengths.as_ptr(), formats.as_ptr());
            if as_text {
                (libpq.PQsendQueryParams)(conn, sql, count, types, values, lengths, formats, binary.into())
            } else {
                (libpq.PQsendQueryPrepared)(conn, name, count, values, lengths, formats, binary.into())
            }
        };
        self.exchange(send, deadline)?.ok_or_else(|| self.lost())
    }

    /// How often it has not known a statement, this time counted.
    pub fn forgets(&mut self) -> u32 {
        self.prepared.clear();
        self.forgot += 1;
        self.forgot
    }

    /// From now on statements are not prepared.
    pub fn send_text(&mut self) {
        self.as_text = true;
    }

    /// Runs a statement without parameters; its rows are in binary form.
    pub fn run_binary(&mut self, sql: &CStr, deadline: Instant) -> Result<Rows, Trouble> {
        let (libpq, conn) = (self.libpq, self.conn);
        let (types, values, numbers) = (ptr::null(), ptr::null(), ptr::null());
        // SAFETY: the string ends with NUL, and there are no parameters.
        let send = || unsafe { (libpq.PQsendQueryParams)(conn, sql.as_ptr(), 0, types, values, numbers, numbers, 1) };
        self.exchange(send, deadline)?.ok_or_else(|| self.lost())
    }

    /// Sends, and waits for the results.
    fn exchange(&mut self, send: impl FnOnce() -> c_int, deadline: Instant) -> Result<Option<Rows>, Trouble> {
        self.notice_death().map_err(Trouble::Unsent)?;
        if send() == 0 {
            return Err(Trouble::Unsent(errors::lost(&self.message(), &self.place)));
        }
        loop {
            self.check_socket().map_err(Trouble::Lost)?;
            // SAFETY: the connection is there.
            match unsafe { (self.libpq.PQflush)(self.conn) } {
                0 => break,
                1 => self.await_for(For::Writing, deadline)?,
                _ => return Err(self.lost()),
            }
        }
        let (mut rows, mut refused) = (None, None);
        while let Some(result) = self.next_result(deadline)? {
            match result.check(&self.place) {
                Ok(true) => rows = Some(result),
                Ok(false) => {}
                Err(trouble) => refused = refused.or(Some(trouble)),
            }
        }
        match refused {
            // What a server says in its last breath is no answer to a statement.
            Some(_) if self.is_dead() => Err(self.lost()),
            Some(trouble) => Err(trouble),
            None => Ok(rows),
        }
    }

    fn next_result(&mut self, deadline: Instant) -> Result<Option<Rows>, Trouble> {
        // SAFETY: the connection is there.
        while unsafe { (self.libpq.PQisBusy)(self.conn) } != 0 {
            self.await_for(For::Reading, deadline)?;
        }
        // SAFETY: as above; the result is the caller's.
        let result = unsafe { (self.libpq.PQgetResult)(self.conn) };
        Ok((!result.is_null()).then(|| Rows::of(self.libpq, result)))
    }

    fn await_for(&mut self, purpose: For, deadline: Instant) -> Result<(), Trouble> {
        let socket = self.check_socket().map_err(Trouble::Lost)?;
        match poll::ready(socket, purpose, deadline) {
            Ok(true) => {}
            Ok(false) => return Err(Trouble::Lost(errors::no_answer(&self.place))),
            Err(error) => return Err(Trouble::Lost(errors::of_system(&error, &self.place))),
        }
        self.take_in().map_err(Trouble::Lost)
    }

    /// Reads what has come.
    pub fn take_in(&mut self) -> Result<(), Error> {
        self.check_socket()?;
        // SAFETY: the connection is there.
        match unsafe { (self.libpq.PQconsumeInput)(self.conn) } {
            1 => Ok(()),
            _ => Err(errors::lost(&self.message(), &self.place)),
        }
    }

    /// A connection that the server has closed meanwhile is found out before anything is sent on it.
    pub fn notice_death(&mut self) -> Result<(), Error> {
        const LOOKS: u32 = 4;
        for _ in 0..LOOKS {
            let socket = self.check_socket()?;
            match poll::ready(socket, For::Reading, clock::instant()) {
                Ok(true) => self.take_in()?,
                _ => break,
            }
        }
        if self.is_dead() { Err(errors::lost(&self.message(), &self.place)) } else { Ok(()) }
    }

    /// The text of a notification that has come.
    pub fn notification(&mut self) -> Option<Vec<u8>> {
        // SAFETY: the connection is there; what it gives is ours, and given back once.
        unsafe {
            let notify = (self.libpq.PQnotifies)(self.conn);
            if notify.is_null() {
                return None;
            }
            let text = CStr::from_ptr((*notify).extra).to_bytes().to_vec();
            (self.libpq.PQfreemem)(notify.cast());
            Some(text)
        }
    }

    pub fn lost(&self) -> Trouble {
        Trouble::Lost(errors::lost(&self.message(), &self.place))
    }
}

impl Drop for Link {
    /// In a forked child nothing is sent: it would end the parent's session. There the socket is closed
    /// already, and the memory is left. The same where the host has closed the socket: libpq would
    /// write to the number, and close it.
    fn drop(&mut self) {
        let _changing = inherited::changing();
        let ours = self.socket.take().is_none_or(|(_, serial)| inherited::is_ours(serial));
        if (ours || !self.has_socket()) && !self.conn.is_null() {
            // SAFETY: ours, and given back once.
            unsafe { (self.libpq.PQfinish)(self.conn) };
        }
    }
}
