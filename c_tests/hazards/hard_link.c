/*
 * The store's file gets a second name: a backup that works with hard links, an administrator's `ln`.
 *
 * SQLite names its -wal and -shm after the file. Through two names there are two pairs of them, each program is alone
 * in its own, and one lock is granted twice. Neither name may be used until one of them is gone. A symbolic link is no
 * second name: it leads to the same one.
 */
#include "hazard.h"

static void every_call_gives(struct dss_handle *handle, int expected)
{
    char *owner = (char *)"untouched";
    struct timeval when;

    CHECK_RC(dss_lock(handle, "other", "ann"), expected);
    CHECK_RC(dss_lock_refresh(handle, "drive", "ann"), expected);
    CHECK_RC(dss_unlock(handle, "drive", "ann"), expected);
    CHECK_RC(dss_lock_status(handle, "drive", &owner, &when), expected);
    CHECK(owner == NULL);
    CHECK(dss_last_error()[0] != '\0');
}

static void init_gives(const char *path, int expected)
{
    char *uri = sqlite_uri(path, "");
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), expected);
    CHECK(expected == 0 || handle.dh_conn == NULL);
    dss_fini(&handle);
    free(uri);
}

static void hard_link(const char *path, const char *other)
{
    struct dss_handle early;

    CHECK_RC(dss_init_uri(&early, test_uri()), 0);
    CHECK_RC(dss_lock(&early, "drive", "ann"), 0);
    CHECK(link(path, other) == 0);
    init_gives(path, -EMLINK);
    init_gives(other, -EMLINK);
    every_call_gives(&early, -EMLINK);
    CHECK(unlink(other) == 0);
    CHECK_RC(dss_lock(&early, "drive", "bob"), -EEXIST);
    CHECK_RC(dss_lock(&early, "other", "ann"), 0);
    CHECK_RC(dss_unlock(&early, "other", "ann"), 0);
    init_gives(path, 0);
    CHECK_RC(dss_unlock(&early, "drive", "ann"), 0);
    dss_fini(&early);
}

/* The link was there before anybody opened the store. */
static void link_of_a_closed_file(const char *path, const char *other)
{
    CHECK(link(path, other) == 0);
    init_gives(path, -EMLINK);
    init_gives(other, -EMLINK);
    CHECK(unlink(path) == 0);
    init_gives(other, 0);
    CHECK(rename(other, path) == 0);
    init_gives(path, 0);
}

static void symbolic_link(const char *path, const char *other)
{
    char *uri = sqlite_uri(other, "");
    struct dss_handle direct, through;

    CHECK(symlink(path, other) == 0);
    CHECK_RC(dss_init_uri(&direct, test_uri()), 0);
    CHECK_RC(dss_lock(&direct, "drive", "ann"), 0);
    CHECK_RC(dss_init_uri(&through, uri), 0);
    CHECK_RC(dss_lock(&through, "drive", "bob"), -EEXIST);
    CHECK_RC(dss_unlock(&through, "drive", "ann"), 0);
    dss_fini(&through);
    dss_fini(&direct);
    CHECK(unlink(other) == 0);
    free(uri);
}

int main(void)
{
    char *path = test_path("dss.db"), *other = test_path("other.db");

    hard_link(path, other);
    link_of_a_closed_file(path, other);
    symbolic_link(path, other);
    free(other);
    free(path);
    return 0;
}
