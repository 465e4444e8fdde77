//! Connection strings: which store, and with which options.

mod bare;
pub mod etcd;
mod options;
pub mod postgres;
pub mod text;

use super::error::{Error, Shown};
use etcd::Etcd;
pub use options::TIMEOUT_DEFAULT;
use options::{Options, invalid, pairs, path, set_once, split_options};
use postgres::Postgres;
use std::{path::PathBuf, time::Duration};

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
            Some((b"postgresql" | b"postgres", _)) => postgres::parse_uri(text).map(Uri::postgres),
            Some((b"etcd", rest)) => {
                let (target, timeout) = etcd::parse(rest)?;
                Ok(Uri { target: Target::Etcd(target), timeout })
            }
            Some((scheme, _)) => Err(invalid(format!(
                "\"{}:\" is no store that libdss knows: use sqlite:, postgresql:, etcd: or memory: (a file name with a \
                 colon is written ./name)",
                Shown(scheme)
            ))),
            None if is_keyword_string(text) => postgres::parse_keywords(text).map(Uri::postgres),
            None => Ok(Uri::file(bare::parse(text)?, MODE_DEFAULT)),
        }
    }

    fn postgres((target, timeout): (Postgres, Duration)) -> Uri {
        Uri { target: Target::Postgres(target), timeout }
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

fn is_keyword_string(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'=') else { return false };
    postgres::is_libpq_keyword(text[..end].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Code;

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
