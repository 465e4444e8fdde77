/*
 * The store lies on a file system that is mounted for reading only: a rescue system, or a disk that had errors.
 *
 * A store that can't be written can't grant a lock. It must be said so at the beginning, with the errno that names the
 * cause, and not at the first lock.
 */
#include "hazard.h"

static char *where;
static struct line ready;

static char *uri_of(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", where, name);
    return sqlite_uri(path, "");
}

/* Leaves a -wal behind in which its lock is. */
static void die_with_wal(void *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    tell(&ready, 1);
    for (;;)
        pause();
}

static void make_store_with_wal(char *uri)
{
    pid_t child = spawn(die_with_wal, uri);

    CHECK(hear(&ready) == 1);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
}

static void make_store(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
}

static void init_gives_erofs(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), -EROFS);
    CHECK(handle.dh_conn == NULL);
    CHECK(strstr(dss_last_error(), where) != NULL);
}

static void lock_is_there(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "bob"), -EEXIST);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
}

static void in_mounts_of_our_own(void *arg)
{
    char *closed = uri_of("closed.db"), *with_wal = uri_of("wal.db"), *new = uri_of("new.db");

    (void)arg;
    private_mounts();
    mount_tmpfs(where, "size=4m");
    make_store(closed);
    make_store_with_wal(with_wal);
    CHECK(mount(NULL, where, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    init_gives_erofs(closed);
    init_gives_erofs(with_wal);
    init_gives_erofs(new);
    CHECK(mount(NULL, where, NULL, MS_REMOUNT, NULL) == 0);
    lock_is_there(closed);
    lock_is_there(with_wal);
    make_store(new);
    free(new);
    free(with_wal);
    free(closed);
}

int main(void)
{
    line_make(&ready);
    where = test_path("mounted");
    CHECK(mkdir(where, 0755) == 0);
    test_join(spawn(in_mounts_of_our_own, NULL));
    free(where);
    return 0;
}
