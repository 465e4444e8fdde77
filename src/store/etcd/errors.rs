//! What etcd and the way to it can answer instead of an answer.

use crate::model::error::{Code, Error, Shown};

/// Why an exchange brought nothing.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// No server has seen the request.
    NotSent(Error),
    /// It may have been done.
    Lost(Error),
    /// The server has refused it: nothing was done.
    Refused(Refusal),
}

/// What etcd says when it refuses.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The number of gRPC.
    pub code: u64,
    pub message: String,
    pub endpoint: Box<str>,
}

/// The numbers of gRPC that etcd uses.
mod grpc {
    pub const INVALID: u64 = 3;
    pub const NOT_FOUND: u64 = 5;
    pub const DENIED: u64 = 7;
    pub const EXHAUSTED: u64 = 8;
    pub const PRECONDITION: u64 = 9;
    pub const OUT_OF_RANGE: u64 = 11;
    pub const UNIMPLEMENTED: u64 = 12;
    pub const UNAUTHENTICATED: u64 = 16;
}

pub const TIME_IS_UP: &str = "no answer in time";

/// What is to be done about a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// It will be refused again.
    Definite,
    /// The token of the user is not valid (any more).
    Token,
    /// Nothing was done, and it may go better in a moment.
    Again,
    /// It may have been done all the same.
    Unclear,
}

impl Refusal {
    /// The user may not ask that.
    pub fn is_denied(&self) -> bool {
        self.code == grpc::DENIED
    }

    pub fn weigh(&self) -> Weight {
        let says = |text: &str| self.message.contains(text);
        match self.code {
            grpc::UNAUTHENTICATED => Weight::Token,
            grpc::INVALID if says("revision of auth store is old") => Weight::Token,
            grpc::EXHAUSTED if says("too many requests") => Weight::Again,
            grpc::INVALID
            | grpc::NOT_FOUND
            | grpc::DENIED
            | grpc::EXHAUSTED
            | grpc::PRECONDITION
            | grpc::OUT_OF_RANGE
            | grpc::UNIMPLEMENTED => Weight::Definite,
            _ => Weight::Unclear,
        }
    }

    pub fn is_no_lease(&self) -> bool {
        self.message.contains("requested lease not found")
    }

    pub fn is_lease_taken(&self) -> bool {
        self.message.contains("lease already exists")
    }

    pub fn is_compacted(&self) -> bool {
        self.message.contains("has been compacted")
    }

    /// The request is longer than the server takes.
    fn is_too_large(&self) -> bool {
        let says = |text: &str| self.message.contains(text);
        match self.code {
            grpc::INVALID => says("request is too large"),
            grpc::EXHAUSTED => says("message larger than max"),
            _ => false,
        }
    }

    /// As the answer to a write of a value.
    pub fn error_of_value(&self) -> Error {
        if !self.is_too_large() {
            return self.error();
        }
        let cure = "set a smaller value, or raise --max-request-bytes, whose default of 1.5 MiB is enough for any";
        Error::new(Code::TooLarge, self.text(cure))
    }

    fn text(&self, cure: &str) -> String {
        format!("etcd at {} says: {}: {cure}", self.endpoint, Shown(self.message.as_bytes()))
    }

    pub fn error(&self) -> Error {
        let says = |text: &str| self.message.contains(text);
        let (code, cure) = match self.code {
            _ if says("database space exceeded") => {
                (Code::NoSpace, "compact and defragment it, or raise --quota-backend-bytes; then etcdctl alarm disarm")
            }
            _ if says("user name is empty") => {
                (Code::Denied, "it wants a user: give user= and password_file= in the connection string")
            }
            _ if says("authentication is not enabled") => {
                (Code::Denied, "it knows no users: leave user= and password_file= out of the connection string")
            }
            _ if says("authentication failed") => (Code::Denied, "look at user= and at the password in password_file="),
            grpc::DENIED | grpc::UNAUTHENTICATED => {
                (Code::Denied, "grant the user a role that may read and write below the store's prefix")
            }
            grpc::UNIMPLEMENTED => (Code::Unsupported, "etcd 3.4 or newer is needed"),
            _ if self.is_too_large() => (Code::NoSpace, "raise --max-request-bytes, or take fewer locks in one call"),
            _ => (Code::Unreachable, "look at the log of etcd"),
        };
        Error::new(code, self.text(cure))
    }
}

impl Trouble {
    pub fn error(&self) -> Error {
        match self {
            Trouble::NotSent(error) | Trouble::Lost(error) => error.clone(),
            Trouble::Refused(refusal) => refusal.error(),
        }
    }
}

