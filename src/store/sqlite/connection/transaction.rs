//! What writes: one transaction for many requests, of this process and of others.

use super::{Connection, Seen};
use crate::{
    clock,
    model::{
        request::{Outcome, Request},
        rules::{Change, Moment, decide},
        state::Setting,
    },
    mutant,
    shared::combiner::{Combining, PATIENCE},
    store::{
        contract::Fault,
        sqlite::{
            descriptors,
            errors::Failure,
            log,
            rows::{self, Lease},
            statement::{Row, Value, drop_row},
            statements::Statements,
            stop::Stop,
            values,
        },
    },
};
use std::time::{Duration, Instant};

/// The most requests of other processes in one transaction: a bound on how long one takes.
const MOST_FOR_OTHERS: usize = 256;
/// Others are waited for as long as this part of a commit: where they come, it saves them a whole one.
const GATHER_PART: u32 = 2;
/// Longer ones do not make that time longer.
const LONGEST_COMMIT: Duration = Duration::from_micros(400);

impl Connection {
    /// One transaction for the whole batch and the requests that other processes have published. With `always` it writes, and so flushes,
    /// even if the batch changes nothing.
    pub fn write(
        &mut self,
        batch: &[&Request],
        always: bool,
        combining: &mut Combining,
    ) -> Result<Vec<Outcome>, Fault> {
        match self.transact(batch, always, combining) {
            Ok(outcomes) => Ok(outcomes),
            Err(stop) => {
                let fault = stop.fault(&self.path);
                self.roll_back();
                Err(fault)
            }
        }
    }

    fn transact(&mut self, batch: &[&Request], always: bool, combining: &mut Combining) -> Result<Vec<Outcome>, Stop> {
        self.look_at_index()?;
        self.statements.begin.run(&self.sql, &[], drop_row)?;
        log::transaction_begins();
        // Now no other process can write. Is the path still ours, and the schema one that we know?
        self.watch.check()?;
        self.notice_others()?;
        combining.begin();
        let wait_until = clock::instant() + self.commit_takes / GATHER_PART;
        let before = self.last_token()?;
        self.was_undone = self.token_before_doubt == Some(before);
        let mut moment = Moment { now_us: clock::now_us(), tick: self.clock.now(), last_token: Some(before) };
        if combining.is_recovery_due() {
            combining.recover(self.last_combined()?);
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for request in batch {
            outcomes.push(self.write_one(request, &mut moment)?);
        }
        self.run_for_others(combining, &mut moment, wait_until)?;
        self.write_own_row(&moment, before, always, combining.write_answers())?;
        let commit_begins = clock::instant();
        self.token_before_doubt.get_or_insert(before);
        let committed = self.statements.commit.run(&self.sql, &[], drop_row).map_err(Failure::at_commit);
        if !mutant::on("commit_swallowed") {
            committed?;
        }
        // The end of the commit has unlocked the index, and would have found out.
        if descriptors::is_lost() && !mutant::on("unseen_flush") {
            return Err(Stop::Unflushed);
        }
        self.token_before_doubt = None;
        self.commit_takes = commit_begins.elapsed().min(LONGEST_COMMIT);
        // It is committed, so nothing may fail any more.
        let seen = |data_version| Seen { data_version, last_token: moment.last_token };
        self.seen = self.data_version().map_or_else(|_| Seen::default(), seen);
        Ok(outcomes)
    }

    /// Runs the requests that other processes have published, or publish until then.
    fn run_for_others(&mut self, combining: &mut Combining, moment: &mut Moment, until: Instant) -> Result<(), Stop> {
        combining.take(MOST_FOR_OTHERS);
        loop {
            (moment.now_us, moment.tick) = (clock::now_us(), self.clock.now());
            combining.run_each(|request| self.write_one_of_others(request, moment))?;
            // What can't be taken now is left for the next transaction.
            if !combining.wait_for_more(until) || !combining.take(MOST_FOR_OTHERS) {
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

    /// The last token, and the number of this transaction if it has run requests of others.
    fn write_own_row(&mut self, moment: &Moment, before: u64, always: bool, combined: Option<u64>) -> Result<(), Stop> {
        let last_token = moment.last_token.unwrap_or(before);
        let token = Value::Integer(last_token as i64);
        if let Some(number) = combined {
            let number = number.to_be_bytes();
            self.statements.update_own_row.run(&self.sql, &[token, Value::Blob(&number)], drop_row)?;
        } else if last_token != before || always {
            self.statements.update_last_token.run(&self.sql, &[token], drop_row)?;
        }
        Ok(())
    }

    /// The number of the last transaction that has changed something for others.
    fn last_combined(&mut self) -> Result<Option<u64>, Stop> {
        if mutant::on("combined_forgotten") {
            return Ok(None);
        }
        let number = |row: &Row| row.bytes(0).try_into().map(u64::from_be_bytes).ok();
        Ok(self.statements.select_combined.run(&self.sql, &[], number)?.flatten())
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
}
