//! A batch in pieces that fit into transactions of etcd, and their answers put together again.

use super::session::Part;
use crate::model::{
    error::Error,
    lock::End,
    name::LockId,
    request::{Denial, Outcome, Reply, Request},
};
use std::borrow::Cow;

/// The most ids in one transaction where several requests share it: their keys, those of their leases and what else goes with
/// them must fit into the lists of the transaction.
pub const IDS_IN_PART: usize = 60;

/// The most values read at once: the gateway of older etcds gives no answers of more than 4 MiB (etcd-io/etcd#13077).
const VALUES_IN_PART: usize = 3;

/// A request, or a part of one that may be done in parts.
pub struct Piece<'a> {
    pub request: Cow<'a, Request>,
    /// Which request of the batch.
    place: usize,
    /// Its first id's place.
    offset: usize,
    pub outcome: Option<Outcome>,
}

impl Piece<'_> {
    pub fn part(&self) -> Option<Part> {
        self.request.attempt().map(|attempt| (attempt, self.offset))
    }
}

pub fn split<'a>(batch: &[&'a Request]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::with_capacity(batch.len());
    for (place, request) in batch.iter().enumerate() {
        let most = piece_most(request);
        if request.ids().len() <= most {
            pieces.push(Piece { request: Cow::Borrowed(*request), place, offset: 0, outcome: None });
            continue;
        }
        for offset in (0..request.ids().len()).step_by(most) {
            let request = Cow::Owned(part_of(request, offset, most));
            pieces.push(Piece { request, place, offset, outcome: None });
        }
    }
    pieces
}

/// How many ids one piece of such a request may have. Of some, as many as possible are done: so they may be done in parts. A
/// refresh may need a lease for each id besides.
fn piece_most(request: &Request) -> usize {
    match request {
        Request::Refresh { .. } => 63,
        Request::Unlock { .. } => 64,
        _ => usize::MAX,
    }
}

fn part_of(request: &Request, offset: usize, most: usize) -> Request {
    let cut_ids = |list: &[LockId]| list.iter().skip(offset).take(most).cloned().collect();
    let cut_tokens = |list: &[u64]| list.iter().skip(offset).take(most).copied().collect();
    let mut part = request.clone();
    match &mut part {
        Request::Refresh { ids, tokens, .. } => (*ids, *tokens) = (cut_ids(ids), cut_tokens(tokens)),
        Request::Unlock { ids, tokens, seen_us, .. } => {
            let seen = seen_us.iter().skip(offset).take(most).copied().collect();
            (*ids, *tokens, *seen_us) = (cut_ids(ids), cut_tokens(tokens), seen);
        }
        _ => {}
    }
    part
}

