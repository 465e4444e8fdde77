//! Every statement of a call.

use super::{errors::Failure, schema, statement::Statement};
use rusqlite::Connection as Sql;

/// Every statement of a call, prepared once.
pub struct Statements {
    pub begin: Statement,
    pub commit: Statement,
    pub rollback: Statement,
    pub select: Statement,
    pub insert: Statement,
    pub update: Statement,
    pub delete: Statement,
    pub select_last_token: Statement,
    pub update_last_token: Statement,
    pub select_combined: Statement,
    pub update_own_row: Statement,
    pub select_value: Statement,
    pub select_stamp: Statement,
    pub put_value: Statement,
    pub delete_value: Statement,
    pub select_version: Statement,
}

impl Statements {
    /// # Safety
    /// They are dropped before the connection.
    pub unsafe fn prepare(sql: &Sql) -> Result<Statements, Failure> {
        // SAFETY: as the caller promises.
        let prepare = |text| unsafe { Statement::prepare(sql, text) };
        Ok(Statements {
            begin: prepare(schema::BEGIN)?,
            commit: prepare(schema::COMMIT)?,
            rollback: prepare(schema::ROLLBACK)?,
            select: prepare(schema::SELECT)?,
            insert: prepare(schema::INSERT)?,
            update: prepare(schema::UPDATE)?,
            delete: prepare(schema::DELETE)?,
            select_last_token: prepare(schema::SELECT_LAST_TOKEN)?,
            update_last_token: prepare(schema::UPDATE_LAST_TOKEN)?,
            select_combined: prepare(schema::SELECT_COMBINED)?,
            update_own_row: prepare(schema::UPDATE_OWN_ROW)?,
            select_value: prepare(schema::SELECT_VALUE)?,
            select_stamp: prepare(schema::SELECT_STAMP)?,
            put_value: prepare(schema::PUT_VALUE)?,
            delete_value: prepare(schema::DELETE_VALUE)?,
            select_version: prepare(schema::SELECT_VERSION)?,
        })
    }
}
