//! Connection strings of PostgreSQL, in both forms that libpq has: what is ours is taken out, the rest is libpq's.

use super::options::{Options, invalid, set_once, split_options};
use crate::{
    model::error::{Error, Shown},
    mutant,
};
use std::{fmt, time::Duration};

/// A PostgreSQL store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Postgres {
    /// A connection string as libpq takes it; it may hold a password.
    pub conninfo: Box<[u8]>,
    /// The schema of the database that holds the store.
    pub schema: Box<str>,
}

/// Without the connection string: passwords are not for logs.
impl fmt::Debug for Postgres {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Postgres({})", self.schema)
    }
}

pub(super) const SCHEMA_DEFAULT: &str = "dss";
/// PostgreSQL cuts longer names off.
const SCHEMA_MAX: usize = 63;

/// What libpq takes before a `=` (PostgreSQL's manual, "Parameter Key Words").
const LIBPQ_KEYWORDS: &str = "host hostaddr port dbname user password passfile require_auth channel_binding \
    connect_timeout client_encoding options application_name fallback_application_name keepalives keepalives_idle \
    keepalives_interval keepalives_count tcp_user_timeout replication gssencmode sslmode requiressl sslnegotiation \
    sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer \
    ssl_min_protocol_version ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib \
    gssdelegation scram_client_key scram_server_key service servicefile target_session_attrs load_balance_hosts \
    oauth_issuer oauth_client_id oauth_client_secret oauth_scope";

pub(super) fn is_libpq_keyword(word: &[u8]) -> bool {
    LIBPQ_KEYWORDS.split_ascii_whitespace().any(|keyword| keyword.as_bytes() == word)
}

/// Our own options, which libpq must not see.
fn is_ours(key: &[u8]) -> bool {
    matches!(key, b"timeout_ms" | b"schema")
}

/// `postgresql://…`: options stand behind the `?`, as in every URI of libpq.
pub fn parse_uri(text: &[u8]) -> Result<(Postgres, Duration), Error> {
    if uri_scheme(text).is_none() {
        return Err(invalid("write postgresql://host/database"));
    }
    let (address, options) = split_options(text);
    check_address(address)?;
    let all = options.into_iter().flat_map(|all| all.split(|byte| *byte == b'&'));
    let key = |option: &[u8]| option.split(|byte| *byte == b'=').next().is_some_and(is_ours);
    let (ours, theirs): (Vec<&[u8]>, Vec<&[u8]>) = all.partition(|option| key(option));
    let mut conninfo = address.to_vec();
    if !theirs.is_empty() {
        conninfo.push(b'?');
        conninfo.extend_from_slice(&theirs.join(&b'&'));
    }
    let ours = ours.into_iter().map(|option| {
        let end = option.iter().position(|byte| *byte == b'=');
        end.map_or((option, None), |end| (&option[..end], Some(option[end + 1..].to_vec())))
    });
    store(conninfo, ours)
}

/// The beginning by which libpq recognises a URI.
pub(super) fn uri_scheme(text: &[u8]) -> Option<&'static [u8]> {
    [&b"postgresql://"[..], b"postgres://"].into_iter().find(|scheme| text.starts_with(scheme))
}

/// libpq takes what stands behind the first `@` for a host, and what stands behind a `/` for a database: a password with these in
/// it would be shown, and asked of name servers.
fn check_address(address: &[u8]) -> Result<(), Error> {
    let begin = address.windows(2).position(|two| two == b"//").map_or(0, |place| place + 2);
    let mut parts = address[begin..].splitn(2, |byte| *byte == b'/');
    let count = |part: Option<&[u8]>| part.unwrap_or_default().iter().filter(|byte| **byte == b'@').count();
    if count(parts.next()) > 1 || count(parts.next()) > 0 {
        return Err(invalid("in a user, a password and the name of a database write %40 for @ and %2F for /"));
    }
    Ok(())
}

/// `dbname=… host=…`: PostgreSQL's manual, "Keyword/Value Connection Strings".
pub fn parse_keywords(text: &[u8]) -> Result<(Postgres, Duration), Error> {
    let mut ours = Vec::new();
    let mut conninfo = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(Setting { key, value, length }) = next_setting(rest) {
        if is_ours(key) {
            ours.push((key, Some(value)));
        } else {
            if key == b"dbname" && value.windows(3).any(|three| three == b"://") {
                check_address(split_options(&value).0)?;
            }
            conninfo.extend_from_slice(&rest[..length]);
        }
        rest = &rest[length..];
    }
    conninfo.extend_from_slice(rest);
    store(conninfo, ours.into_iter())
}

/// The settings of a keyword string that may be shown, as they are written.
pub(super) fn public_settings(conninfo: &[u8]) -> Vec<u8> {
    let (mut public, mut rest) = (Vec::new(), conninfo);
    while let Some(Setting { key, value, length }) = next_setting(rest) {
        if is_public(key, &value) {
            let begin = rest.iter().take_while(|byte| is_blank(byte)).count();
            public.push(&rest[begin..length]);
        }
        rest = &rest[length..];
    }
    public.join(&b' ')
}

/// Whether libpq knows this setting and it is no secret. (A database's name may be a connection string.)
pub(super) fn is_public(key: &[u8], value: &[u8]) -> bool {
    let secret: &[&[u8]] =
        &[b"password", b"sslpassword", b"scram_client_key", b"scram_server_key", b"oauth_client_secret"];
    let holds_string = || key == b"dbname" && (uri_scheme(value).is_some() || value.contains(&b'='));
    is_libpq_keyword(key) && (!secret.contains(&key) || mutant::on("uri_password")) && !holds_string()
}

