//! Connection strings: which store, and with which options.

mod bare;
pub mod etcd;
pub mod postgres;
pub mod text;

use super::error::{Code, Error, Shown};
use etcd::Etcd;
use postgres::Postgres;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

/// How long a call may spend before it gives up, where the string does not say.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest time a string may ask for: a day.
const TIMEOUT_MAX_MS: u64 = 86_400_000;
/// The mode of a file that a store creates, where the string does not say.
pub const MODE_DEFAULT: u32 = 0o600;

/// A connection string, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uri {
    pub target: Target,
    pub timeout: Duration,
}

/// Which store, of those that this library has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The store of this name in this process.
    Memory {
        name: Box<[u8]>,
    },
    /// The SQLite file at this path; created with this mode if it does not exist.
    Sqlite {
        path: PathBuf,
        mode: u32,
    },
    Postgres(Postgres),
    Etcd(Etcd),
}

impl Uri {
    pub fn parse(text: &[u8]) -> Result<Uri, Error> {
        if text.is_empty() {
            return Err(invalid(
                "the connection string is empty: give a path, or a string such as sqlite:/path/file.db",
            ));
        }
        match scheme(text) {
            Some((b"sqlite", rest)) => parse_sqlite(rest),
            Some((b"memory", rest)) => parse_memory(rest),
            Some((b"postgresql" | b"postgres", _)) => postgres::parse_uri(text),
            Some((b"etcd", rest)) => etcd::parse(rest),
            Some((scheme, _)) => Err(invalid(format!(
                "\"{}:\" is no store that libdss knows: use sqlite:, postgresql:, etcd: or memory: (a file name with a \
                 colon is written ./name)",
                Shown(scheme)
            ))),
            None if is_keyword_string(text) => postgres::parse_keywords(text),
            None => bare::parse(text),
        }
    }

    /// The SQLite file at this path, with the default options.
    pub fn file(path: PathBuf, mode: u32) -> Uri {
        Uri { target: Target::Sqlite { path, mode }, timeout: TIMEOUT_DEFAULT }
    }
}

fn parse_sqlite(rest: &[u8]) -> Result<Uri, Error> {
    let (name, options) = split_options(rest);
    if name.is_empty() {
        return Err(invalid("sqlite: names no file: write sqlite:/path/file.db"));
    }
    let (mut common, mut mode) = (Options::default(), None);
    for (key, value) in pairs(options) {
        match key {
            b"mode" => set_once(&mut mode, "mode", parse_mode(value?))?,
            _ => common.common(key, value?)?,
        }
    }
    let target = Target::Sqlite { path: path(name), mode: mode.unwrap_or(MODE_DEFAULT) };
    Ok(Uri { target, timeout: common.timeout() })
}

fn parse_memory(rest: &[u8]) -> Result<Uri, Error> {
    let (name, options) = split_options(rest);
    let mut common = Options::default();
    for (key, value) in pairs(options) {
        common.common(key, value?)?;
    }
    Ok(Uri { target: Target::Memory { name: name.into() }, timeout: common.timeout() })
}

/// Options that every store has.
#[derive(Default)]
struct Options {
    timeout: Option<Duration>,
}

impl Options {
    /// Takes an option that is none of a store's own.
    fn common(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match key {
            b"timeout_ms" => set_once(&mut self.timeout, "timeout_ms", parse_timeout(value)),
            _ => Err(invalid(format!("there is no option \"{}\"", Shown(key)))),
        }
    }

    fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }
}

/// The options of `key=value&key=value`.
fn pairs(options: Option<&[u8]>) -> impl Iterator<Item = (&[u8], Result<&[u8], Error>)> {
    options.into_iter().flat_map(|all| all.split(|byte| *byte == b'&')).map(|option| {
        match option.iter().position(|byte| *byte == b'=') {
            Some(place) => (&option[..place], Ok(&option[place + 1..])),
            None => (option, Err(invalid(format!("option \"{}\" has no value: write key=value", Shown(option))))),
        }
    })
}

fn set_once<T>(slot: &mut Option<T>, name: &str, value: Result<T, Error>) -> Result<(), Error> {
    match slot.replace(value?) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("option {name} is given twice"))),
    }
}

fn parse_timeout(value: &[u8]) -> Result<Duration, Error> {
    let out_of_range = || {
        let text = format!("timeout_ms={} is out of range: give 0 to {TIMEOUT_MAX_MS}", Shown(value));
        Error::new(Code::OutOfRange, text)
    };
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid(format!("timeout_ms={} is not a whole number of milliseconds", Shown(value))));
    }
    let ms = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()).ok_or_else(out_of_range)?;
    if ms > TIMEOUT_MAX_MS {
        return Err(out_of_range());
    }
    Ok(Duration::from_millis(ms))
}

