/*
 * A thread of the host closes every descriptor while another one is in the middle of a commit: what was written is in
 * the log, and the flush is about to begin.
 *
 * Under the log's number the host has a file of its own by then. A flush of that file succeeds, and says nothing about
 * the lock: after a power cut it would be gone, although its taker was told that it has it.
 *
 * The library calls fdatasync(2) through the dynamic linker, so this program's own stands in its place.
 */
#include "plain_files.h"

#include <sys/syscall.h>

static char own_folder[512];
static struct stat log_file;
static int is_armed, log_was_flushed;

static void close_and_open(void)
{
    CHECK(close_range(3, ~0U, 0) == 0);
    open_plain_files(own_folder);
}

int fdatasync(int fd)
{
    struct stat found;

    if (is_armed) {
        is_armed = 0;
        close_and_open();
    }
    if (fstat(fd, &found) == 0 && found.st_dev == log_file.st_dev && found.st_ino == log_file.st_ino)
        log_was_flushed = 1;
    return (int)syscall(SYS_fdatasync, fd);
}

static void is_held(void *arg)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, arg), 0);
    CHECK_RC(dss_lock(&handle, "drive", "other"), -EEXIST);
    dss_fini(&handle);
}

int main(void)
{
    const char *uri = test_uri();
    char path[600], *folder = test_path("own");
    struct dss_handle handle;

    CHECK(mkdir(folder, 0700) == 0);
    snprintf(own_folder, sizeof(own_folder), "%s", folder);
    free(folder);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "first", "ann"), 0);
    snprintf(path, sizeof(path), "%s-wal", uri + strlen("sqlite:"));
    for (int i = 0; i < 10; i++) {
        /* Each time: a process that had the store open alone has removed the log. */
        CHECK(stat(path, &log_file) == 0);
        log_was_flushed = 0;
        is_armed = 1;
        CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
        CHECK(!is_armed);
        CHECK(log_was_flushed);
        test_join(spawn(is_held, (void *)uri));
        CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
        check_plain_files();
    }
    dss_fini(&handle);
    return 0;
}
