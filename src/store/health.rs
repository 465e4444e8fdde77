//! How it stands with a store and what it rests on, for whoever is asked at night.

use crate::model::error::Error;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Fine,
    /// It works, and will not, or not as meant, one day.
    Warning,
    /// It does not work, or what was acknowledged can be lost.
    Wrong,
}

/// What was found about one thing: a text, and what to do if it is not fine.
#[derive(Clone, Debug)]
pub struct Finding {
    pub about: &'static str,
    pub level: Level,
    pub text: String,
    pub cure: String,
}

impl Finding {
    pub fn fine(about: &'static str, text: impl Into<String>) -> Finding {
        Finding { about, level: Level::Fine, text: text.into(), cure: String::new() }
    }

    pub fn warning(about: &'static str, text: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { about, level: Level::Warning, text: text.into(), cure: cure.into() }
    }

    pub fn wrong(about: &'static str, text: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { about, level: Level::Wrong, text: text.into(), cure: cure.into() }
    }

    /// Errors say themselves what to do.
    pub fn failed(about: &'static str, error: &Error) -> Finding {
        Finding::wrong(about, error.text.clone(), "")
    }
}

/// A number of bytes, for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut number, mut unit) = (bytes as f64, "bytes");
    for greater in UNITS {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, greater);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{number:.1} {unit}") }
}

/// A number of seconds, for people.
pub fn seconds(count: u64) -> String {
    match count {
        0..120 => format!("{count} s"),
        120..7200 => format!("{} minutes", count / 60),
        7200..172_800 => format!("{} hours", count / 3600),
        _ => format!("{} days", count / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!((size(1023), size(1536), size(5 << 30)), ("1023 bytes".into(), "1.5 KiB".into(), "5.0 GiB".into()));
        assert_eq!(
            (seconds(119), seconds(7199), seconds(172_800)),
            ("119 s".into(), "119 minutes".into(), "2 days".into())
        );
    }
}
