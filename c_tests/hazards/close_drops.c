/*
 * The host's own SQLite is in the middle of a write transaction on the store's file when the library closes the file:
 * the last handle goes, or the process forks and nothing of SQLite may be open in the child.
 *
 * The host's SQLite uses POSIX locks, and POSIX drops all locks that a process has on a file when it closes any
 * descriptor of it. Our own close(2) would take the host's lock away: another process begins a transaction in the
 * middle of the host's, and the file is damaged.
 */
#include "host_sqlite.h"

static struct line question, answer;

/* What a process without any part in this gets from dss_lock: the proof of who has the write lock. */
static void other_process(void *arg)
{
    char *uri = sqlite_uri(test_uri() + strlen("sqlite:"), "timeout_ms=150");

    (void)arg;
    while (hear(&question) != 0) {
        struct dss_handle handle;
        int rc = dss_init_uri(&handle, uri);

        if (rc == 0)
            rc = dss_lock(&handle, "drive", "other");
        if (rc == 0)
            CHECK_RC(dss_unlock(&handle, "drive", "other"), 0);
        tell(&answer, rc);
        dss_fini(&handle);
    }
    free(uri);
}

static void other_gets(int expected, const char *when)
{
    int rc;

    tell(&question, 1);
    rc = hear(&answer);
    if (rc != expected)
        fprintf(stderr, "%s: the other process gets %d, not %d\n", when, rc, expected);
    CHECK(rc == expected);
}

static void open_and_close_a_handle(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    dss_fini(&handle);
}

static void do_nothing(void *arg)
{
    (void)arg;
}

/* Each way in which the library closes the file, while the host's transaction runs. */
static void every_close(struct dss_handle *early)
{
    struct dss_handle second;

    other_gets(-EBUSY, "when the host began");
    dss_fini(early);
    other_gets(-EBUSY, "after the last handle was closed");
    open_and_close_a_handle();
    other_gets(-EBUSY, "after a handle was opened and closed");
    CHECK_RC(dss_init_uri(early, test_uri()), 0);
    CHECK_RC(dss_init_uri(&second, test_uri()), 0);
    other_gets(-EBUSY, "after two handles were opened");
    dss_fini(&second);
    other_gets(-EBUSY, "after one of two handles was closed");
    test_join(spawn(do_nothing, NULL));
    other_gets(-EBUSY, "after a fork");
    dss_fini(early);
    other_gets(-EBUSY, "at the end");
}

int main(void)
{
    struct dss_handle early;
    sqlite3 *host;
    pid_t other;

    (void)test_uri();
    line_make(&question);
    line_make(&answer);
    other = spawn(other_process, NULL);
    CHECK_RC(dss_init_uri(&early, test_uri()), 0);
    host = host_open(test_uri() + strlen("sqlite:"));
    other_gets(0, "before the host begins");
    sql(host, "BEGIN IMMEDIATE");
    sql(host, "CREATE TABLE host_notes (note TEXT)");
    sql(host, "INSERT INTO host_notes VALUES ('mine')");
    every_close(&early);
    sql(host, "COMMIT");
    other_gets(0, "after the host's commit");
    CHECK(host_number(host, "SELECT count(*) FROM host_notes") == 1);
    host_integrity(host);
    CHECK(sqlite3_close(host) == SQLITE_OK);
    open_and_close_a_handle();
    tell(&question, 0);
    test_join(other);
    return 0;
}
