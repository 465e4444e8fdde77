//! What a store is to the engine: requests go down, answers come up.

use super::{news::News, pulse::Pulse};
use crate::{
    model::{
        error::{Code, Error},
        lock::{Entry, Filter, Tick},
        name::LockId,
        request::{Outcome, Request},
        state::KeyInfo,
    },
    shared::{combiner::PublicationList, wait_queue::Waiters},
};
use std::{sync::Arc, time::Instant};

/// What the engine asks of a store.
///
/// 1. `apply` does the requests of the batch in their order, each as [`crate::model::rules`] says, and answers each one
///    in its place. One request's refusal never undoes its neighbour.
/// 2. The batch is one transaction: nothing of it is visible before all of it is, and nothing of it after a
///    [`Fault::Busy`] or [`Fault::Failed`]. One that has `sets_apart` is given writes of values in batches in which there is
///    nothing else, but withdrawals before them.
/// 3. An answer is given only when what it rests on is as durable as the store's settings promise.
/// 4. A batch of reads takes no lock that a writer needs.
/// 5. `apply` does not wait for other processes: where it would, it answers [`Fault::Busy`], and is asked again.
/// 6. After [`Fault::Unknown`] the same batch, with the same attempt ids, may be applied again.
/// 7. After `suspend` the store holds nothing that a fork would share; the next `apply` opens it again.
/// 8. Dropping a store closes it. No entry is released by that.
/// 9. `check` tells whether the store could be used at this moment; a new handle asks it of a store that is open.
/// 10. `list` gives one snapshot, in the order of ids, which holds up no writer. It takes a bounded amount of memory, and its
///     pages a bounded time. A `suspend` cuts it short: its next page is an -EINTR. So does `keys`, which shows the keys that
///     begin so, and no values.
/// 11. `waiters` is the queue of those who wait for locks of the store, as far as its processes can reach each other. The
///     engine wakes them after what `apply` has released. `pulse` lets them see that nothing has changed since they looked;
///     None where only a look can tell.
/// 12. `publications` is where the processes of a store publish requests for the combiner among them; None where there is
///     but one process, or no way to reach the others. `apply` also runs the requests that others have published.
/// 13. `remote` is there for a store at the other end of a connection. Its `apply`, `list`, `check` and pages may take until the
///     deadline; a fork may pass meanwhile, in whose child nothing of the store is touched but the descriptors that
///     [`crate::sys::inherited`] knows. It finds lost answers again by itself: after [`Fault::Unknown`] the next `apply`
///     first makes sure that what was lost can't be done any more, or gives the requests of the same attempts the answers that
///     they had.
/// 14. `was_made` tells whether there was no store before this one was opened, and that made it.
pub trait Store: Send {
    fn apply(&mut self, batch: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault>;
    fn list(&mut self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault>;
    fn keys(&mut self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault>;
    fn waiters(&mut self) -> Arc<Waiters>;
    fn pulse(&mut self) -> Option<Arc<dyn Pulse>> {
        None
    }
    fn publications(&mut self) -> Option<Arc<PublicationList>> {
        None
    }
    fn suspend(&mut self) {}
    fn check(&mut self, deadline: Instant) -> Result<(), Fault>;
    fn sets_apart(&self) -> bool {
        false
    }
    fn remote(&self) -> Option<Remote> {
        None
    }
    fn was_made(&self) -> bool {
        false
    }
}

/// What the engine needs of a remote store while the store itself is busy.
#[derive(Clone)]
pub struct Remote {
    /// Those of this process who wait.
    pub waiters: Arc<Waiters>,
    pub news: Arc<dyn News>,
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
    pub pages: Box<dyn Pages<Found>>,
}

pub type Found = (LockId, Entry);

/// The most locks or keys in one page, and how many locks may be looked at for it.
pub const PAGE_ITEMS: usize = 64;
pub const PAGE_LOOKS: usize = 1024;

pub trait Pages<T>: Send {
    /// The next ones, none of them perhaps; None when there are no more.
    fn next(&mut self, deadline: Instant) -> Result<Option<Vec<T>>, Error>;
}

impl Scan {
    /// Whether an entry is one of those to show at that moment.
    pub fn shows(&self, id: &LockId, entry: &Entry, tick: Tick, now_us: i64) -> bool {
        entry.is_live(tick)
            && self.granted_before.is_none_or(|last| entry.token <= last)
            && self.filter.matches(id, entry, tick, now_us)
    }

    /// Where to begin: the id itself, or the first one behind it.
    pub fn begin(&self) -> (&[u8], bool) {
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

/// What is done where there is no store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Missing {
    /// It is made.
    #[default]
    Create,
    /// That is an error, and nothing is made: neither files nor folders, tables nor keys.
    Refuse,
}

/// The error where a store that is missing is not made.
pub fn no_store(place: &str) -> Error {
    Error::new(Code::Missing, format!("there is no store at {place}"))
}
