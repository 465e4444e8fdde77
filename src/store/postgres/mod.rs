//! The store on PostgreSQL: a schema of tables and functions, and one call of a function for each batch.

mod answers;
mod arrays;
mod batch;
mod errors;
pub mod examine;
#[allow(unsafe_code)]
mod libpq;
#[allow(unsafe_code)]
mod link;
mod list;
mod news;
mod reads;
#[allow(unsafe_code)]
mod rows;
mod schema;
mod server;
mod session;
mod site;
mod state;
mod statement;
mod ways;

use super::contract::{Fault, Missing, Pages, Remote, Scan, Snapshot, Store};
use crate::{
    clock,
    model::{
        request::{Outcome, Request},
        state::KeyInfo,
        uri::postgres::Postgres as Target,
    },
    mutant,
    shared::wait_queue::Waiters,
};
use errors::{Cure, Trouble};
use list::Lists;
use news::PostgresNews;
use server::{PATIENCE, Server, Statements, patient};
use session::Session;
use site::Site;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use ways::Way;

/// The server gives up on rows that others keep before we give up on the server, so that its answer comes in time, also from a
/// busy one: by a third of the time that is left, within these bounds.
const SHORTEST_MARGIN: Duration = Duration::from_millis(100);
const LONGEST_MARGIN: Duration = Duration::from_millis(500);

pub struct Postgres {
    server: Server,
    session: Session,
    lists: Lists,
    waiters: Arc<Waiters>,
    news: Arc<PostgresNews>,
}

impl Postgres {
    pub fn open(target: &Target, missing: Missing, deadline: Instant) -> Result<Postgres, Fault> {
        let statements = Arc::new(Statements::of(&target.schema));
        let site = Arc::new(Site::new(target));
        let mut server = Server::open(&site, statements, missing, patient(deadline)).map_err(Fault::Failed)?;
        let session = Session::begin(&mut server, patient(deadline))?;
        Ok(Postgres {
            session,
            server,
            lists: Lists::new(&site),
            waiters: Arc::new(Waiters::of_process()),
            news: Arc::new(PostgresNews::new(&site)),
        })
    }

    fn answer(&mut self, requests: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        // What was given up is made void before anything else is done.
        self.session.resolve(&mut self.server, deadline)?;
        if !requests.is_empty() && requests.iter().all(|request| request.is_read()) {
            return self.read(requests, deadline);
        }
        // The engine's withdrawals go ahead of reads now and then.
        let (reads, writes): (Vec<&Request>, Vec<&Request>) = requests.iter().partition(|request| request.is_read());
        let mut written = self.write(&writes, deadline)?.into_iter();
        let mut read = if reads.is_empty() { Vec::new() } else { self.read(&reads, deadline)? }.into_iter();
        let outcome = |request: &&Request| if request.is_read() { read.next() } else { written.next() };
        Ok(requests.iter().filter_map(outcome).collect())
    }

    /// Does the writes, a part after the other where they are many. What a part was answered is kept until all are done.
    fn write(&mut self, requests: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        let mut left: Vec<&Request> = requests.iter().copied().filter(|request| !self.session.knows(request)).collect();
        while !left.is_empty() {
            let count = how_many(&left);
            let mut part: Vec<&Request> = left.drain(..count).collect();
            let way = ways::way(&mut part);
            let outcomes = self.write_part(way, &part, deadline)?;
            self.session.settle(part.iter().map(|request| (*request).clone()), outcomes);
        }
        Ok(self.session.take_settled(requests))
    }

    /// One transaction. Once it was sent and no answer has come, it stays unknown until that is found out. And after parts that were
    /// done, nobody may be told that nothing has changed.
    fn write_part(&mut self, way: Way, part: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        self.try_to_write(way, part, deadline).map_err(|fault| match fault {
            Fault::Busy(error) | Fault::Failed(error) if self.session.is_in_doubt() || self.session.has_settled() => {
                Fault::Unknown(error)
            }
            fault => fault,
        })
    }

