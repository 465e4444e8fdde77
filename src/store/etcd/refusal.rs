//! Errors that etcd answers: the shapes in which its JSON gateway writes them, and what each means.

use crate::{
    model::error::{Code, Error, Shown},
    mutant,
};
use serde_json::{Deserializer, Value};

/// An error that etcd has answered.
#[derive(Clone, Debug)]
pub struct Refusal {
    class: &'static Class,
    message: String,
    endpoint: Box<str>,
}

/// What the caller does about a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// It will be refused again.
    Definite,
    /// The login is not valid (any more): log in again.
    Token,
    /// Nothing was done; another try, or another member, may succeed.
    Again,
    /// It may have been done all the same.
    Unclear,
}

/// A class of errors.
#[derive(Debug)]
struct Class {
    sign: Sign,
    weight: Weight,
    code: Code,
    cure: &'static str,
}

/// What the errors of a class have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sign {
    /// A part of the message.
    Says(&'static str),
    /// One of these gRPC codes.
    Number(&'static [u64]),
    Any,
}

use Sign::{Any, Number, Says};
use Weight::{Again, Definite, Token, Unclear};

const DENIED: [Sign; 2] = [Says("permission denied"), Number(&[7])];
const LEASE_NOT_FOUND: Sign = Says("requested lease not found");
const LEASE_EXISTS: Sign = Says("lease already exists");
const COMPACTED: Sign = Says("has been compacted");
const TOO_LARGE: [Sign; 2] = [Says("request is too large"), Says("message larger than max")];

const fn class(sign: Sign, weight: Weight, code: Code, cure: &'static str) -> Class {
    Class { sign, weight, code, cure }
}

const SEE_LOG: &str = "look at the log of etcd";
const GIVE_ROLE: &str = "grant the user a role that may read and write below the store's prefix";
const GIVE_USER: &str = "it wants a user: give user= and password_file= in the connection string";
const GIVE_NO_USER: &str = "it knows no users: leave user= and password_file= out of the connection string";
const SEE_PASSWORD: &str = "look at user= and at the password in password_file=";
const LOGIN_DIFFERS: &str = "a new login did not help: see that all members have the same --auth-token";
const GIVE_NO_NAME: &str = "while it has users, its JSON gateway takes no client certificate with a common name \
    (CN): give cert= and key= of one without CN, and user= and password_file=; or turn users off (etcdctl auth disable)";
const ALLOW_HOST: &str = "add the name in the connection string to etcd's --host-whitelist, or use TLS";
const MAKE_ROOM: &str = "compact and defragment it, or raise --quota-backend-bytes; then etcdctl alarm disarm";
const SEND_LESS: &str = "raise --max-request-bytes, or take fewer locks in one call";
const NAME_VOTERS: &str = "it is a learner: name voting members in the connection string, or promote it";
const START_MEMBERS: &str = "see that a majority of the members runs, and that they reach each other";
const TOO_OLD: &str = "etcd 3.4 or newer is needed";

/// All classes; the first one that fits counts. Names are those of etcd's api/v3rpc/rpctypes/error.go
/// unless another file is named, and codes those of google.golang.org/grpc/codes.
///
/// Messages are looked at before codes, as etcd's own client does (rpctypes.Error), because codes
/// differ: ErrGRPCNotCapable has 14 up to etcd 3.5 and 9 since 3.6, and etcd's grpc-proxy replaces
/// codes by 2 (etcd issue 13409).
static CLASSES: [Class; 23] = [
    // ErrGRPCInvalidAuthToken, Unauthenticated (16). Simple tokens are forgotten when their member
    // restarts, and 300 s after they were last used there.
    class(Says("invalid auth token"), Token, Code::Denied, LOGIN_DIFFERS),
    // ErrGRPCAuthOldRevision, InvalidArgument (3). Users or roles have changed since the login.
    class(Says("revision of auth store is old"), Token, Code::Unreachable, SEE_LOG),
    // ErrGRPCUserEmpty, InvalidArgument (3).
    class(Says("user name is empty"), Definite, Code::Denied, GIVE_USER),
    // ErrGRPCAuthNotEnabled, FailedPrecondition (9).
    class(Says("authentication is not enabled"), Definite, Code::Denied, GIVE_NO_USER),
    // ErrGRPCAuthFailed, InvalidArgument (3); ErrNoPasswordUser of server/auth/store.go, Unknown (2).
    class(Says("authentication failed"), Definite, Code::Denied, SEE_PASSWORD),
    // accessController.ServeHTTP of server/embed/serve.go, plain text with status 400. With
    // --client-cert-auth a common name is the name of a user, which the gateway can't pass on.
    class(Says("CommonName of client sending a request"), Definite, Code::Denied, GIVE_NO_NAME),
    // errCVE20185702 of server/embed/serve.go, plain text with status 421.
    class(Says("Host header was unrecognized"), Again, Code::Unreachable, ALLOW_HOST),
    // ErrGRPCPermissionDenied, PermissionDenied (7).
    class(DENIED[0], Definite, Code::Denied, GIVE_ROLE),
    class(DENIED[1], Definite, Code::Denied, GIVE_ROLE),
    // ErrGRPCNoSpace, ResourceExhausted (8).
    class(Says("database space exceeded"), Definite, Code::NoSpace, MAKE_ROOM),
    // ErrGRPCRequestTooManyRequests, ResourceExhausted (8): refused before it is proposed.
    class(Says("too many requests"), Again, Code::Unreachable, SEE_LOG),
    // ErrGRPCRequestTooLarge, InvalidArgument (3).
    class(TOO_LARGE[0], Definite, Code::NoSpace, SEND_LESS),
    // grpc-go's rpc_util.go, ResourceExhausted (8).
    class(TOO_LARGE[1], Definite, Code::NoSpace, SEND_LESS),
    // ErrGRPCLeaseNotFound, NotFound (5).
    class(LEASE_NOT_FOUND, Definite, Code::Unreachable, SEE_LOG),
    // ErrGRPCLeaseExist, FailedPrecondition (9).
    class(LEASE_EXISTS, Definite, Code::Unreachable, SEE_LOG),
    // ErrGRPCCompacted, OutOfRange (11).
    class(COMPACTED, Definite, Code::Unreachable, SEE_LOG),
    // ErrGPRCNotSupportedForLearner, ErrGRPCNotCapable: Unavailable (14) up to etcd 3.5, since 3.6
    // FailedPrecondition (9). api/v3rpc/interceptor.go refuses so before anything is done.
    class(Says("rpc not supported for learner"), Again, Code::Unreachable, NAME_VOTERS),
    class(Says("etcdserver: not capable"), Again, Code::Unreachable, SEE_LOG),
    // ErrGRPCNoLeader, Unavailable (14).
    class(Says("no leader"), Unclear, Code::Unreachable, START_MEMBERS),
    // Unauthenticated.
    class(Number(&[16]), Token, Code::Denied, LOGIN_DIFFERS),
    // Unimplemented.
    class(Number(&[12]), Definite, Code::Unsupported, TOO_OLD),
    // InvalidArgument, NotFound, ResourceExhausted, FailedPrecondition, OutOfRange.
    class(Number(&[3, 5, 8, 9, 11]), Definite, Code::Unreachable, SEE_LOG),
    // Unavailable (14): ErrGRPCTimeout, ErrGRPCLeaderChanged, ErrGRPCStopped and the like. DataLoss
    // (15): ErrGRPCCorrupt. Canceled (1), Unknown (2), DeadlineExceeded (4), Internal (13).
    class(Any, Unclear, Code::Unreachable, SEE_LOG),
];

/// The code of grpc/codes for an error without one.
const UNKNOWN: u64 = 2;

impl Class {
    fn of(code: u64, message: &str) -> &'static Class {
        let fits = |class: &&Class| match class.sign {
            Says(_) if code == UNKNOWN && mutant::on("proxied_errors") => false,
            Says(text) => message.contains(text),
            Number(codes) => codes.contains(&code),
            Any => true,
        };
        CLASSES.iter().find(fits).unwrap_or(&CLASSES[CLASSES.len() - 1])
    }
}

