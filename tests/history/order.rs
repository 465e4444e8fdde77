//! What can be told of a history without a search, and so independently of it: the order of tokens and versions, who held a lock
//! for certain, and whether a write that a lock guards was still covered by it.

use super::{Answer, Call, NEVER, Op, STALE};

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

/// When a lock was held for certain: from the return of its grant to the first call that may have ended it.
struct Hold<'a> {
    from: u64,
    to: u64,
    grant: &'a Op,
}

/// No two grants of a lock without a lease are held at once.
pub fn holds_exclude(ops: &[Op]) -> Result<(), String> {
    let mut by_call: Vec<&Op> = ops.iter().filter(|op| op.may_be_done()).collect();
    by_call.sort_unstable_by_key(|op| op.called);
    let longest = by_call.iter().filter(|op| op.returned != NEVER).map(|op| op.returned - op.called).max();
    let unknown: Vec<&Op> = by_call.iter().copied().filter(|op| op.returned == NEVER).collect();
    let mut holds: Vec<Hold<'_>> = Vec::new();
    for grant in by_call.iter().copied().filter(|op| matches!(op.answer, Answer::Granted(_))) {
        // One that was called before, and may yet end this grant, is answered later than the grant was asked for.
        let earliest = grant.called.saturating_sub(longest.unwrap_or(0));
        let known = by_call[by_call.partition_point(|op| op.called < earliest)..].iter().copied();
        let ends = |op: &&Op| op.returned >= grant.called && ends(op, grant);
        let first = known.filter(|op| op.returned != NEVER).find(ends);
        let first = first.into_iter().chain(unknown.iter().copied().find(ends)).map(|op| op.called).min();
        holds.push(Hold { from: grant.returned, to: first.unwrap_or(NEVER), grant });
    }
    holds.retain(|hold| hold.from < hold.to);
    holds.sort_unstable_by_key(|hold| hold.from);
    match holds.windows(2).find(|pair| pair[1].from < pair[0].to) {
        Some(pair) => Err(format!("two hold the lock at once, by {:?} and by {:?}", pair[0].grant, pair[1].grant)),
        None => Ok(()),
    }
}

/// Whether the operation may have ended this grant.
fn ends(op: &Op, grant: &Op) -> bool {
    let means = |owner: Option<u64>, token: u64| {
        owner.is_none_or(|owner| Some(owner) == grant.grantee())
            && (token == 0 || grant.token().is_none_or(|granted| granted == token))
    };
    match op.call {
        Call::Unlock { owner, token } => means(owner, token),
        Call::Transfer { from, token, .. } => !std::ptr::eq(op, grant) && means(from, token),
        _ => false,
    }
}

/// No write under the fence of a token was done after a later grant of that lock had been answered, and none was refused
/// while the grant of that token was held for certain.
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
    let mut fenced = 0;
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
        let grant = || locks.iter().find(|grant| grant.token() == Some(token));
        if op.answer == Answer::Failed(STALE) && grant().is_some_and(|grant| is_held_throughout(grant, op, locks)) {
            return Err(format!("{op:?} was refused, though its token was the lock's"));
        }
    }
    Ok(fenced)
}

fn is_held_throughout(grant: &Op, op: &Op, locks: &[Op]) -> bool {
    let may_end = |other: &&Op| other.may_be_done() && other.called <= op.returned && other.returned >= grant.called;
    grant.returned < op.called && !locks.iter().filter(may_end).any(|other| ends(other, grant))
}
