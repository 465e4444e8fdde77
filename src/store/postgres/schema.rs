//! The tables and functions of a store: made once, and looked at by each connection.

use super::{
    errors::{self, Cure, SqlState, Trouble},
    link::Link,
    rows::Rows,
};
use crate::{
    model::error::{Code, Error},
    mutant,
    store::contract::{Missing, no_store},
};
use std::time::Instant;

const SQL: &str = include_str!("schema.sql");
const VERSION: i32 = 1;
/// The oldest server that the tests of its makers still covered in 2025.
const OLDEST_SERVER: i32 = 130_000;
/// Sessions of processes that were killed are removed after so many days without a change.
const SESSION_DAYS: u32 = 7;
/// Of several processes that find no store one makes it.
const MAKING: i64 = 0x6c69_6264_7373;

/// The SQL that makes a store in this schema, and the schema too if it is not there.
fn sql(schema: &str, makes_schema: bool) -> String {
    let create = if makes_schema { format!("CREATE SCHEMA {schema};") } else { String::new() };
    let is_mutant = mutant::on("schema_not_in_keys");
    let sql = if is_mutant { SQL.replace(" # hashtextextended('dss.lock', 0)", "") } else { SQL.to_owned() };
    sql.replace("dss.", &format!("{schema}.")).replace("CREATE SCHEMA dss;", &create)
}

/// Makes the store where there is none, or refuses to; true if this made it.
pub fn make(link: &mut Link, schema: &str, missing: Missing, deadline: Instant) -> Result<bool, Error> {
    check_server(link, deadline)?;
    let mut was_made = false;
    if !is_there(link, schema, deadline)? {
        if missing == Missing::Refuse {
            return Err(no_store(&format!("schema {schema} of PostgreSQL at {}", link.place())));
        }
        run(link, "BEGIN ISOLATION LEVEL READ COMMITTED", deadline)?;
        run(link, &format!("SELECT pg_advisory_xact_lock({MAKING})"), deadline)?;
        if !is_there(link, schema, deadline)? {
            let makes_schema = !is_empty_schema(link, schema, deadline)?;
            run(link, &sql(schema, makes_schema), deadline)
                .map_err(|error| no_right_to_make(error, schema, link.place()))?;
            was_made = true;
        }
        run(link, "COMMIT", deadline)?;
    }
    look_at_store(link, schema, deadline)?;
    run(link, &format!("SELECT {schema}.keep_rising()"), deadline)?;
    sweep(
        link,
        schema,
        "session",
        &format!("seen_us < {schema}.now_us() - {SESSION_DAYS} * 86400000000::int8"),
        deadline,
    )?;
    sweep(link, schema, "waiter", &format!("until_us < {schema}.now_us()"), deadline)?;
    Ok(was_made)
}

/// Removes some of what the dead have left, and waits for nobody who is alive after all.
fn sweep(link: &mut Link, schema: &str, table: &str, is_old: &str, deadline: Instant) -> Result<(), Error> {
    let sql = format!(
        "DELETE FROM {schema}.{table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {schema}.{table} WHERE {is_old} LIMIT 100 \
         FOR UPDATE SKIP LOCKED))"
    );
    run(link, &sql, deadline).map(drop)
}

/// Whether the server, and the store on it, are such that this library can use them.
pub fn look(link: &mut Link, schema: &str, deadline: Instant) -> Result<(), Error> {
    check_server(link, deadline)?;
    look_at_store(link, schema, deadline)
}

fn check_server(link: &mut Link, deadline: Instant) -> Result<(), Error> {
    let (version, place) = (link.server_version(), link.place().to_owned());
    if version < OLDEST_SERVER {
        let text = format!(
            "PostgreSQL at {place} is of version {}.{}: libdss needs {} or newer",
            version / 10_000,
            version % 10_000,
            OLDEST_SERVER / 10_000
        );
        return Err(Error::new(Code::Unsupported, text));
    }
    let sql = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', \
               current_setting('default_transaction_isolation'), pg_backend_pid()";
    let rows = ask(link, sql, deadline)?;
    if (rows.text(0, 0) == "t" || rows.text(0, 1) == "t") && !mutant::on("standby") {
        let text = format!(
            "PostgreSQL at {place} is a standby, or read-only for this role: name the primary, or all hosts of which one is \
             (host=a,b)"
        );
        return Err(Error::new(Code::ReadOnly, text));
    }
    // A pooler gives the connection to other programs too, which rely on their own setting. Behind it,
    // transactions that meet are undone and tried again.
    let is_direct = rows.text(0, 3).parse() == Ok(link.backend()) || mutant::on("pooled_isolation");
    if rows.text(0, 2) != "read committed" && is_direct {
        run(link, "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", deadline)?;
    }
    Ok(())
}

