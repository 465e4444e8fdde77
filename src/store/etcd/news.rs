//! What others release, as etcd tells it: a watch on the keys of the locks that this process waits for, and of the leases that
//! are in the way.
//!
//! These are hints: who waits looks by itself too. So whatever goes wrong here, the watch is given up, and made anew a while
//! later.

use super::{
    api,
    codec::{Keys, Stored},
    http::{self, Client},
    known::Seen,
    transport::{self, Sockets},
};
use crate::{
    clock,
    model::{lock::Record, name::LockId, uri::etcd::Etcd as Target},
    shared::wait_queue::Waiters,
    store::news::{Ear, News},
    sys::{identity::Descriptor, poll},
};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read},
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub struct Watch {
    target: Target,
    client: Arc<Client>,
    keys: Keys,
    state: Mutex<State>,
    /// In a process forked from this one, nothing of it is used.
    process: u32,
}

#[derive(Default)]
struct State {
    /// What the threads wait for, by the numbers of their ears.
    waits: BTreeMap<u64, Vec<LockId>>,
    next: u64,
    /// The leases that the locks waited for are believed to be held with.
    leases: HashMap<LockId, i64>,
    stream: Option<Stream>,
    /// Since when nobody waits any more.
    idle_since: Option<Instant>,
    is_opening: bool,
    /// Not to be opened before.
    next_open: Option<Instant>,
}

/// A watch that is open.
struct Stream {
    body: ureq::BodyReader<'static>,
    socket: Descriptor,
    /// What it shows: the ids by their keys.
    shows: HashMap<Vec<u8>, LockId>,
    /// What has come of the next line.
    line: Vec<u8>,
}

/// So many of the threads listen: while one of them does something else, another does.
const LISTENERS: usize = 3;
/// The most keys of one watch; what is waited for beyond them is looked at now and then.
const KEYS_MOST: usize = 256;
/// For so long a watch is kept for the next one who waits.
const KEPT_IDLE: Duration = Duration::from_secs(1);
const OPENS_WITHIN: Duration = Duration::from_millis(500);
/// Before it is opened again because others began to wait for other locks.
const PAUSE: Duration = Duration::from_millis(30);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(1000);
const LINE_MOST: usize = 1 << 22;

impl Watch {
    pub fn new(target: &Target, client: Arc<Client>, keys: Keys) -> Watch {
        Watch { target: target.clone(), client, keys, state: Mutex::default(), process: std::process::id() }
    }

    /// Notes which lease has to end before the lock is free.
    pub fn note(&self, id: &LockId, lease: i64) {
        let mut state = self.state();
        if state.waits.values().any(|ids| ids.contains(id)) {
            state.leases.insert(id.clone(), lease);
        }
    }

