//! One caller's request on its way to an answer.

use super::{attempt::GivenUp, lock::lock};
use crate::{
    model::{
        error::{Code, Error},
        request::{Outcome, Reply, Request},
    },
    mutant,
    sys::futex::Group,
};
use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

/// One caller's request on its way.
pub struct Ticket {
    pub request: Request,
    pub deadline: Instant,
    /// Where its thread waits, with those that came at about the same time.
    pub group: Arc<Group>,
    progress: Mutex<Progress>,
    /// The request as it is asked when an earlier try may have been done.
    again: OnceLock<Request>,
}

#[derive(Default)]
struct Progress {
    outcome: Option<Outcome>,
    /// What stood in the way so far, for the text of a call that gives up.
    hindrance: Option<Error>,
    /// Why an earlier try may have been applied.
    doubt: Option<Error>,
    /// The combiner refused it, for a reason that this process has to find out.
    by_itself: bool,
}

impl Ticket {
    pub fn new(request: Request, deadline: Instant, group: Arc<Group>) -> Ticket {
        Ticket { request, deadline, group, progress: Mutex::default(), again: OnceLock::new() }
    }

    /// What the store is to be asked.
    pub fn asked(&self, attempts: &GivenUp) -> &Request {
        if self.is_in_doubt(attempts) { self.again.get_or_init(|| self.request.in_doubt()) } else { &self.request }
    }

    fn is_in_doubt(&self, attempts: &GivenUp) -> bool {
        lock(&self.progress).doubt.is_some() && !attempts.store_resolves
    }

    pub fn take_outcome(&self) -> Option<Outcome> {
        lock(&self.progress).outcome.take()
    }

    /// Its thread sees the answer when its group is woken next.
    pub fn answer(&self, outcome: Outcome) {
        lock(&self.progress).outcome = Some(outcome);
    }

    pub fn is_answered(&self) -> bool {
        lock(&self.progress).outcome.is_some()
    }

    /// With `in_doubt` the try may have been applied. Of a read nothing can have been.
    pub fn hinder(&self, error: &Error, in_doubt: bool) {
        let mut progress = lock(&self.progress);
        if in_doubt && !self.request.is_read() {
            progress.doubt.get_or_insert_with(|| error.clone());
        }
        progress.hindrance = Some(error.clone());
    }

    /// It was refused in another process.
    pub fn leave_to_itself(&self) {
        lock(&self.progress).by_itself = true;
    }

    pub fn is_by_itself(&self) -> bool {
        lock(&self.progress).by_itself
    }

    /// The store's answer, seen in the light of an earlier try that may have been applied: a lock that is gone may be gone
    /// by this very call.
    pub fn judge(&self, outcome: Outcome, attempts: &GivenUp) -> Outcome {
        let in_doubt = self.is_in_doubt(attempts);
        let gone = |error: &Error| matches!(error.code, Code::NoLock | Code::Denied | Code::Stale);
        match outcome {
            Ok(Reply::Each(mut results)) if in_doubt => {
                for denial in results.iter_mut().filter_map(|result| result.as_mut().err()) {
                    if gone(&denial.error) {
                        denial.error = self.unknown(attempts);
                    }
                }
                Ok(Reply::Each(results))
            }
            Err(error) if in_doubt && matches!(self.request, Request::Transfer { .. }) && gone(&error) => {
                Err(self.unknown(attempts))
            }
            outcome => outcome,
        }
    }

    /// The answer where the store can't do it. An earlier try that may have been applied stays unknown.
    pub fn fail(&self, error: &Error, attempts: &GivenUp) -> Outcome {
        let in_doubt = lock(&self.progress).doubt.is_some();
        if in_doubt { self.give_up(attempts) } else { Err(error.clone()) }
    }

    /// The answer of a call whose time is up.
    pub fn give_up(&self, attempts: &GivenUp) -> Outcome {
        if lock(&self.progress).doubt.is_some() {
            return Err(self.unknown(attempts));
        }
        let text = format!(
            "gave up on {} when timeout_ms had passed ({}): try again, or allow more time",
            self.subject(),
            self.cause()
        );
        let hindrance = lock(&self.progress).hindrance.as_ref().map(|error| error.code);
        let code = if attempts.store_resolves { Code::Unreachable } else { Code::Busy };
        Err(Error::new(hindrance.unwrap_or(code), text))
    }

    /// What is said of a call that may have been applied; a lock that it may have taken is given back.
    fn unknown(&self, attempts: &GivenUp) -> Error {
        if mutant::on("doubt_hidden") {
            return Error::new(Code::Busy, "nothing was done, says the defect of a test");
        }
        attempts.withdraw(&self.request);
        let cure = match self.request {
            Request::Set(_) => "it is not sent again: dss_get tells what stands there",
            _ => {
                "a lock that it may have taken is released with the next call, so take it again; after another call ask \
                 dss_lock_status"
            }
        };
        let text = format!("the outcome of a call for {} is unknown ({}): {cure}", self.subject(), self.cause());
        Error::new(Code::Unknown, text)
    }

    fn cause(&self) -> String {
        let progress = lock(&self.progress);
        // What made the outcome unknown says more than what stood in the way of finding out.
        progress
            .doubt
            .as_ref()
            .or(progress.hindrance.as_ref())
            .map_or("its turn did not come in this process's queue".into(), |error| error.text.clone())
    }

    fn subject(&self) -> String {
        match (&self.request, self.request.ids()) {
            (Request::Set(setting), _) => format!("key {}", setting.key),
            (Request::Get { key }, _) => format!("key {key}"),
            (_, []) => "no lock".into(),
            (_, [id]) => format!("lock {id}"),
            (_, [id, others @ ..]) => format!("lock {id} and {} more", others.len()),
        }
    }
}
