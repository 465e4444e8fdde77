/*
 * Proves: while another program holds SQLite's write lock, a call that has to write waits for its timeout_ms and then
 * gives -EBUSY with nothing changed; one that only reads is answered at once; and as soon as the lock is released all
 * goes on.
 *
 * The other program is a child process that uses the system's own SQLite.
 */
#include <sqlite3.h>

#include "test.h"

#define TIMEOUT 0.3 /* seconds, as in the connection string */
#define GRACE 1.0   /* what a call may take on top of it */

static int to_child[2], from_child[2];

/* What the parent may ask of the child; each is answered by the same byte. */
enum request { HOLD = 'h', RELEASE = 'r', RELEASE_SOON = 's' };

static void must(sqlite3 *db, int rc)
{
    if (rc != SQLITE_OK) {
        fprintf(stderr, "the other program: %s\n", sqlite3_errmsg(db));
        exit(1);
    }
}

static void answer(char request)
{
    CHECK(write(from_child[1], &request, 1) == 1);
}

static void run_other_program(void)
{
    char *path = test_path("dss.db"), request;
    sqlite3 *db = NULL;
    struct timespec soon = { 0, 150 * 1000 * 1000 };

    while (read(to_child[0], &request, 1) == 1) {
        switch (request) {
        case HOLD:
            must(db, sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL));
            must(db, sqlite3_busy_timeout(db, 5000));
            must(db, sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
            answer(request);
            break;
        case RELEASE_SOON:
            /* The parent is inside a call by then and can't ask for the release, so only time can tell. */
            answer(request);
            CHECK(nanosleep(&soon, NULL) == 0);
            must(db, sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
            must(db, sqlite3_close(db));
            break;
        default:
            must(db, sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
            must(db, sqlite3_close(db));
            answer(request);
        }
    }
    free(path);
}

static pid_t start_other_program(void)
{
    pid_t child;

    CHECK(pipe(to_child) == 0 && pipe(from_child) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(to_child[1]) == 0 && close(from_child[0]) == 0);
        run_other_program();
        exit(0);
    }
    CHECK(close(to_child[0]) == 0 && close(from_child[1]) == 0);
    return child;
}

static void ask(enum request request)
{
    char byte = (char)request;

    CHECK(write(to_child[1], &byte, 1) == 1);
    CHECK(read(from_child[0], &byte, 1) == 1 && byte == (char)request);
}

/* A machine that is busy with other things, or valgrind, may add to what the library itself needs. */
static double tolerance(void)
{
    return test_repeat(0, 2);
}

static void check_busy(int rc, double since)
{
    double took = test_seconds() - since;

    CHECK_RC(rc, -EBUSY);
    CHECK(strlen(dss_last_error()) > 0);
    if (took < TIMEOUT || took > TIMEOUT + GRACE + tolerance()) {
        fprintf(stderr, "-EBUSY came after %.3f s\n", took);
        exit(1);
    }
}

static void check_writers_wait(struct dss_handle *handle)
{
    double since = test_seconds();

    check_busy(dss_lock(handle, "free", "owner"), since);
    since = test_seconds();
    check_busy(dss_lock_refresh(handle, "held", "owner"), since);
    since = test_seconds();
    check_busy(dss_unlock(handle, "held", "owner"), since);
    since = test_seconds();
    check_busy(dss_unlock(handle, "held", NULL), since);
}

static void check_readers_do_not(struct dss_handle *handle, int64_t stamp)
{
    double since = test_seconds();
    struct timeval now;

    test_check_owner(handle, "held", "owner");
    test_check_owner(handle, "free", NULL);
    CHECK_RC(dss_lock_status(handle, "held", NULL, &now), 0);
    CHECK(test_microseconds(now) == stamp);
    CHECK(test_seconds() - since < TIMEOUT / 2 + tolerance());
}

/* A file that is being written to can be opened, or be refused in time; nothing else. */
static void check_init(const char *uri)
{
    struct dss_handle handle;
    double since = test_seconds();
    int rc = dss_init_uri(&handle, uri);

    CHECK(rc == 0 || rc == -EBUSY);
    CHECK(test_seconds() - since < TIMEOUT + GRACE + tolerance());
    dss_fini(&handle);
}

static void check_all_works(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, "free", "owner"), 0);
    CHECK_RC(dss_lock_refresh(handle, "held", "owner"), 0);
    CHECK_RC(dss_unlock(handle, "free", "owner"), 0);
}

int main(void)
{
    struct dss_handle handle, patient;
    struct timeval stamp;
    char uri[1024];
    pid_t child;

    (void)test_dir();
    child = start_other_program();
    snprintf(uri, sizeof(uri), "%s?timeout_ms=300", test_uri());
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "held", "owner"), 0);
    CHECK_RC(dss_lock_status(&handle, "held", NULL, &stamp), 0);

    ask(HOLD);
    check_writers_wait(&handle);
    check_readers_do_not(&handle, test_microseconds(stamp));
    check_init(uri);
    ask(RELEASE);
    check_all_works(&handle);

    /* A caller with enough patience gets its lock in the same call. */
    CHECK_RC(dss_init_uri(&patient, test_uri()), 0);
    ask(HOLD);
    ask(RELEASE_SOON);
    CHECK_RC(dss_lock(&patient, "free", "owner"), 0);
    CHECK_RC(dss_unlock(&patient, "free", "owner"), 0);
    check_all_works(&handle);

    dss_fini(&patient);
    dss_fini(&handle);
    CHECK(close(to_child[1]) == 0);
    test_join(child);
    CHECK(close(from_child[0]) == 0);
    return 0;
}
