//! What etcd and the way to it can answer instead of an answer.

use super::refusal::Refusal;
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

pub const TIME_IS_UP: &str = "no answer in time";

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

    #[test]
    fn a_server_that_wants_tls_is_known() {
        let body = b"Client sent an HTTP request to an HTTPS server.\n";
        assert!(nonsense("h:1", 400, body).text.contains("tls=on"));
    }
}
