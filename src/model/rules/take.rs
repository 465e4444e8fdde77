//! Taking locks: all of several or none, or any one of them.

use super::{Change, Moment, State, grant_of, undo};
use crate::{
    model::{
        error::Error,
        lock::{End, Entry, Record},
        request::{InTheWay, Outcome, Reply, Wanted},
    },
    mutant,
};

/// What the caller meets at one id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    /// A retry after a lost answer finds its own lock.
    Ours,
    /// Held by the same owner, which a resume takes over.
    Former,
    Free,
    InTheWay,
}

pub fn take(wanted: &Wanted, states: &[State<'_>], moment: &mut Moment) -> (Vec<Change>, Outcome) {
    let met: Vec<Met> = states.iter().map(|state| meet(wanted, state)).collect();
    let chosen: Vec<usize> = match wanted.any {
        true => [Met::Ours, Met::Former, Met::Free]
            .iter()
            .find_map(|wish| met.iter().position(|found| found == wish))
            .into_iter()
            .collect(),
        false if met.contains(&Met::InTheWay) => Vec::new(),
        false => (0..states.len()).collect(),
    };
    if chosen.is_empty() {
        return refuse(wanted, states, &met, moment);
    }
    let mut changes = Vec::with_capacity(chosen.len());
    let mut grants = vec![None; states.len()];
    for place in chosen {
        let entry = match &states[place] {
            State::Held(entry) if met[place] == Met::Ours => (*entry).clone(),
            state => match grant(wanted, state, moment) {
                Ok(entry) => entry,
                Err(error) => return (Vec::new(), Err(error)),
            },
        };
        grants[place] = Some(grant_of(&entry));
        if met[place] != Met::Ours {
            changes.push(Change::Put(place, Record::Entry(entry)));
        }
    }
    (changes, Ok(Reply::Granted(grants)))
}

fn meet(wanted: &Wanted, state: &State<'_>) -> Met {
    match state {
        State::Free { .. } => Met::Free,
        State::Held(entry) if entry.attempt == wanted.attempt && !mutant::on("fresh_attempt") => Met::Ours,
        State::Held(entry) if wanted.resume && entry.owner == wanted.owner => Met::Former,
        State::Held(_) if mutant::on("held_ignored") => Met::Free,
        State::Held(_) => Met::InTheWay,
    }
}

fn grant(wanted: &Wanted, state: &State<'_>, moment: &mut Moment) -> Result<Entry, Error> {
    let (before, refreshed_us) = match state {
        State::Free { end } => (*end, moment.now_us),
        State::Held(former) => (End::Resumed, super::newer(former, moment)),
    };
    Ok(Entry {
        owner: wanted.owner.clone(),
        token: moment.mint()?,
        attempt: wanted.attempt,
        taken_us: moment.now_us,
        refreshed_us,
        leased: moment.tick,
        ttl_ms: wanted.ttl_ms,
        before,
        client: wanted.client.clone(),
        note: wanted.note.clone(),
    })
}

/// Nothing is taken; and what an earlier try of this call took, of which another id has since been lost, is given back.
fn refuse(wanted: &Wanted, states: &[State<'_>], met: &[Met], moment: &Moment) -> (Vec<Change>, Outcome) {
    let mut changes = Vec::new();
    let mut which = 0;
    let mut holders = Vec::new();
    for (place, state) in states.iter().enumerate() {
        match (state, met[place]) {
            (State::Held(entry), Met::Ours) => changes.push(undo(place, entry)),
            (State::Held(entry), Met::InTheWay) => {
                which |= 1 << place;
                holders.push((&wanted.ids[place], *entry));
            }
            _ => {}
        }
    }
    let lefts = || holders.iter().map(|(_, entry)| entry.left_us(moment.tick));
    let free_in_us = match wanted.any {
        true => lefts().flatten().min(),
        false if lefts().any(|left| left.is_none()) => None,
        false => lefts().flatten().max(),
    };
    let free_in_us = free_in_us.map(|left| left.max(0) as u64);
    let error = super::texts::held(&holders, wanted.any);
    (changes, Ok(Reply::Refused(InTheWay { which, free_in_us, error })))
}