fn parse_mode(value: &[u8]) -> Result<u32, Error> {
    let octal = (3..=4).contains(&value.len()) && value.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let mode = value.iter().fold(0, |mode, digit| mode << 3 | u32::from(digit.wrapping_sub(b'0') & 7));
    if !octal || mode & 0o600 != 0o600 || mode & !0o666 != 0 {
        let text =
            format!("mode={} is no mode for the file: give octal digits such as 0600, 0640 or 0660", Shown(value));
        return Err(invalid(text));
    }
    Ok(mode)
}

/// A scheme and what follows its colon, where the text begins with letters, digits, `+`, `.` or `-` and a colon.
fn scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b':')?;
    let (name, rest) = (&text[..end], &text[end + 1..]);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"+.-".contains(byte);
    (name.first()?.is_ascii_alphabetic() && name.iter().all(legal)).then_some((name, rest))
}

/// What libpq takes before a `=` (PostgreSQL's manual, "Parameter Key Words").
const LIBPQ_KEYWORDS: &str = "host hostaddr port dbname user password passfile require_auth channel_binding \
    connect_timeout client_encoding options application_name fallback_application_name keepalives keepalives_idle \
    keepalives_interval keepalives_count tcp_user_timeout replication gssencmode sslmode requiressl sslnegotiation \
    sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer \
    ssl_min_protocol_version ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib \
    gssdelegation scram_client_key scram_server_key service servicefile target_session_attrs load_balance_hosts \
    oauth_issuer oauth_client_id oauth_client_secret oauth_scope";

fn is_keyword_string(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'=') else { return false };
    is_libpq_keyword(text[..end].trim_ascii())
}

fn is_libpq_keyword(word: &[u8]) -> bool {
    LIBPQ_KEYWORDS.split_ascii_whitespace().any(|keyword| keyword.as_bytes() == word)
}

fn split_options(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'?') {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Uri::parse(text.as_bytes()).unwrap().target
    }

    fn code(text: &str) -> Code {
        Uri::parse(text.as_bytes()).unwrap_err().code
    }

    fn sqlite(path: &str, mode: u32) -> Target {
        Target::Sqlite { path: path.into(), mode }
    }

    #[test]
    fn paths_are_literal() {
        assert_eq!(target("/var/x.db"), sqlite("/var/x.db", 0o600));
        assert_eq!(target("./a:b"), sqlite("./a:b", 0o600));
        assert_eq!(target("./foo=bar.db"), sqlite("./foo=bar.db", 0o600));
        assert_eq!(target("sqlite:/a%20b#c:d"), sqlite("/a%20b#c:d", 0o600));
        assert_eq!(target("sqlite::memory:"), sqlite(":memory:", 0o600));
    }

    #[test]
    fn options_are_read() {
        let uri = Uri::parse(b"sqlite:x?mode=0660&timeout_ms=250").unwrap();
        assert_eq!(uri, Uri { target: sqlite("x", 0o660), timeout: Duration::from_millis(250) });
        assert_eq!(Uri::parse(b"memory:n?timeout_ms=0").unwrap().timeout, Duration::ZERO);
        assert_eq!(target("memory:"), Target::Memory { name: (*b"").into() });
        assert_eq!(target("memory:a/b"), Target::Memory { name: (*b"a/b").into() });
    }

    #[test]
    fn nonsense_is_refused() {
        let invalid = [
            "",
            "sqlite:",
            "sqlite:?mode=0600",
            "foo:bar",
            "http://x",
            "SQLITE:/x",
            "etcd",
            "x.db",
            "/x.db?mode=0660",
            "postgresql:h",
            "postgres:password=x",
            "a:b",
            "sqlite:x?",
            "sqlite:x?mode",
            "sqlite:x?a=b",
            "sqlite:x?mode=0660&mode=0660",
            "sqlite:x?mode=abc",
            "sqlite:x?mode=0999",
            "sqlite:x?mode=0400",
            "sqlite:x?mode=0700",
            "sqlite:x?mode=00600",
            "sqlite:x?mode=",
            "sqlite:x?timeout_ms=",
            "sqlite:x?timeout_ms=1s",
            "sqlite:x?timeout_ms=-",
            "memory:x?mode=0660",
            "sqlite:x?timeout_ms=1&",
            "sqlite:x?timeout_ms=1&timeout_ms=1",
        ];
        for text in invalid {
            assert_eq!(code(text), Code::Invalid, "{text}");
        }
        for text in
            ["sqlite:x?timeout_ms=86400001", "sqlite:x?timeout_ms=99999999999999999999999", "memory:?timeout_ms=-1"]
        {
            assert_eq!(code(text), Code::OutOfRange, "{text}");
        }
    }

    #[test]
    fn servers_are_told_from_files() {
        for text in ["postgresql://h/d", "postgres://h", "dbname=x", "host = a port=1"] {
            assert!(matches!(target(text), Target::Postgres(_)), "{text}");
        }
        assert!(matches!(target("etcd://h:2379"), Target::Etcd(_)));
    }
}