pub fn is_there(link: &mut Link, schema: &str, deadline: Instant) -> Result<bool, Error> {
    let sql = format!(
        "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{schema}' AND c.relname = 'store'"
    );
    Ok(ask(link, &sql, deadline)?.len() > 0)
}

/// Whether an administrator has made the schema for us: it is there, and nothing is in it.
fn is_empty_schema(link: &mut Link, schema: &str, deadline: Instant) -> Result<bool, Error> {
    let sql = format!(
        "SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = '{schema}' \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid)"
    );
    Ok(ask(link, &sql, deadline)?.len() > 0)
}

fn look_at_store(link: &mut Link, schema: &str, deadline: Instant) -> Result<(), Error> {
    let rows = ask(link, &format!("SELECT version FROM {schema}.store"), deadline);
    let place = link.place();
    let not_a_store = |why: &str| {
        let text =
            format!("schema {schema} of {place} is not a store of libdss ({why}): name another one by schema=NAME");
        Error::new(Code::NotAStore, text)
    };
    let rows = rows.map_err(|error| if error.code == Code::NotAStore { not_a_store(&error.text) } else { error })?;
    match rows.text(0, 0).parse::<i32>() {
        Ok(VERSION) => Ok(()),
        Ok(version) if version > VERSION => {
            let text =
                format!("the store in schema {schema} of {place} was written by a newer libdss: use that version");
            Err(Error::new(Code::Unsupported, text))
        }
        _ => Err(not_a_store("its table \"store\" holds no version")),
    }
}

/// The rows that a query gives. A pooler may end a connection, or begin it anew, between a query and its answer, and say
/// nothing: that is no answer of the store.
fn ask(link: &mut Link, sql: &str, deadline: Instant) -> Result<Rows, Error> {
    let no_answer = |link: &Link| {
        let code = if mutant::on("unanswered_query") { Code::NotAStore } else { Code::Unreachable };
        Error::new(code, format!("PostgreSQL at {} gave no answer to a query: try again", link.place()))
    };
    run(link, sql, deadline)?.ok_or_else(|| no_answer(link))
}

fn run(link: &mut Link, sql: &str, deadline: Instant) -> Result<Option<Rows>, Error> {
    link.run(sql, deadline).map_err(|trouble| match trouble {
        Trouble::Unsent(error) | Trouble::Lost(error) => error,
        Trouble::Refused { state, text } => refused(state, &text),
    })
}

/// What a refusal means when a connection is begun.
pub fn refused(state: SqlState, text: &str) -> Error {
    match errors::cure(state, text) {
        Cure::Fail(error) | Cure::Reconnect(error) | Cure::Busy(error) => error,
        Cure::Again | Cure::Prepare | Cure::Resolve => Error::new(Code::Busy, format!("PostgreSQL at {text}")),
    }
}

fn no_right_to_make(error: Error, schema: &str, place: &str) -> Error {
    if error.code != Code::Denied {
        return error;
    }
    let text = format!(
        "there is no store in schema {schema} of {place} yet, and the role may not make one: let an administrator run schema.sql \
         and its GRANTs (docs/stores.md), or GRANT CREATE ON DATABASE to the role"
    );
    Error::new(Code::Denied, text)
}

pub fn contended(place: &str) -> Error {
    let text =
        "the server undid the transaction at each try within timeout_ms, for a deadlock or a serialization failure";
    Error::new(Code::Busy, format!("PostgreSQL at {place}: {text}"))
}

pub fn unprepared(place: &str) -> Error {
    let text = "the server did not know the prepared statements of this connection at any try within timeout_ms; a pooler in \
                transaction mode may be why";
    Error::new(Code::Busy, format!("PostgreSQL at {place}: {text}"))
}

/// The server has undone a change, although the store has just asked in which epoch it is.
pub fn void(place: &str) -> Error {
    let text = format!(
        "PostgreSQL at {place} made the change void, since it does not know this process's session; a pooler has to lead all \
         connections to one database"
    );
    Error::new(Code::Busy, text)
}

pub fn strange_answer(place: &str) -> Error {
    Error::new(Code::NotAStore, format!("PostgreSQL at {place} gave an answer that is none of libdss's functions'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_the_name_that_was_asked_for() {
        let sql = sql("site_a", true);
        assert!(sql.contains("CREATE SCHEMA site_a;") && sql.contains("nextval('site_a.token')"));
        assert!(!sql.contains(" dss."), "nothing of it is in another schema");
    }
}
