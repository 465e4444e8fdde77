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
    store::{
        contract::Fault,
        desks::{ErrandNumber, Errands, PATIENCE},
        sqlite::{
            descriptors,
            errors::Failure,
            log,
            rows::{self, Lease},
            statement::{Value, drop_row},
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
    /// One transaction for the whole batch, and for what other processes have left. With `always` it writes, and so flushes,
    /// even if the batch changes nothing.
    pub fn write(&mut self, batch: &[&Request], always: bool, errands: &mut Errands) -> Result<Vec<Outcome>, Fault> {
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
        self.look_at_index()?;
        self.statements.begin.run(&self.sql, &[], drop_row)?;
        log::transaction_begins();
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
}
