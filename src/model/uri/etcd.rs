//! Connection strings of etcd: `etcd://h1:2379,h2:2379/prefix?option=value`.

use super::options::{Options, invalid, pairs, path, set_once, split_options};
use crate::model::error::{Error, Shown};
use std::{path::PathBuf, time::Duration};

/// An etcd store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Etcd {
    /// `host:port`, in the order in which they are tried.
    pub endpoints: Vec<Box<str>>,
    /// What all keys of the store begin with, without slashes at its ends.
    pub prefix: Box<str>,
    pub tls: bool,
    /// PEM files: who has signed the server's certificate, and the client's own certificate with its key.
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub user: Option<Box<str>>,
    /// Its first line is the user's password.
    pub password_file: Option<PathBuf>,
}

const PORT_DEFAULT: &str = "2379";
const PREFIX_DEFAULT: &str = "dss";
const PREFIX_MAX: usize = 256;

/// What stands behind `etcd:`.
pub fn parse(rest: &[u8]) -> Result<(Etcd, Duration), Error> {
    let (address, options) = split_options(rest);
    let address = address.strip_prefix(b"//").ok_or_else(|| invalid("write etcd://host:2379"))?;
    if address.contains(&b'@') {
        // What stands there may be a password.
        return Err(invalid("an address of etcd has no user in it: give user= and password_file= behind a ?"));
    }
    let text = std::str::from_utf8(address).map_err(|_| bad_address(address))?;
    let (hosts, prefix) = text.split_once('/').unwrap_or((text, ""));
    let endpoints = hosts.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
    let prefix = parse_prefix(prefix)?;
    let (tls, cacert, cert, key, user, password_file) = (false, None, None, None, None, None);
    let mut store = Etcd { endpoints, prefix, tls, cacert, cert, key, user, password_file };
    let timeout = read_options(&mut store, options)?;
    Ok((store, timeout))
}

fn read_options(store: &mut Etcd, options: Option<&[u8]>) -> Result<Duration, Error> {
    let mut tls = None;
    let mut common = Options::default();
    for (key, value) in pairs(options) {
        let (key, value) = (key, value?);
        match key {
            b"tls" => set_once(&mut tls, "tls", parse_switch(value))?,
            b"cacert" => set_once(&mut store.cacert, "cacert", file("cacert", value))?,
            b"cert" => set_once(&mut store.cert, "cert", file("cert", value))?,
            b"key" => set_once(&mut store.key, "key", file("key", value))?,
            b"password_file" => set_once(&mut store.password_file, "password_file", file("password_file", value))?,
            b"user" => set_once(&mut store.user, "user", parse_user(value))?,
            _ => common.common(key, value)?,
        }
    }
    let has_files = store.cacert.is_some() || store.cert.is_some() || store.key.is_some();
    store.tls = tls.unwrap_or(has_files);
    if has_files && !store.tls {
        return Err(invalid("cacert, cert and key are for tls, which tls=off forbids: take one of them out"));
    }
    if store.cert.is_some() != store.key.is_some() {
        return Err(invalid("cert and key belong together: give both"));
    }
    if store.user.is_some() != store.password_file.is_some() {
        return Err(invalid("user and password_file belong together: give both"));
    }
    Ok(common.timeout())
}

fn endpoint(text: &str) -> Result<Box<str>, Error> {
    let bracketed = text.starts_with('[');
    let (host, port) = match (bracketed, text.rfind(']'), text.rsplit_once(':')) {
        (true, Some(end), _) => (&text[..=end], text[end + 1..].strip_prefix(':').unwrap_or(&text[end + 1..])),
        (false, _, Some((host, port))) => (host, port),
        _ => (text, ""),
    };
    let port = if port.is_empty() && !text.ends_with(':') { PORT_DEFAULT } else { port };
    let legal_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte);
    let good = !host.is_empty()
        && host.bytes().all(legal_host)
        && (if bracketed { host.ends_with(']') } else { !host.contains([':', '[', ']']) })
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    if good { Ok(format!("{host}:{port}").into()) } else { Err(bad_address(text.as_bytes())) }
}

