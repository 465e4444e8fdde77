//! Telling when locks change hands.

use super::{
    args::{Common, Watch, Which},
    exit::{Exit, Failure},
    list::{BLINK, filter_of, rows},
    output::{self, Row},
    store::Store,
    system,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// Looks again and again, and says what differs. What comes and goes between two looks is not seen, but each grant that is seen
/// has a token greater than that before.
pub fn watch(common: &Common, watch: &Watch) -> Result<Exit, Failure> {
    let which = Which { prefix: watch.prefix.clone(), owner: None, min_age: None };
    let store = Store::existing(common, None)?;
    system::note_interruptions();
    let mut seen: Option<BTreeMap<String, Row>> = None;
    let mut is_down = false;
    while !system::was_interrupted() {
        match rows(&store, filter_of(&which)) {
            Ok(found) => {
                let found: BTreeMap<String, Row> = found.into_iter().map(|row| (row.id.clone(), row)).collect();
                tell(common, seen.as_ref(), &found)?;
                (seen, is_down) = (Some(found), false);
            }
            // Said once; it may be back the next time.
            Err(error) if !is_down => {
                output::say(&error.text);
                is_down = true;
            }
            Err(_) => {}
        }
        pause(watch.interval);
    }
    Ok(Exit::Interrupted)
}

fn pause(interval: Duration) {
    let end = Instant::now() + interval;
    while Instant::now() < end && !system::was_interrupted() {
        thread::sleep(BLINK.min(interval));
    }
}

fn tell(common: &Common, before: Option<&BTreeMap<String, Row>>, now: &BTreeMap<String, Row>) -> Result<(), Failure> {
    let empty = BTreeMap::new();
    let was = before.unwrap_or(&empty);
    for (id, row) in was.iter().filter(|(id, _)| !now.contains_key(*id)) {
        say(common, "released", id, row)?;
    }
    for (id, row) in now.iter().filter(|(id, row)| was.get(*id).is_none_or(|old| old.token != row.token)) {
        say(common, if before.is_some() { "granted" } else { "held" }, id, row)?;
    }
    Ok(())
}

fn say(common: &Common, what: &str, id: &str, row: &Row) -> Result<(), Failure> {
    let time = output::timestamp(output::now_us());
    let text = if common.json {
        format!("{}\n", json!({"schema": 1, "time": time, "event": what, "lock": row.json()}))
    } else {
        format!("{time}  {what:<8}  {id}  {}  token {}\n", row.owner, row.token)
    };
    Ok(output::print(&text)?)
}