/// Reads an answer of the gateway. None if it is not of etcd.
///
/// | | grpc-gateway 1 (etcd 3.4, 3.5) | grpc-gateway 2 (etcd 3.6 and newer) |
/// |---|---|---|
/// | one answer | `{"error":TEXT,"message":TEXT,"code":N}` | `{"code":N,"message":TEXT}` |
/// | a stream | `{"error":{"grpc_code":N,"http_code":N,"message":TEXT,"http_status":TEXT}}` | `{"error":{"code":N,"message":TEXT}}` |
///
/// Sources: runtime/proto_errors.go (errorBody) and internal/errors.proto (StreamError) of version 1;
/// runtime/errors.go and handler.go (errorChunk) of version 2, and etcd issue 21100. What refuses a
/// request before the gateway does so in plain text (etcd's server/embed/serve.go).
pub fn read(endpoint: &str, status: u16, bytes: &[u8]) -> Option<Result<Value, Refusal>> {
    let refusal = |code, message: &str| {
        let (class, message) = (Class::of(code, message), message.trim().to_owned());
        Some(Err(Refusal { class, message, endpoint: endpoint.into() }))
    };
    // A stream sends a line for each message; the first one is the answer, and decides.
    let value = match Deserializer::from_slice(bytes).into_iter::<Value>().next() {
        Some(Ok(value)) if value.is_object() => value,
        _ => return plain_text(status, bytes).and_then(|text| refusal(UNKNOWN, text)),
    };
    let error = match &value["error"] {
        stream @ Value::Object(_) => stream,
        Value::Null if status == 200 => return Some(Ok(value)),
        _ => &value,
    };
    let number = match error["grpc_code"].as_u64() {
        None if mutant::on("gateway_v2_errors") && value["error"].is_object() => None,
        number => number.or_else(|| error["code"].as_u64()),
    };
    refusal(number?, error["message"].as_str().or(error["error"].as_str())?)
}

