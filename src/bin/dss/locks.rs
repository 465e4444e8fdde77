//! Taking, releasing, refreshing and giving on.

use super::{
    args::{Common, Lock, Refresh, Transfer, Unlock, Waiting},
    exit::{Exit, Failure},
    names, output,
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
use std::time::Duration;

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
    system::note_interruptions();
    let store = Store::open(common)?;
    let grants = take(&store, ask)?;
    let taken: Vec<(&LockId, Granted)> = ids.iter().zip(grants).filter_map(|(id, grant)| Some((id, grant?))).collect();
    if system::was_interrupted() {
        // Whoever asked is told that it has nothing, so it must have nothing.
        give_back(&store, &taken, &owner)?;
        return Ok(Exit::Interrupted);
    }
    show(common, &taken, &owner)?;
    Ok(Exit::Done)
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

fn give_back(store: &Store, taken: &[(&LockId, Granted)], owner: &Owner) -> Result<(), Failure> {
    let (ids, tokens) = taken.iter().map(|(id, grant)| ((*id).clone(), grant.token)).unzip();
    store.call(|handle, inside| handle.unlockv(ids, Some(owner.clone()), tokens, inside))?;
    Ok(())
}

fn show(common: &Common, taken: &[(&LockId, Granted)], owner: &Owner) -> Result<(), Failure> {
    if common.json {
        let list = taken.iter().map(|(id, granted)| output::granted_json(id, owner, granted)).collect();
        return Ok(output::print_json("grants", Value::Array(list))?);
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
    Ok(output::print(&text)?)
}

/// For each lock a line where it failed; the exit code is that of the first failure.
fn end_of_each<T>(common: &Common, ids: &[LockId], results: &[Result<T, Error>]) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for (id, result) in ids.iter().zip(results) {
        let Err(error) = result else { continue };
        let failure = Failure::from(error.clone());
        if !(common.quiet && failure.is_an_answer()) {
            eprintln!("dss: {}", said(id, error));
        }
        if exit == Exit::Done {
            exit = failure.exit;
        }
    }
    Ok(exit)
}

/// The library's text, with what the command line can do about it.
fn said(id: &LockId, error: &Error) -> String {
    let id = output::shown(id.as_bytes());
    match error.code {
        Code::NoLock => format!("{} (dss list shows what is held)", error.text),
        Code::Denied => format!("{} (dss status {id} shows it, dss unlock --force {id} removes it)", error.text),
        _ => error.text.clone(),
    }
}

pub fn unlock(common: &Common, unlock: &Unlock) -> Result<Exit, Failure> {
    let ids = names::ids(&unlock.ids)?;
    let owner = if unlock.force { None } else { Some(names::owner(&unlock.owner)?) };
    let tokens = names::tokens(&unlock.token, ids.len())?;
    let store = Store::open(common)?;
    let results = store.call(|handle, inside| handle.unlockv(ids.clone(), owner, tokens, inside))?;
    end_of_each(common, &ids, &results)
}

pub fn refresh(common: &Common, refresh: &Refresh) -> Result<Exit, Failure> {
    let (ids, owner) = (names::ids(&refresh.ids)?, names::owner(&refresh.owner)?);
    let tokens = names::tokens(&refresh.token, ids.len())?;
    let store = Store::open(common)?;
    let results = store.call(|handle, inside| handle.refreshv(ids.clone(), owner.clone(), tokens, inside))?;
    let done: Vec<(&LockId, Granted)> =
        ids.iter().zip(&results).filter_map(|(id, result)| Some((id, *result.as_ref().ok()?))).collect();
    if !common.quiet {
        show(common, &done, &owner)?;
    }
    end_of_each(common, &ids, &results)
}

pub fn transfer(common: &Common, transfer: &Transfer) -> Result<Exit, Failure> {
    let (id, to) = (names::id(&transfer.id)?, Owner::new(std::os::unix::ffi::OsStrExt::as_bytes(&*transfer.to))?);
    let from = if transfer.force { None } else { Some(names::owner(&transfer.owner)?) };
    let token = transfer.token.unwrap_or(0);
    let store = Store::open(common)?;
    let granted = store
        .call(|handle, inside| handle.transfer(id.clone(), from, token, to.clone(), inside))
        .map_err(|error| Failure { text: said(&id, &error), ..Failure::from(error) })?;
    show(common, &[(&id, granted)], &to)?;
    Ok(Exit::Done)
}
