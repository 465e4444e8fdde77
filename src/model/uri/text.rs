//! A store as a connection string without passwords: what `dss_uri` returns and what messages name.

use super::{Target, Uri, etcd::Etcd, postgres::Postgres};
use crate::model::error::Shown;
use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

impl Uri {
    /// The store, for a message: printable, and without passwords.
    pub fn shown(&self) -> String {
        Shown(&self.target.text()).to_string()
    }
}

impl Target {
    /// A connection string of this store, without passwords, `mode` and `timeout_ms`.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Target::Memory { name } => of_memory(name),
            Target::Sqlite { path, .. } => of_file(path),
            Target::Postgres(store) => store.text(),
            Target::Etcd(store) => store.text(),
        }
    }
}

pub fn of_memory(name: &[u8]) -> Vec<u8> {
    [b"memory:", name].concat()
}

/// A bare path is literal, so it is the form for a path with a `?` in it.
pub fn of_file(path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    let scheme: &[u8] = if path.contains(&b'?') { b"" } else { b"sqlite:" };
    [scheme, path].concat()
}

impl Etcd {
    pub fn text(&self) -> Vec<u8> {
        let mut text = format!("etcd://{}/{}", self.endpoints.join(","), self.prefix).into_bytes();
        let files = [("cacert", &self.cacert), ("cert", &self.cert), ("key", &self.key)];
        let of_files = files.map(|(option, path)| (option, bytes(path)));
        // A file of a certificate implies TLS.
        let tls = self.tls && of_files.iter().all(|(_, path)| path.is_none());
        let user = self.user.as_deref().map(str::as_bytes);
        let of_users =
            [("tls", tls.then_some(&b"on"[..])), ("user", user), ("password_file", bytes(&self.password_file))];
        let mut mark = b'?';
        for (option, value) in of_users.into_iter().chain(of_files) {
            if let Some(value) = value {
                text.push(mark);
                text.extend_from_slice(option.as_bytes());
                text.push(b'=');
                text.extend_from_slice(value);
                mark = b'&';
            }
        }
        text
    }
}

fn bytes(path: &Option<PathBuf>) -> Option<&[u8]> {
    path.as_ref().map(|path| path.as_os_str().as_bytes())
}

impl Postgres {
    /// What libpq can't take is left out: it could be a password that was written in a wrong way.
    pub fn text(&self) -> Vec<u8> {
        let (mut text, is_uri) = match of_libpq_uri(&self.conninfo) {
            Some(text) => (text, true),
            None => (super::postgres::public_settings(&self.conninfo), false),
        };
        if *self.schema != *super::postgres::SCHEMA_DEFAULT {
            let joint: &[u8] = match (is_uri, text.contains(&b'?')) {
                (true, true) => b"&",
                (true, false) => b"?",
                (false, _) => b" ",
            };
            text.extend_from_slice(joint);
            text.extend_from_slice(b"schema=");
            text.extend_from_slice(self.schema.as_bytes());
        }
        text
    }
}

/// A URI of libpq without passwords. None for another form.
pub fn of_libpq_uri(conninfo: &[u8]) -> Option<Vec<u8>> {
    let scheme: &[u8] = super::postgres::uri_scheme(conninfo)?;
    let rest = &conninfo[scheme.len()..];
    let mut text = scheme.to_vec();
    // As libpq does: the user ends with an @ before the first slash, also behind a question mark.
    let (user, address) = match rest.iter().position(|byte| b"@/".contains(byte)) {
        Some(end) if rest[end] == b'@' => (Some(&rest[..end]), &rest[end + 1..]),
        _ => (None, rest),
    };
    if let Some(user) = user {
        text.extend_from_slice(user.split(|byte| *byte == b':').next().unwrap_or_default());
        text.push(b'@');
    }
    let (hosts, options) = super::options::split_options(address);
    text.extend_from_slice(hosts);
    let options = options.into_iter().flat_map(|all| all.split(|byte| *byte == b'&'));
    let public = options.filter(|option| is_public_option(option)).collect::<Vec<_>>().join(&b'&');
    if !public.is_empty() {
        text.push(b'?');
        text.extend_from_slice(&public);
    }
    Some(text)
}

