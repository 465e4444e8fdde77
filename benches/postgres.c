/*
 * What a C program does at a PostgreSQL server without libdss: a lock is a row of a table, made by INSERT and taken away by
 * DELETE, one statement for each call, through libpq. Either each call sends a text with the names in it, or the
 * connection has prepared both statements. There are two of each kind:
 *
 *   text, prepared             do what a lock service needs: a lock has a token that only grows, and a lease, whose end the server's
 *                              clock decides; one that has ended is taken over by the next
 *   text-bare, prepared-bare   are here to be as fast as possible: the row has an owner and a time, and nothing else
 *
 * None of them survives a lost answer or wakes who waits. Names are compared by their bytes, whatever the language of the database.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contender.h"

#define SCHEMA                                                                                                         \
    "SET client_min_messages = warning;"                                                                               \
    "CREATE TABLE IF NOT EXISTS handwritten_bare (id text COLLATE \"C\" PRIMARY KEY, owner text COLLATE \"C\" NOT NULL," \
    " taken timestamptz NOT NULL);"                                                                                    \
    "CREATE TABLE IF NOT EXISTS handwritten (id text COLLATE \"C\" PRIMARY KEY, owner text COLLATE \"C\" NOT NULL,"    \
    " token bigint NOT NULL, taken timestamptz NOT NULL, expires timestamptz NOT NULL);"                               \
    "CREATE SEQUENCE IF NOT EXISTS handwritten_token"

/* With the names, and the lease in milliseconds (0: for ever), in their places. */
#define BARE_LOCK(id, owner)                                                                                           \
    "INSERT INTO handwritten_bare (id, owner, taken) VALUES (" id ", " owner ", now()) ON CONFLICT DO NOTHING"
#define BARE_UNLOCK(id, owner) "DELETE FROM handwritten_bare WHERE id = " id " AND owner = " owner
#define LOCK(id, owner, ttl_ms)                                                                                        \
    "INSERT INTO handwritten AS l (id, owner, token, taken, expires) VALUES (" id ", " owner                           \
    ", nextval('handwritten_token'), clock_timestamp(), CASE WHEN " ttl_ms " = 0 THEN 'infinity'"                      \
    " ELSE clock_timestamp() + " ttl_ms " * interval '1 ms' END)"                                                      \
    " ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, token = excluded.token, taken = excluded.taken,"          \
    " expires = excluded.expires WHERE l.expires <= clock_timestamp() RETURNING token"
#define UNLOCK(id, owner)                                                                                              \
    "DELETE FROM handwritten WHERE id = " id " AND owner = " owner " AND expires > clock_timestamp() RETURNING token"
#define NO_TTL "0"

static void close_store(void *self)
{
    PQfinish(self);
}

static bool has_worked(PGresult *result)
{
    bool worked = PQresultStatus(result) == PGRES_COMMAND_OK;

    PQclear(result);
    return worked;
}

static void *open_text(const char *uri)
{
    PGconn *connection = PQconnectdb(uri);

    if (PQstatus(connection) != CONNECTION_OK || !has_worked(PQexec(connection, SCHEMA))) {
        fprintf(stderr, "postgres: %s", PQerrorMessage(connection));
        PQfinish(connection);
        return NULL;
    }
    return connection;
}

static void *open_with(const char *uri, const char *lock, const char *unlock)
{
    PGconn *connection = open_text(uri);

    if (connection == NULL)
        return NULL;
    if (!has_worked(PQprepare(connection, "lock", lock, 0, NULL)) ||
        !has_worked(PQprepare(connection, "unlock", unlock, 0, NULL))) {
        fprintf(stderr, "postgres: %s", PQerrorMessage(connection));
        PQfinish(connection);
        return NULL;
    }
    return connection;
}

static void *open_prepared(const char *uri)
{
    return open_with(uri, LOCK("$1", "$2", "$3::bigint"), UNLOCK("$1", "$2"));
}

