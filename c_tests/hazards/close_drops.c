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

static int other_gets(void)
{
    tell(&question, 1);
    return hear(&answer);
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

    CHECK(other_gets() == -EBUSY);
    dss_fini(early);
    CHECK(other_gets() == -EBUSY);
    open_and_close_a_handle();
    CHECK(other_gets() == -EBUSY);
    CHECK_RC(dss_init_uri(early, test_uri()), 0);
    CHECK_RC(dss_init_uri(&second, test_uri()), 0);
    CHECK(other_gets() == -EBUSY);
    dss_fini(&second);
    CHECK(other_gets() == -EBUSY);
    test_join(spawn(do_nothing, NULL));
    CHECK(other_gets() == -EBUSY);
    dss_fini(early);
    CHECK(other_gets() == -EBUSY);
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
    CHECK(other_gets() == 0);
    sql(host, "BEGIN IMMEDIATE");
    sql(host, "CREATE TABLE host_notes (note TEXT)");
    sql(host, "INSERT INTO host_notes VALUES ('mine')");
    every_close(&early);
    sql(host, "COMMIT");
    CHECK(other_gets() == 0);
    CHECK(host_number(host, "SELECT count(*) FROM host_notes") == 1);
    host_integrity(host);
    CHECK(sqlite3_close(host) == SQLITE_OK);
    open_and_close_a_handle();
    tell(&question, 0);
    test_join(other);
    return 0;
}
