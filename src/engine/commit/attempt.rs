//! Attempts: what makes a retry recognise its own work, and what is done about attempts that were given up.

use crate::{
    model::{
        error::{Code, Error},
        lock::Attempt,
        request::Request,
    },
    sys,
};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Mints attempt ids: 64 random bits for the series, and a counter with a random start.
pub struct Series {
    prefix: [u8; 8],
    next: AtomicU64,
}

impl Series {
    pub fn new() -> Result<Series, Error> {
        let random = || {
            sys::random_bytes()
                .map_err(|error| Error::new(Code::Io, format!("the kernel gives no random numbers: {error}")))
        };
        Ok(Series { prefix: random()?, next: AtomicU64::new(u64::from_ne_bytes(random()?)) })
    }

    pub fn next(&self) -> Attempt {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.prefix);
        bytes[8..].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Attempt(bytes)
    }
}

/// Attempts whose callers were told that the outcome is unknown. They may not hold a lock for a caller who does not
/// know of it: their withdrawal goes ahead of the next batch.
pub struct GivenUp {
    /// The store finds out by itself what became of an earlier try.
    pub store_resolves: bool,
    withdrawals: Mutex<Vec<Request>>,
}

impl GivenUp {
    pub fn new(store_resolves: bool) -> GivenUp {
        GivenUp { store_resolves, withdrawals: Mutex::default() }
    }

    /// Notes that the request, if it took a lock, must give it back.
    pub fn withdraw(&self, request: &Request) {
        if let Request::Lock(wanted) = request {
            let withdrawal = Request::Withdraw { ids: wanted.ids.clone(), attempt: wanted.attempt };
            self.list().push(withdrawal);
        }
    }

    pub fn pending(&self) -> Vec<Request> {
        self.list().clone()
    }

    pub fn are_pending(&self) -> bool {
        !self.list().is_empty()
    }

    pub fn done(&self, withdrawals: &[Request]) {
        if !withdrawals.is_empty() {
            self.list().retain(|request| !withdrawals.contains(request));
        }
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.withdrawals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