fn is_public_option(option: &[u8]) -> bool {
    let Some(end) = option.iter().position(|byte| *byte == b'=') else { return false };
    match (percent_decoded(&option[..end]), percent_decoded(&option[end + 1..])) {
        (Some(key), Some(value)) => key == b"ssl" || super::postgres::is_public(&key, &value),
        _ => false,
    }
}

/// None where a percent sign is not followed by two digits.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let mut digit = || char::from(*bytes.next()?).to_digit(16);
        decoded.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(uri: &str) -> String {
        String::from_utf8(Uri::parse(uri.as_bytes()).unwrap().target.text()).unwrap()
    }

    #[test]
    fn a_text_names_the_same_store() {
        let same = [
            "memory:",
            "memory:a/b",
            "sqlite:/a%20b#c:d",
            "/a/what?.db",
            "etcd://h1:1,[::1]:2379/a/b",
            "etcd://h:2379/dss?tls=on&user=u&password_file=/pw",
            "etcd://h:2379/dss?cacert=/ca&cert=/c&key=/k",
            "postgresql://u@h1:5432,h2/d?sslmode=require&ssl=true&schema=x",
            "postgres:///d?host=/tmp",
            "host = 'a b' port=1 schema=x",
        ];
        for uri in same {
            assert_eq!(text(uri), uri);
            assert_eq!(Uri::parse(uri.as_bytes()).unwrap(), Uri::parse(text(uri).as_bytes()).unwrap(), "{uri}");
        }
    }

    #[test]
    fn a_text_has_no_options_of_the_handle() {
        assert_eq!(text("sqlite:/x?mode=0660&timeout_ms=5"), "sqlite:/x");
        assert_eq!(text("memory:x?timeout_ms=5"), "memory:x");
        assert_eq!(text("etcd://h?timeout_ms=5"), "etcd://h:2379/dss");
        assert_eq!(text("postgresql://h?schema=dss&timeout_ms=5"), "postgresql://h");
    }

    #[test]
    fn a_text_of_a_uri_has_no_password() {
        let cases = [
            ("postgresql://u:secret@h/d", "postgresql://u@h/d"),
            ("postgresql://:secret@h/d", "postgresql://@h/d"),
            ("postgresql://u:a:secret@h:1/d", "postgresql://u@h:1/d"),
            ("postgresql://u:se?cret@h/d?port=1", "postgresql://u@h/d?port=1"),
            ("postgresql://h/d?password=secret", "postgresql://h/d"),
            ("postgresql://h/d?user=u&password=secret&port=1", "postgresql://h/d?user=u&port=1"),
            ("postgresql://h/d?pass%77ord=secret&sslpassword=secret", "postgresql://h/d"),
            (
                "postgresql://h/d?oauth_client_secret=secret&scram_client_key=secret&scram_server_key=secret",
                "postgresql://h/d",
            ),
            ("postgresql://h?dbname=postgresql%3A//u:secret@h", "postgresql://h"),
            ("postgresql://h?dbname=password%3Dsecret", "postgresql://h"),
            ("postgresql://h/d?secret", "postgresql://h/d"),
            ("postgresql://h/d?%zz=secret&passwort=secret", "postgresql://h/d"),
        ];
        for (uri, want) in cases {
            assert_eq!(text(uri), want);
        }
    }

    #[test]
    fn a_text_of_keywords_has_no_password() {
        let cases = [
            ("host=h password=secret port=1", "host=h port=1"),
            ("password = 'a \\' secret' dbname=d", "dbname=d"),
            ("host=h password=a\\ secret sslpassword='secret'user=u", "host=h user=u"),
            ("host=h password\x0b=secret", "host=h"),
            ("host=h\x0bpassword=secret", "host=h"),
            ("host=h password='secret", "host=h"),
            ("host=h passwort=secret", "host=h"),
            ("host=h secret", "host=h"),
            ("host=h dbname=postgresql://u:secret@h/d", "host=h"),
            ("dbname='password=secret'", ""),
            ("dbname=d password=secret schema=x", "dbname=d schema=x"),
        ];
        for (uri, want) in cases {
            assert_eq!(text(uri), want, "{uri}");
        }
    }

    #[test]
    fn a_message_is_printable() {
        assert_eq!(Uri::parse(b"sqlite:/a\nb\xff").unwrap().shown(), "sqlite:/a\\x0ab\\xff");
    }
}
