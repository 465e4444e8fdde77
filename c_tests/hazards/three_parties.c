/*
 * All at once on one file in one process: the library that the host is linked with, a second copy that a plugin brings along, and the
 * host's own SQLite, which reads the file and closes it again and again.
 *
 * Closing a file drops all POSIX locks that the process has on it, whoever took them. Proves: the two copies still exclude each
 * other, and what the host's SQLite reads is a whole database.
 */
#include "loaded.h"

#include <sqlite3.h>

#define SECONDS 1.5

static struct arena *arena;

static void copy_file(const char *from, const char *to)
{
    char buffer[65536];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t size;

    CHECK(in != NULL && out != NULL);
    while ((size = fread(buffer, 1, sizeof(buffer), in)) > 0)
        CHECK(fwrite(buffer, 1, size, out) == size);
    fclose(in);
    CHECK(fclose(out) == 0);
}

static void *contend_through(void *library)
{
    struct dss_api api = api_of(library);
    struct dss_handle handle;

    CHECK(api.init_uri(&handle, test_uri()) == 0);
    contend(&api, &handle, arena, "drive", SECONDS);
    api.fini(&handle);
    return NULL;
}

static void *read_and_close(void *arg)
{
    const char *path = test_uri() + strlen("sqlite:");
    double end = test_seconds() + SECONDS;
    long *reads = arg;

    while (test_seconds() < end) {
        sqlite3_stmt *statement;
        sqlite3 *sql;

        CHECK(sqlite3_open_v2(path, &sql, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
        sqlite3_busy_timeout(sql, 5000);
        CHECK(sqlite3_prepare_v2(sql, "PRAGMA quick_check", -1, &statement, NULL) == SQLITE_OK);
        CHECK(sqlite3_step(statement) == SQLITE_ROW);
        CHECK(strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0);
        sqlite3_finalize(statement);
        CHECK(sqlite3_close(sql) == SQLITE_OK);
        ++*reads;
    }
    return NULL;
}

static void be_all_three(void *copy_path)
{
    void *first = load(library_file()), *second = load(copy_path);
    pthread_t threads[3];
    long reads = 0;

    threads[0] = start_thread(contend_through, first);
    threads[1] = start_thread(contend_through, second);
    threads[2] = start_thread(read_and_close, &reads);
    for (int i = 0; i < 3; i++)
        join_thread(threads[i]);
    CHECK(reads > 10);
}

static void be_a_stranger(void *arg)
{
    (void)arg;
    contend_through(load(library_file()));
}

int main(void)
{
    char *copy = test_path("copy.so");
    struct dss_api api = api_of(load(library_file()));
    struct dss_handle handle;
    pid_t children[2];

    copy_file(library_file(), copy);
    /* A stranger who only reads makes no file: it has to be there before. */
    CHECK(api.init_uri(&handle, test_uri()) == 0);
    api.fini(&handle);
    arena = arena_make();
    children[0] = spawn(be_all_three, copy);
    children[1] = spawn(be_a_stranger, NULL);
    arena_close(arena, children, 2);
    CHECK(api.init_uri(&handle, test_uri()) == 0);
    api.fini(&handle);
    free(copy);
    return 0;
}