/// The next pieces to be done together: their places.
pub fn next_part(pieces: &[Piece<'_>]) -> Vec<usize> {
    let mut part: Vec<usize> = Vec::new();
    let mut ids = 0;
    for (place, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.outcome.is_none()) {
        ids += piece.request.ids().len();
        let has_room = part.first().is_none_or(|first| match (&*pieces[*first].request, &*piece.request) {
            (Request::Get { .. }, Request::Get { .. }) => part.len() < VALUES_IN_PART,
            (Request::Get { .. } | Request::Set(_), _) | (_, Request::Get { .. } | Request::Set(_)) => false,
            _ => ids <= IDS_IN_PART,
        });
        if !has_room {
            break;
        }
        part.push(place);
    }
    part
}

/// The answers of the requests; what has none could not be done.
pub fn join(batch: &[&Request], pieces: Vec<Piece<'_>>, failure: Option<&Error>) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
    for piece in pieces {
        let failed = || failure.cloned().unwrap_or_else(|| Error::new(crate::model::error::Code::Defect, "no answer"));
        let outcome =
            piece.outcome.unwrap_or_else(|| match batch[piece.place].ids().len() > piece_most(batch[piece.place]) {
                true => {
                    let denial = || Denial { error: failed(), end: End::Unlocked };
                    Ok(Reply::Each(piece.request.ids().iter().map(|_| Err(denial())).collect()))
                }
                false => Err(failed()),
            });
        let slot = &mut outcomes[piece.place];
        match (slot.as_mut(), outcome) {
            (Some(Ok(Reply::Each(results))), Ok(Reply::Each(more))) => results.extend(more),
            (_, outcome) => *slot = Some(outcome),
        }
    }
    outcomes.into_iter().map(|outcome| outcome.unwrap_or(Ok(Reply::Withdrawn))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        error::Code,
        lock::Attempt,
        name::StateKey,
        request::Grant,
        state::{Guard, Setting},
    };
    use std::sync::Arc;

    fn refresh(count: usize) -> Request {
        let ids: Vec<LockId> = (0..count).map(|number| LockId::new(format!("{number}").as_bytes()).unwrap()).collect();
        let tokens = (0..count as u64).collect();
        Request::Refresh { ids, owner: None, tokens, attempt: Attempt([1; 16]) }
    }

    fn status() -> Request {
        Request::Status { id: LockId::new(b"s").unwrap() }
    }

    fn granted(count: usize) -> Outcome {
        let grant = Grant { token: 1, ttl_ms: 0, before: End::Unlocked };
        Ok(Reply::Each(vec![Ok(grant); count]))
    }

    #[test]
    fn long_requests_are_done_in_parts() {
        let (long, short) = (refresh(130), status());
        let batch = [&long, &short];
        let mut pieces = split(&batch);
        let sizes: Vec<usize> = pieces.iter().map(|piece| piece.request.ids().len()).collect();
        assert_eq!(sizes, [63, 63, 4, 1]);
        let Request::Refresh { tokens, .. } = &*pieces[2].request else { panic!("{}", pieces[2].place) };
        assert_eq!((tokens[0], pieces[2].part()), (126, Some((Attempt([1; 16]), 126))));
        assert_eq!(next_part(&pieces), [0]);
        pieces[0].outcome = Some(granted(63));
        pieces[1].outcome = Some(granted(63));
        assert_eq!(next_part(&pieces), [2, 3]);
        pieces[3].outcome = Some(Ok(Reply::Withdrawn));
        let error = Error::new(Code::NoSpace, "full");
        let outcomes = join(&batch, pieces, Some(&error));
        let Ok(Reply::Each(results)) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!((results.len(), results.iter().filter(|result| result.is_ok()).count()), (130, 126));
        assert_eq!((results[126].as_ref().unwrap_err().error.code, outcomes.len()), (Code::NoSpace, 2));
    }

    /// A value may be as long as a transaction, and an answer.
    #[test]
    fn values_are_written_alone_and_few_are_read_at_once() {
        let key = || StateKey::new(b"k").unwrap();
        let setting =
            Setting { key: key(), value: None, guard: Guard::default(), attempt: Attempt([3; 16]), in_doubt: false };
        let (get, set, status) = (Request::Get { key: key() }, Request::Set(Arc::new(setting)), status());
        let batch = [&get, &get, &get, &get, &set, &set, &status, &status, &get];
        let mut pieces = split(&batch);
        for expected in [&[0, 1, 2][..], &[3], &[4], &[5], &[6, 7], &[8], &[]] {
            let part = next_part(&pieces);
            assert_eq!(part, expected);
            part.into_iter().for_each(|place| pieces[place].outcome = Some(Ok(Reply::Withdrawn)));
        }
    }

    #[test]
    fn one_request_is_never_cut_where_it_must_be_whole() {
        let ids: Vec<LockId> = (0..64).map(|number| LockId::new(format!("{number}").as_bytes()).unwrap()).collect();
        let withdraw = Request::Withdraw { ids, attempt: Attempt([2; 16]) };
        let pieces = split(&[&withdraw]);
        assert_eq!((pieces.len(), next_part(&pieces)), (1, vec![0]));
    }
}
