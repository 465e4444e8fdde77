//! The store on etcd, through its JSON gateway.
//!
//! A batch becomes one transaction, or some: [`decide`] applies the rules to what this process believes of the locks, and
//! [`txn`] has etcd do what comes of it if that is so. [`codec`] tells what the keys are. [`session`] makes sure that nothing is
//! done twice, or later than its caller was told.

mod api;
mod codec;
mod decide;
mod errors;
pub mod examine;
mod format;
mod http;
mod known;
mod leases;
mod list;
mod news;
mod pieces;
mod queue;
mod refusal;
mod session;
mod transport;
mod txn;
mod values;

use super::contract::{Fault, Missing, Pages, Remote, Scan, Snapshot, Store};
use crate::{
    clock,
    model::{
        error::{Code, Error},
        request::{Outcome, Reply, Request, Turn},
        state::KeyInfo,
        uri,
    },
    shared::wait_queue::Waiters,
    sys::panics,
};
use api::{Range, Txn};
use codec::Keys;
use errors::Trouble;
use http::{Client, Repeat};
use known::Cache;
use leases::Leases;
use news::Watch;
use pieces::Piece;
use queue::Queue;
use session::Session;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub struct Etcd {
    table: Table,
    remote: Remote,
    /// In a process forked from this one, nothing of it is used.
    process: u32,
    was_made: bool,
}

/// What the transactions work with.
struct Table {
    client: Arc<Client>,
    keys: Keys,
    session: Session,
    cache: Cache,
    leases: Leases,
    queue: Queue,
    watch: Arc<Watch>,
    /// Whether a server has answered last.
    is_reached: bool,
}

/// A call without time for more makes one try of this length.
const ONE_TRY: Duration = Duration::from_millis(300);

/// How long the last things may take.
const CLOSES_WITHIN: Duration = Duration::from_millis(500);

impl Etcd {
    pub fn open(target: &uri::etcd::Etcd, missing: Missing, deadline: Instant) -> Result<Etcd, Fault> {
        let deadline = one_try(deadline);
        let client = Arc::new(Client::new(target).map_err(Fault::Failed)?);
        let keys = Keys::new(&target.prefix);
        let at_first = |trouble: Trouble| Fault::Failed(trouble.error());
        // The first connection, for which ureq can't make use of a certificate and a key that do not belong together.
        let asked = panics::contain(|| client.check_version(deadline));
        asked.unwrap_or_else(|_| Err(Trouble::NotSent(mismatched(target)))).map_err(at_first)?;
        let was_made = format::check(&client, &keys, &target.prefix, missing, deadline).map_err(Fault::Failed)?;
        sweep(&client, &keys, deadline);
        let session = Session::new(&keys).map_err(Fault::Failed)?;
        let watch = Arc::new(Watch::new(target, client.clone(), keys.clone()));
        let remote = Remote { waiters: Arc::new(Waiters::of_process()), news: watch.clone() };
        let (cache, leases, queue) = (Cache::default(), Leases::default(), Queue::default());
        let table = Table { client, keys, session, cache, leases, queue, watch, is_reached: true };
        Ok(Etcd { table, remote, process: std::process::id(), was_made })
    }
}

fn mismatched(target: &uri::etcd::Etcd) -> Error {
    let name = |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).display().to_string();
    let (cert, key) = (name(&target.cert), name(&target.key));
    Error::new(
        Code::Invalid,
        format!("cert={cert} and key={key} do not belong together: name the key of that certificate"),
    )
}

fn one_try(deadline: Instant) -> Instant {
    deadline.max(clock::instant() + ONE_TRY)
}

/// As the reason why nothing was done.
fn failed(trouble: Trouble) -> Fault {
    Fault::Failed(trouble.error().after_init())
}

/// Removes some sessions of processes that were killed long ago. What fails here is left to the next one.
fn sweep(client: &Client, keys: &Keys, deadline: Instant) {
    let key = keys.session(b"");
    let range = Range { key: &key, end: &codec::end_of(&key), limit: 32, revision: 0 };
    let Ok(answer) = client.range(&range, deadline) else { return };
    for pair in answer.found.iter().flatten().filter(|pair| session::is_old(&pair.value)) {
        let mut txn = Txn::default();
        txn.if_modified(&pair.key, pair.modified);
        txn.delete(&pair.key);
        let _ = client.read(&txn, deadline);
    }
}