    /// Closes a watch that nobody needs any more: to be said now and then.
    pub fn tidy(&self) {
        let mut state = self.state();
        let is_over = |since: &mut Instant| clock::instant() >= *since + KEPT_IDLE;
        if state.idle_since.take_if(is_over).is_some() {
            (state.stream, state.next_open) = (None, None);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys to be watched now.
    fn wanted(&self, state: &State) -> HashMap<Vec<u8>, LockId> {
        let ids = state.waits.values().flatten().take(KEYS_MOST);
        let mut wanted = HashMap::new();
        for id in ids {
            wanted.insert(self.keys.lock(id.as_bytes()), id.clone());
            if let Some(lease) = state.leases.get(id).filter(|lease| **lease != 0) {
                wanted.insert(self.keys.alive(*lease), id.clone());
            }
        }
        wanted
    }

    /// The descriptor of the watch. If it shows too little, it is made anew by the thread that asks, while others go on.
    fn listen<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Option<RawFd> {
        if state.stream.as_ref().is_some_and(|stream| !poll::is_there(stream.socket)) {
            // The host has closed it.
            (state.stream, state.next_open) = (None, None);
        }
        let wanted = self.wanted(&state);
        let is_shown = |stream: &Stream| wanted.keys().all(|key| stream.shows.contains_key(key));
        let pause = state.is_opening || state.next_open.is_some_and(|next| clock::instant() < next);
        if !pause && !state.stream.as_ref().is_some_and(is_shown) {
            state.is_opening = true;
            drop(state);
            let opened = self.open(wanted);
            state = self.state();
            let pause = if opened.is_some() { PAUSE } else { PAUSE_AFTER_FAILURE };
            state.next_open = Some(clock::instant() + pause);
            (state.stream, state.is_opening) = (opened, false);
        }
        state.stream.as_ref().map(|stream| stream.socket.number())
    }

    fn open(&self, shows: HashMap<Vec<u8>, LockId>) -> Option<Stream> {
        let mut body = String::new();
        for key in shows.keys() {
            body.push_str("{\"create_request\":{\"key\":\"");
            BASE64.encode_string(key, &mut body);
            body.push_str("\"}}\n");
        }
        let last = Arc::default();
        let agent = http::agent(&self.target, Sockets { last: Some(Arc::clone(&last)) }).ok()?;
        let body = self.client.stream(&agent, "/v3/watch", &body, clock::instant() + OPENS_WITHIN)?;
        let socket = (*last.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(Stream { body, socket, shows, line: Vec::new() })
    }
}

impl Stream {
    /// Takes in what has come; false at its end.
    fn read(&mut self, mut heard: impl FnMut(&HashMap<Vec<u8>, LockId>, &Value)) -> bool {
        let mut bytes = [0; 4096];
        loop {
            transport::begin_at_once();
            let count = match self.body.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            self.line.extend_from_slice(&bytes[..count]);
            while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                let Ok(value) = serde_json::from_slice::<Value>(&line) else { continue };
                if !value["error"].is_null() || value["result"]["canceled"].as_bool() == Some(true) {
                    return false;
                }
                heard(&self.shows, &value["result"]);
            }
            if self.line.len() > LINE_MOST {
                return false;
            }
        }
    }
}

/// The lock that somebody may have now, and the lease of its new holder, as an event tells.
fn freed(shows: &HashMap<Vec<u8>, LockId>, keys: &Keys, event: &Value) -> Option<(LockId, Option<i64>)> {
    let pair = api::pair(&event["kv"])?;
    let id = shows.get(&pair.key)?;
    let is_lock = keys.id_of(&pair.key).is_some();
    if event["type"].as_str() == Some("DELETE") {
        return Some((id.clone(), None));
    }
    match Seen::of(id, Some(&pair)).stored.filter(|_| is_lock)? {
        Stored { record: Record::Trace { .. }, .. } => Some((id.clone(), None)),
        Stored { lease, .. } => Some((id.clone(), Some(lease))),
    }
}

impl News for Watch {
    fn enter(self: Arc<Self>, ids: &[LockId]) -> Box<dyn Ear> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waits.insert(number, ids.to_vec());
        state.idle_since = None;
        drop(state);
        Box::new(Listener { watch: self, number })
    }
}

struct Listener {
    watch: Arc<Watch>,
    number: u64,
}

impl Listener {
    fn is_ours(&self) -> bool {
        self.watch.process == std::process::id()
    }
}

impl Ear for Listener {
    fn fd(&mut self) -> Option<RawFd> {
        if !self.is_ours() {
            return None;
        }
        let state = self.watch.state();
        let is_one = state.waits.keys().take(LISTENERS).any(|number| *number == self.number);
        if is_one { self.watch.listen(state) } else { None }
    }

    fn hear(&mut self, waiters: &Waiters) {
        if !self.is_ours() {
            return;
        }
        let mut guard = self.watch.state();
        let state = &mut *guard;
        let Some(stream) = &mut state.stream else { return };
        let (keys, leases) = (&self.watch.keys, &mut state.leases);
        let mut woken: Vec<LockId> = Vec::new();
        let goes_on = stream.read(|shows, result| {
            // What was released before the watch began is seen by a look now.
            if result["created"].as_bool() == Some(true) {
                woken.extend(shows.values().cloned());
            }
            let events = result["events"].as_array().map_or(&[][..], |events| &events[..]);
            for (id, lease) in events.iter().filter_map(|event| freed(shows, keys, event)) {
                match lease {
                    Some(lease) => drop(leases.insert(id, lease)),
                    None => woken.push(id),
                }
            }
        });
        if !goes_on {
            state.stream = None;
            state.next_open = Some(clock::instant() + PAUSE_AFTER_FAILURE);
        }
        drop(guard);
        woken.sort_unstable();
        woken.dedup();
        waiters.wake(&woken);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        let mut state = self.watch.state();
        let ids = state.waits.remove(&self.number).unwrap_or_default();
        let gone: Vec<LockId> =
            ids.into_iter().filter(|id| !state.waits.values().any(|others| others.contains(id))).collect();
        state.leases.retain(|id, _| !gone.contains(id));
        if state.waits.is_empty() {
            state.idle_since = Some(clock::instant());
        }
    }
}
