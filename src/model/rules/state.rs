//! Values under keys: what a write does to what stands there.

use super::{Moment, State, texts};
use crate::model::{
    error::{Code, Error},
    lock::Record,
    name::StateKey,
    request::{Outcome, Reply},
    state::{Setting, Stamp, Value},
};

/// What is to be done with what stands under the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// Put the value there, with this version.
    Put {
        version: u64,
    },
    Remove,
}

pub fn get(key: &StateKey, value: Option<Value>) -> Outcome {
    value.map(Reply::Got).ok_or_else(|| absent(key))
}

/// Decides a write against what stands under its key, and the record of the lock that guards it, if one does.
pub fn set(
    setting: &Setting,
    stamp: Option<Stamp>,
    lock: &Option<Record>,
    moment: &mut Moment,
) -> (Option<Write>, Outcome) {
    match judge(setting, stamp, lock, moment) {
        Ok(()) => match write(setting, moment) {
            Ok((write, version)) => (Some(write), Ok(Reply::Set { version })),
            Err(error) => (None, Err(error)),
        },
        Err(outcome) => (None, outcome),
    }
}

/// Whether it is to be written; else the outcome.
fn judge(setting: &Setting, stamp: Option<Stamp>, lock: &Option<Record>, moment: &Moment) -> Result<(), Outcome> {
    if let Some(own) = stamp.filter(|stamp| setting.value.is_some() && stamp.attempt == setting.attempt) {
        return Err(Ok(Reply::Set { version: own.version }));
    }
    let version = stamp.map_or(0, |stamp| stamp.version);
    // A version is never given twice: where the one that was expected still stands, nothing was written. Any other sight may be
    // this write's own work, on top of which others have written or deleted.
    if setting.in_doubt && (version == 0 || setting.guard.version != Some(version)) {
        return Err(Err(unknown(&setting.key)));
    }
    if let Some(fence) = &setting.guard.lock {
        match State::of(lock, moment.tick) {
            State::Held(entry) if entry.token == fence.token => {}
            State::Held(entry) => return Err(Err(texts::stale(&fence.id, fence.token, entry))),
            State::Free { end } => return Err(Err(texts::over(&fence.id, fence.token, end))),
        }
    }
    if let Some(expected) = setting.guard.version.filter(|expected| *expected != version) {
        return Err(Ok(Reply::Outdated { version, error: outdated(&setting.key, expected, version) }));
    }
    if setting.value.is_none() && stamp.is_none() {
        return Err(Err(absent(&setting.key)));
    }
    Ok(())
}

fn write(setting: &Setting, moment: &mut Moment) -> Result<(Write, u64), Error> {
    match setting.value {
        Some(_) => moment.mint().map(|version| (Write::Put { version }, version)),
        None => Ok((Write::Remove, 0)),
    }
}

fn absent(key: &StateKey) -> Error {
    Error::new(Code::Missing, format!("there is nothing under key {key}: it was never set, or was deleted"))
}

fn outdated(key: &StateKey, expected: u64, version: u64) -> Error {
    let found = match version {
        0 => "nothing stands there".to_owned(),
        version => format!("it has version {version}"),
    };
    let wanted = match expected {
        0 => "nothing was to stand there".to_owned(),
        expected => format!("version {expected} was expected"),
    };
    let text = format!("key {key} was not written: {wanted}, but {found}; get it again and decide anew");
    Error::new(Code::Outdated, text)
}

/// The write may have been done before, and can't be told from those of others any more.
fn unknown(key: &StateKey) -> Error {
    let text = format!(
        "whether key {key} was written is unknown: the disk did not confirm it, and others may have written since; it is not \
         written again: get it, and decide by what stands there"
    );
    Error::new(Code::Unknown, text)
}
