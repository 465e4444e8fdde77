/*
 * The disk is full, because of the store itself or of anything else that lies there.
 *
 * Each of the writes of an init and of a lock may be the first one that finds no room. Whichever it is: the call says
 * -ENOSPC and changes nothing, what was granted before stays and is seen, and once there is room again the same handle
 * works on. The disk is a tmpfs of 1 MiB, which gives out whole pages of 4 KiB, so that is the step between tries.
 */
#include "hazard.h"

#define PAGE 4096
#define MAX_FREE_PAGES 40
#define MAX_LOCKS 60

static char *where, *filler_path, *uri;

static void fill_up(long free_pages)
{
    static const char zeros[PAGE];
    int fd = open(filler_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t size = 0;

    CHECK(fd >= 0);
    while (pwrite(fd, zeros, PAGE, size) == PAGE)
        size += PAGE;
    CHECK(errno == ENOSPC && size > free_pages * PAGE);
    CHECK(ftruncate(fd, size - free_pages * PAGE) == 0);
    close(fd);
}

static void make_room(void)
{
    CHECK(unlink(filler_path) == 0);
}

static void name_lock(char *lock_id, size_t size, int number)
{
    /* Long names, so that the file grows by a page every few locks. */
    snprintf(lock_id, size, "%0900d", number);
}

/* Locks until there is no room, and sees what is there through the same handle; returns how many were granted. */
static int lock_until_full(struct dss_handle *handle)
{
    char lock_id[1024];
    int granted;

    for (granted = 0; granted < MAX_LOCKS; granted++) {
        int rc;

        name_lock(lock_id, sizeof(lock_id), granted);
        rc = dss_lock(handle, lock_id, "ann");
        if (rc != 0) {
            CHECK_RC(rc, -ENOSPC);
            CHECK(dss_last_error()[0] != '\0');
            test_check_owner(handle, lock_id, NULL);
            CHECK_RC(dss_lock(handle, lock_id, "bob"), -ENOSPC);
            break;
        }
    }
    for (int i = 0; i < granted; i++) {
        name_lock(lock_id, sizeof(lock_id), i);
        test_check_owner(handle, lock_id, "ann");
    }
    return granted;
}

/* All that was granted is there, and all works; the one that was refused is free. */
static void check_after(struct dss_handle *handle, int granted)
{
    char lock_id[1024];

    for (int i = 0; i < granted; i++) {
        name_lock(lock_id, sizeof(lock_id), i);
        CHECK_RC(dss_lock(handle, lock_id, "bob"), -EEXIST);
    }
    name_lock(lock_id, sizeof(lock_id), granted);
    CHECK_RC(dss_lock(handle, lock_id, "ann"), 0);
    for (int i = 0; i <= granted; i++) {
        name_lock(lock_id, sizeof(lock_id), i);
        CHECK_RC(dss_unlock(handle, lock_id, "ann"), 0);
    }
}

static void refresh_and_unlock_when_full(struct dss_handle *handle)
{
    char lock_id[1024];
    int rc;

    name_lock(lock_id, sizeof(lock_id), 0);
    rc = dss_lock_refresh(handle, lock_id, "ann");
    CHECK(rc == 0 || rc == -ENOSPC);
    test_check_owner(handle, lock_id, "ann");
    rc = dss_unlock(handle, lock_id, "ann");
    CHECK(rc == 0 || rc == -ENOSPC);
    test_check_owner(handle, lock_id, rc == 0 ? NULL : "ann");
    if (rc != 0)
        return;
    make_room();
    CHECK_RC(dss_lock(handle, lock_id, "ann"), 0);
    fill_up(0);
}

/* How often each of the two was what failed: a test in which nothing fails proves nothing. */
static int failed_inits, failed_locks;

static void new_store(long free_pages)
{
    struct dss_handle handle;
    int granted = 0, rc;

    mount_tmpfs(where, "size=1m");
    fill_up(free_pages);
    rc = dss_init_uri(&handle, uri);
    CHECK(rc == 0 || rc == -ENOSPC);
    CHECK(rc == 0 || (handle.dh_conn == NULL && strstr(dss_last_error(), where) != NULL));
    CHECK(rc != 0 || free_pages > 0);
    failed_inits += rc != 0;
    if (rc == 0) {
        granted = lock_until_full(&handle);
        failed_locks += granted < MAX_LOCKS;
    }
    make_room();
    if (rc != 0)
        CHECK_RC(dss_init_uri(&handle, uri), 0);
    check_after(&handle, granted);
    dss_fini(&handle);
    CHECK(umount(where) == 0);
}

/* The store was there before the disk became full, and is opened anew afterwards. */
static void old_store(long free_pages)
{
    struct dss_handle handle;
    char lock_id[1024];
    int granted;

    mount_tmpfs(where, "size=1m");
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    name_lock(lock_id, sizeof(lock_id), 0);
    CHECK_RC(dss_lock(&handle, lock_id, "ann"), 0);
    fill_up(free_pages);
    refresh_and_unlock_when_full(&handle);
    CHECK_RC(dss_lock(&handle, lock_id, "bob"), -EEXIST);
    CHECK_RC(dss_unlock(&handle, lock_id, "bob"), -EACCES);
    make_room();
    CHECK_RC(dss_unlock(&handle, lock_id, "ann"), 0);
    fill_up(free_pages);
    granted = lock_until_full(&handle);
    failed_locks += granted < MAX_LOCKS;
    dss_fini(&handle);
    make_room();
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    check_after(&handle, granted);
    dss_fini(&handle);
    CHECK(umount(where) == 0);
}

static void in_mounts_of_our_own(void *arg)
{
    (void)arg;
    private_mounts();
    for (long free_pages = 0; free_pages <= MAX_FREE_PAGES; free_pages++)
        new_store(free_pages);
    for (long free_pages = 0; free_pages <= 16; free_pages++)
        old_store(free_pages);
    CHECK(failed_inits > 1);
    CHECK(failed_locks > 1);
}

int main(void)
{
    char *path;

    where = test_path("disk");
    CHECK(mkdir(where, 0755) == 0);
    filler_path = test_path("disk/filler");
    path = test_path("disk/dss.db");
    uri = sqlite_uri(path, "");
    test_join(spawn(in_mounts_of_our_own, NULL));
    free(uri);
    free(path);
    free(filler_path);
    free(where);
    return 0;
}
