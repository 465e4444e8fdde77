//! Taking, releasing, refreshing and giving on.

use super::{
    args::{Common, Lock, Refresh, Transfer, Unlock, Waiting},
    exit::{Exit, Failure},
    holder, names, output,
    store::Store,
    system,
};
use dss::{
    engine::{Ask, Granted, Refusal},
    model::{
        error::{Code, Error},
        name::{LockId, Owner},
    },
};
use serde_json::Value;
use std::{io::IsTerminal, time::Duration};

/// How long to wait, as the engine takes it.
pub fn patience(waiting: &Waiting) -> Option<Duration> {
    if waiting.no_wait { Some(Duration::ZERO) } else { waiting.wait }
}

pub fn ttl_ms(ttl: Option<Duration>) -> Result<u64, Failure> {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    match ttl {
        None => Ok(0),
        Some(ttl) if ttl < Duration::from_secs(1) || ttl > YEAR => {
            Err(Failure::usage("a lease (--ttl) lasts from 1s to 366d"))
        }
        Some(ttl) => Ok(ttl.as_millis() as u64),
    }
}

pub fn lock(common: &Common, lock: &Lock) -> Result<Exit, Failure> {
    let (ids, owner) = (names::ids(&lock.ids)?, names::owner(&lock.owner)?);
    let ask = Ask {
        ids: ids.clone(),
        owner: owner.clone(),
        ttl_ms: ttl_ms(lock.ttl)?,
        wait: patience(&lock.waiting),
        note: names::note(&lock.note)?,
        any: lock.any,
        resume: lock.resume,
        keep: false,
    };
    let client = holder::client(lock.client_pid)?;
    system::note_interruptions();
    system::survive_failed_writes();
    let store = Store::of_writer(common, Some(client))?;
    let grants = take(&store, ask)?;
    let taken: Vec<(&LockId, Granted)> = ids.iter().zip(grants).filter_map(|(id, grant)| Some((id, grant?))).collect();
    let printed =
        if system::was_interrupted() { Ok(()) } else { output::answer(&grants_text(common, &store, &taken, &owner)) };
    // The exit code decides: whoever gets another one than 0 holds nothing, whatever was printed
    // until then.
    match printed {
        _ if system::was_interrupted() => take_back(&store, &taken, &owner, Exit::Interrupted, "interrupted"),
        Err(error) => take_back(&store, &taken, &owner, Exit::Other, &unprinted(&error)),
        Ok(()) => {
            let for_people = !common.quiet && !common.json && std::io::stderr().is_terminal();
            if for_people && lock.ttl.is_none() {
                output::say(
                    "note: a lock without a lease stays until it is unlocked, even if the process that uses it ends; \
                     --ttl TIME ends it by itself, and dss run holds it as long as a command runs",
                );
            }
            Ok(Exit::Done)
        }
    }
}

/// Why an answer is not known to have arrived.
pub fn unprinted(error: &std::io::Error) -> String {
    format!("the answer can't be written: {error}")
}

/// Takes the locks; a wait is ended by SIGINT and the like.
pub fn take(store: &Store, ask: Ask) -> Result<Vec<Option<Granted>>, Failure> {
    let taken = store.call(|handle, inside| handle.lockv(ask, inside).map_err(Refused));
    taken.map_err(|refused| refused.0.error.into())
}

/// So that what fails before the call is of the same kind.
struct Refused(Refusal);

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused(Refusal::of_all(error, 0))
    }
}

/// Releases locks whose holder will never hear of them. What this owner held before stays: its
/// former process knows of it, and may have left half done what it protects.
fn take_back(
    store: &Store,
    taken: &[(&LockId, Granted)],
    owner: &Owner,
    exit: Exit,
    why: &str,
) -> Result<Exit, Failure> {
    let (resumed, new): (Vec<_>, Vec<_>) = taken.iter().copied().partition(|(_, granted)| granted.resumed);
    let (ids, tokens) = new.iter().map(|(id, granted)| ((*id).clone(), granted.token)).unzip();
    let results = match &new[..] {
        [] => Ok(Vec::new()),
        _ => store.call(|handle, inside| handle.unlockv(ids, Some(owner.clone()), tokens, inside)),
    };
    let mut text = why.to_owned();
    if !resumed.is_empty() {
        text += &format!("; still held by {}: {}", output::shown(owner.as_bytes()), named(&resumed));
    }
    let (stuck, error): (Vec<_>, Error) = match results {
        Err(error) => (new, error),
        Ok(results) => {
            let failed = new.into_iter().zip(results).filter_map(|(lock, result)| Some((lock, held_still(result)?)));
            let (stuck, errors): (Vec<_>, Vec<_>) = failed.unzip();
            match errors.into_iter().next() {
                Some(error) => (stuck, error),
                None if exit == Exit::Interrupted && resumed.is_empty() => return Ok(exit),
                None => return Err(Failure::new(exit, text + "; what was taken is released again")),
            }
        }
    };
    let owner = output::shown(owner.as_bytes());
    text += &format!(
        "; the locks can't be released again ({}), so these are still held by {owner}, or may be: {}; dss unlock \
         --owner and --token release them",
        error.text,
        named(&stuck)
    );
    Err(Failure::new(Exit::Unknown, text))
}

