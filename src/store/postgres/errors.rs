//! What PostgreSQL and libpq say, as the codes of the interface.

use crate::model::error::{Code, Error};
use std::io;

/// Five letters that name a server's error (PostgreSQL's manual, "PostgreSQL Error Codes").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    pub const DUPLICATE_STATEMENT: SqlState = SqlState(*b"42P05");

    pub fn of(text: &[u8]) -> SqlState {
        SqlState(text.try_into().unwrap_or(*b"XX000"))
    }
}

/// Why a statement has no result.
#[derive(Debug)]
pub enum Trouble {
    /// It never reached the server.
    Unsent(Error),
    /// Nobody knows whether it was done.
    Lost(Error),
    /// The server has undone it.
    Refused { state: SqlState, text: String },
}

impl Trouble {
    /// The same before the statement itself was sent.
    pub fn of_preparation(self) -> Trouble {
        match self {
            Trouble::Lost(error) => Trouble::Unsent(error),
            other => other,
        }
    }
}

/// What to do about a refusal.
#[derive(Debug)]
pub enum Cure {
    /// Try again, after a pause.
    Again,
    /// Prepare the statements again, then try again.
    Prepare,
    /// Another connection may lead to a better server.
    Reconnect(Error),
    /// Others are in the way.
    Busy(Error),
    /// Ask what became of the batch.
    Resolve,
    Fail(Error),
}

pub fn cure(state: SqlState, text: &str) -> Cure {
    let error = |code, advice: &str| Error::new(code, format!("PostgreSQL at {text}{advice}"));
    match &state.0 {
        // Ours: the batch is of an epoch that is over, or was done already.
        b"DSS01" => Cure::Resolve,
        // Deadlock, serialization: undone, and to be tried again.
        b"40P01" | b"40001" => Cure::Again,
        b"26000" => Cure::Prepare,
        b"55P03" => Cure::Busy(error(
            Code::Busy,
            ": another transaction held a lock on a row or table of the store; see pg_locks",
        )),
        b"57014" => Cure::Busy(error(Code::Busy, ": statement_timeout or an administrator ended the statement")),
        b"25006" => {
            Cure::Reconnect(error(Code::ReadOnly, ": this server is a standby, or read-only; name the primary"))
        }
        b"53300" => Cure::Reconnect(error(Code::Unreachable, ": raise max_connections, or use a pooler")),
        b"53100" => Cure::Fail(error(Code::NoSpace, "")),
        b"53200" => Cure::Fail(error(Code::NoMemory, ": the server has no memory")),
        b"42501" => Cure::Fail(error(Code::Denied, ": grant the role what schema.sql says (docs/stores.md)")),
        b"42P01" | b"3F000" | b"42883" | b"42703" => {
            Cure::Fail(error(Code::NotAStore, ": the schema is not, or no more, a store of libdss"))
        }
        b"42P06" => Cure::Fail(error(Code::NotAStore, ", and is no store of libdss: name another one by schema=NAME")),
        [b'5', b'7', ..] | [b'0', b'8', ..] => Cure::Reconnect(error(Code::Unreachable, "")),
        _ => Cure::Fail(error(Code::Io, "")),
    }
}

/// libpq's message about a connection that it could not make. With verbose errors it holds the server's error code.
pub fn of_connecting(message: &str, place: &str) -> Error {
    let said: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.starts_with("LOCATION:")).collect();
    let said = said.join("; ");
    let (code, advice) = match state_in(&said).as_ref().map(|state| &state[..]) {
        Some(b"28P01" | b"28000") => {
            (Code::Denied, "check the user, its password (~/.pgpass), and the server's pg_hba.conf")
        }
        Some(b"42501") => (Code::Denied, "the role may not connect to this database"),
        Some(b"3D000") => (Code::Missing, "create the database, or name another one"),
        Some(b"53300") => (Code::Unreachable, "too many connections: raise max_connections, or use a pooler"),
        Some(b"57P03") => (Code::Unreachable, "the server is starting up or shutting down: try again"),
        _ if said.contains("read-only") || said.contains("hot standby") => {
            (Code::ReadOnly, "only standbys were found: name the primary")
        }
        _ if said.contains("Too many open files") => (Code::TooManyFiles, "raise the limit of open files"),
        _ if said.contains("no password supplied") => (Code::Denied, "give a password by ~/.pgpass or a service file"),
        _ => (Code::Unreachable, "check that the server runs, its address, and sslmode"),
    };
    Error::new(code, format!("PostgreSQL at {place} can't be connected to: {said}: {advice}"))
}

