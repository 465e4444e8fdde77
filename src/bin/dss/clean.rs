//! Removing locks of owners who are gone.

use super::{
    args::{Clean, Common},
    exit::{Exit, Failure},
    list::{filter_of, rows},
    output::{self, Row},
    store::Store,
};
use serde_json::Value;
use std::io::{self, BufRead, IsTerminal, Write};

pub fn clean(common: &Common, clean: &Clean) -> Result<Exit, Failure> {
    let filter = filter_of(&clean.which);
    if filter.is_empty() && !clean.all {
        return Err(Failure::usage("say which locks: a PREFIX, --owner, --min-age, or --all"));
    }
    let store = Store::existing(common, None)?;
    if !clean.yes {
        let found = rows(&store, filter.clone())?;
        if found.is_empty() {
            return done(common, &store, &[]);
        }
        if !asked(&found)? {
            return Err(Failure::new(Exit::Interrupted, "nothing was removed"));
        }
    }
    let mut removed = Vec::new();
    let show = |listed: &dss::engine::list::Listed<'_>| {
        removed.push(Row::of(listed));
        0
    };
    let cleaned = store.call(|handle, inside| handle.clean(filter, Some(show), inside));
    let exit = done(common, &store, &removed)?;
    cleaned?;
    Ok(exit)
}

/// Shows what would be removed, and asks a person.
fn asked(found: &[Row]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let text = format!("{} locks would be removed, and there is nobody to ask: say --yes", found.len());
        return Err(Failure::usage(text));
    }
    let mut terminal = io::stderr().lock();
    write!(terminal, "{}Remove these {} locks? [y/N] ", output::table(found), found.len())?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn done(common: &Common, store: &Store, removed: &[Row]) -> Result<Exit, Failure> {
    if common.json {
        output::print_json(&store.name, "removed", Value::Array(removed.iter().map(Row::json).collect()))?;
    } else {
        let line = |row: &Row| format!("removed {} of {}, token {}\n", row.id, row.owner, row.token);
        output::print(&removed.iter().map(line).collect::<String>())?;
        if !common.quiet {
            output::say(&format!("{} locks were removed in {}", removed.len(), store.name));
        }
    }
    Ok(Exit::Done)
}