/// Why a lock is held after its release. It is not where it has ended otherwise, or is another's
/// meanwhile.
fn held_still(released: Result<(), Error>) -> Option<Error> {
    released.err().filter(|error| !matches!(error.code, Code::NoLock | Code::Denied | Code::Stale))
}

fn named(locks: &[(&LockId, Granted)]) -> String {
    let name =
        |(id, granted): &(&LockId, Granted)| format!("{}, token {}", output::shown(id.as_bytes()), granted.token);
    locks.iter().map(name).collect::<Vec<_>>().join("; ")
}

fn grants_text(common: &Common, store: &Store, taken: &[(&LockId, Granted)], owner: &Owner) -> String {
    if common.json {
        let list = taken.iter().map(|(id, granted)| output::granted_json(id, owner, granted)).collect();
        return output::document(&store.name, "grants", Value::Array(list));
    }
    let mut text = String::new();
    for (id, granted) in taken {
        if common.quiet {
            text += &format!("{}\n", granted.token);
            continue;
        }
        let id = output::shown(id.as_bytes());
        text += &format!("{id}: held by {}, token {}", output::shown(owner.as_bytes()), granted.token);
        if granted.left_ms != i64::MAX {
            text += &format!(", for {}", output::span(granted.left_ms as u64));
        }
        if granted.owner_dead {
            text += "; its last owner is gone without an unlock: what it protects may be half done";
        }
        text.push('\n');
    }
    text
}

/// For each lock a line where it failed; the exit code is that of the first failure.
fn end_of_each<T>(
    common: &Common,
    store: &Store,
    ids: &[LockId],
    results: &[Result<T, Error>],
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for (id, result) in ids.iter().zip(results) {
        let Err(error) = result else { continue };
        let failure = Failure::from(error.clone());
        if !(common.quiet && failure.is_an_answer()) {
            output::say(&said(id, error, store));
        }
        if exit == Exit::Done {
            exit = failure.exit;
        }
    }
    Ok(exit)
}

/// The library's text, with what the command line can do about it.
fn said(id: &LockId, error: &Error, store: &Store) -> String {
    let id = output::shown(id.as_bytes());
    match error.code {
        Code::NoLock => format!("{} in {} (dss list shows what is held)", error.text, store.name),
        Code::Denied => format!("{} (dss status {id} shows it, dss unlock --force {id} removes it)", error.text),
        _ => error.text.clone(),
    }
}

pub fn unlock(common: &Common, unlock: &Unlock) -> Result<Exit, Failure> {
    let ids = names::ids(&unlock.ids)?;
    let owner = if unlock.force { None } else { Some(names::owner(&unlock.owner)?) };
    let tokens = names::tokens(&unlock.token, ids.len())?;
    let store = Store::existing(common, None)?;
    let results = store.call(|handle, inside| handle.unlockv(ids.clone(), owner, tokens, inside))?;
    end_of_each(common, &store, &ids, &results)
}

pub fn refresh(common: &Common, refresh: &Refresh) -> Result<Exit, Failure> {
    let (ids, owner) = (names::ids(&refresh.ids)?, names::owner(&refresh.owner)?);
    let tokens = names::tokens(&refresh.token, ids.len())?;
    system::survive_failed_writes();
    let store = Store::existing(common, None)?;
    let results = store.call(|handle, inside| handle.refreshv(ids.clone(), owner.clone(), tokens, inside))?;
    let done: Vec<(&LockId, Granted)> =
        ids.iter().zip(&results).filter_map(|(id, result)| Some((id, *result.as_ref().ok()?))).collect();
    let printed = if common.quiet { Ok(()) } else { output::answer(&grants_text(common, &store, &done, &owner)) };
    let exit = end_of_each(common, &store, &ids, &results)?;
    printed.map_err(|error| {
        let locks = named(&done);
        Failure::new(Exit::Other, format!("{}; these locks were refreshed: {locks}", unprinted(&error)))
    })?;
    Ok(exit)
}

pub fn transfer(common: &Common, transfer: &Transfer) -> Result<Exit, Failure> {
    let (id, to) = (names::id(&transfer.id)?, Owner::new(std::os::unix::ffi::OsStrExt::as_bytes(&*transfer.to))?);
    let from = if transfer.force { None } else { Some(names::owner(&transfer.owner)?) };
    let token = transfer.token.unwrap_or(0);
    let client = holder::successor(transfer.client_pid)?;
    system::survive_failed_writes();
    let store = Store::existing(common, Some(client))?;
    let granted = store
        .call(|handle, inside| handle.transfer(id.clone(), from, token, to.clone(), inside))
        .map_err(|error| Failure { text: said(&id, &error, &store), ..Failure::from(error) })?;
    output::answer(&grants_text(common, &store, &[(&id, granted)], &to)).map_err(|error| {
        let (lock, owner) = (named(&[(&id, granted)]), output::shown(to.as_bytes()));
        Failure::new(Exit::Other, format!("{}; the lock was given to {owner}: {lock}", unprinted(&error)))
    })?;
    Ok(Exit::Done)
}
