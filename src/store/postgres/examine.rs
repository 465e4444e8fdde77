//! How it stands with a PostgreSQL server and the store on it.

use super::{errors::Trouble, link::Link, schema, server::patient, site::Site};
use crate::{
    clock,
    model::{error::Error, uri::postgres::Postgres as Target},
    store::health::{Finding, seconds, size},
};
use std::time::Instant;

/// How much of something is too much.
const CONNECTIONS_PERCENT: i64 = 80;
const LAG_LONG: i64 = 64 << 20;
const DEAD_ROWS: i64 = 1_000_000;
const TRANSACTION_LONG_S: i64 = 3600;
const CLOCKS_APART_US: i64 = 5_000_000;

pub fn examine(target: &Target, deadline: Instant) -> Vec<Finding> {
    let site = Site::new(target);
    let mut link = match site.connect(deadline) {
        Ok(link) => link,
        Err(error) => return vec![Finding::failed("server", &error)],
    };
    let (store, is_there) = store(&mut link, target, deadline);
    let mut findings = vec![store];
    let mut server = Server { link: &mut link, schema: &target.schema, deadline };
    let of_server: [Part; 5] = [about_server, durability, replication, pooler, clocks];
    let of_store: [Part; 2] = [transactions, rights];
    for part in of_server.iter().chain(of_store.iter().filter(|_| is_there)) {
        match part(&mut server) {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(Finding::failed("server", &error)),
        }
    }
    findings
}

type Part = fn(&mut Server<'_>) -> Result<Vec<Finding>, Error>;

/// And whether there is one.
fn store(link: &mut Link, target: &Target, deadline: Instant) -> (Finding, bool) {
    let name = format!("schema {} of {}", target.schema, link.place());
    let looked = match schema::is_there(link, &target.schema, deadline) {
        Ok(true) => schema::look(link, &target.schema, deadline),
        Ok(false) => {
            let text = format!("there is no store in {name} yet");
            let cure =
                "see that they are the schema and the database that the programs use; the first of them makes it";
            return (Finding::wrong("store", text, cure), false);
        }
        Err(error) => Err(error),
    };
    (looked.map_or_else(|error| Finding::failed("store", &error), |()| Finding::fine("store", name)), true)
}

struct Server<'a> {
    link: &'a mut Link,
    schema: &'a str,
    deadline: Instant,
}

/// The columns of one row.
struct Answer(Vec<String>);

impl Answer {
    fn text(&self, column: usize) -> &str {
        self.0.get(column).map_or("", String::as_str)
    }

    fn number(&self, column: usize) -> i64 {
        self.text(column).parse().unwrap_or(0)
    }

    fn is(&self, column: usize) -> bool {
        self.text(column) == "t"
    }
}

impl Server<'_> {
    /// One row of so many columns.
    fn ask(&mut self, columns: usize, sql: &str) -> Result<Answer, Error> {
        let asked = self.link.run(sql, patient(self.deadline)).map_err(|trouble| match trouble {
            Trouble::Unsent(error) | Trouble::Lost(error) => error,
            Trouble::Refused { state, text } => schema::refused(state, &text),
        })?;
        let rows = asked.filter(|rows| rows.len() > 0).ok_or_else(|| schema::strange_answer(self.link.place()))?;
        Ok(Answer((0..columns).map(|column| rows.text(0, column).to_owned()).collect()))
    }
}

fn about_server(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let found = server.ask(
        3,
        "SELECT current_setting('server_version'), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
         current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8",
    )?;
    let (used, most) = (found.number(1), found.number(2));
    let version = Finding::fine("server", format!("PostgreSQL {} at {}", found.text(0), server.link.place()));
    let text = format!("{used} of {most} connections are in use");
    let connections = if used * 100 < most * CONNECTIONS_PERCENT {
        Finding::fine("connections", text)
    } else {
        Finding::warning(
            "connections",
            text,
            "raise max_connections, or end what is not needed: a process that uses libdss takes up to three",
        )
    };
    Ok(vec![version, connections])
}