impl Table {
    fn apply(&mut self, batch: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        // Until that is known nothing of this batch is sent; who is in doubt stays so.
        self.find_out(deadline).map_err(|fault| match fault {
            Fault::Unknown(error) | Fault::Failed(error) | Fault::Busy(error) => Fault::Busy(error),
        })?;
        let mut pieces = pieces::split(batch);
        for piece in &mut pieces {
            piece.outcome = self.session.settled(piece.part());
        }
        self.enter_queue(&mut pieces, deadline);
        let mut failure = None;
        loop {
            let part = pieces::next_part(&pieces);
            if part.is_empty() {
                break;
            }
            let done = match &*pieces[part[0]].request {
                Request::Get { .. } => self.get(&mut pieces, &part, deadline),
                _ => self.do_part(&mut pieces, &part, deadline),
            };
            match done {
                Ok(()) => {}
                Err(Fault::Unknown(error)) => {
                    self.keep(&pieces);
                    return Err(Fault::Unknown(error));
                }
                Err(fault) if !pieces.iter().any(is_written) => return Err(fault),
                Err(Fault::Failed(error) | Fault::Busy(error)) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        for piece in &mut pieces {
            self.session.told(piece.part());
            self.let_others_first(piece, deadline);
        }
        Ok(pieces::join(batch, pieces, failure.as_ref()))
    }

    /// Keeps the answers of what was done until they are asked for again.
    fn keep(&mut self, pieces: &[Piece<'_>]) {
        for piece in pieces {
            if let (Some(part), Some(outcome)) = (piece.part(), &piece.outcome) {
                self.session.keep(part, outcome.clone());
            }
        }
    }

    /// Does what the requests want of the store's own queue. These are hints: a failure costs no more than the turn.
    fn enter_queue(&mut self, pieces: &mut [Piece<'_>], deadline: Instant) {
        let (mut come, mut leave) = (Vec::new(), Vec::new());
        for piece in &*pieces {
            match &*piece.request {
                Request::Peek(wanted) => come.extend(wanted.turn.waits().map(|waits| (&wanted.ids[..], waits))),
                Request::Leave { ids, name } => leave.push((&ids[..], *name)),
                _ => {}
            }
        }
        let _ = self.take_places(&come, deadline);
        let _ = self.leave(&leave, deadline);
        let leavers = pieces.iter_mut().filter(|piece| matches!(*piece.request, Request::Leave { .. }));
        leavers.for_each(|piece| piece.outcome = Some(Ok(Reply::Withdrawn)));
    }

    /// A waiter that finds its locks free leaves them to those who came before it; one that does not, waits for what is in the
    /// way.
    fn let_others_first(&mut self, piece: &mut Piece<'_>, deadline: Instant) {
        let (Request::Peek(wanted), Some(outcome)) = (&*piece.request, &piece.outcome) else { return };
        match outcome {
            Ok(Reply::Granted(_)) if !matches!(wanted.turn, Turn::Now) => {
                if let Ok(Some(found)) = self.others_first(wanted, outcome, deadline) {
                    piece.outcome = Some(Ok(Reply::Refused(found)));
                }
            }
            Ok(Reply::Refused(_)) => {
                let held = wanted.ids.iter().filter_map(|id| Some((id, self.cache.get(id)?.lease())));
                held.for_each(|(id, lease)| self.watch.note(id, lease));
            }
            _ => {}
        }
    }
}

/// Whether something was done for it that can't be taken back.
fn is_written(piece: &Piece<'_>) -> bool {
    piece.outcome.is_some() && !piece.request.is_read()
}

impl Store for Etcd {
    fn apply(&mut self, batch: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        self.table.watch.tidy();
        let applied = self.table.apply(batch, one_try(deadline));
        self.table.is_reached = match &applied {
            Err(Fault::Failed(error) | Fault::Unknown(error) | Fault::Busy(error)) => error.code != Code::Unreachable,
            _ => true,
        };
        applied
    }

    fn list(&mut self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        let table = &self.table;
        list::begin(&table.client, &table.keys, scan, one_try(deadline)).map_err(failed)
    }

    fn keys(&mut self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        let table = &self.table;
        list::keys(&table.client, &table.keys, prefix, one_try(deadline))
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.remote.waiters.clone()
    }

    fn check(&mut self, deadline: Instant) -> Result<(), Fault> {
        let mut txn = Txn::default();
        txn.get(&self.table.keys.store());
        let asked = self.table.client.read_again(&txn, Repeat::WhileSilent, one_try(deadline));
        asked.map(drop).map_err(|trouble| Fault::Failed(trouble.error()))
    }

    fn remote(&self) -> Option<Remote> {
        Some(self.remote.clone())
    }

    fn was_made(&self) -> bool {
        self.was_made
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let table = &mut self.table;
        if self.process != std::process::id() || !table.is_reached {
            return;
        }
        let deadline = clock::instant() + CLOSES_WITHIN;
        // Nothing that was lost may be done later.
        if table.find_out(deadline).is_ok() && table.session.is_there() {
            let mut txn = Txn::default();
            txn.delete(table.session.key());
            let _ = table.client.read(&txn, deadline);
        }
        table.leases.close(&table.client, deadline);
        table.close_queue(deadline);
    }
}

/// For fuzzing: an answer of the gateway, up to the locks in it.
#[cfg(feature = "fuzzing")]
pub fn read_answer(bytes: &[u8]) {
    let _ = (refusal::read("h:2379", 200, bytes), refusal::read("h:2379", 400, bytes));
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    let Ok(answer) = api::answer(&value) else { return };
    let id = crate::model::name::LockId::new(b"drive").expect("the name is good");
    answer.found.iter().flatten().for_each(|pair| drop(known::Seen::of(&id, Some(pair))));
}

/// For fuzzing: what stands under a key, which must be written as it was read.
#[cfg(feature = "fuzzing")]
pub fn read_record(id: &crate::model::name::LockId, key: &crate::model::name::StateKey, bytes: &[u8]) {
    if let Ok(stored) = codec::decode(id, bytes, 7) {
        let again = codec::encode(&stored);
        assert!(codec::decode(id, &again, 7).is_ok_and(|read| codec::encode(&read) == again));
    }
    let _ = (codec::decode_value(key, bytes), codec::decode_size(key, bytes));
}
