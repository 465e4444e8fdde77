//! One connection to a store's file: with its transactions, the one place that runs SQL.

mod transaction;

use super::{
    descriptors::Identity,
    errors::Failure,
    files::{Agreement, Files},
    log,
    opening::{make_alone, open_sql},
    paths::PathText,
    place::Place,
    pulse::IndexHeader,
    rows, schema,
    statement::{Row, Value, drop_row},
    statements::Statements,
    stop::Stop,
    values, vfs,
    watch::Watch,
};
use crate::{
    clock::{self, LeaseClock},
    model::{
        error::{Code, Error},
        lock::Record,
        name::{LockId, StateKey},
        request::{Outcome, Request},
        rules::{Moment, decide, state},
    },
    mutant,
    store::contract::Fault,
};
use rusqlite::{Connection as Sql, FileControl, config::DbConfig};
use std::{
    io::ErrorKind,
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
    /// After `sql`: others may open other files when SQLite has closed these.
    _agreement: Agreement,
    files: Files,
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
    /// When the index was looked at last, by the coarse clock.
    looked_ms: i64,
    /// Until when reads need not ask whether a newer version has changed the store.
    version_good_until: Option<Instant>,
    /// There was no store in the file before.
    pub has_made_store: bool,
}

const VERSION_GOOD_FOR: Duration = Duration::from_millis(100);

/// What the last look at the store showed; it holds as long as nobody else has written.
#[derive(Default)]
struct Seen {
    data_version: u32,
    last_token: Option<u64>,
}

impl Connection {
    pub fn open(place: &Place) -> Result<Connection, Fault> {
        vfs::install().map_err(Fault::Failed)?;
        let path = place.path.shown();
        log::refuse_invalid(place).map_err(Fault::Failed)?;
        let making = make_alone(place, &path)?;
        let agreement = Agreement::seek(place)?;
        let sql = open_sql(place, &path)?;
        let files = Files::of(&sql, place)?;
        agreement.join(&files)?;
        // A process that was killed may have left commits in the log that it had not flushed: no answer rests on them before.
        vfs::flush_log(&sql).map_err(|error| {
            Fault::Failed(Error::new(Code::Io, format!("{path}: the log can't be flushed: {error}")))
        })?;
        let watch = Watch::begin(place, &files);
        // SAFETY: the statements stand before the connection in the one struct that has both.
        #[allow(unsafe_code)]
        let statements = unsafe { Statements::prepare(&sql) }.map_err(|failure| failure.fault(&path))?;
        let clock = LeaseClock::of_host().map_err(|error| {
            let text = format!("{path} can't be opened: the clock of its leases can't be read: {error}");
            let no_errno = if error.kind() == ErrorKind::NotFound { libc::ENOENT } else { 0 };
            Fault::Failed(Error::new(Code::of_errno(error.raw_os_error().unwrap_or(no_errno)), text))
        })?;
        let mut connection = Connection {
            statements,
            sql,
            watch,
            _agreement: agreement,
            files,
            clock,
            pulse: None,
            path,
            seen: Seen::default(),
            token_before_doubt: None,
            was_undone: false,
            commit_takes: Duration::ZERO,
            version_good_until: None,
            has_made_store: making.is_some(),
            looked_ms: 0,
        };
        if connection.notices_cut_log() {
            return Err(Fault::Failed(log::lost(&connection.path)));
        }
        connection.check()?;
        Ok(connection)
    }

    /// Whether the log has lost what is nowhere else. Then no process is to use the store any more.
    fn notices_cut_log(&self) -> bool {
        let is_cut = !log::is_whole(&self.files.log, &self.files.index);
        if is_cut {
            log::invalidate(&self.files.log);
        }
        is_cut
    }

    /// Whether the store is where it was, of a version that we know, and has what it must have.
    pub fn check(&mut self) -> Result<(), Fault> {
        self.seen = Seen::default();
        let looked = self
            .look_at_index()
            .and_then(|()| self.last_token())
            .and_then(|_| self.notice_others())
            .and_then(|()| Ok(self.watch.check()?));
        looked.map_err(|stop| stop.fault(&self.path))
    }

    pub fn clock(&self) -> LeaseClock {
        self.clock
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

    /// Reads, each in a snapshot of its own, without any lock that a writer needs.
    pub fn read(&mut self, batch: &[&Request]) -> Result<Vec<Outcome>, Fault> {
        let looked = self.look_at_index();
        let answers: Result<Vec<Outcome>, Stop> =
            looked.and_then(|()| batch.iter().map(|request| self.read_one(request)).collect());
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

    fn records(&mut self, request: &Request) -> Result<Vec<Option<Record>>, Stop> {
        request.ids().iter().map(|id| self.record(id)).collect()
    }

    fn record(&mut self, id: &LockId) -> Result<Option<Record>, Stop> {
        let read = |row: &Row| rows::record_of(row, &self.clock);
        let found = self.statements.select.run(&self.sql, &[Value::Blob(id.as_bytes())], read)?;
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
        if version > i64::from(schema::VERSION) && !mutant::on("newer_version") {
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

    /// Closes at once, without moving the log into the database and without removing anything.
    pub fn close_quickly(self) {
        do_not_check_point(&self.sql);
    }

    /// Closes for a time, or because the log or its index is another file by now, of which this connection knows nothing. If
    /// the log has lost its name, what is in it goes into the database before: nobody will find it again. Gives itself back
    /// if that could not be done.
    pub fn let_go(self) -> Option<Connection> {
        if !self.watch.log_is_in_place() && !self.notices_cut_log() && !mutant::on("unrescued_log") {
            match self.move_log() {
                // Older states may be in the other file. Nobody uses it, since nobody but those with this log has agreed.
                Ok(true) => self.watch.clear_log_name(),
                _ => return Some(self),
            }
        }
        self.close_quickly();
        None
    }

    /// Moves all of the log into the database; false if somebody reads an older state or writes.
    fn move_log(&self) -> rusqlite::Result<bool> {
        let whole = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (busy, pages, moved): (i64, i64, i64) = self.sql.query_row("PRAGMA wal_checkpoint(FULL)", [], whole)?;
        Ok(busy == 0 && pages == moved)
    }

    /// To be asked before SQLite uses the index: whether somebody has cut it short since the coarse clock moved on last.
    fn look_at_index(&mut self) -> Result<(), Stop> {
        let now_ms = clock::coarse_ms();
        if now_ms != self.looked_ms {
            if !self.files.index_is_whole() {
                return Err(self.watch.index_cut_short().into());
            }
            self.looked_ms = now_ms;
        }
        Ok(())
    }

    /// Whether the database, the log and the index still are what their names say.
    pub fn files_are_in_place(&mut self) -> bool {
        self.watch.check().is_ok()
    }

    /// Which log it writes.
    pub fn log(&self) -> Identity {
        self.files.log.identity
    }

    /// What a next connection needs to know of the commits that this one has in doubt.
    pub fn token_before_doubt(&self) -> Option<u64> {
        self.token_before_doubt
    }

    pub fn take_over_doubt(&mut self, token: Option<u64>) {
        self.token_before_doubt = token;
    }
}

fn do_not_check_point(sql: &Sql) {
    let _ = sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.notices_cut_log() {
            do_not_check_point(&self.sql);
        }
        self.pulse.iter().for_each(|pulse| pulse.end());
    }
}