/// The code in `FATAL:  28P01: password authentication failed`: five letters, of which one at least is a digit.
fn state_in(said: &str) -> Option<[u8; 5]> {
    let is_state = |word: &&str| {
        let legal = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        word.len() == 5 && word.bytes().all(legal) && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    let state = said.split(':').map(str::trim).find(is_state)?;
    state.as_bytes().try_into().ok()
}

pub fn lost(message: &str, place: &str) -> Error {
    let message = message.lines().next().unwrap_or("the connection was closed");
    // pgbouncer ends the connection of a client that begins a transaction in statement mode.
    let is_statement_mode = message.contains("statement pooling mode");
    let cure = if is_statement_mode { ": set the pooler's pool_mode to transaction or session" } else { "" };
    Error::new(Code::Unreachable, format!("the connection to PostgreSQL at {place} was lost: {message}{cure}"))
}

pub fn no_answer(place: &str) -> Error {
    let text = format!("PostgreSQL at {place} has not answered in time: check the network and the server");
    Error::new(Code::Unreachable, text)
}

pub fn of_system(error: &io::Error, place: &str) -> Error {
    let code = error.raw_os_error().map_or(Code::Io, Code::of_errno);
    Error::new(code, format!("the connection to PostgreSQL at {place}: {error}"))
}

/// What libpq has against the value of an option. One that is taken for a port may be a part of a password.
pub fn of_options(said: &str) -> Option<Error> {
    const BEGINNINGS: [&str; 7] = [
        "invalid ",
        "could not match ",
        "definition of service ",
        "service file ",
        "syntax error in service file ",
        "nested service specifications ",
        "sslmode value ",
    ];
    let said = said.trim();
    BEGINNINGS.iter().find(|begin| said.starts_with(**begin))?;
    let is_port = said.starts_with("invalid") && said.contains("port");
    let cause = if is_port { "a port is a number from 1 to 65535" } else { said };
    Some(Error::new(Code::Invalid, format!("libpq does not understand the connection string: {cause}")))
}

/// What libpq has against a connection string. It may quote parts of it, and so of a password: only a keyword is repeated.
pub fn of_conninfo(said: &str) -> Error {
    let unknown = ["invalid connection option \"", "invalid URI query parameter: \""]
        .iter()
        .find_map(|begin| said.trim().strip_prefix(begin)?.split('"').next());
    let cause = match unknown {
        Some(keyword) => format!("it has no option \"{keyword}\""),
        None => {
            "a value with blanks needs quotes ('…'), in a URI %20; see \"Connection Strings\" in PostgreSQL's manual"
                .into()
        }
    };
    Error::new(Code::Invalid, format!("libpq does not understand the connection string: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fail_for_a_reason() {
        let code = |message: &str| of_connecting(message, "h:5432/d").code;
        let begin = "connection to server at \"h\" (10.0.0.1), port 5432 failed: ";
        assert_eq!(
            code(&format!("{begin}FATAL:  28P01: password authentication failed\nLOCATION:  auth_failed")),
            Code::Denied
        );
        assert_eq!(code(&format!("{begin}FATAL:  3D000: database \"x\" does not exist")), Code::Missing);
        assert_eq!(code(&format!("{begin}Connection refused")), Code::Unreachable);
        assert_eq!(code(&format!("{begin}session is read-only")), Code::ReadOnly);
        assert_eq!(code("could not translate host name \"ABCDE\" to address"), Code::Unreachable);
    }

    /// A statement that an administrator or statement_timeout had ended was put down to another
    /// transaction's lock on a row.
    #[test]
    fn a_busy_server_is_given_no_cause_that_was_not_seen() {
        let text = |state: &[u8; 5], said: &str| match cure(SqlState(*state), &format!("h:5432/d: {said}")) {
            Cure::Busy(error) => error.text,
            other => panic!("{other:?}"),
        };
        assert!(text(b"55P03", "canceling statement due to lock timeout").contains("another transaction"));
        let ended = text(b"57014", "canceling statement due to user request");
        assert!(ended.contains("statement_timeout") && !ended.contains("another transaction"), "{ended}");
    }

    #[test]
    fn options_are_told_from_servers() {
        assert!(of_options("invalid sslmode value: \"maybe\"\n").unwrap().text.contains("maybe"));
        let text = of_options("invalid integer value \"secret\" for connection option \"port\"\n").unwrap().text;
        assert!(text.contains("port") && !text.contains("secret"));
        assert!(of_options("could not translate host name \"h\" to address").is_none());
    }

    #[test]
    fn no_part_of_a_password_is_told() {
        let text = of_conninfo("missing \"=\" after \"secret\" in connection info string").text;
        assert!(!text.contains("secret"));
        assert!(of_conninfo("invalid connection option \"hots\"\n").text.contains("hots"));
        assert!(of_conninfo("invalid URI query parameter: \"hots\"\n").text.contains("hots"));
    }
}