/// The first line of an answer that is no JSON, if it is known.
fn plain_text(status: u16, bytes: &[u8]) -> Option<&str> {
    if !matches!(status, 400 | 421) || mutant::on("certificate_name") {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?.trim().lines().next()?;
    matches!(Class::of(UNKNOWN, text).sign, Says(_)).then_some(text)
}

impl Refusal {
    pub fn weigh(&self) -> Weight {
        self.class.weight
    }

    /// The user may not ask that.
    pub fn is_denied(&self) -> bool {
        DENIED.contains(&self.class.sign)
    }

    pub fn is_no_lease(&self) -> bool {
        self.class.sign == LEASE_NOT_FOUND
    }

    pub fn is_lease_taken(&self) -> bool {
        self.class.sign == LEASE_EXISTS
    }

    pub fn is_compacted(&self) -> bool {
        self.class.sign == COMPACTED
    }

    pub fn error(&self) -> Error {
        Error::new(self.class.code, self.text(self.class.cure))
    }

    /// As the answer to a write of a value.
    pub fn error_of_value(&self) -> Error {
        // The request is longer than the server takes.
        if !TOO_LARGE.contains(&self.class.sign) {
            return self.error();
        }
        let cure = "set a smaller value, or raise --max-request-bytes, whose default of 1.5 MiB is enough for any";
        Error::new(Code::TooLarge, self.text(cure))
    }

    fn text(&self, cure: &str) -> String {
        format!("etcd at {} says: {}: {cure}", self.endpoint, Shown(self.message.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
