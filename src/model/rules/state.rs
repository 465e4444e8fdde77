//! Values under keys: what a write does to what stands there.

use super::{Moment, State, texts};
use crate::{
    model::{
        error::{Code, Error},
        lock::Record,
        name::StateKey,
        request::{Outcome, Reply},
        state::{Setting, Stamp, Value},
    },
    mutant,
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
        Ok(()) => match write(setting, stamp, moment) {
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
    if let Some(fence) = setting.guard.lock.as_ref().filter(|_| !mutant::on("guard_ignored")) {
        match State::of(lock, moment.tick) {
            State::Held(entry) if entry.token == fence.token => {}
            State::Held(entry) => return Err(Err(texts::stale(&fence.id, fence.token, entry))),
            State::Free { end } => return Err(Err(texts::over(&fence.id, fence.token, end))),
        }
    }
    let expected = setting.guard.version.filter(|_| !mutant::on("version_ignored"));
    if let Some(expected) = expected.filter(|expected| *expected != version) {
        return Err(Ok(Reply::Outdated { version, error: outdated(&setting.key, expected, version) }));
    }
    if setting.value.is_none() && stamp.is_none() {
        return Err(Err(absent(&setting.key)));
    }
    Ok(())
}

fn write(setting: &Setting, stamp: Option<Stamp>, moment: &mut Moment) -> Result<(Write, u64), Error> {
    match setting.value {
        Some(_) if mutant::on("version_reused") => {
            let version = stamp.map_or(1, |stamp| stamp.version + 1);
            Ok((Write::Put { version }, version))
        }
        Some(_) => moment.mint().map(|version| (Write::Put { version }, version)),
        // A delete uses one up: so whoever finds the last one unchanged knows that nothing at all was written.
        None => moment.mint().map(|_| (Write::Remove, 0)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        lock::{Attempt, End, Entry, Tick},
        name::{LockId, Note, Owner},
        state::{Fence, Guard},
    };

    const TICK: Tick = Tick { boot: 1, us: 50_000_000 };
    const NOW: Moment = Moment { now_us: 5, tick: TICK, last_token: Some(70) };
    const THERE: Option<Stamp> = Some(Stamp { version: 60, attempt: Attempt([6; 16]) });

    fn setting(value: Option<&[u8]>, version: Option<u64>) -> Setting {
        let (key, guard) = (StateKey::new(b"drive3").unwrap(), Guard { version, lock: None });
        Setting { key, value: value.map(Into::into), guard, attempt: Attempt([1; 16]), in_doubt: false }
    }

    fn guarded(token: u64) -> Setting {
        let mut setting = setting(Some(b"x"), None);
        setting.guard.lock = Some(Fence { id: LockId::new(b"drive3").unwrap(), token });
        setting
    }

    fn held(token: u64, ttl_ms: u64, leased_us: i64) -> Option<Record> {
        Some(Record::Entry(Entry {
            owner: Owner::new(b"ann").unwrap(),
            token,
            attempt: Attempt([2; 16]),
            taken_us: 0,
            refreshed_us: 0,
            leased: Tick { us: leased_us, ..TICK },
            ttl_ms,
            before: End::Unlocked,
            client: "".into(),
            note: Note::default(),
        }))
    }

    /// The version of what is written; or the code, and the version that was found.
    fn outcome(setting: &Setting, stamp: Option<Stamp>, lock: &Option<Record>) -> Result<u64, (Code, u64)> {
        let (write, outcome) = set(setting, stamp, lock, &mut NOW.clone());
        let expected = match (&outcome, &setting.value) {
            (Ok(Reply::Set { version: 71 }), Some(_)) => Some(Write::Put { version: 71 }),
            (Ok(Reply::Set { version: 0 }), None) => Some(Write::Remove),
            _ => None,
        };
        assert_eq!(write, expected);
        match outcome {
            Ok(Reply::Set { version }) => Ok(version),
            Ok(Reply::Outdated { version, error }) => Err((error.code, version)),
            Err(error) => Err((error.code, 0)),
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_version_guards() {
        let set = |version, stamp| outcome(&setting(Some(b"x"), version), stamp, &None);
        assert_eq!((set(None, None), set(None, THERE)), (Ok(71), Ok(71)));
        assert_eq!((set(Some(0), None), set(Some(60), THERE)), (Ok(71), Ok(71)));
        assert_eq!((set(Some(0), THERE), set(Some(61), THERE)), (Err((Code::Outdated, 60)), Err((Code::Outdated, 60))));
        assert_eq!(set(Some(60), None), Err((Code::Outdated, 0)));
    }

    #[test]
    fn what_is_there_can_be_deleted() {
        let delete = |version, stamp| outcome(&setting(None, version), stamp, &None);
        assert_eq!((delete(None, THERE), delete(Some(60), THERE)), (Ok(0), Ok(0)));
        assert_eq!((delete(None, None), delete(Some(0), None)), (Err((Code::Missing, 0)), Err((Code::Missing, 0))));
        assert_eq!(delete(Some(60), None), Err((Code::Outdated, 0)));
        // It leaves a gap, so that the next version is another one.
        let mut moment = NOW;
        assert!(set(&setting(None, None), THERE, &None, &mut moment).1.is_ok());
        assert_eq!(moment.last_token, Some(71));
    }

    #[test]
    fn a_lock_guards() {
        assert_eq!(outcome(&guarded(9), None, &held(9, 0, 0)), Ok(71));
        assert_eq!(outcome(&guarded(9), None, &held(9, 1000, TICK.us - 999_999)), Ok(71));
        let stale = Err((Code::Stale, 0));
        assert_eq!(outcome(&guarded(9), None, &held(9, 1000, TICK.us - 1_000_000)), stale, "its lease is over");
        assert_eq!(outcome(&guarded(8), None, &held(9, 0, 0)), stale);
        assert_eq!(outcome(&guarded(9), None, &None), stale);
        assert_eq!(outcome(&guarded(9), None, &Some(Record::Trace { token: 9, end: End::Forced })), stale);
        // Who has lost the lock is told so, whatever else is wrong.
        let mut both = guarded(8);
        both.guard.version = Some(1);
        assert_eq!(outcome(&both, THERE, &held(9, 0, 0)), stale);
    }

    /// The answer of an earlier try was lost.
    #[test]
    fn what_may_be_done_is_not_done_over() {
        let doubt = |setting: Setting| Setting { in_doubt: true, ..setting };
        let own = Some(Stamp { version: 65, attempt: Attempt([1; 16]) });
        assert_eq!(set(&doubt(guarded(8)), own, &None, &mut NOW.clone()), (None, Ok(Reply::Set { version: 65 })));
        assert_eq!(outcome(&doubt(setting(Some(b"x"), Some(60))), THERE, &None), Ok(71), "it still stands");
        assert_eq!(outcome(&doubt(setting(None, Some(60))), THERE, &None), Ok(0));
        let unknown = Err((Code::Unknown, 0));
        for setting in [setting(Some(b"x"), None), setting(Some(b"x"), Some(59)), setting(None, None), guarded(9)] {
            assert_eq!(outcome(&doubt(setting), THERE, &held(9, 0, 0)), unknown);
        }
        assert_eq!(outcome(&doubt(setting(Some(b"x"), Some(0))), None, &None), unknown);
        assert_eq!(outcome(&doubt(setting(None, Some(60))), None, &None), unknown);
    }
}
