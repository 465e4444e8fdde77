//! The store on etcd.

use super::{Fault, Scan, Snapshot, Store, desks::Desks, pulse::Pulse, waiters::Waiters};
use crate::model::{
    error::{Code, Error},
    request::{Outcome, Request},
    uri,
};
use std::{sync::Arc, time::Instant};

pub struct Etcd {}

impl Etcd {
    pub fn open(_target: &uri::etcd::Etcd, _deadline: Instant) -> Result<Etcd, Fault> {
        Err(Fault::Failed(Error::new(Code::Unsupported, "not yet")))
    }
}

impl Store for Etcd {
    fn apply(&mut self, _batch: &[&Request], _deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        Ok(Vec::new())
    }
    fn list(&mut self, _scan: &Scan, _deadline: Instant) -> Result<Snapshot, Fault> {
        Err(Fault::Failed(Error::new(Code::Unsupported, "not yet")))
    }
    fn waiters(&mut self) -> Arc<Waiters> {
        Arc::new(Waiters::of_process())
    }
    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        None
    }
    fn desks(&mut self) -> Option<Arc<Desks>> {
        None
    }
    fn suspend(&mut self) {}
    fn check(&mut self, _deadline: Instant) -> Result<(), Fault> {
        Ok(())
    }
}
