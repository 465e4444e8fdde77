/*
 * The host is linked with the system's SQLite too, and has the store's file open: to look at it, to back it up, or to
 * keep a small table of its own in it.
 *
 * Two SQLites in one process do not know of each other. With POSIX locks neither would see the other's, since these
 * belong to the process: both would write at once, and the file would be damaged. Each must keep the other out as a
 * stranger does, and see what the other committed.
 */
#include "contend.h"
#include "host_sqlite.h"

#define PROCESSES 3
#define SECONDS 3.0

static struct arena *arena;
static _Atomic long *host_rows;
static _Atomic int host_stop;

/* Whether any row of the table has the value in any column. */
static int table_has(sqlite3 *db, const char *table, const char *value)
{
    sqlite3_stmt *statement = NULL;
    char text[512];
    int found = 0;

    snprintf(text, sizeof(text), "SELECT * FROM \"%s\"", table);
    CHECK(sqlite3_prepare_v2(db, text, -1, &statement, NULL) == SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const void *bytes = sqlite3_column_blob(statement, i);
            size_t size = (size_t)sqlite3_column_bytes(statement, i);

            if (bytes != NULL && size == strlen(value) && memcmp(bytes, value, size) == 0)
                found = 1;
        }
    }
    CHECK(sqlite3_finalize(statement) == SQLITE_OK);
    return found;
}

/* Whether the host's SQLite sees the value anywhere in the file; the tables' names are the library's own affair. */
static int host_sees(sqlite3 *db, const char *value)
{
    sqlite3_stmt *tables = NULL;
    int found = 0;

    CHECK(sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table'", -1, &tables, NULL) ==
          SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW)
        found |= table_has(db, (const char *)sqlite3_column_text(tables, 0), value);
    CHECK(sqlite3_finalize(tables) == SQLITE_OK);
    return found;
}

static void hosts_transaction_keeps_us_out(sqlite3 *host)
{
    char *uri = sqlite_uri(test_uri() + strlen("sqlite:"), "timeout_ms=200");
    struct dss_handle handle;
    char *owner = NULL;
    double began;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "before", "ann"), 0);
    sql(host, "BEGIN IMMEDIATE");
    began = test_seconds();
    CHECK_RC(dss_lock(&handle, "during", "ann"), -EBUSY);
    CHECK(test_seconds() - began < 1.2);
    /* It is this very process that has the lock: the text blamed another one. */
    CHECK(strstr(dss_last_error(), "could not get a lock on the file") != NULL);
    CHECK(strstr(dss_last_error(), "another process") == NULL);
    CHECK_RC(dss_unlock(&handle, "before", "ann"), -EBUSY);
    /* Readers and a writer do not keep each other out. */
    CHECK_RC(dss_lock_status(&handle, "before", &owner, NULL), 0);
    CHECK(strcmp(owner, "ann") == 0);
    free(owner);
    sql(host, "ROLLBACK");
    CHECK_RC(dss_lock(&handle, "during", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "during", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "before", "ann"), 0);
    dss_fini(&handle);
    free(uri);
}

static void host_sees_our_commits(sqlite3 *host, struct dss_handle *handle)
{
    sqlite3_int64 version = host_number(host, "PRAGMA data_version");

    CHECK(!host_sees(host, "seen by the host"));
    CHECK_RC(dss_lock(handle, "seen by the host", "ann"), 0);
    CHECK(host_number(host, "PRAGMA data_version") != version);
    CHECK(host_sees(host, "seen by the host"));
    CHECK_RC(dss_unlock(handle, "seen by the host", "ann"), 0);
}

static void hosts_own_table_does_no_harm(sqlite3 *host, struct dss_handle *handle)
{
    struct dss_handle later;

    CHECK_RC(dss_lock(handle, "table", "ann"), 0);
    sql(host, "CREATE TABLE host_notes (process INTEGER, note TEXT)");
    sql(host, "INSERT INTO host_notes VALUES (0, 'mine')");
    CHECK_RC(dss_lock(handle, "table", "bob"), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, "table", "ann"), 0);
    CHECK_RC(dss_init_uri(&later, test_uri()), 0);
    CHECK_RC(dss_unlock(&later, "table", "ann"), 0);
    dss_fini(&later);
    CHECK(host_number(host, "SELECT count(*) FROM host_notes") == 1);
}

/* The host writes and reads in its own thread, beside the contender in the same process. */
static void *host_works(void *arg)
{
    sqlite3 *host = host_open(test_uri() + strlen("sqlite:"));

    (void)arg;
    while (!atomic_load(&host_stop)) {
        sql(host, "BEGIN IMMEDIATE");
        sql(host, "INSERT INTO host_notes VALUES (1, 'concurrent')");
        sql(host, "COMMIT");
        atomic_fetch_add(host_rows, 1);
        CHECK(host_number(host, "SELECT count(*) FROM host_notes") > 0);
    }
    CHECK(sqlite3_close(host) == SQLITE_OK);
    return NULL;
}

static void contender(void *arg)
{
    struct dss_handle handle;
    pthread_t host;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    host = start_thread(host_works, NULL);
    contend(linked_api(), &handle, arena, "drive", SECONDS);
    atomic_store(&host_stop, 1);
    join_thread(host);
    dss_fini(&handle);
}

static void prepare(void *arg)
{
    struct dss_handle handle;
    sqlite3 *host;

    (void)arg;
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    host = host_open(test_uri() + strlen("sqlite:"));
    hosts_transaction_keeps_us_out(host);
    host_sees_our_commits(host, &handle);
    hosts_own_table_does_no_harm(host, &handle);
    CHECK(sqlite3_close(host) == SQLITE_OK);
    dss_fini(&handle);
}

int main(void)
{
    pid_t children[PROCESSES];
    sqlite3 *host;

    arena = arena_make();
    host_rows = mmap(NULL, sizeof(*host_rows), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(host_rows != MAP_FAILED);
    (void)test_uri();
    test_join(spawn(prepare, NULL));
    for (int i = 0; i < PROCESSES; i++)
        children[i] = spawn(contender, NULL);
    arena_close(arena, children, PROCESSES);
    host = host_open(test_uri() + strlen("sqlite:"));
    CHECK(atomic_load(host_rows) > 0);
    CHECK(host_number(host, "SELECT count(*) FROM host_notes WHERE process = 1") == atomic_load(host_rows));
    host_integrity(host);
    CHECK(sqlite3_close(host) == SQLITE_OK);
    return 0;
}
