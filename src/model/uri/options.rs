//! The parts that connection strings of all stores have.

use crate::model::error::{Code, Error, Shown};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

/// How long a call may spend before it gives up, where the string does not say.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest time a string may ask for: a day.
const TIMEOUT_MAX_MS: u64 = 86_400_000;
/// Options that every store has.
#[derive(Default)]
pub struct Options {
    timeout: Option<Duration>,
}

impl Options {
    /// Takes an option that is none of a store's own.
    pub fn common(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match key {
            b"timeout_ms" => set_once(&mut self.timeout, "timeout_ms", parse_timeout(value)),
            _ => Err(invalid(format!("there is no option \"{}\"", Shown(key)))),
        }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }
}

/// The options of `key=value&key=value`.
pub fn pairs(options: Option<&[u8]>) -> impl Iterator<Item = (&[u8], Result<&[u8], Error>)> {
    options.into_iter().flat_map(|all| all.split(|byte| *byte == b'&')).map(|option| {
        match option.iter().position(|byte| *byte == b'=') {
            Some(place) => (&option[..place], Ok(&option[place + 1..])),
            None => (option, Err(invalid(format!("option \"{}\" has no value: write key=value", Shown(option))))),
        }
    })
}

pub fn set_once<T>(slot: &mut Option<T>, name: &str, value: Result<T, Error>) -> Result<(), Error> {
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

pub fn split_options(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'?') {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

pub fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::Invalid, text)
}
