//! Values under keys.

use super::{calls::unexpected, gate::Inside, handle::Handle};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        name::StateKey,
        request::{Reply, Request},
        state::{Guard, Setting, Value},
    },
    mutant,
};
use std::sync::Arc;

/// Why nothing was written, and the version that stands there, where another one was expected.
pub struct Unwritten {
    pub error: Error,
    pub version: u64,
}

impl From<Error> for Unwritten {
    fn from(error: Error) -> Unwritten {
        Unwritten { error, version: 0 }
    }
}

impl Handle {
    pub fn get(&self, key: StateKey, inside: &mut Inside) -> Result<Value, Error> {
        let deadline = clock::instant() + self.timeout;
        let session = self.session(deadline, inside)?;
        match session.store.call(Request::Get { key }, deadline, inside)? {
            Reply::Got(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes a value, or with None deletes it, and gives its version.
    pub fn set(
        &self,
        key: StateKey,
        value: Option<Arc<[u8]>>,
        guard: Guard,
        inside: &mut Inside,
    ) -> Result<u64, Unwritten> {
        let guard = if mutant::on("guard_outside") { self.look_before(guard, inside)? } else { guard };
        let deadline = clock::instant() + self.timeout;
        let session = self.session(deadline, inside)?;
        let attempt = session.attempts.next();
        let request = Request::Set(Arc::new(Setting { key, value, guard, attempt, in_doubt: false }));
        match session.store.call(request, deadline, inside)? {
            Reply::Set { version } => Ok(version),
            Reply::Outdated { version, error } => Err(Unwritten { error, version }),
            other => Err(unexpected(&other).into()),
        }
    }

    /// The guard's lock is looked at, and the value is written after that: as near as one comes without a transaction.
    fn look_before(&self, guard: Guard, inside: &mut Inside) -> Result<Guard, Error> {
        let Guard { version, lock: Some(fence) } = guard else { return Ok(guard) };
        match self.status(fence.id, inside) {
            Ok(entry) if entry.token == fence.token => Ok(Guard { version, lock: None }),
            _ => Err(Error::new(Code::Stale, "another one has the lock, or nobody")),
        }
    }
}