fn durability(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let found = server.ask(
        4,
        "SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'), current_user",
    )?;
    let mut findings = Vec::new();
    if found.text(0) == "off" {
        findings.push(Finding::wrong(
            "durability",
            "synchronous_commit is off: when the server crashes, the last locks that were acknowledged are lost",
            format!("ALTER ROLE \"{}\" SET synchronous_commit = on", found.text(3).replace('"', "\"\"")),
        ));
    }
    for (column, name) in [(1, "fsync"), (2, "full_page_writes")] {
        if found.text(column) == "off" {
            findings.push(Finding::wrong(
                "durability",
                format!("{name} is off: a power cut can lose locks that were acknowledged, and damage the database"),
                format!("set {name} = on in postgresql.conf"),
            ));
        }
    }
    if findings.is_empty() {
        let text = format!("synchronous_commit is {}, fsync and full_page_writes are on", found.text(0));
        findings.push(Finding::fine("durability", text));
    }
    Ok(findings)
}

fn replication(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let found = server.ask(
        5,
        "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), current_setting('synchronous_standby_names'), \
         coalesce(max(CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END), 0)::int8, \
         coalesce(pg_has_role('pg_read_all_stats', 'USAGE'), false) FROM pg_stat_replication",
    )?;
    let (standbys, synchronous, names, lag) = (found.number(0), found.number(1), found.text(2), found.number(3));
    let is_blind = !found.is(4) && standbys > 0;
    let finding = match (standbys, names) {
        (0, "") => Finding::fine(
            "replication",
            "there are no standbys: who restores a backup raises the tokens (docs/stores.md)",
        ),
        (0, names) => Finding::warning(
            "replication",
            format!("none of the synchronous standbys ({names}) is connected: commits may wait for them"),
            "start them, or take them out of synchronous_standby_names",
        ),
        (_, "") => Finding::warning(
            "replication",
            format!(
                "{standbys} standby(s), none synchronous: one that is promoted may lack the last locks that were acknowledged"
            ),
            "name those that may be promoted in synchronous_standby_names",
        ),
        _ if is_blind => Finding::fine(
            "replication",
            format!("{standbys} standby(s), synchronous are {names} (GRANT pg_monitor to this role to see more)"),
        ),
        (_, names) if synchronous == 0 => Finding::warning(
            "replication",
            format!(
                "{standbys} standby(s), none of them one of the synchronous ones ({names}): commits may wait for these"
            ),
            "start them, or name others in synchronous_standby_names",
        ),
        _ if lag > LAG_LONG => Finding::warning(
            "replication",
            format!("a standby is {} behind", size(lag as u64)),
            "see what holds it up: its disk, the network, or a long query on it",
        ),
        _ => Finding::fine("replication", format!("{standbys} standby(s), {synchronous} of them synchronous")),
    };
    Ok(vec![finding])
}

/// Behind a pooler the process that libpq was told of is not the one that answers.
fn pooler(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let told = server.link.backend();
    let answers = server.ask(1, "SELECT pg_backend_pid()")?.number(0);
    Ok(vec![if i64::from(told) == answers {
        Finding::fine("pooler", "none: the connection is the server's own")
    } else {
        Finding::warning(
            "pooler",
            "there is a pooler on the way: waiters are not woken by the server through it, and look by themselves",
            "name the server itself in the connection string, unless it has too few connections",
        )
    }])
}

fn clocks(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let before = clock::now_us();
    let theirs = server.ask(1, "SELECT (date_part('epoch', clock_timestamp()) * 1000000)::int8")?.number(0);
    let after = clock::now_us();
    let apart = if theirs < before { before - theirs } else { (theirs - after).max(0) };
    let took_ms = (after - before) as f64 / 1000.0;
    let speed = Finding::fine("answers", format!("a question takes {took_ms:.1} ms"));
    Ok(vec![
        speed,
        if apart < CLOCKS_APART_US {
            Finding::fine("clock", "the server's and this host's agree")
        } else {
            Finding::warning(
                "clock",
                format!(
                    "the server's and this host's are {} apart; leases run by the server's",
                    seconds(apart as u64 / 1_000_000)
                ),
                "let a time service (chrony, ntpd) slew them both, so that lists show true ages and no lease jumps",
            )
        },
    ])
}

