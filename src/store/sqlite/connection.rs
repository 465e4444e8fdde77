//! One connection to a store's file: the one place that runs SQL.

use super::{
    errors::Failure,
    file_locks::Joined,
    opening::{admit, make_alone},
    place::{self, PathText, Place},
    pulse::IndexHeader,
    rows::{self, Lease},
    schema,
    statement::{Row, Value},
    statements::Statements,
    values, vfs,
    watch::Watch,
};
use crate::{
    clock::{self, LeaseClock},
    model::{
        error::{Code, Error},
        lock::{Record, Tick},
        name::{LockId, StateKey},
        request::{Outcome, Request},
        rules::{Change, Moment, decide, state},
        state::Setting,
    },
    mutant,
    store::{
        Fault,
        desks::{ErrandNumber, Errands, PATIENCE},
    },
    sys,
};
use rusqlite::{Connection as Sql, FileControl, OpenFlags, config::DbConfig};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The only connection of this process to the file: two would share SQLite's per-process table of locks.
pub struct Connection {
    /// Before `sql`, so that it is dropped first.
    statements: Statements,
    /// Also before `sql`: the kernel takes 10 ms and more to end the watch of a file that was just removed, as SQLite removes the
    /// log when it closes the last connection.
    watch: Watch,
    sql: Sql,
    clock: LeaseClock,
    /// Made for those who wait; it ends with the connection.
    pulse: Option<Arc<IndexHeader>>,
    path: String,
    seen: Seen,
    /// The last token before the first of the commits that failed since one has succeeded.
    token_before_doubt: Option<u64>,
    /// It still was the last one when this transaction began: so none of them has written anything.
    was_undone: bool,
    /// How long the last commit took.
    commit_takes: Duration,
    /// Until when reads need not ask whether a newer version has changed the store.
    version_good_until: Option<Instant>,
}

const VERSION_GOOD_FOR: Duration = Duration::from_millis(100);

/// The most requests of other processes in one transaction: a bound on how long one takes.
const MOST_FOR_OTHERS: usize = 256;
/// Others are waited for as long as this part of a commit: where they come, it saves them a whole one.
const GATHER_PART: u32 = 2;
/// Longer ones do not make that time longer.
const LONGEST_COMMIT: Duration = Duration::from_micros(400);

/// What the last look at the store showed; it holds as long as nobody else has written.
#[derive(Default)]
struct Seen {
    data_version: u32,
    last_token: Option<u64>,
}

