//! What can be told of a history without a search, and so independently of it: the order of tokens and versions, who held a lock
//! for certain, and whether a write that a lock guards was still covered by it.

use super::{Answer, Call, Lease, NEVER, Op, STALE};
use std::collections::HashMap;

/// Tokens and versions never repeat, and grow from one operation to a later one.
///
/// In the order of the numbers, none may have returned before one with a smaller number was called.
pub fn numbers_grow(ops: &[Op]) -> Result<(), String> {
    let number = |op: &Op| match op.answer {
        Answer::Written(version) => Some(version),
        _ => op.token(),
    };
    let mut minted: Vec<(u64, &Op)> = ops.iter().filter_map(|op| Some((number(op)?, op))).collect();
    minted.sort_unstable_by_key(|(number, _)| *number);
    if let Some(pair) = minted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("the number {} was given twice: {:?} and {:?}", pair[0].0, pair[0].1, pair[1].1));
    }
    let mut first_returned: Option<&Op> = None;
    for (_, op) in minted.iter().rev() {
        if let Some(greater) = first_returned.filter(|greater| greater.returned < op.called) {
            return Err(format!("{op:?} got a smaller number than {greater:?}, which had returned before"));
        }
        if first_returned.is_none_or(|greater| op.returned < greater.returned) {
            first_returned = Some(op);
        }
    }
    Ok(())
}

/// When a lock was held for certain: from the return of its grant to the first call that may have ended it, or the end of its lease.
struct Hold<'a> {
    from: u64,
    to: u64,
    grant: &'a Op,
}

/// No two grants of a lock are held at once.
pub fn holds_exclude(ops: &[Op]) -> Result<(), String> {
    let mut by_call: Vec<&Op> = ops.iter().filter(|op| op.may_be_done()).collect();
    by_call.sort_unstable_by_key(|op| op.called);
    let longest = by_call.iter().filter(|op| op.returned != NEVER).map(|op| op.returned - op.called).max();
    let unknown: Vec<&Op> = by_call.iter().copied().filter(|op| op.returned == NEVER).collect();
    let shortest = shortest_lease(ops);
    let mut holds: Vec<Hold<'_>> = Vec::new();
    for grant in by_call.iter().copied().filter(|op| matches!(op.answer, Answer::Granted(_))) {
        // One that was called before, and may yet end this grant, is answered later than the grant was asked for.
        let earliest = grant.called.saturating_sub(longest.unwrap_or(0));
        let known = by_call[by_call.partition_point(|op| op.called < earliest)..].iter().copied();
        let ends = |op: &&Op| op.returned >= grant.called && ends(op, grant);
        let first = known.filter(|op| op.returned != NEVER).find(ends);
        let first = first.into_iter().chain(unknown.iter().copied().find(ends)).map(|op| op.called).min();
        let to = first.unwrap_or(NEVER).min(may_end(grant, shortest));
        holds.push(Hold { from: grant.returned, to, grant });
    }
    holds.retain(|hold| hold.from < hold.to);
    holds.sort_unstable_by_key(|hold| hold.from);
    match holds.windows(2).find(|pair| pair[1].from < pair[0].to) {
        Some(pair) => Err(format!("two hold the lock at once, by {:?} and by {:?}", pair[0].grant, pair[1].grant)),
        None => Ok(()),
    }
}

/// The shortest lease that anybody asked for: that of a lock that was given on is not told by the grant.
fn shortest_lease(ops: &[Op]) -> u64 {
    let leases = ops.iter().filter_map(|op| match op.call {
        Call::Lock { lease, .. } => Some(lease.at_least),
        _ => None,
    });
    leases.min().unwrap_or(NEVER)
}

/// Before that, the lease of this grant is not over.
fn may_end(grant: &Op, shortest: u64) -> u64 {
    let lasts = match grant.call {
        Call::Lock { lease, .. } => lease.at_least,
        _ => shortest,
    };
    grant.called.saturating_add(lasts)
}

/// After that, the lease of this grant is over, whichever of these refreshed it.
fn must_end(grant: &Op, refreshes: &[&Op]) -> u64 {
    let at_most = match grant.call {
        Call::Lock { lease: Lease { at_most, .. }, .. } if at_most != NEVER => at_most,
        _ => return NEVER,
    };
    let of_this = refreshes.iter().filter(|op| means(op, grant)).map(|op| op.returned);
    of_this.chain([grant.returned]).max().unwrap_or(NEVER).saturating_add(at_most)
}

/// Whether the operation may have ended this grant.
fn ends(op: &Op, grant: &Op) -> bool {
    match op.call {
        Call::Unlock { .. } => means(op, grant),
        Call::Transfer { .. } => !std::ptr::eq(op, grant) && means(op, grant),
        _ => false,
    }
}

/// Whether the operation may be about this grant.
fn means(op: &Op, grant: &Op) -> bool {
    let (owner, token) = match op.call {
        Call::Unlock { owner, token } | Call::Transfer { from: owner, token, .. } => (owner, token),
        Call::Refresh { owner, token } => (Some(owner), token),
        _ => return false,
    };
    owner.is_none_or(|owner| Some(owner) == grant.grantee())
        && (token == 0 || grant.token().is_none_or(|granted| granted == token))
}

/// No write under the fence of a token was done after a later grant of that lock had been answered or its lease was over, and
/// none was refused while the grant of that token was held for certain.
///
/// `writes` are those of all keys, `locks` the history of the lock.
pub fn fences_hold(writes: &[Op], lock: u32, locks: &[Op]) -> Result<usize, String> {
    let mut grants: Vec<&Op> = locks.iter().filter(|op| op.token().is_some()).collect();
    grants.sort_unstable_by_key(|op| op.returned);
    // The greatest token of those that had been answered by then.
    let mut greatest: Vec<u64> = Vec::with_capacity(grants.len());
    for token in grants.iter().filter_map(|op| op.token()) {
        greatest.push(token.max(greatest.last().copied().unwrap_or(0)));
    }
    let by_token: HashMap<u64, &Op> = grants.iter().filter_map(|op| Some((op.token()?, *op))).collect();
    let is_refresh = |op: &&Op| op.may_be_done() && matches!(op.call, Call::Refresh { .. });
    let refreshes: Vec<&Op> = locks.iter().filter(is_refresh).collect();
    let (shortest, mut fenced) = (shortest_lease(locks), 0);
    for op in writes {
        let Call::Set { fence: Some((id, token)), .. } = op.call else { continue };
        if id != lock {
            continue;
        }
        fenced += 1;
        let before = grants.partition_point(|grant| grant.returned < op.called);
        let newest = before.checked_sub(1).map_or(0, |last| greatest[last]);
        let was_done = matches!(op.answer, Answer::Written(_) | Answer::Done);
        if was_done && newest > token {
            return Err(format!("{op:?} was done, though token {newest} had been granted before"));
        }
        let Some(grant) = by_token.get(&token) else { continue };
        if was_done && op.called > must_end(grant, &refreshes) {
            return Err(format!("{op:?} was done, though the lease of its token was over"));
        }
        if op.answer == Answer::Failed(STALE) && is_held_throughout(grant, op, locks, shortest) {
            return Err(format!("{op:?} was refused, though its token was the lock's"));
        }
    }
    Ok(fenced)
}

fn is_held_throughout(grant: &Op, op: &Op, locks: &[Op], shortest: u64) -> bool {
    let may_meet = |other: &&Op| other.may_be_done() && other.called <= op.returned && other.returned >= grant.called;
    grant.returned < op.called
        && op.returned < may_end(grant, shortest)
        && !locks.iter().filter(may_meet).any(|other| ends(other, grant))
}
