//! What is released elsewhere: the server notifies the one who waits longest, by the name of its doorbell. One of the waiting threads
//! listens for all of the process, on a connection of its own. Behind a pooler nothing comes, and waiters look by themselves.

use super::{answers::bytes_of, link::Link, site::Site};
use crate::{
    clock,
    model::name::LockId,
    shared::wait_queue::Waiters,
    store::news::{Ear, News},
    sys::{
        doorbell::{self, Address},
        identity::Descriptor,
    },
};
use std::{
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub struct PostgresNews {
    site: Arc<Site>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// A thread listens.
    is_heard: bool,
    /// Not before then is it tried to connect again.
    next_try: Option<Instant>,
}

/// How long a waiter may be kept from its own looks by a connection that is being made, and how long until the next try.
const CONNECTS_WITHIN: Duration = Duration::from_millis(250);
const TRIES_EACH: Duration = Duration::from_secs(3);

impl PostgresNews {
    pub fn new(site: &Arc<Site>) -> PostgresNews {
        PostgresNews { site: site.clone(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> Option<Link> {
        let deadline = clock::instant() + CONNECTS_WITHIN;
        let mut link = self.site.connect(deadline).ok()?;
        link.run(&format!("LISTEN \"{}.released\"", self.site.target.schema), deadline).ok()?;
        Some(link)
    }
}

impl News for PostgresNews {
    fn enter(self: Arc<Self>, _: &[LockId]) -> Box<dyn Ear> {
        Box::new(PostgresEar { news: self, listens: false })
    }
}

struct PostgresEar {
    news: Arc<PostgresNews>,
    listens: bool,
}

impl Ear for PostgresEar {
    fn fd(&mut self) -> Option<RawFd> {
        let mut state = self.news.state();
        if !self.listens {
            if state.is_heard {
                return None;
            }
            (state.is_heard, self.listens) = (true, true);
        }
        if state.link.as_ref().is_some_and(|link| link.socket().is_none()) {
            (state.link, state.next_try) = (None, None);
        }
        let now = clock::instant();
        if state.link.is_none() && state.next_try.is_none_or(|next| now >= next) {
            state.next_try = Some(now + TRIES_EACH);
            state.link = self.news.connect();
        }
        state.link.as_ref().and_then(Link::socket).map(Descriptor::number)
    }

    fn hear(&mut self, _: &Waiters) {
        let mut state = self.news.state();
        let Some(link) = &mut state.link else { return };
        let lost = link.notice_death().is_err();
        while let Some(name) = link.notification() {
            // One of another host, or one that has gone, is not there to be rung for.
            name_of(&name).into_iter().for_each(|name| drop(doorbell::ring(Address::of_name(name))));
        }
        if lost {
            state.link = None;
        }
    }
}

impl Drop for PostgresEar {
    fn drop(&mut self) {
        if self.listens {
            self.news.state().is_heard = false;
        }
    }
}

fn name_of(hex: &[u8]) -> Option<[u8; 16]> {
    bytes_of(std::str::from_utf8(hex).ok()?)?.try_into().ok()
}
