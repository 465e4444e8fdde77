//! What people and programs read: tables that fit the terminal, and JSON.

use super::system;
use dss::{
    engine::{Granted, list::Listed},
    model::{
        error::Shown,
        lock::Entry,
        name::{LockId, Owner},
    },
};
use serde_json::{Value, json};
use std::{
    env,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A lock as it is shown.
pub struct Row {
    pub id: String,
    pub owner: String,
    pub token: u64,
    pub held_ms: u64,
    pub taken_us: i64,
    pub ttl_ms: u64,
    /// None for one that never expires.
    pub left_ms: Option<u64>,
    pub note: String,
    pub client: String,
}

impl Row {
    pub fn of(listed: &Listed<'_>) -> Row {
        let left_ms = listed.left_us.map(|left| (left.max(0) / 1000) as u64);
        Row { left_ms, ..Row::of_entry(listed.id, listed.entry) }
    }

    /// The same where nothing is known of what is left.
    fn of_entry(id: &LockId, entry: &Entry) -> Row {
        Row {
            id: shown(id.as_bytes()),
            owner: shown(entry.owner.as_bytes()),
            token: entry.token,
            held_ms: (now_us().saturating_sub(entry.taken_us).max(0) / 1000) as u64,
            taken_us: entry.taken_us,
            ttl_ms: entry.ttl_ms,
            left_ms: None,
            note: shown(entry.note.as_bytes()),
            client: entry.client.to_string(),
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "owner": self.owner, "token": self.token.to_string(), "taken": timestamp(self.taken_us),
            "held_ms": self.held_ms, "ttl_ms": self.ttl_ms, "left_ms": self.left_ms, "note": self.note,
            "client": self.client,
        })
    }

    fn cells(&self) -> [String; 7] {
        let left = match self.left_ms {
            None => "-".to_owned(),
            Some(left_ms) => span(left_ms),
        };
        let token = self.token.to_string();
        [self.id.clone(), self.owner.clone(), span(self.held_ms), left, token, self.note.clone(), self.client.clone()]
    }

    fn is_nearly_over(&self) -> bool {
        self.left_ms.is_some_and(|left_ms| left_ms < self.ttl_ms / 3)
    }
}

pub fn granted_json(id: &LockId, owner: &Owner, granted: &Granted) -> Value {
    json!({
        "id": shown(id.as_bytes()), "owner": shown(owner.as_bytes()), "token": granted.token.to_string(),
        "left_ms": (granted.left_ms != i64::MAX).then_some(granted.left_ms), "resumed": granted.resumed,
        "owner_dead": granted.owner_dead,
    })
}

/// Printable text: what is none is shown as `\xNN`.
pub fn shown(bytes: &[u8]) -> String {
    Shown(bytes).to_string()
}

pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

pub fn timestamp(us: i64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_micros(us.max(0) as u64)).to_string()
}

/// The two greatest units of a time.
pub fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{minutes}m{:02}s", seconds % 60),
        3_600_000..86_400_000 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

// ---- Tables ----

const HEADS: [&str; 7] = ["ID", "OWNER", "HELD", "LEFT", "TOKEN", "NOTE", "CLIENT"];
/// What is cut first where the terminal is too narrow, and to how little.
const CUT: [(usize, usize); 5] = [(6, 0), (5, 8), (1, 10), (0, 12), (5, 0)];

/// The table of these locks, as wide as the terminal at most.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 7]> = rows.iter().map(Row::cells).collect();
    let mut widths = HEADS.map(str::len);
    for row in &cells {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    if let Some(terminal) = system::terminal_width() {
        fit(&mut widths, terminal);
    }
    let mut text = line(&HEADS.map(str::to_owned), &widths, Some("1"));
    for (row, cells) in rows.iter().zip(&cells) {
        text += &line(cells, &widths, row.is_nearly_over().then_some("33"));
    }
    text
}

/// Takes from the columns that can do with less until the line fits.
fn fit(widths: &mut [usize; 7], terminal: usize) {
    for (column, least) in CUT {
        let line: usize =
            widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>().saturating_sub(2);
        let over = line.saturating_sub(terminal);
        let less = widths[column].saturating_sub(over);
        // A column of a few letters tells nothing.
        widths[column] = if less < 4 && least == 0 { 0 } else { less.max(least.min(widths[column])) };
    }
}

fn line(cells: &[String; 7], widths: &[usize; 7], colour: Option<&str>) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| **width > 0) {
        let length = cell.chars().count();
        if length > *width {
            text.extend(cell.chars().take(width - 1));
            text.push('…');
        } else {
            text += cell;
            text.extend(std::iter::repeat_n(' ', width - length));
        }
        text += "  ";
    }
    coloured(text.trim_end(), colour) + "\n"
}

/// The text in a colour, where colours are wanted.
pub fn coloured(text: &str, colour: Option<&str>) -> String {
    match colour.filter(|_| has_colours()) {
        Some(colour) => format!("\x1b[{colour}m{text}\x1b[0m"),
        None => text.to_owned(),
    }
}

/// On a terminal alone, and not where the user has said otherwise (no-color.org).
fn has_colours() -> bool {
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    let not_wanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    system::terminal_width().is_some() && !is_dumb && !not_wanted
}

/// Prints what a command has done to the store. Unlike print() it is ended by a signal that was
/// noted, and the error is that of the last byte, too.
pub fn answer(text: &str) -> io::Result<()> {
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match out.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left = &left[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted && !system::was_interrupted() => {}
            Err(error) => return Err(error),
        }
    }
    system::close(out.into())
}

/// Says something on standard error. Where even that fails, nobody is there to be told.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "dss: {text}");
}

/// Prints all of it at once.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One document, the same for each way to ask: `{"schema": 1, "store": ..., WHAT: ...}`.
pub fn document(store: &str, what: &str, content: Value) -> String {
    format!("{}\n", json!({"schema": 1, "store": store, what: content}))
}

pub fn print_json(store: &str, what: &str, content: Value) -> io::Result<()> {
    print(&document(store, what, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        for (ms, text) in [(0, "0ms"), (999, "999ms"), (59_999, "59s"), (61_000, "1m01s"), (3_660_000, "1h01m")] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(span(90_000_000), "1d01h");
    }

    #[test]
    fn a_narrow_terminal_loses_what_matters_least() {
        let mut widths = [20, 20, 6, 6, 16, 30, 40];
        fit(&mut widths, 100);
        assert_eq!(widths, [20, 20, 6, 6, 16, 22, 0]);
        let mut widths = [20, 20, 6, 6, 16, 30, 40];
        fit(&mut widths, 60);
        assert_eq!(widths, [12, 10, 6, 6, 16, 0, 0]);
    }

    #[test]
    fn what_is_cut_says_so() {
        let cells = ["drive with a long name", "ann", "1s", "-", "7", "", ""].map(str::to_owned);
        assert_eq!(line(&cells, &[8, 4, 4, 4, 5, 4, 0], None), "drive w…  ann   1s    -     7\n");
    }
}
