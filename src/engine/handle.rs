//! What a handle of the host stands for, and the table that finds it.
//!
//! The host's `struct dss_handle` holds a number, never an address: a handle that is closed, copied, or never was
//! opened is found out instead of followed.

use super::{
    commit::attempt::Series,
    gate::{self, Inside},
    holdings::Holdings,
    registry::{self, Shared},
};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        uri::Uri,
    },
    mutant,
    store::{contract::Missing, open::Place},
    sys::{
        self,
        doorbell::{self, Address},
    },
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

static HANDLES: RwLock<BTreeMap<usize, Arc<Handle>>> = RwLock::new(BTreeMap::new());
/// Numbers are never used twice. The first one is far from what small integers or addresses look like.
const FIRST: usize = 0xd55 << (usize::BITS - 12);
static NEXT: AtomicUsize = AtomicUsize::new(FIRST);

/// An open handle.
pub struct Handle {
    place: Place,
    /// What dss_uri() returns: in a forked child the same memory.
    uri: Arc<CStr>,
    pub(super) timeout: Duration,
    session: RwLock<Arc<Session>>,
    closed: AtomicBool,
    /// Calls that wait for a lock, to be woken when the handle is closed.
    waiting: Mutex<Vec<Address>>,
    /// The process that it is of.
    generation: u64,
    holdings: Arc<Mutex<Holdings>>,
}

/// A handle's use of its store, in one process.
pub(super) struct Session {
    pub store: Shared,
    pub attempts: Series,
    pub client: Arc<str>,
    /// Those of the handle.
    holdings: Arc<Mutex<Holdings>>,
}

/// How a handle is opened.
#[derive(Default)]
pub struct Opening {
    /// Who holds what is taken, as lists show it; without it, this process.
    pub client: Option<Arc<str>>,
    pub missing: Missing,
}

/// Opens a store and gives the number of the new handle.
pub fn open(uri: &Uri, opening: Opening, inside: &mut Inside) -> Result<usize, Error> {
    let deadline = clock::instant() + uri.timeout;
    let place = Place::find(&uri.target, opening.missing)?;
    let holdings = Arc::default();
    let mut session = Session::open(&place, opening.missing, Arc::clone(&holdings), deadline, inside)?;
    if let Some(client) = opening.client {
        session.client = client;
    }
    let session = Arc::new(session);
    let text = CString::new(place.uri()).map_err(|_| Error::new(Code::Invalid, "the store's name holds a NUL byte"))?;
    let handle = Arc::new(Handle::new(place, text.into(), uri.timeout, session, holdings));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HANDLES.write().unwrap_or_else(PoisonError::into_inner).insert(number, handle);
    Ok(number)
}

pub fn find(number: usize, _inside: &Inside) -> Result<Arc<Handle>, Error> {
    let found = HANDLES.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
    let found = found.ok_or_else(|| not_in_table(number))?;
    if found.generation == gate::generation() {
        return Ok(found);
    }
    // Threads of the parent that were in a call at the fork are not here to let go of it: the child has one of its own.
    let mut handles = HANDLES.write().unwrap_or_else(PoisonError::into_inner);
    let slot = handles.get_mut(&number).ok_or_else(|| not_in_table(number))?;
    if slot.generation != gate::generation() {
        let session = slot.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        let holdings = Arc::new(Mutex::new(mem::take(&mut *slot.holdings()).in_forked_child()));
        *slot = Arc::new(Handle::new(slot.place.clone(), slot.uri_of_child(), slot.timeout, session, holdings));
    }
    Ok(slot.clone())
}

/// Takes the handle out of the table. Calls that are under way in other threads end as they would, but those that wait for
/// a lock end at once.
pub fn close(number: usize, _inside: &Inside) {
    let closed = HANDLES.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    if let Some(handle) = closed {
        handle.closed.store(true, Ordering::SeqCst);
        handle.waiting().iter().for_each(|address| drop(doorbell::ring(*address)));
    }
}

/// The handles that are open now.
pub(super) fn all(_inside: &Inside) -> Vec<Arc<Handle>> {
    HANDLES.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
}

