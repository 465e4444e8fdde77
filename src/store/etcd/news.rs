//! What others release, as etcd tells it: a watch.

use super::{codec::Keys, http::Client};
use crate::{
    model::{name::LockId, uri::etcd::Etcd as Target},
    store::{
        news::{Ear, News},
        waiters::Waiters,
    },
};
use std::{os::fd::RawFd, sync::Arc};

pub struct Watch {}

impl Watch {
    pub fn new(_target: &Target, _client: Arc<Client>, _keys: Keys) -> Watch {
        Watch {}
    }
}

impl News for Watch {
    fn enter(self: Arc<Self>, _ids: &[LockId]) -> Box<dyn Ear> {
        Box::new(Deaf)
    }
}

struct Deaf;

impl Ear for Deaf {
    fn fd(&mut self) -> Option<RawFd> {
        None
    }

    fn hear(&mut self, _waiters: &Waiters) {}
}