    fn try_to_write(&mut self, way: Way, part: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        let mut is_void = false;
        loop {
            // Whatever became of an earlier try is known from here on.
            if let Some(outcomes) = self.session.resolve(&mut self.server, deadline)? {
                return Ok(outcomes);
            }
            // It may be void again and again: the changes reach another store than the question.
            if is_void && !mutant::on("void_at_once") {
                self.server.pause(deadline);
                return Err(Fault::Busy(schema::void(self.server.place())));
            }
            let (link, statements) = self.server.link(deadline).map_err(Fault::Busy)?;
            let left = deadline.saturating_duration_since(clock::instant());
            let patience = left.saturating_sub((left / 3).clamp(SHORTEST_MARGIN, LONGEST_MARGIN));
            let head = self.session.head(patience);
            let parameters = ways::parameters(way, &head, part);
            let done = link.execute(statements.of_way(way), &parameters, false, deadline);
            let answer = match done {
                Ok(rows) => {
                    self.server.was_of_use();
                    answers::outcomes(part, rows.text(0, 0))
                }
                Err(Trouble::Refused { state, text }) => {
                    let cure = errors::cure(state, &text);
                    is_void = matches!(cure, Cure::Resolve);
                    self.after_refusal(cure, part, deadline)?;
                    continue;
                }
                Err(Trouble::Unsent(error)) => {
                    self.server.disconnect(error);
                    continue;
                }
                Err(Trouble::Lost(error)) => {
                    self.session.doubt(part);
                    self.server.disconnect(error);
                    continue;
                }
            };
            return answer.ok_or_else(|| Fault::Failed(schema::strange_answer(self.server.place())));
        }
    }

    /// The server has undone the transaction; what now? An error ends it.
    fn after_refusal(&mut self, cure: Cure, part: &[&Request], deadline: Instant) -> Result<(), Fault> {
        let in_time = clock::instant() < deadline;
        match cure {
            Cure::Again => Err(Fault::Busy(schema::contended(self.server.place()))),
            Cure::Prepare if in_time => {
                self.server.prepare_again();
                Ok(())
            }
            Cure::Prepare => Err(Fault::Busy(schema::unprepared(self.server.place()))),
            Cure::Resolve => {
                self.session.doubt(part);
                Ok(())
            }
            Cure::Reconnect(error) if in_time && self.server.is_old() => {
                self.server.disconnect(error);
                Ok(())
            }
            Cure::Reconnect(error) => {
                self.server.disconnect(error.clone());
                Err(Fault::Failed(error))
            }
            Cure::Busy(error) => Err(Fault::Busy(error)),
            Cure::Fail(error) => Err(Fault::Failed(error)),
        }
    }

    fn read(&mut self, requests: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        loop {
            let (link, statements) = self.server.link(deadline).map_err(Fault::Busy)?;
            match reads::read(link, &statements, requests, deadline) {
                Ok(outcomes) => {
                    self.server.was_of_use();
                    return Ok(outcomes);
                }
                Err(Trouble::Refused { state, text }) => {
                    self.after_refusal(errors::cure(state, &text), &[], deadline)?;
                }
                // Whether it was done does not matter.
                Err(Trouble::Unsent(error) | Trouble::Lost(error)) => self.server.disconnect(error),
            }
        }
    }
}

/// The requests of the next transaction. Values are written in others than those of locks.
fn how_many(requests: &[&Request]) -> usize {
    let is_set = |request: &&Request| matches!(request, Request::Set(_));
    let (mut ids, are_sets) = (0, requests.first().is_some_and(is_set));
    let fits = |request: &&&Request| {
        ids += request.ids().len();
        ids <= batch::MOST_IDS && is_set(request) == are_sets
    };
    requests.iter().take_while(fits).count().max(1)
}

fn after_init(fault: Fault) -> Fault {
    match fault {
        Fault::Busy(error) => Fault::Busy(error.after_init()),
        Fault::Failed(error) => Fault::Failed(error.after_init()),
        Fault::Unknown(error) => Fault::Unknown(error),
    }
}

impl Store for Postgres {
    fn apply(&mut self, requests: &[&Request], deadline: Instant) -> Result<Vec<Outcome>, Fault> {
        self.answer(requests, patient(deadline)).map_err(after_init)
    }

    fn list(&mut self, scan: &Scan, deadline: Instant) -> Result<Snapshot, Fault> {
        self.lists.locks(scan, patient(deadline))
    }

    fn keys(&mut self, prefix: &[u8], deadline: Instant) -> Result<Box<dyn Pages<KeyInfo>>, Fault> {
        self.lists.keys(prefix, patient(deadline))
    }

    fn waiters(&mut self) -> Arc<Waiters> {
        self.waiters.clone()
    }

    fn check(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.read(&[], patient(deadline)).map(drop)
    }

    fn sets_apart(&self) -> bool {
        true
    }

    fn remote(&self) -> Option<Remote> {
        Some(Remote { waiters: self.waiters.clone(), news: self.news.clone() })
    }

    fn was_made(&self) -> bool {
        self.server.was_made
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.session.end(&mut self.server, clock::instant() + PATIENCE);
    }
}

/// For fuzzing: what a function answers to these requests.
#[cfg(feature = "fuzzing")]
pub fn read_answer(requests: &[&Request], text: &str) {
    let _ = answers::outcomes(requests, text);
}
