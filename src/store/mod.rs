//! Stores: where the entries are kept. A store knows nothing of engines, handles or C.

pub mod desks;
pub mod memory;
pub mod pulse;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod waiters;

use crate::model::{
    error::{Code, Error},
    lock::{Entry, Filter, Tick},
    name::LockId,
    request::{Outcome, Request},
    uri::Target,
};
use desks::Desks;
use pulse::Pulse;
use std::sync::Arc;
use waiters::Waiters;

/// What the engine asks of a store.
///
/// 1. `apply` does the requests of the batch in their order, each as [`crate::model::rules`] says, and answers each one
///    in its place. One request's refusal never undoes its neighbour.
/// 2. The batch is one transaction: nothing of it is visible before all of it is, and nothing of it after a
///    [`Fault::Busy`] or [`Fault::Failed`].
/// 3. An answer is given only when what it rests on is as durable as the store's settings promise.
/// 4. A batch of reads takes no lock that a writer needs.
/// 5. `apply` does not wait for other processes: where it would, it answers [`Fault::Busy`], and is asked again.
/// 6. After [`Fault::Unknown`] the same batch, with the same attempt ids, may be applied again.
/// 7. After `suspend` the store holds nothing that a fork would share; the next `apply` opens it again.
/// 8. Dropping a store closes it. No entry is released by that.
/// 9. `check` tells whether the store could be used at this moment; a new handle asks it of a store that is open.
/// 10. `list` gives one snapshot, in the order of ids, which holds up no writer. It takes a bounded amount of memory, and its
///     pages a bounded time. A `suspend` cuts it short: its next page is an -EINTR.
/// 11. `waiters` is the queue of those who wait for locks of the store, as far as its processes can reach each other. The
///     engine wakes them after what `apply` has released. `pulse` lets them see that nothing has changed since they looked;
///     None where only a look can tell.
/// 12. `desks` is where the processes of a store leave requests for the one of them that is at work; None where there is
///     but one process, or no way to reach the others. `apply` also does what others have left.
pub trait Store: Send {
    fn apply(&mut self, batch: &[&Request]) -> Result<Vec<Outcome>, Fault>;
    fn list(&mut self, scan: &Scan) -> Result<Snapshot, Fault>;
    fn waiters(&mut self) -> Arc<Waiters>;
    fn pulse(&mut self) -> Option<Arc<dyn Pulse>>;
    fn desks(&mut self) -> Option<Arc<Desks>>;
    fn suspend(&mut self);
    fn check(&mut self) -> Result<(), Fault>;
}

/// Which locks to read.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    pub filter: Filter,
    /// Only ids behind this one.
    pub after: Option<LockId>,
    /// Only locks that were granted before a look at the store, which gave this as its last token.
    pub granted_before: Option<u64>,
}

/// All locks that a scan finds, as they were at one moment.
pub struct Snapshot {
    pub now_us: i64,
    pub tick: Tick,
    /// The greatest token that was granted until then.
    pub last_token: u64,
    pub pages: Box<dyn Pages>,
}

/// The most locks in one page, and how many may be looked at for it.
pub const PAGE_LOCKS: usize = 64;
pub const PAGE_LOOKS: usize = 1024;

pub trait Pages: Send {
    /// The next locks, none of them perhaps; None when there are no more.
    fn next(&mut self) -> Result<Option<Vec<(LockId, Entry)>>, Error>;
}

impl Scan {
    /// Whether an entry is one of those to show at that moment.
    fn shows(&self, id: &LockId, entry: &Entry, tick: Tick, now_us: i64) -> bool {
        entry.is_live(tick)
            && self.granted_before.is_none_or(|last| entry.token <= last)
            && self.filter.matches(id, entry, tick, now_us)
    }

    /// Where to begin: the id itself, or the first one behind it.
    fn begin(&self) -> (&[u8], bool) {
        match &self.after {
            Some(after) if after.as_bytes() >= &self.filter.id[..] => (after.as_bytes(), false),
            _ => (&self.filter.id, true),
        }
    }
}

/// Why a whole batch was not done.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Somebody else is in the way at this moment; nothing changed.
    Busy(Error),
    /// It can't be done; nothing changed.
    Failed(Error),
    /// It may have been done.
    Unknown(Error),
}

/// A store that has been found but not opened: where its data is.
#[derive(Clone, Debug)]
pub enum Place {
    Memory {
        name: Box<[u8]>,
    },
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::place::Place),
}

/// What tells one store from another: places of equal keys are one store, with one engine in this process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    Memory {
        name: Box<[u8]>,
    },
    #[cfg(feature = "sqlite")]
    Sqlite {
        device: u64,
        inode: u64,
    },
}

impl Place {
    /// Finds the target's data, and makes the empty file where there is none yet.
    pub fn find(target: &Target) -> Result<Place, Error> {
        match target {
            Target::Memory { name } => Ok(Place::Memory { name: name.clone() }),
            #[cfg(feature = "sqlite")]
            Target::Sqlite { path, mode } => sqlite::place::Place::find(path, *mode).map(Place::Sqlite),
            #[cfg(not(feature = "sqlite"))]
            Target::Sqlite { .. } => {
                Err(Error::new(Code::Unsupported, "this libdss was built without the SQLite store"))
            }
        }
    }

    pub fn key(&self) -> Key {
        match self {
            Place::Memory { name } => Key::Memory { name: name.clone() },
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => Key::Sqlite { device: place.device, inode: place.inode },
        }
    }

    pub fn open(&self) -> Result<Box<dyn Store>, Fault> {
        match self {
            Place::Memory { .. } => Ok(Box::new(memory::Memory::default())),
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => Ok(Box::new(sqlite::Sqlite::open(place.clone())?)),
        }
    }

    /// Fails where a forked child can't reach the store that its parent opened.
    pub fn check_after_fork(&self) -> Result<(), Error> {
        match self {
            Place::Memory { .. } => {
                let text = "a memory: store stays with the process that opened it: open one of your own after fork";
                Err(Error::new(Code::Forked, text))
            }
            #[cfg(feature = "sqlite")]
            Place::Sqlite(place) => place.check(),
        }
    }
}
