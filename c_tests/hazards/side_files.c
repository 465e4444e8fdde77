/*
 * An administrator clears away an "old" dss.db-shm or dss.db-wal while a daemon has the store open.
 *
 * SQLite's locks for writers live in the -shm file, and the latest transactions in the -wal. The next program to come
 * makes files of its own under these names, and from then on each of the two grants the same lock to itself.
 */
#include "hazard.h"

static struct line may_lock, answer;

static void newcomer(void *arg)
{
    struct dss_handle handle;

    (void)arg;
    while (hear(&may_lock) != 0) {
        int rc = dss_init_uri(&handle, test_uri());

        if (rc == 0)
            rc = dss_lock(&handle, "contended", "newcomer");
        tell(&answer, rc);
        if (rc == 0)
            CHECK(hear(&may_lock) == 1);
        dss_fini(&handle);
        tell(&answer, 0);
    }
}

/* The one who had it open before must not get the lock that the newcomer has. */
static void clear_away(const char *suffix)
{
    struct dss_handle handle;
    char side[512];
    int rc;

    snprintf(side, sizeof(side), "%s%s", test_uri() + strlen("sqlite:"), suffix);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, suffix, "ann"), 0);
    CHECK(unlink(side) == 0);
    tell(&may_lock, 1);
    rc = hear(&answer);
    CHECK_RC(dss_lock(&handle, "contended", "ann"), -EIDRM);
    CHECK(strstr(dss_last_error(), side) != NULL);
    if (rc == 0)
        tell(&may_lock, 1);
    dss_fini(&handle);
    CHECK(hear(&answer) == 0);
}

int main(void)
{
    struct dss_handle handle;
    pid_t child;

    (void)test_uri();
    line_make(&may_lock);
    line_make(&answer);
    child = spawn(newcomer, NULL);
    clear_away("-shm");
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_unlock(&handle, "contended", NULL), 0);
    dss_fini(&handle);
    clear_away("-wal");
    tell(&may_lock, 0);
    test_join(child);
    return 0;
}
