//! Values under keys: rows of a table of their own, written in the same transactions as the locks.

use super::{
    rows,
    statement::{Value as Parameter, drop_row},
    statements::Statements,
    stop::Stop,
};
use crate::model::{
    error::{Code, Error},
    lock::Record,
    name::StateKey,
    request::Outcome,
    rules::{
        Moment,
        state::{self, Write},
    },
    state::{Setting, Value},
};
use rusqlite::Connection as Sql;

pub fn get(statements: &mut Statements, sql: &Sql, key: &StateKey, path: &str) -> Result<Option<Value>, Stop> {
    let found = statements.select_value.run(sql, &[Parameter::Blob(key.as_bytes())], rows::value_of)?;
    found.transpose().map_err(|cause| damaged(key, path, &cause))
}

/// Writes or deletes the value, if its guard holds; `lock` is the record of the lock that guards it.
pub fn set(
    statements: &mut Statements,
    sql: &Sql,
    setting: &Setting,
    lock: &Option<Record>,
    moment: &mut Moment,
    path: &str,
) -> Result<Outcome, Stop> {
    let key = Parameter::Blob(setting.key.as_bytes());
    let stamp = statements.select_stamp.run(sql, &[key], rows::stamp_of)?;
    let stamp = stamp.transpose().map_err(|cause| damaged(&setting.key, path, &cause))?;
    let (write, outcome) = state::set(setting, stamp, lock, moment);
    match (write, &setting.value) {
        (Some(Write::Put { version }), Some(value)) => {
            let (version, attempt) = (Parameter::Integer(version as i64), Parameter::Blob(&setting.attempt.0));
            statements.put_value.run(sql, &[key, version, attempt, Parameter::Blob(value)], drop_row)?;
        }
        (Some(_), _) => drop(statements.delete_value.run(sql, &[key], drop_row)?),
        (None, _) => {}
    }
    Ok(outcome)
}

fn damaged(key: &StateKey, path: &str, cause: &str) -> Stop {
    let text = format!("{path}: the row of key {key} is damaged: {cause}; restore the file");
    Stop::Refused(Error::new(Code::NotAStore, text))
}
