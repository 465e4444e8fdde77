//! Showing locks.

use super::{
    args::{Common, List, Status, Which},
    exit::{Exit, Failure},
    names,
    output::{self, Row},
    store::Store,
    system,
};
use dss::model::{error::Error, lock::Filter};
use serde_json::Value;
use std::{os::unix::ffi::OsStrExt, thread};

/// How often the list is looked at whether it was interrupted.
pub const BLINK: std::time::Duration = std::time::Duration::from_millis(50);

pub fn filter_of(which: &Which) -> Filter {
    Filter {
        id: which.prefix.as_ref().map_or(Vec::new(), |prefix| prefix.as_bytes().to_vec()),
        id_is_prefix: true,
        owner: which.owner.as_ref().map_or(Vec::new(), |owner| owner.as_bytes().to_vec()),
        owner_is_prefix: true,
        min_age_ms: which.min_age.map_or(0, |age| age.as_millis() as u64),
    }
}

pub fn rows(store: &Store, filter: Filter) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    store.call(|handle, inside| {
        handle.list(
            filter,
            |listed| {
                rows.push(Row::of(listed));
                0
            },
            inside,
        )
    })?;
    Ok(rows)
}

pub fn list(common: &Common, list: &List) -> Result<Exit, Failure> {
    let (store, filter) = (Store::existing(common, None)?, filter_of(&list.which));
    let Some(interval) = list.watch else {
        show(common, &store, &rows(&store, filter)?)?;
        return Ok(Exit::Done);
    };
    system::note_interruptions();
    while !system::was_interrupted() {
        match rows(&store, filter.clone()) {
            Ok(rows) if common.json => show(common, &store, &rows)?,
            Ok(rows) => in_place(&format!("{} locks in {}\n\n{}", rows.len(), store.name, output::table(&rows)))?,
            // It may be back the next time.
            Err(error) => in_place(&format!("dss: {}\n", error.text))?,
        }
        let end = std::time::Instant::now() + interval;
        while std::time::Instant::now() < end && !system::was_interrupted() {
            thread::sleep(BLINK.min(interval));
        }
    }
    Ok(Exit::Interrupted)
}

/// On a terminal in place of what was there before.
fn in_place(text: &str) -> std::io::Result<()> {
    let clear = if system::terminal_width().is_some() { "\x1b[H\x1b[2J" } else { "" };
    output::print(&format!("{clear}{}  {text}", output::timestamp(output::now_us())))
}

fn show(common: &Common, store: &Store, rows: &[Row]) -> Result<(), Failure> {
    if common.json {
        return Ok(output::print_json(&store.name, "locks", Value::Array(rows.iter().map(Row::json).collect()))?);
    }
    if common.quiet {
        return Ok(output::print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>())?);
    }
    match rows {
        [] => output::say(&format!("no such locks are held in {}", store.name)),
        rows => output::print(&output::table(rows))?,
    }
    Ok(())
}

pub fn status(common: &Common, status: &Status) -> Result<Exit, Failure> {
    let (ids, store) = (names::ids(&status.ids)?, Store::existing(common, None)?);
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in &ids {
        let filter = Filter { id: id.as_bytes().to_vec(), ..Filter::default() };
        match rows(&store, filter)?.pop() {
            Some(row) => found.push(row),
            None => missing.push(output::shown(id.as_bytes())),
        }
    }
    if !common.quiet && (common.json || !found.is_empty()) {
        show(common, &store, &found)?;
    }
    if missing.is_empty() {
        return Ok(Exit::Done);
    }
    let text = format!("nobody holds {} in {} (dss list shows what is held)", missing.join(", "), store.name);
    Err(Failure::new(Exit::NotFound, text))
}
