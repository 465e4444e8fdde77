/*
 * Somebody edits the store by hand, or a damage changes a stored number to one that no clock and no counter ever gave.
 *
 * SQLite finds nothing wrong with such a row. A time stamp in the year 200,000, a token at the end of its range or a
 * name of thousands of bytes must still be refused as damage, or shown as it is: it must not overflow a sum or break
 * the text of an error. The tables and columns are asked from SQLite, so the test need not know them.
 */
#include "damaged.h"
#include "host_sqlite.h"

static const char *const values[] = {
    "9223372036854775807", "9223372036854775806", "-9223372036854775808", "4611686018427387904", "253402300800000000",
    "-1", "0", "NULL", "''", "x''", "x'00'", "x'ff'", "x'0a'", "zeroblob(15)", "zeroblob(17)", "zeroblob(257)",
    "CAST(zeroblob(30000) AS TEXT)", "randomblob(30000)", "'text'", "1.5",
};

static char *path, *uri;

/* Sets the column of all rows, or of those where no constraint is in the way. Returns 0 where the schema forbids it. */
static int set_all(const char *table, const char *column, const char *value)
{
    sqlite3 *db = host_open(path);
    char text[512];
    int rc;

    snprintf(text, sizeof(text), "UPDATE OR IGNORE \"%s\" SET \"%s\" = %s", table, column, value);
    rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    return rc == SQLITE_OK;
}

static void extremes_of(const char *table, const char *column, const char *bytes, size_t size)
{
    char what[512];

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        write_file(path, bytes, size);
        snprintf(what, sizeof(what), "%s.%s = %s, value", table, column, values[i]);
        if (set_all(table, column, values[i]))
            use_damaged(uri, what, (long)i);
    }
}

/* Table and column in turn, from the file as it was; returns how many there were. */
static int every_column(const char *bytes, size_t size)
{
    static const char query[] = "SELECT tables.name, columns.name FROM sqlite_schema AS tables, "
                                "pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'";
    char *reference = test_path("reference.db");
    sqlite3_stmt *columns = NULL;
    int count = 0;
    sqlite3 *db;

    write_file(reference, bytes, size);
    db = host_open(reference);
    CHECK(sqlite3_prepare_v2(db, query, -1, &columns, NULL) == SQLITE_OK);
    for (; sqlite3_step(columns) == SQLITE_ROW; count++) {
        extremes_of((const char *)sqlite3_column_text(columns, 0), (const char *)sqlite3_column_text(columns, 1), bytes,
                    size);
    }
    CHECK(sqlite3_finalize(columns) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    free(reference);
    return count;
}

int main(void)
{
    char *bytes;
    size_t size;

    path = test_path("dss.db");
    uri = sqlite_uri(path, "timeout_ms=1000");
    bytes = make_store_to_damage(path, uri, &size);
    CHECK(every_column(bytes, size) >= 4);
    free(bytes);
    free(uri);
    free(path);
    return 0;
}