static void *open_prepared_bare(const char *uri)
{
    return open_with(uri, BARE_LOCK("$1", "$2"), BARE_UNLOCK("$1", "$2"));
}

/* Whether the statement has changed a row. One that returns the token of what it has changed gives it to its caller. */
static bool has_changed(PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return strcmp(PQcmdTuples(result), "1") == 0;
    return PQntuples(result) == 1 && strtoull(PQgetvalue(result, 0, 0), NULL, 10) > 0;
}

/* The code of a statement that should change one row, and `otherwise` if it changed none. */
static int rc_of(PGresult *result, int otherwise)
{
    ExecStatusType status = PQresultStatus(result);
    int rc = -EIO;

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        rc = has_changed(result) ? 0 : otherwise;
    PQclear(result);
    return rc;
}

/* Sends a text with two names as literals, which PQescapeLiteral makes safe. */
static int run_text(PGconn *connection, const char *format, const char *id, const char *owner, int otherwise)
{
    char *safe_id = PQescapeLiteral(connection, id, strlen(id));
    char *safe_owner = PQescapeLiteral(connection, owner, strlen(owner));
    char *text = NULL;
    int rc = -ENOMEM;

    if (safe_id != NULL && safe_owner != NULL && asprintf(&text, format, safe_id, safe_owner) >= 0)
        rc = rc_of(PQexec(connection, text), otherwise);
    free(text);
    PQfreemem(safe_id);
    PQfreemem(safe_owner);
    return rc;
}

static int lock_by_text(void *self, const char *id, const char *owner)
{
    return run_text(self, LOCK("%s", "%s", NO_TTL), id, owner, -EEXIST);
}

static int unlock_by_text(void *self, const char *id, const char *owner)
{
    return run_text(self, UNLOCK("%s", "%s"), id, owner, -ENOLCK);
}

static int lock_by_bare_text(void *self, const char *id, const char *owner)
{
    return run_text(self, BARE_LOCK("%s", "%s"), id, owner, -EEXIST);
}

static int unlock_by_bare_text(void *self, const char *id, const char *owner)
{
    return run_text(self, BARE_UNLOCK("%s", "%s"), id, owner, -ENOLCK);
}

static int run_prepared(PGconn *connection, const char *name, int count, const char *id, const char *owner, int otherwise)
{
    const char *values[] = { id, owner, NO_TTL };

    return rc_of(PQexecPrepared(connection, name, count, values, NULL, NULL, 0), otherwise);
}

static int lock_prepared(void *self, const char *id, const char *owner)
{
    return run_prepared(self, "lock", 3, id, owner, -EEXIST);
}

static int lock_prepared_bare(void *self, const char *id, const char *owner)
{
    return run_prepared(self, "lock", 2, id, owner, -EEXIST);
}

static int unlock_prepared(void *self, const char *id, const char *owner)
{
    return run_prepared(self, "unlock", 2, id, owner, -ENOLCK);
}

const struct contender contender_postgres_text = {
    .name = "text",
    .title = "C with a text statement per call",
    .open = open_text,
    .lock = lock_by_text,
    .unlock = unlock_by_text,
    .close = close_store,
};

const struct contender contender_postgres_prepared = {
    .name = "prepared",
    .title = "C with prepared statements",
    .open = open_prepared,
    .lock = lock_prepared,
    .unlock = unlock_prepared,
    .close = close_store,
};

const struct contender contender_postgres_text_bare = {
    .name = "text-bare",
    .title = "the same without tokens and leases, by text",
    .open = open_text,
    .lock = lock_by_bare_text,
    .unlock = unlock_by_bare_text,
    .close = close_store,
};

const struct contender contender_postgres_prepared_bare = {
    .name = "prepared-bare",
    .title = "the same, prepared",
    .open = open_prepared_bare,
    .lock = lock_prepared_bare,
    .unlock = unlock_prepared,
    .close = close_store,
};
