/*
 * A program closes every descriptor in the callback of a list, and takes a lock there: the store is
 * opened anew, while the list's files, which are lost, still have their numbers in the library.
 *
 * Proves, wherever the new files' numbers begin: when all is closed once more, the program's own
 * files are left alone, and no lock is lost.
 */
#include "plain_files.h"

static struct dss_handle handle;
static int lost, filled;

static void close_all(void)
{
    CHECK(close_range(3, ~0U, 0) == 0);
}

static int close_and_lock(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    (void)arg;
    if (!lost++) {
        close_all();
        for (int i = 0; i < filled; i++)
            CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) == 3 + i);
        CHECK_RC(dss_lock(&handle, "in the callback", "ann"), 0);
    }
    return 0;
}

static void check_held(void *arg)
{
    struct dss_handle other;

    CHECK_RC(dss_init_uri(&other, arg), 0);
    CHECK_RC(dss_lock(&other, "in the callback", "bob"), -EEXIST);
    CHECK_RC(dss_lock(&other, "afterwards", "bob"), -EEXIST);
    dss_fini(&other);
}

/* The numbers that are free when the store is opened anew begin behind so many. */
static void play(const char *uri, const char *folder)
{
    char id[32];
    int rc;

    CHECK(mkdir(folder, 0700) == 0);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (int i = 0; i < 200; i++) { /* more than a page of a list */
        snprintf(id, sizeof(id), "lock %d", i);
        CHECK_RC(dss_lock(&handle, id, "ann"), 0);
    }
    rc = dss_lock_list(&handle, NULL, close_and_lock, NULL);
    CHECK(rc == -EINTR || rc == 0);
    close_all();
    open_plain_files(folder);
    CHECK_RC(dss_lock(&handle, "afterwards", "ann"), 0);
    check_plain_files();
    test_join(spawn(check_held, (void *)uri));
    dss_fini(&handle);
}

static void play_once(void *arg)
{
    char name[32], folder[600], *path = test_path("own"), *uri;

    filled = *(int *)arg;
    snprintf(name, sizeof(name), "store-%d", filled);
    snprintf(folder, sizeof(folder), "%s-%d", path, filled);
    uri = test_other_uri(name);
    play(uri, folder);
    free(uri);
    free(path);
}

int main(void)
{
    (void)test_uri();
    for (int i = 0; i < 16; i++)
        test_join(spawn(play_once, &i));
    return 0;
}
