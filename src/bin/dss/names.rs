//! From what was typed to names.

use super::exit::Failure;
use dss::model::name::{LockId, Note, Owner, StateKey, check_ids};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

pub fn ids(typed: &[OsString]) -> Result<Vec<LockId>, Failure> {
    let ids = typed.iter().map(|id| LockId::new(id.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    check_ids(&ids)?;
    Ok(ids)
}

pub fn id(typed: &OsStr) -> Result<LockId, Failure> {
    Ok(LockId::new(typed.as_bytes())?)
}

pub fn key(typed: &OsStr) -> Result<StateKey, Failure> {
    Ok(StateKey::new(typed.as_bytes())?)
}

pub fn note(typed: &Option<OsString>) -> Result<Note, Failure> {
    Ok(Note::new(typed.as_ref().map_or(b"", |note| note.as_bytes()))?)
}

/// The owner that was named, or that of the environment, or who types.
pub fn owner(typed: &Option<OsString>) -> Result<Owner, Failure> {
    let named = typed.clone().or_else(|| std::env::var_os("DSS_LOCK_OWNER").filter(|owner| !owner.is_empty()));
    Ok(Owner::new(&named.unwrap_or_else(user_at_host).into_vec())?)
}

/// The same where each process is another owner.
pub fn owner_of_process(typed: &Option<OsString>) -> Result<Owner, Failure> {
    let mut name = user_at_host();
    name.push(format!(":{}", std::process::id()));
    owner(&Some(typed.clone().or_else(|| std::env::var_os("DSS_LOCK_OWNER").filter(|o| !o.is_empty())).unwrap_or(name)))
}

fn user_at_host() -> OsString {
    let user = std::env::var_os("USER").filter(|user| !user.is_empty());
    let mut name = user.unwrap_or_else(|| format!("uid{}", super::system::user_number()).into());
    name.push("@");
    name.push(super::system::host_name());
    name
}

/// One for each lock, or none at all.
pub fn tokens(given: &[u64], count: usize) -> Result<Vec<u64>, Failure> {
    if !given.is_empty() && given.len() != count {
        let text = format!("{count} locks and {} tokens: give --token once for each lock, or not at all", given.len());
        return Err(Failure::usage(text));
    }
    Ok(given.to_vec())
}
