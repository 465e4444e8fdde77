//! `memory:`, the store of one process: the rules applied to a map. Every other store must answer as this one does.

use super::{Fault, Store};
use crate::{
    clock,
    model::{
        name::LockId,
        request::{Entry, Outcome, Request},
        rules::{Change, Moment, decide},
    },
};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Memory {
    locks: BTreeMap<LockId, Entry>,
    last_token: u64,
}

impl Memory {
    fn apply_one(&mut self, request: &Request) -> Outcome {
        let moment = Moment { now_us: clock::now_us(), last_token: self.last_token };
        let id = request.id();
        let (change, outcome) = decide(request, self.locks.get(id).cloned(), &moment);
        match change {
            Change::Keep => {}
            Change::Put(entry) => {
                self.last_token = self.last_token.max(entry.token);
                self.locks.insert(id.clone(), entry);
            }
            Change::Remove => drop(self.locks.remove(id)),
        }
        outcome
    }
}

impl Store for Memory {
    fn apply(&mut self, batch: &[&Request]) -> Result<Vec<Outcome>, Fault> {
        Ok(batch.iter().map(|request| self.apply_one(request)).collect())
    }

    /// The entries belong to this process: a child that inherits them is told so, and makes its own store.
    fn suspend(&mut self) {}

    fn check(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}
