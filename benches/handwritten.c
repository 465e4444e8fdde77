/*
 * What a careful C programmer writes without libdss: a lock is a row, taken and given back in a transaction of its
 * own; and so is a value. It is durable (WAL, synchronous=FULL), waits where others write (busy_timeout), prepares each statement once,
 * and asks SQLite for no mutex since one thread uses the connection.
 *
 * It has no tokens, survives no lost answer, and starves under contention; it is here to be as fast as possible.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "contender.h"

static const char schema[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                             "CREATE TABLE IF NOT EXISTS lock("
                             "id TEXT PRIMARY KEY, owner TEXT NOT NULL, taken INTEGER NOT NULL) WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS kv("
                             "key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID";
static const char set_sql[] = "INSERT INTO kv(key, value, version) VALUES(?, ?, 1) ON CONFLICT(key) DO UPDATE "
                              "SET value = excluded.value, version = version + 1 RETURNING version";

struct store {
    sqlite3 *db;
    sqlite3_stmt *begin, *insert, *delete, *select, *set, *get, *commit, *rollback;
};

static int prepare(struct store *store, const char *sql, sqlite3_stmt **ret_statement)
{
    return sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
}

static void close_store(void *self)
{
    struct store *store = self;

    sqlite3_finalize(store->begin);
    sqlite3_finalize(store->insert);
    sqlite3_finalize(store->delete);
    sqlite3_finalize(store->select);
    sqlite3_finalize(store->set);
    sqlite3_finalize(store->get);
    sqlite3_finalize(store->commit);
    sqlite3_finalize(store->rollback);
    sqlite3_close(store->db);
    free(store);
}

static void *open_store(const char *folder)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    struct store *store = calloc(1, sizeof(*store));
    char path[4096];

    if (store == NULL)
        return NULL;
    snprintf(path, sizeof(path), "%s/handwritten.db", folder);
    if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(store->db, 10000) != SQLITE_OK ||
        sqlite3_exec(store->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        prepare(store, "BEGIN IMMEDIATE", &store->begin) != SQLITE_OK ||
        prepare(store, "INSERT INTO lock(id, owner, taken) VALUES(?, ?, ?)", &store->insert) != SQLITE_OK ||
        prepare(store, "DELETE FROM lock WHERE id = ? AND owner = ?", &store->delete) != SQLITE_OK ||
        prepare(store, "SELECT owner, taken FROM lock WHERE id = ?", &store->select) != SQLITE_OK ||
        prepare(store, set_sql, &store->set) != SQLITE_OK ||
        prepare(store, "SELECT value, version FROM kv WHERE key = ?", &store->get) != SQLITE_OK ||
        prepare(store, "COMMIT", &store->commit) != SQLITE_OK ||
        prepare(store, "ROLLBACK", &store->rollback) != SQLITE_OK) {
        fprintf(stderr, "handwritten: %s\n", sqlite3_errmsg(store->db));
        close_store(store);
        return NULL;
    }
    return store;
}

/* Runs a prepared statement that gives no rows, and makes it ready for the next time. */
static int run(sqlite3_stmt *statement)
{
    (void)sqlite3_step(statement); /* The reset gives the same error once more. */
    return sqlite3_reset(statement);
}

static int commit(struct store *store)
{
    int rc = run(store->commit);

    if (rc == SQLITE_OK)
        return 0;
    run(store->rollback);
    return rc == SQLITE_BUSY ? -EBUSY : -EIO;
}

static sqlite3_int64 now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (sqlite3_int64)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int lock(void *self, const char *id, const char *owner)
{
    struct store *store = self;
    int rc;

    if (run(store->begin) != SQLITE_OK)
        return -EBUSY;
    sqlite3_bind_text(store->insert, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(store->insert, 2, owner, -1, SQLITE_STATIC);
    sqlite3_bind_int64(store->insert, 3, now_us());
    rc = run(store->insert);
    if (rc == SQLITE_OK)
        return commit(store);
    run(store->rollback);
    return rc == SQLITE_CONSTRAINT ? -EEXIST : -EIO;
}

static int unlock(void *self, const char *id, const char *owner)
{
    struct store *store = self;

    if (run(store->begin) != SQLITE_OK)
        return -EBUSY;
    sqlite3_bind_text(store->delete, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(store->delete, 2, owner, -1, SQLITE_STATIC);
    if (run(store->delete) == SQLITE_OK && sqlite3_changes(store->db) == 1)
        return commit(store);
    run(store->rollback);
    return -ENOLCK;
}

/* The owner is copied, as a program needs it that goes on with it after the call. */
static int status(void *self, const char *id)
{
    struct store *store = self;
    char owner[257] = "";
    int rc;

    sqlite3_bind_text(store->select, 1, id, -1, SQLITE_STATIC);
    rc = sqlite3_step(store->select);
    if (rc == SQLITE_ROW) {
        snprintf(owner, sizeof(owner), "%s", (const char *)sqlite3_column_text(store->select, 0));
        (void)sqlite3_column_int64(store->select, 1);
    }
    sqlite3_reset(store->select);
    return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -ENOLCK : rc == SQLITE_BUSY ? -EBUSY : -EIO;
}

/* The versions of a key begin again when it was deleted: there is nothing that would remember them. */
static int set(void *self, const char *key, const void *value, size_t len)
{
    struct store *store = self;
    int rc;

    if (run(store->begin) != SQLITE_OK)
        return -EBUSY;
    sqlite3_bind_text(store->set, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_blob(store->set, 2, value, (int)len, SQLITE_STATIC);
    rc = sqlite3_step(store->set);
    if (rc == SQLITE_ROW)
        (void)sqlite3_column_int64(store->set, 0);
    if (sqlite3_reset(store->set) == SQLITE_OK && rc == SQLITE_ROW)
        return commit(store);
    run(store->rollback);
    return -EIO;
}

static int get(void *self, const char *key)
{
    struct store *store = self;
    void *copy = NULL;
    int rc;

    sqlite3_bind_text(store->get, 1, key, -1, SQLITE_STATIC);
    rc = sqlite3_step(store->get);
    if (rc == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(store->get, 0);
        size_t len = (size_t)sqlite3_column_bytes(store->get, 0);

        copy = malloc(len + 1);
        if (copy != NULL)
            memcpy(copy, value, len);
        (void)sqlite3_column_int64(store->get, 1);
    }
    sqlite3_reset(store->get);
    free(copy);
    return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -ENOENT : rc == SQLITE_BUSY ? -EBUSY : -EIO;
}

static const char fill_sql[] = "WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number LIMIT %ld)"
                               "INSERT INTO lock(id, owner, taken) SELECT 'held/' || n, 'holder', 1 FROM number";

static int fill(void *self, long count)
{
    struct store *store = self;
    char sql[sizeof(fill_sql) + 32];

    snprintf(sql, sizeof(sql), fill_sql, count);
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

const struct contender contender_handwritten = {
    .name = "handwritten",
    .title = "hand-written C on SQLite",
    .open = open_store,
    .lock = lock,
    .unlock = unlock,
    .status = status,
    .set = set,
    .get = get,
    .fill = fill,
    .close = close_store,
};
