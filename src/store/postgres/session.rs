//! This process as the server knows it: a row that holds what its last batch was answered. By that a lost answer is found again,
//! and what was given up is kept from being done later.
//!
//! A batch has a number and the session's epoch, and writes its number and its answer into the row in its own transaction. So after
//! a lost answer the row tells whether it was done. Asking that also begins a new epoch, and whatever still is on its way with
//! the old one finds that at its end and is undone.

use super::{
    answers,
    batch::Head,
    errors::{self, Trouble},
    schema,
    server::Server,
};
use crate::{
    model::{
        error::{Code, Error},
        lock::Attempt,
        request::{Outcome, Request},
    },
    mutant,
    store::contract::Fault,
    sys,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub struct Session {
    id: [u8; 16],
    epoch: i64,
    batch: i64,
    /// The batch of which nobody knows whether it was done.
    doubt: Option<Vec<Request>>,
    /// What requests were answered that are not told yet: the engine asks for them again.
    settled: BTreeMap<[u8; 16], Outcome>,
}

impl Session {
    pub fn begin(server: &mut Server, deadline: Instant) -> Result<Session, Fault> {
        let random = || {
            let text = |error| Error::new(Code::Io, format!("the kernel gives no random numbers: {error}"));
            sys::random_bytes().map_err(|error| Fault::Failed(text(error)))
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random()?);
        id[8..].copy_from_slice(&random()?);
        let mut session = Session { id, epoch: 0, batch: 0, doubt: Some(Vec::new()), settled: BTreeMap::new() };
        session.resolve(server, deadline)?;
        Ok(session)
    }

    /// Finds out what became of a batch whose answer was lost, and makes it void if it has not been done. Gives its outcomes, which
    /// are settled too, if it was done.
    pub fn resolve(&mut self, server: &mut Server, deadline: Instant) -> Result<Option<Vec<Outcome>>, Fault> {
        if self.doubt.is_none() {
            return Ok(None);
        }
        let (batch, answer) = self.ask(server, deadline)?;
        let Some(requests) = self.doubt.take() else { return Ok(None) };
        if batch != self.batch || requests.is_empty() || mutant::on("answer_forgotten") {
            return Ok(None);
        }
        let outcomes = answers::outcomes(&requests.iter().collect::<Vec<_>>(), &answer)
            .ok_or_else(|| Fault::Failed(schema::strange_answer(server.place())))?;
        self.settle(requests.into_iter(), outcomes.clone());
        Ok(Some(outcomes))
    }

    fn ask(&mut self, server: &mut Server, deadline: Instant) -> Result<(i64, String), Fault> {
        loop {
            let (link, statements) = server.link(deadline).map_err(Fault::Busy)?;
            self.epoch += 1;
            match link.run(&statements.resolve(&self.id, self.epoch), deadline) {
                Ok(Some(rows)) => {
                    return Ok((rows.text(0, 0).parse().unwrap_or(-1), rows.text(0, 1).to_owned()));
                }
                Ok(None) => return Err(Fault::Failed(schema::strange_answer(server.place()))),
                Err(Trouble::Unsent(error) | Trouble::Lost(error)) => server.disconnect(error),
                Err(Trouble::Refused { state, text }) => match errors::cure(state, &text) {
                    errors::Cure::Fail(error) => return Err(Fault::Failed(error)),
                    errors::Cure::Reconnect(error) if !server.is_old() => return Err(Fault::Failed(error)),
                    errors::Cure::Reconnect(error) => server.disconnect(error),
                    errors::Cure::Busy(error) => return Err(Fault::Busy(error)),
                    _ => server.pause(deadline),
                },
            }
        }
    }

    /// The head of the next batch.
    pub fn head(&mut self, patience: Duration) -> Head<'_> {
        self.batch += 1;
        let patience_ms = patience.as_millis().clamp(1, i32::MAX as u128) as i32;
        Head { session: &self.id, epoch: self.epoch, batch: self.batch, patience_ms }
    }

    /// The answer to the last batch was lost.
    pub fn doubt(&mut self, requests: &[&Request]) {
        self.doubt = Some(requests.iter().map(|request| (*request).clone()).collect());
    }

    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether anything was done that is not told yet.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    pub fn knows(&self, request: &Request) -> bool {
        name(request).is_some_and(|name| self.settled.contains_key(&name))
    }

    pub fn settle(&mut self, requests: impl Iterator<Item = Request>, outcomes: Vec<Outcome>) {
        let known = requests.zip(outcomes).filter_map(|(request, outcome)| Some((name(&request)?, outcome)));
        self.settled.extend(known);
    }

    /// The outcomes of requests that all are settled; the others' are of calls that have given up.
    pub fn take_settled(&mut self, requests: &[&Request]) -> Vec<Outcome> {
        let mut settled = std::mem::take(&mut self.settled);
        let unknown = || Err(Error::new(Code::Defect, "a request has no outcome: please report this"));
        let outcome = |request: &&Request| name(request).and_then(|name| settled.remove(&name)).unwrap_or_else(unknown);
        requests.iter().map(outcome).collect()
    }

    /// One try to make what is in doubt void, and to leave nothing behind.
    pub fn end(&mut self, server: &mut Server, deadline: Instant) {
        if self.is_in_doubt() {
            let _ = self.resolve(server, deadline);
        }
        if let Some((link, statements)) = server.open_link() {
            let _ = link.run(&statements.forget(&self.id), deadline);
        }
    }
}

/// A withdrawal is told from the attempt that it withdraws.
fn name(request: &Request) -> Option<[u8; 16]> {
    match request {
        Request::Withdraw { attempt: Attempt(bytes), .. } => Some(bytes.map(|byte| !byte)),
        _ => request.attempt().map(|attempt| attempt.0),
    }
}