/// As isspace(3) in the C locale, by which libpq separates its settings.
fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == 0x0b
}

struct Setting<'a> {
    key: &'a [u8],
    value: Vec<u8>,
    /// How many bytes both take.
    length: usize,
}

/// None at the end, and where libpq will find fault with the string.
fn next_setting(text: &[u8]) -> Option<Setting<'_>> {
    let blanks = |from: usize| text[from..].iter().take_while(|byte| is_blank(byte)).count();
    let begin = blanks(0);
    let equals = begin + text[begin..].iter().position(|byte| *byte == b'=')?;
    let key = &text[begin..equals];
    let key = &key[..key.len() - key.iter().rev().take_while(|byte| is_blank(byte)).count()];
    let mut place = equals + 1 + blanks(equals + 1);
    let quoted = text.get(place) == Some(&b'\'');
    place += usize::from(quoted);
    let mut value = Vec::new();
    loop {
        match text.get(place) {
            None if quoted => return None,
            None => break,
            Some(b'\'') if quoted => {
                place += 1;
                break;
            }
            Some(byte) if !quoted && is_blank(byte) => break,
            Some(b'\\') => {
                value.extend(text.get(place + 1));
                place += 2;
            }
            Some(byte) => {
                value.push(*byte);
                place += 1;
            }
        }
    }
    Some(Setting { key, value, length: place.min(text.len()) })
}

fn store<'a>(
    conninfo: Vec<u8>,
    ours: impl Iterator<Item = (&'a [u8], Option<Vec<u8>>)>,
) -> Result<(Postgres, Duration), Error> {
    let mut options = Options::default();
    let mut schema = None;
    for (key, value) in ours {
        let value = value.unwrap_or_default();
        match key {
            b"schema" => set_once(&mut schema, "schema", parse_schema(&value))?,
            key => options.common(key, &value)?,
        }
    }
    let schema = schema.unwrap_or_else(|| SCHEMA_DEFAULT.into());
    let store = Postgres { conninfo: conninfo.into(), schema };
    Ok((store, options.timeout()))
}

fn parse_schema(name: &[u8]) -> Result<Box<str>, Error> {
    let legal = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let begins = name.first().is_some_and(|byte| !byte.is_ascii_digit());
    let text = std::str::from_utf8(name).ok().filter(|_| begins && name.iter().all(legal));
    match text {
        Some(text) if (1..=SCHEMA_MAX).contains(&text.len()) && !text.starts_with("pg_") => Ok(text.into()),
        _ => Err(invalid(format!(
            "schema={} is no name for a schema of libdss: give 1 to {SCHEMA_MAX} small letters, digits and _",
            Shown(name)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::uri::{Target, Uri};

    fn parsed(text: &str) -> (String, String, u128) {
        let uri = Uri::parse(text.as_bytes()).unwrap();
        let Target::Postgres(store) = uri.target else { panic!("{text}") };
        (String::from_utf8(store.conninfo.into()).unwrap(), store.schema.into(), uri.timeout.as_millis())
    }

    #[test]
    fn our_options_are_taken_out_of_a_uri() {
        let plain = |text: &str| (text.to_owned(), "dss".to_owned(), 10_000);
        assert_eq!(parsed("postgresql://h/d"), plain("postgresql://h/d"));
        assert_eq!(
            parsed("postgres://u:p%20w@h1,h2/d?sslmode=require"),
            plain("postgres://u:p%20w@h1,h2/d?sslmode=require")
        );
        let all = parsed("postgresql:///d?timeout_ms=50&host=/tmp&schema=site_a&port=1");
        assert_eq!(all, ("postgresql:///d?host=/tmp&port=1".into(), "site_a".into(), 50));
        assert_eq!(parsed("postgresql://h?schema=x"), ("postgresql://h".into(), "x".into(), 10_000));
    }

    #[test]
    fn our_options_are_taken_out_of_keywords() {
        let all = parsed("dbname = d timeout_ms=50 password='a \\' timeout_ms=7' schema = 'x'");
        assert_eq!(all, ("dbname = d password='a \\' timeout_ms=7'".into(), "x".into(), 50));
        assert_eq!(parsed("host=h password=a\\ b").0, "host=h password=a\\ b");
        assert_eq!(parsed("host=h password='open").0, "host=h password='open");
        assert_eq!(parsed("dbname=postgresql://h?schema=x").0, "dbname=postgresql://h?schema=x");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["schema=", "schema=A", "schema=a'b", "schema=pg_x", "schema", "timeout_ms=x", "schema=a&schema=b"]
        {
            assert!(Uri::parse(format!("postgresql://h/d?{text}").as_bytes()).is_err(), "{text}");
        }
        assert!(Uri::parse(format!("postgresql://h?schema={}", "x".repeat(64)).as_bytes()).is_err());
    }

    #[test]
    fn what_could_be_a_password_is_no_host() {
        for text in ["u:a@b@h/d", "u:a/b@h/d", "u:1/b@h", "@@"] {
            assert!(Uri::parse(format!("postgresql://{text}").as_bytes()).is_err(), "{text}");
            assert!(Uri::parse(format!("dbname=postgresql://{text}").as_bytes()).is_err(), "{text}");
        }
        assert!(Uri::parse(b"postgresql://u:a%40b%2Fc@h/d?options=@/").is_ok());
        assert!(Uri::parse(b"host=h password=a@b/c@d").is_ok());
    }

    #[test]
    fn no_password_is_shown() {
        let uri = Uri::parse(b"postgresql://u:secret@h/d").unwrap();
        assert!(!format!("{uri:?}").contains("secret"));
        assert_eq!(uri.timeout, Duration::from_secs(10));
    }
}
