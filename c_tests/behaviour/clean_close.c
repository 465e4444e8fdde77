/*
 * Proves: when the last handle of a file is closed, in whatever order and process, the file stands alone: no -wal,
 * -shm or -journal beside it, and no file descriptor left open.
 */
#include "test.h"

#define HANDLES 4

static int exists_with(const char *suffix)
{
    char *path = test_path("dss.db");
    char full[4096];

    snprintf(full, sizeof(full), "%s%s", path, suffix);
    free(path);
    return access(full, F_OK) == 0;
}

static void check_alone(void)
{
    CHECK(exists_with(""));
    CHECK(!exists_with("-wal"));
    CHECK(!exists_with("-shm"));
    CHECK(!exists_with("-journal"));
}

static int open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void work(struct dss_handle *handle)
{
    char id[32];
    int i;

    for (i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "id-%d", i);
        CHECK_RC(dss_lock(handle, id, "owner"), 0);
        CHECK_RC(dss_lock_refresh(handle, id, "owner"), 0);
        test_check_owner(handle, id, "owner");
    }
    for (i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "id-%d", i);
        CHECK_RC(dss_unlock(handle, id, "owner"), 0);
    }
}

/* Opens several handles, works with each and closes them, beginning with the given one. */
static void check_order(int first)
{
    struct dss_handle handles[HANDLES];
    int i;

    for (i = 0; i < HANDLES; i++) {
        CHECK_RC(dss_init_uri(&handles[i], test_uri()), 0);
        work(&handles[i]);
    }
    for (i = 0; i < HANDLES; i++) {
        struct dss_handle *next = &handles[(first + i) % HANDLES];

        work(next);
        dss_fini(next);
    }
    check_alone();
}

/* A handle that was never used, or only failed, leaves nothing behind either. */
static void check_unused(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    dss_fini(&handle);
    check_alone();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_unlock(&handle, "nothing", "owner"), -ENOLCK);
    dss_fini(&handle);
    check_alone();
}

/*
 * Another process opens the file, says so and closes it when told. It is started while this one has nothing open:
 * what a fork does with open handles is another matter.
 */
static void check_two_processes(int child_is_last)
{
    int to_child[2], from_child[2];
    struct dss_handle handle;
    pid_t child;
    char byte;

    CHECK(pipe(to_child) == 0 && pipe(from_child) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(close(to_child[1]) == 0 && close(from_child[0]) == 0);
        CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
        work(&handle);
        CHECK(write(from_child[1], "", 1) == 1);
        CHECK(read(to_child[0], &byte, 1) == 1);
        work(&handle);
        dss_fini(&handle);
        exit(0);
    }
    CHECK(close(to_child[0]) == 0 && close(from_child[1]) == 0);
    CHECK(read(from_child[0], &byte, 1) == 1);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    work(&handle);
    if (child_is_last)
        dss_fini(&handle);
    CHECK(write(to_child[1], "", 1) == 1);
    test_join(child);
    if (!child_is_last) {
        work(&handle);
        dss_fini(&handle);
    }
    check_alone();
    CHECK(close(to_child[1]) == 0 && close(from_child[0]) == 0);
}

int main(void)
{
    int before = open_files(), first;

    check_unused();
    for (first = 0; first < HANDLES; first++)
        check_order(first);
    check_two_processes(0);
    check_two_processes(1);
    CHECK(open_files() == before);
    return 0;
}