/// The text of a server that can't be reached, or does not answer.
pub fn unreachable(endpoint: &str, error: &ureq::Error, tls: bool) -> Error {
    let cause = error.to_string();
    if let ureq::Error::Io(io) = error
        && matches!(io.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    {
        let text = format!("etcd at {endpoint} can't be reached: {cause}: raise the limit of open files");
        return Error::new(Code::TooManyFiles, text);
    }
    let is_tls = matches!(error, ureq::Error::Tls(_) | ureq::Error::Rustls(_))
        || ["certificate", "corrupt message", "fatal alert", "handshake"].iter().any(|part| cause.contains(part));
    let cure = match error {
        _ if is_tls && tls => "look at the certificates, and at cacert=, cert= and key= in the connection string",
        _ if cause.contains("failed to lookup address") || matches!(error, ureq::Error::HostNotFound) => {
            "look at the name in the connection string, and at the name service"
        }
        _ if tls => "see that it runs, that this host may reach it, and that it speaks TLS",
        _ => "see that it runs, that this host may reach it, and that it speaks plain HTTP (else say tls=on)",
    };
    Error::new(Code::Unreachable, format!("etcd at {endpoint} can't be reached: {cause}: {cure}"))
}

/// Whether the server has refused the TLS handshake, which it may tell only after the request has left.
pub fn is_alert(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if error.to_string().contains("received fatal alert"))
}

/// An answer that is none.
pub fn nonsense(endpoint: &str, status: u16, body: &[u8]) -> Error {
    let begin = Shown(&body[..body.len().min(120)]);
    let cure = match body.windows(5).any(|part| part == b"HTTPS") {
        true => "it speaks TLS: say tls=on or cacert=FILE in the connection string",
        false => "see that this is an etcd of version 3.4 or newer, whose gateway for JSON is on",
    };
    Error::new(Code::Unreachable, format!("{endpoint} answers with status {status} \"{begin}\": {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u64, message: &str) -> Refusal {
        Refusal { code, message: message.into(), endpoint: "h:2379".into() }
    }

    #[test]
    fn refusals_are_told_apart() {
        let table = [
            (8, "etcdserver: mvcc: database space exceeded", Weight::Definite, Code::NoSpace),
            (8, "etcdserver: too many requests", Weight::Again, Code::Unreachable),
            (7, "etcdserver: permission denied", Weight::Definite, Code::Denied),
            (3, "etcdserver: authentication failed, invalid user ID or password", Weight::Definite, Code::Denied),
            (3, "etcdserver: user name is empty", Weight::Definite, Code::Denied),
            (9, "etcdserver: authentication is not enabled", Weight::Definite, Code::Denied),
            (16, "etcdserver: invalid auth token", Weight::Token, Code::Denied),
            (3, "etcdserver: revision of auth store is old", Weight::Token, Code::Unreachable),
            (14, "etcdserver: request timed out", Weight::Unclear, Code::Unreachable),
            (14, "etcdserver: leader changed", Weight::Unclear, Code::Unreachable),
            (14, "etcdserver: no leader", Weight::Unclear, Code::Unreachable),
            (2, "anything else", Weight::Unclear, Code::Unreachable),
        ];
        for (number, message, weight, code) in table {
            let refusal = refusal(number, message);
            assert_eq!((refusal.weigh(), refusal.error().code), (weight, code), "{message}");
            assert!(refusal.error().text.contains("h:2379"));
        }
    }

    /// One that takes shorter requests than etcd does by default may refuse a value that libdss allows.
    #[test]
    fn a_value_too_large_for_the_server_is_told_from_a_full_one() {
        let large = [(3, "etcdserver: request is too large"), (8, "grpc: received message larger than max (9 vs. 5)")];
        for (number, message) in large {
            let refusal = refusal(number, message);
            assert_eq!((refusal.weigh(), refusal.error().code), (Weight::Definite, Code::NoSpace), "{message}");
            let error = refusal.error_of_value();
            assert!(error.code == Code::TooLarge && error.text.contains("--max-request-bytes"), "{error:?}");
        }
        assert_eq!(refusal(8, "etcdserver: mvcc: database space exceeded").error_of_value().code, Code::NoSpace);
    }

    #[test]
    fn a_server_that_wants_tls_is_known() {
        let body = b"Client sent an HTTP request to an HTTPS server.\n";
        assert!(nonsense("h:1", 400, body).text.contains("tls=on"));
    }
}
