/*
 * What a C program does at a PostgreSQL server without libdss: a lock is a row of a table, made by INSERT and taken away by
 * DELETE, one statement for each call, through libpq. Either each call sends a text with the names in it, or the
 * connection has prepared both statements.
 *
 * It has no tokens and survives no lost answer; it is here to be as fast as possible. So names are compared by their bytes,
 * whatever the language of the database.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contender.h"

static const char schema[] =
    "SET client_min_messages = warning;"
    "CREATE TABLE IF NOT EXISTS handwritten (id text COLLATE \"C\" PRIMARY KEY, owner text COLLATE \"C\" NOT NULL,"
    " taken timestamptz NOT NULL)";
static const char insert[] = "INSERT INTO handwritten (id, owner, taken) VALUES ($1, $2, now()) ON CONFLICT DO NOTHING";
static const char delete[] = "DELETE FROM handwritten WHERE id = $1 AND owner = $2";

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

    if (PQstatus(connection) != CONNECTION_OK || !has_worked(PQexec(connection, schema))) {
        fprintf(stderr, "postgres: %s", PQerrorMessage(connection));
        PQfinish(connection);
        return NULL;
    }
    return connection;
}

static void *open_prepared(const char *uri)
{
    PGconn *connection = open_text(uri);

    if (connection == NULL)
        return NULL;
    if (!has_worked(PQprepare(connection, "lock", insert, 2, NULL)) ||
        !has_worked(PQprepare(connection, "unlock", delete, 2, NULL))) {
        fprintf(stderr, "postgres: %s", PQerrorMessage(connection));
        PQfinish(connection);
        return NULL;
    }
    return connection;
}

/* The code of a statement that should change one row, and `otherwise` if it changed none. */
static int rc_of(PGresult *result, int otherwise)
{
    int rc = -EIO;

    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        rc = strcmp(PQcmdTuples(result), "1") == 0 ? 0 : otherwise;
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
    return run_text(self, "INSERT INTO handwritten (id, owner, taken) VALUES (%s, %s, now()) ON CONFLICT DO NOTHING", id,
                    owner, -EEXIST);
}

static int unlock_by_text(void *self, const char *id, const char *owner)
{
    return run_text(self, "DELETE FROM handwritten WHERE id = %s AND owner = %s", id, owner, -ENOLCK);
}

static int run_prepared(PGconn *connection, const char *name, const char *id, const char *owner, int otherwise)
{
    const char *values[] = { id, owner };

    return rc_of(PQexecPrepared(connection, name, 2, values, NULL, NULL, 0), otherwise);
}

static int lock_prepared(void *self, const char *id, const char *owner)
{
    return run_prepared(self, "lock", id, owner, -EEXIST);
}

static int unlock_prepared(void *self, const char *id, const char *owner)
{
    return run_prepared(self, "unlock", id, owner, -ENOLCK);
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