fn parse_prefix(text: &str) -> Result<Box<str>, Error> {
    let prefix = text.trim_matches('/');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    match prefix {
        "" => Ok(PREFIX_DEFAULT.into()),
        _ if prefix.len() <= PREFIX_MAX && prefix.bytes().all(legal) => Ok(prefix.into()),
        _ => Err(invalid(format!(
            "/{} is no prefix for a store: give at most {PREFIX_MAX} letters, digits, and any of . _ - /",
            Shown(text.as_bytes())
        ))),
    }
}

fn parse_switch(value: &[u8]) -> Result<bool, Error> {
    match value {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(invalid(format!("tls={} is neither on nor off", Shown(value)))),
    }
}

fn parse_user(value: &[u8]) -> Result<Box<str>, Error> {
    let name = std::str::from_utf8(value).ok().filter(|name| !name.is_empty());
    name.map(Into::into).ok_or_else(|| invalid(format!("user={} is no name", Shown(value))))
}

fn file(option: &str, value: &[u8]) -> Result<PathBuf, Error> {
    if value.is_empty() {
        return Err(invalid(format!("{option} names no file")));
    }
    Ok(path(value))
}

fn bad_address(text: &[u8]) -> Error {
    invalid(format!("\"{}\" is no address of etcd: write etcd://host:2379, several hosts with commas", Shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::uri::{Target, Uri};

    fn parsed(text: &str) -> Etcd {
        let Target::Etcd(store) = Uri::parse(text.as_bytes()).unwrap().target else { panic!("{text}") };
        store
    }

    #[test]
    fn addresses_are_read() {
        let endpoints = |text: &str| parsed(text).endpoints.join(" ");
        assert_eq!(endpoints("etcd://h"), "h:2379");
        assert_eq!(endpoints("etcd://h1:1,10.0.0.2,h-3.x:3"), "h1:1 10.0.0.2:2379 h-3.x:3");
        assert_eq!(endpoints("etcd://[::1]:5,[fe80::1%25eth0]"), "[::1]:5 [fe80::1%25eth0]:2379");
        let prefix = |text: &str| parsed(text).prefix.into_string();
        assert_eq!(
            (prefix("etcd://h"), prefix("etcd://h/"), prefix("etcd://h/a/b/")),
            ("dss".into(), "dss".into(), "a/b".into())
        );
    }

    #[test]
    fn options_are_read() {
        let store = parsed("etcd://h?cacert=/ca.pem&user=u&password_file=/pw");
        assert!(store.tls && store.cacert == Some("/ca.pem".into()) && store.user.as_deref() == Some("u"));
        assert!(parsed("etcd://h?tls=on").tls && !parsed("etcd://h?tls=off").tls && !parsed("etcd://h").tls);
        assert_eq!(Uri::parse(b"etcd://h?timeout_ms=50").unwrap().timeout.as_millis(), 50);
    }

    #[test]
    fn no_password_is_shown() {
        for text in ["etcd://u:secret@h", "etcd://u:1/secret@h"] {
            assert!(!Uri::parse(text.as_bytes()).unwrap_err().text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            "etcd:h",
            "etcd://",
            "etcd://h:",
            "etcd://h:0",
            "etcd://h:99999",
            "etcd://:1",
            "etcd://a,,b",
            "etcd://h h",
            "etcd://u:p@h",
            "etcd://[::1",
            "etcd://h/a b",
            "etcd://h?tls",
            "etcd://h?tls=1",
            "etcd://h?foo=1",
            "etcd://h?cert=/c",
            "etcd://h?user=u",
            "etcd://h?password_file=/p",
            "etcd://h?tls=off&cacert=/c",
            "etcd://h?user=u&user=v",
        ];
        for text in bad {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
