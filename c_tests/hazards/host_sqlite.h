/*
 * The host's own SQLite: the system's library, which knows nothing of the one inside libdss and uses POSIX locks.
 */
#ifndef HOST_SQLITE_H
#define HOST_SQLITE_H

#include "hazard.h"

#include <sqlite3.h>

static inline void sql(sqlite3 *db, const char *text)
{
    char *message = NULL;

    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK) {
        fprintf(stderr, "the host's SQLite: %s: %s\n", text, message);
        exit(1);
    }
}

/*
 * Opens the file as a host would. The host leaves checkpoints to the library: SQLite before 3.51.3 can lose a commit
 * in a race of a checkpoint with a writer, and that would be its defect, not the hazard that is looked at here.
 */
static inline sqlite3 *host_open(const char *path)
{
    sqlite3 *db = NULL;

    CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK);
    CHECK(sqlite3_busy_timeout(db, 10000) == SQLITE_OK);
    sql(db, "PRAGMA wal_autocheckpoint=0");
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK);
    return db;
}

/* The first column of the first row, as a number. */
static inline sqlite3_int64 host_number(sqlite3 *db, const char *text)
{
    sqlite3_stmt *statement = NULL;
    sqlite3_int64 number;

    CHECK(sqlite3_prepare_v2(db, text, -1, &statement, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    CHECK(sqlite3_finalize(statement) == SQLITE_OK);
    return number;
}

/* Ends the test unless SQLite finds the whole file in order. */
static inline void host_integrity(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    const char *answer;

    CHECK(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    answer = (const char *)sqlite3_column_text(statement, 0);
    if (strcmp(answer, "ok") != 0)
        fprintf(stderr, "integrity_check: %s\n", answer);
    CHECK(strcmp(answer, "ok") == 0);
    CHECK(sqlite3_finalize(statement) == SQLITE_OK);
}

#endif