pub(super) fn none_is_open() -> bool {
    HANDLES.read().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// In a forked child, before it returns from fork(2). [`find`] does the rest at the first call on
/// each handle: nothing may be allocated here, since another thread of the parent may have been in
/// malloc.
pub(super) fn forget_parent() {
    for handle in HANDLES.read().unwrap_or_else(PoisonError::into_inner).values() {
        handle.holdings().events.leave_descriptor_to_parent();
    }
}

pub fn not_open() -> Error {
    Error::new(Code::NotOpen, "the handle is NULL or not open: call dss_init first, and nothing after dss_fini")
}

pub(super) fn closed() -> Error {
    let text = "the handle was closed by dss_fini, of this struct or of a copy of it: call dss_init to open it anew";
    Error::new(Code::NotOpen, text)
}

/// The error for a number that no open handle has.
fn not_in_table(number: usize) -> Error {
    if (FIRST..NEXT.load(Ordering::Relaxed)).contains(&number) && !mutant::on("handle_closed") {
        return closed();
    }
    if mutant::on("handle_foreign") {
        return not_open();
    }
    let text = format!(
        "dh_conn ({number:#x}) is nothing that dss_init of this library has given: the struct is \
         another library's of that name, was never initialised, or was overwritten; set a new \
         struct to zero, and pass only structs that this library opened"
    );
    Error::new(Code::NotOpen, text)
}

impl Session {
    fn open(
        place: &Place,
        missing: Missing,
        holdings: Arc<Mutex<Holdings>>,
        deadline: Instant,
        inside: &mut Inside,
    ) -> Result<Session, Error> {
        let store = registry::open(place, missing, deadline, inside)?;
        Ok(Session { store, attempts: Series::new()?, client: client(), holdings })
    }

    pub fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who we are, for people who read a list of locks: host:pid:program.
fn client() -> Arc<str> {
    let program = fs::read("/proc/self/comm").unwrap_or_default();
    client_of(std::process::id(), &program)
}

/// The same of another process of this host, with what its /proc/PID/comm holds.
pub fn client_of(process: u32, program: &[u8]) -> Arc<str> {
    let program = String::from_utf8_lossy(program.trim_ascii_end());
    format!("{}:{process}:{program}", sys::host_name()).into()
}

impl Handle {
    fn new(
        place: Place,
        uri: Arc<CStr>,
        timeout: Duration,
        session: Arc<Session>,
        holdings: Arc<Mutex<Holdings>>,
    ) -> Handle {
        let (session, closed, waiting) = (RwLock::new(session), AtomicBool::new(false), Mutex::default());
        Handle { place, uri, timeout, session, closed, waiting, generation: gate::generation(), holdings }
    }

    /// The host may have a pointer into it from before the fork.
    fn uri_of_child(&self) -> Arc<CStr> {
        if mutant::on("fork_uri") { Arc::from(&*self.uri) } else { self.uri.clone() }
    }

    /// The store as a connection string without passwords; a file by its full path.
    pub fn uri(&self) -> &CStr {
        &self.uri
    }

    /// Whether there was no store before this process opened it.
    pub fn has_made_store(&self) -> bool {
        self.session.read().unwrap_or_else(PoisonError::into_inner).store.was_made
    }

    /// The session of this process: a forked child opens its own.
    pub(super) fn session(&self, deadline: Instant, inside: &mut Inside) -> Result<Arc<Session>, Error> {
        let current = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        if current.store.is_ours() {
            return Ok(current);
        }
        self.place.check_after_fork()?;
        // The store was open once: what would be a refusal at init is a store out of reach now.
        let opened = Session::open(&self.place, Missing::Create, self.holdings.clone(), deadline, inside);
        let fresh = opened.map_err(Error::after_init)?;
        let fresh = Arc::new(fresh);
        let mut slot = self.session.write().unwrap_or_else(PoisonError::into_inner);
        if !slot.store.is_ours() {
            *slot = fresh;
        }
        Ok(slot.clone())
    }

    /// The same where this process has one already.
    pub(super) fn session_of_process(&self) -> Option<Arc<Session>> {
        let session = self.session.read().unwrap_or_else(PoisonError::into_inner).clone();
        session.store.is_ours().then_some(session)
    }

    pub(super) fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error in a forked child of the process that opened a store which can't be shared.
    pub(super) fn check_process(&self) -> Result<(), Error> {
        if self.session_of_process().is_some() { Ok(()) } else { self.place.check_shared() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Vec<Address>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