/// Why a transaction can't go on.
pub enum Stop {
    Sql(Failure),
    Refused(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Sql(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl Stop {
    fn fault(self, path: &str) -> Fault {
        match self {
            Stop::Refused(error) => Fault::Failed(error),
            Stop::Sql(failure) => failure.fault(path),
        }
    }
}

impl Connection {
    pub fn open(place: &Place) -> Result<Connection, Fault> {
        vfs::install().map_err(Fault::Failed)?;
        let path = place.path.shown();
        let _making = make_alone(place, &path)?;
        // The file exists: SQLite must never make one in its place, nor follow a link to another.
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let sql = Sql::open_with_flags(&place.path, flags).map_err(|error| not_opened(&error, place, &path))?;
        admit(&sql, place, &path).map_err(|stop| seen_anew(stop.fault(&path), place))?;
        // A process that was killed may have left commits in the log that it had not flushed: no answer rests on them before.
        vfs::flush_log(&sql).map_err(|error| {
            Fault::Failed(Error::new(Code::Io, format!("{path}: the log can't be flushed: {error}")))
        })?;
        let watch = Watch::begin(place).map_err(Fault::Failed)?;
        // SAFETY: the statements stand before the connection in the one struct that has both.
        #[allow(unsafe_code)]
        let statements = unsafe { Statements::prepare(&sql) }.map_err(|failure| failure.fault(&path))?;
        let clock = LeaseClock::of_host().map_err(|error| {
            let text = format!("{path} can't be opened: the clock of its leases can't be read in /proc: {error}");
            Fault::Failed(Error::new(Code::of_errno(error.raw_os_error().unwrap_or(0)), text))
        })?;
        let mut connection = Connection {
            statements,
            sql,
            watch,
            clock,
            pulse: None,
            path,
            seen: Seen::default(),
            token_before_doubt: None,
            was_undone: false,
            commit_takes: Duration::ZERO,
            version_good_until: None,
        };
        connection.check()?;
        Ok(connection)
    }

    /// Whether the store is where it was, of a version that we know, and has what it must have.
    pub fn check(&mut self) -> Result<(), Fault> {
        self.seen = Seen::default();
        let looked = self.last_token().and_then(|_| self.notice_others()).and_then(|()| Ok(self.watch.check()?));
        looked.map_err(|stop| stop.fault(&self.path))
    }

    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    pub fn pulse(&mut self, place: &Place) -> Option<Arc<IndexHeader>> {
        if self.pulse.is_none() {
            self.pulse = IndexHeader::open(place).ok().map(Arc::new);
        }
        self.pulse.clone()
    }

    /// The greatest token that was granted, as far as others let it be seen.
    pub fn look_at_last_token(&mut self) -> Result<u64, Fault> {
        self.check()?;
        self.last_token().map_err(|stop| stop.fault(&self.path))
    }

    /// The first value that a question about the file as a whole is answered with.
    pub fn ask(&self, question: &str) -> Result<String, Fault> {
        let text = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        let value = self.sql.query_row(question, [], text);
        match value.map_err(|error| Failure::on(&self.sql, &error).fault(&self.path))? {
            rusqlite::types::Value::Integer(number) => Ok(number.to_string()),
            rusqlite::types::Value::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    /// Reads, each in a snapshot of its own, without any lock that a writer needs. With `alone` the process has no other
    /// connection to the file.
    pub fn read(&mut self, batch: &[&Request], alone: bool) -> Result<Vec<Outcome>, Fault> {
        let _joined = alone.then(Joined::begin);
        let answers: Result<Vec<Outcome>, Stop> = batch.iter().map(|request| self.read_one(request)).collect();
        answers.map_err(|stop| stop.fault(&self.path))
    }

    fn read_one(&mut self, request: &Request) -> Result<Outcome, Stop> {
        // Before the row: a lease that is refreshed in between is not taken for over.
        let mut moment = Moment { now_us: clock::now_us(), tick: self.clock.now(), last_token: Some(0) };
        let outcome = match request {
            Request::Get { key } => self.value(key)?,
            _ => {
                let records = self.records(request)?;
                decide(request, &records, &mut moment).1
            }
        };
        self.notice_newer_versions()?;
        self.watch.check()?;
        Ok(outcome)
    }

    fn value(&mut self, key: &StateKey) -> Result<Outcome, Stop> {
        let value = values::get(&mut self.statements, &self.sql, key, &self.path)?;
        Ok(state::get(key, value))
    }

    /// One transaction for the whole batch, and for what other processes have left. With `always` it writes, and so flushes,
    /// even if the batch changes nothing.
    pub fn write(
        &mut self,
        batch: &[&Request],
        always: bool,
        alone: bool,
        errands: &mut Errands,
    ) -> Result<Vec<Outcome>, Fault> {
        let _joined = alone.then(Joined::begin);
        match self.transact(batch, always, errands) {
            Ok(outcomes) => Ok(outcomes),
            Err(stop) => {
                let fault = stop.fault(&self.path);
                self.roll_back();
                Err(fault)
            }
        }
    }

    fn transact(&mut self, batch: &[&Request], always: bool, errands: &mut Errands) -> Result<Vec<Outcome>, Stop> {
        self.statements.begin.run(&self.sql, &[], drop_row)?;
        // Now no other process can write. Is the path still ours, and the schema one that we know?
        self.watch.check()?;
        self.notice_others()?;
        errands.begin();
        let wait_until = clock::instant() + self.commit_takes / GATHER_PART;
        let before = self.last_token()?;
        self.was_undone = self.token_before_doubt == Some(before);
        let mut moment = Moment { now_us: clock::now_us(), tick: self.clock.now(), last_token: Some(before) };
        // Before all else, so that it finds what the one who owes it left.
        if errands.some_are_owed() {
            errands.take_owed(&self.unlocked_for_others()?);
            errands.do_each(|request| self.write_one_of_others(request, &mut moment))?;
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for request in batch {
            outcomes.push(self.write_one(request, &mut moment)?);
        }
        self.do_errands(errands, &mut moment, wait_until)?;
        self.write_own_row(&moment, before, always, &errands.unlocked())?;
        let commit_begins = clock::instant();
        self.token_before_doubt.get_or_insert(before);
        let committed = self.statements.commit.run(&self.sql, &[], drop_row).map_err(Failure::at_commit);
        if !mutant::on("commit_swallowed") {
            committed?;
        }
        self.token_before_doubt = None;
        self.commit_takes = commit_begins.elapsed().min(LONGEST_COMMIT);
        // It is committed, so nothing may fail any more.
        let seen = |data_version| Seen { data_version, last_token: moment.last_token };
        self.seen = self.data_version().map_or_else(|_| Seen::default(), seen);
        Ok(outcomes)
    }

    /// Does what others have left, and what they bring until then.
    fn do_errands(&mut self, errands: &mut Errands, moment: &mut Moment, until: Instant) -> Result<(), Stop> {
        errands.take(MOST_FOR_OTHERS);
        loop {
            (moment.now_us, moment.tick) = (clock::now_us(), self.clock.now());
            errands.do_each(|request| self.write_one_of_others(request, moment))?;
            // What can't be taken now is left for the next transaction.
            if !errands.are_more(until) || !errands.take(MOST_FOR_OTHERS) {
                return Ok(());
            }
        }
    }

    /// A damaged row is told to those who ask for it, and to nobody else. (One lock's request that is refused has changed nothing.)
    fn write_one_of_others(&mut self, request: &Request, moment: &mut Moment) -> Result<Outcome, Stop> {
        match self.write_one(request, moment) {
            Err(Stop::Refused(error)) => Ok(Err(error)),
            outcome => outcome,
        }
    }

    /// The last token, and which unlocks were done for others.
    fn write_own_row(
        &mut self,
        moment: &Moment,
        before: u64,
        always: bool,
        unlocked: &[(ErrandNumber, u64)],
    ) -> Result<(), Stop> {
        let last_token = moment.last_token.unwrap_or(before);
        let token = Value::Integer(last_token as i64);
        if !unlocked.is_empty() {
            let list = rows::unlocked_bytes(unlocked);
            self.statements.update_own_row.run(&self.sql, &[token, Value::Blob(&list)], drop_row)?;
        } else if last_token != before || always {
            self.statements.update_last_token.run(&self.sql, &[token], drop_row)?;
        }
        Ok(())
    }

    /// The unlocks that the last transaction which did some for others has done.
    fn unlocked_for_others(&mut self) -> Result<Vec<(ErrandNumber, u64)>, Stop> {
        if mutant::on("unlocks_forgotten") {
            return Ok(Vec::new());
        }
        let list = self.statements.select_unlocked.run(&self.sql, &[], |row| rows::unlocked_of(row.bytes(0)))?;
        Ok(list.unwrap_or_default())
    }

    fn write_one(&mut self, request: &Request, moment: &mut Moment) -> Result<Outcome, Stop> {
        if let Some(outcome) = self.take_what_is_not_there(request, moment)? {
            return Ok(outcome);
        }
        if let Request::Get { key } = request {
            return self.value(key);
        }
        let records = self.records(request)?;
        if let Request::Set(setting) = request {
            let lock = records.into_iter().next().flatten();
            let known =
                (setting.in_doubt && self.was_undone).then(|| Setting { in_doubt: false, ..Setting::clone(setting) });
            let setting = known.as_ref().unwrap_or(setting);
            return values::set(&mut self.statements, &self.sql, setting, &lock, moment, &self.path);
        }
        let (changes, outcome) = decide(request, &records, moment);
        if mutant::on("two_transactions") {
            self.begin_anew()?;
        }
        for change in changes {
            if mutant::on("set_in_parts") {
                self.begin_anew()?;
            }
            match change {
                Change::Put(place, record) => {
                    let lease = Lease::of(&record);
                    let values = rows::values_of(&request.ids()[place], &record, &lease);
                    let Statements { insert, update, .. } = &mut self.statements;
                    let statement = if records[place].is_some() { update } else { insert };
                    statement.run(&self.sql, &values, drop_row)?;
                }
                Change::Remove(place) => {
                    let id = Value::Blob(request.ids()[place].as_bytes());
                    self.statements.delete.run(&self.sql, &[id], drop_row)?;
                }
            }
        }
        Ok(outcome)
    }

    /// One lock of which nothing is known: what most locks are when they are taken. To write its row tells whether there was
    /// none, at a third less than to read first.
    fn take_what_is_not_there(&mut self, request: &Request, moment: &mut Moment) -> Result<Option<Outcome>, Stop> {
        let (Request::Lock(_), [id]) = (request, request.ids()) else { return Ok(None) };
        if mutant::on("two_transactions") {
            return Ok(None);
        }
        let mut after = *moment;
        let (changes, outcome) = decide(request, &[None], &mut after);
        let [Change::Put(0, record)] = &changes[..] else { return Ok(None) };
        self.statements.insert.run(&self.sql, &rows::values_of(id, record, &Lease::of(record)), drop_row)?;
        if self.sql.changes() == 0 {
            return Ok(None);
        }
        *moment = after;
        Ok(Some(outcome))
    }

    /// What only a defect does: others get between the two transactions.
    fn begin_anew(&mut self) -> Result<(), Stop> {
        self.statements.commit.run(&self.sql, &[], drop_row)?;
        std::thread::sleep(2 * PATIENCE);
        self.statements.begin.run(&self.sql, &[], drop_row)?;
        Ok(())
    }

    fn records(&mut self, request: &Request) -> Result<Vec<Option<Record>>, Stop> {
        request.ids().iter().map(|id| self.record(id)).collect()
    }

    fn record(&mut self, id: &LockId) -> Result<Option<Record>, Stop> {
        let found = self.statements.select.run(&self.sql, &[Value::Blob(id.as_bytes())], rows::record_of)?;
        let damaged = |cause| {
            Error::new(
                Code::NotAStore,
                format!("{}: the row of lock {id} is damaged: {cause}; restore the file", self.path),
            )
        };
        Ok(found.transpose().map_err(damaged)?)
    }

    /// If others have written since our last look, what we remember is void, and they may be of a newer version.
    fn notice_others(&mut self) -> Result<(), Stop> {
        let data_version = self.data_version()?;
        if data_version == self.seen.data_version {
            return Ok(());
        }
        let version = self.statements.select_version.run(&self.sql, &[], |row| row.integer(0))?.unwrap_or(0);
        if version > i64::from(schema::VERSION) {
            self.version_good_until = None;
            return Err(schema::too_new(self.watch.path(), version as u32).into());
        }
        self.seen = Seen { data_version, last_token: None };
        Ok(())
    }

    /// The same for a read, which can do no harm: a moment later is soon enough, and to ask after each of others' commits
    /// would take a third of a read's time.
    fn notice_newer_versions(&mut self) -> Result<(), Stop> {
        let now = clock::instant();
        if self.version_good_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.version_good_until = None;
        self.notice_others()?;
        self.version_good_until = Some(now + VERSION_GOOD_FOR);
        Ok(())
    }

    fn data_version(&self) -> Result<u32, Failure> {
        let mut data_version = 0;
        let control = FileControl::DataVersion(&mut data_version);
        self.sql.file_control(Some(c"main"), control).map_err(|error| Failure::on(&self.sql, &error))?;
        Ok(data_version)
    }

    fn last_token(&mut self) -> Result<u64, Stop> {
        if let Some(token) = self.seen.last_token {
            return Ok(token);
        }
        let token = self.statements.select_last_token.run(&self.sql, &[], |row| row.integer(0))?;
        let lost =
            || Error::new(Code::NotAStore, format!("{}: the last token is missing; restore the file", self.path));
        Ok(token.ok_or_else(lost)? as u64)
    }

    fn roll_back(&mut self) {
        self.seen = Seen::default();
        if !self.sql.is_autocommit() {
            // SQLite can't fail to forget; where it has rolled back by itself there is nothing left to do.
            let _ = self.statements.rollback.run(&self.sql, &[], drop_row);
        }
    }

    /// Closes at once, without moving the log into the database: a fork waits for it.
    pub fn close_quickly(self) {
        let _ = self.sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pulse.iter().for_each(|pulse| pulse.end());
    }
}

/// Where the file can't be written, that is why.
fn not_opened(error: &rusqlite::Error, place: &Place, path: &str) -> Fault {
    let failure = Failure::at_open(error);
    match sys::check_writable(&place.path) {
        Err(cause) => Fault::Failed(place::at(&place.path, "can't be written", &cause)),
        Ok(()) => failure.fault(path),
    }
}

/// SQLite takes a file that it can't look at for one that was moved.
fn seen_anew(fault: Fault, place: &Place) -> Fault {
    let Fault::Failed(error) = fault else { return fault };
    if error.code != Code::Moved {
        return Fault::Failed(error);
    }
    Fault::Failed(
        place.check().err().unwrap_or_else(|| {
            Error::new(Code::Io, format!("{} could not be looked at: try again", place.path.shown()))
        }),
    )
}

pub fn drop_row(_: &Row) {}
