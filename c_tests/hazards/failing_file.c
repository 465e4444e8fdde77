/*
 * A disk could not read a page for a moment, and SQLite called the store's file damaged; at another
 * time one open(2) failed, SQLite opened the file to read it, and the store was called damaged or
 * read-only for as long as it was open.
 *
 * Proves, with this program's own pread(2) and open(2) in place of the system's: a read that fails
 * is -EIO, each open of a file that fails is what the system says, and in both cases the next call
 * does its work.
 */
#include "hazard.h"

#include <stdarg.h>
#include <sys/syscall.h>

static char path[512];
static int reads_fail, opens_until_failure; /* 0: none fails */

static int is_of_store(int fd)
{
    struct stat found, database, log;
    char side[600];

    snprintf(side, sizeof(side), "%s-wal", path);
    if (fstat(fd, &found) != 0)
        return 0;
    return (stat(path, &database) == 0 && found.st_ino == database.st_ino) ||
           (stat(side, &log) == 0 && found.st_ino == log.st_ino);
}

ssize_t pread(int fd, void *to, size_t count, off_t offset)
{
    if (reads_fail && count >= 1000 && is_of_store(fd)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, to, count, offset);
}

static int open_it(const char *name, int flags, mode_t mode)
{
    int writes = (flags & O_ACCMODE) != O_RDONLY;

    if (writes && strncmp(name, path, strlen(path)) == 0 && opens_until_failure > 0 &&
        --opens_until_failure == 0) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_it(name, flags, mode);
}

/* The same under the names that a program built for large files calls. */
int open64(const char *name, int flags, ...) __attribute__((alias("open")));
ssize_t pread64(int fd, void *to, size_t count, off_t offset) __attribute__((alias("pread")));

/* What another process changes is read again. */
static void change(void *arg)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, arg), 0);
    CHECK_RC(dss_lock(&handle, "other", "bob"), 0);
    CHECK_RC(dss_unlock(&handle, "other", "bob"), 0);
    dss_fini(&handle);
}

int main(void)
{
    const char *uri = test_uri();
    struct dss_handle handle, holder;
    int failed = 0;

    snprintf(path, sizeof(path), "%s", uri + strlen("sqlite:"));
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    test_join(spawn(change, (void *)uri));
    reads_fail = 1;
    CHECK_RC(dss_lock_status(&handle, "drive", NULL, NULL), -EIO);
    reads_fail = 0;
    CHECK_RC(dss_lock_status(&handle, "drive", NULL, NULL), 0);
    dss_fini(&handle);

    for (int n = 1; n < 20; n++) {
        int rc;

        opens_until_failure = n;
        rc = dss_init_uri(&holder, uri);
        failed += rc != 0;
        CHECK(rc == 0 || rc == -EMFILE);
        if (rc == 0) {
            CHECK_RC(dss_lock(&holder, "written", "ann"), 0);
            CHECK_RC(dss_unlock(&holder, "written", "ann"), 0);
            dss_fini(&holder);
        }
    }
    CHECK(failed > 0);
    return 0;
}