/// Old snapshots keep the rows of ended locks from being cleared away, and everything slows down.
fn transactions(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let sql = format!(
        "SELECT coalesce(sum(n_live_tup), 0)::int8, coalesce(sum(n_dead_tup), 0)::int8, \
         coalesce(sum(pg_total_relation_size(relid)), 0)::int8, current_setting('autovacuum'), \
         (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::int8 FROM pg_stat_activity \
          WHERE datname = current_database() AND pid <> pg_backend_pid()) \
         FROM pg_stat_user_tables WHERE schemaname = '{}'",
        server.schema
    );
    let found = server.ask(5, &sql)?;
    let (live, dead, bytes, oldest_s) = (found.number(0), found.number(1), found.number(2), found.number(4));
    let mut findings = Vec::new();
    if found.text(3) == "off" {
        findings.push(Finding::warning(
            "vacuum",
            "autovacuum is off: what ended locks leave behind piles up",
            "set autovacuum = on in postgresql.conf",
        ));
    }
    if oldest_s > TRANSACTION_LONG_S {
        findings.push(Finding::warning(
            "vacuum",
            format!(
                "a transaction in this database is open for {}: nothing since then can be cleared away",
                seconds(oldest_s as u64)
            ),
            "find it in pg_stat_activity (order by xact_start), and end it with pg_terminate_backend(pid)",
        ));
    }
    if dead > DEAD_ROWS && dead > 10 * live {
        findings.push(Finding::warning(
            "vacuum",
            format!("{dead} dead rows beside {live} live ones, {} in all", size(bytes as u64)),
            format!("VACUUM the tables of schema {}", server.schema),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::fine("vacuum", format!("the store takes {}, {dead} dead rows", size(bytes as u64))));
    }
    Ok(findings)
}

fn rights(server: &mut Server<'_>) -> Result<Vec<Finding>, Error> {
    let sql = format!(
        "SELECT (SELECT coalesce(string_agg(c.relname, ', ' ORDER BY c.relname), '') FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{schema}' AND CASE c.relkind \
           WHEN 'r' THEN NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
             AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) \
           WHEN 'S' THEN NOT (has_sequence_privilege(c.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT') \
             AND has_sequence_privilege(c.oid, 'UPDATE')) ELSE false END), \
         (SELECT coalesce(string_agg(DISTINCT p.proname::text, ', '), '') FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n \
           ON n.oid = p.pronamespace WHERE n.nspname = '{schema}' AND NOT has_function_privilege(p.oid, 'EXECUTE')), \
         current_user, inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', \
         coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)",
        schema = server.schema
    );
    let found = server.ask(5, &sql)?;
    let missing: Vec<&str> = [found.text(0), found.text(1)].into_iter().filter(|names| !names.is_empty()).collect();
    let rights = if missing.is_empty() {
        Finding::fine("rights", format!("role {} may use all of the store", found.text(2)))
    } else {
        Finding::wrong(
            "rights",
            format!("role {} lacks rights on {}", found.text(2), missing.join(", ")),
            "let the owner of the schema GRANT what stands at the top of schema.sql (docs/stores.md)",
        )
    };
    let way = if found.is(4) {
        Finding::fine("way", "encrypted (TLS)")
    } else if found.is(3) {
        Finding::fine("way", "it does not leave this host")
    } else {
        Finding::warning(
            "way",
            "names and passwords go over the network unencrypted",
            "add sslmode=verify-full to the connection string",
        )
    };
    Ok(vec![rights, way])
}
