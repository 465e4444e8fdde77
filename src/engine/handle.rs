//! What a handle of the host stands for, and the table that finds it.
//!
//! The host's `struct dss_handle` holds a number, never an address: a handle that is closed, copied, or never was
//! opened is found out instead of followed.

use super::{
    attempt::Series,
    gate::Inside,
    registry::{self, Shared},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        name::{LockId, Owner},
        request::{Entry, Reply, Request},
        uri::Uri,
    },
    store::Place,
    sys,
};
use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

static HANDLES: RwLock<BTreeMap<usize, Arc<Handle>>> = RwLock::new(BTreeMap::new());
/// Numbers are never used twice. The first one is far from what small integers or addresses look like.
static NEXT: AtomicUsize = AtomicUsize::new(0xd55 << (usize::BITS - 12));

/// An open handle.
pub struct Handle {
    place: Place,
    timeout: Duration,
    session: RwLock<Arc<Session>>,
}

/// A handle's use of its store, in one process.
struct Session {
    store: Shared,
    attempts: Series,
    client: Box<str>,
}

/// Opens a store and gives the number of the new handle.
pub fn open(uri: &Uri, inside: &mut Inside) -> Result<usize, Error> {
    let deadline = clock::instant() + uri.timeout;
    let place = Place::find(&uri.target)?;
    let session = RwLock::new(Arc::new(Session::open(&place, deadline, inside)?));
    let handle = Arc::new(Handle { place, timeout: uri.timeout, session });
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HANDLES.write().unwrap_or_else(PoisonError::into_inner).insert(number, handle);
    Ok(number)
}

pub fn find(number: usize, _inside: &Inside) -> Result<Arc<Handle>, Error> {
    let handles = HANDLES.read().unwrap_or_else(PoisonError::into_inner);
    handles.get(&number).cloned().ok_or_else(not_open)
}

/// Takes the handle out of the table. Calls that are under way in other threads end as they would.
pub fn close(number: usize, _inside: &Inside) {
    let closed = HANDLES.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    drop(closed);
}

pub fn not_open() -> Error {
    Error::new(Code::NotOpen, "the handle is NULL or not open: call dss_init first, and nothing after dss_fini")
}

impl Session {
    fn open(place: &Place, deadline: Instant, inside: &mut Inside) -> Result<Session, Error> {
        let store = registry::open(place, deadline, inside)?;
        Ok(Session { store, attempts: Series::new()?, client: client() })
    }
}

/// Who we are, for people who read a list of locks: host:pid:program.
fn client() -> Box<str> {
    let program = fs::read("/proc/self/comm").unwrap_or_default();
    let program = String::from_utf8_lossy(program.trim_ascii_end()).into_owned();
    format!("{}:{}:{program}", sys::host_name(), std::process::id()).into()
}

impl Handle {
    /// Takes the lock and gives its token.
    pub fn lock(&self, id: LockId, owner: Owner, inside: &mut Inside) -> Result<u64, Error> {
        let request = |session: &Session| {
            let (client, attempt) = (session.client.clone(), session.attempts.next());
            Request::Lock { id, owner, client, attempt }
        };
        match self.call(request, inside)? {
            Reply::Granted { token } => Ok(token),
            other => Err(unexpected(&other)),
        }
    }

    pub fn refresh(&self, id: LockId, owner: Owner, inside: &mut Inside) -> Result<(), Error> {
        match self.call(|_| Request::Refresh { id, owner }, inside)? {
            Reply::Refreshed { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub fn unlock(&self, id: LockId, owner: Option<Owner>, inside: &mut Inside) -> Result<(), Error> {
        match self.call(|_| Request::Unlock { id, owner }, inside)? {
            Reply::Released => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub fn status(&self, id: LockId, inside: &mut Inside) -> Result<Entry, Error> {
        match self.call(|_| Request::Status { id }, inside)? {
            Reply::Status(entry) => Ok(entry),
            other => Err(unexpected(&other)),
        }
    }

    /// One deadline for all that the call may have to do.
    fn call(&self, request: impl FnOnce(&Session) -> Request, inside: &mut Inside) -> Result<Reply, Error> {
        let deadline = clock::instant() + self.timeout;
        let session = self.session(deadline, inside)?;
        session.store.call(request(&session), deadline, inside)
    }

    /// The session of this process: a forked child opens its own.
    fn session(&self, deadline: Instant, inside: &mut Inside) -> Result<Arc<Session>, Error> {
        let current = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        if current.store.is_ours() {
            return Ok(current);
        }
        self.place.check_after_fork()?;
        // The store was open once: what would be a refusal at init is a store out of reach now.
        let fresh = Session::open(&self.place, deadline, inside).map_err(Error::after_init)?;
        let fresh = Arc::new(fresh);
        let mut slot = self.session.write().unwrap_or_else(PoisonError::into_inner);
        if !slot.store.is_ours() {
            *slot = fresh;
        }
        Ok(slot.clone())
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Defect, format!("the store gave an answer to another question ({reply:?}): please report this"))
}
