//! A bare path: literal to its end, with a `/` in it, so that no mistyped word becomes a new file.

use super::options::{invalid, path};
use crate::{
    model::error::{Error, Shown},
    mutant,
};
use std::path::PathBuf;

pub fn parse(text: &[u8]) -> Result<PathBuf, Error> {
    if let Some(place) = option_place(text).filter(|_| !mutant::on("bare_option")) {
        let key = text[place + 1..].split(|byte| *byte == b'=').next().unwrap_or_default();
        let (file, key) = (Shown(&text[..place]), Shown(key));
        return Err(invalid(format!("a bare path takes no options: write sqlite:{file}?{key}=...")));
    }
    if !text.contains(&b'/') && !mutant::on("bare_word") {
        return Err(invalid(likely_meaning(text)));
    }
    Ok(path(text))
}

/// Where a `?key=` begins.
fn option_place(text: &[u8]) -> Option<usize> {
    let is_key = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let has_key = |place: &usize| {
        let key = &text[place + 1..];
        let length = key.iter().take_while(is_key).count();
        length > 0 && key.get(length) == Some(&b'=')
    };
    (0..text.len()).filter(|place| text[*place] == b'?').find(has_key)
}

/// Does not show the text behind a `=` or before an `@`: it may be a password.
fn likely_meaning(word: &[u8]) -> String {
    if word.contains(&b'@') {
        return "a user and a host are no connection string: write postgresql://user@host/db".into();
    }
    if let Some(end) = word.iter().position(|byte| *byte == b'=') {
        return format!(
            "\"{}=\" is no keyword of libpq, with which a keyword string begins: write for example \"dbname=... host=...\", or ./ \
             before the name of a file",
            Shown(&word[..end])
        );
    }
    let name = Shown(word);
    let is_file = [&b".db"[..], b".sqlite", b".sqlite3"].iter().any(|end| word.ends_with(end));
    match &*word.to_ascii_lowercase() {
        b"etcd" => with_meaning(&name, "etcd://host:2379"),
        b"memory" => with_meaning(&name, "memory:"),
        b"postgres" | b"postgresql" => with_meaning(&name, "postgresql://host/database"),
        b"sqlite" | b"sqlite3" => with_meaning(&name, "sqlite:/path/file.db"),
        _ if is_file => format!("\"{name}\" has no folder: write ./{name} or sqlite:{name}"),
        _ => format!(
            "\"{name}\" is no connection string: write postgresql://host/database or etcd://host:2379 for a server, \
             ./{name} or sqlite:{name} for a file"
        ),
    }
}

fn with_meaning(name: &Shown<'_>, meaning: &str) -> String {
    format!("\"{name}\" is no connection string: write {meaning} (or ./{name} for a file)")
}

#[cfg(test)]
mod tests {
    use crate::model::{
        error::Code,
        uri::{Target, Uri},
    };

    fn refusal(text: &str) -> String {
        let error = Uri::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{text}");
        error.text
    }

    #[test]
    fn a_path_with_a_folder_is_literal() {
        for text in ["/var/x.db", "./x.db", "a/b", "./dbname=x", "./what?.db", "./x?timeout_ms", "./x?=", "./memory"] {
            let Target::Sqlite { path, mode } = Uri::parse(text.as_bytes()).unwrap().target else { panic!("{text}") };
            assert_eq!((path.to_str(), mode), (Some(text), 0o600));
        }
    }

    #[test]
    fn a_word_is_refused_with_its_likely_meaning() {
        let cases = [
            ("etcd", "etcd://host:2379"),
            ("Memory", "memory:"),
            ("memory", "memory:"),
            ("postgres", "postgresql://host/database"),
            ("postgresql", "postgresql://host/database"),
            ("sqlite", "sqlite:/path/file.db"),
            ("localhost", "./localhost"),
            ("10.0.0.1:2379", "etcd://host:2379"),
            ("locks.db", "./locks.db or sqlite:locks.db"),
            ("hots=db dbname=d", "\"hots=\" is no keyword"),
            ("timeout_ms=5 dbname=d", "\"timeout_ms=\" is no keyword"),
            (" ", "no connection string"),
        ];
        for (text, meaning) in cases {
            assert!(refusal(text).contains(meaning), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn options_are_refused() {
        let cases = [
            ("locks.db?mode=0660", "sqlite:locks.db?mode=..."),
            ("./x.db?mode=0660", "sqlite:./x.db?mode=..."),
            ("/x.db?TIMEOUT_MS=", "sqlite:/x.db?TIMEOUT_MS=..."),
            ("/a?b/c?x=1", "sqlite:/a?b/c?x=..."),
        ];
        for (text, meaning) in cases {
            assert!(refusal(text).contains(meaning), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        for text in ["secret@host", "passwort=secret", "x.db?password=secret"] {
            assert!(!refusal(text).contains("secret"), "{text}");
        }
    }
}
