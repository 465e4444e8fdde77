/*
 * A process is stopped at the moment at which it has SQLite's read marks locked.
 *
 * SQLite then sleeps and tries again for ten seconds by itself, whatever time the caller has, and a fork of the host and
 * every other thread wait as long. A call ends within its own time.
 */
#include "hazard.h"

#define FIRST_READ_MARK 124
#define READ_MARKS 4

static struct line opened, ready;

/* Locks the marks as SQLite would, and does not let go. */
static void stopped_process(void *arg)
{
    struct flock marks = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = FIRST_READ_MARK, .l_len = READ_MARKS};
    char side[512];
    int fd;

    (void)arg;
    CHECK(hear(&opened) == 1);
    snprintf(side, sizeof(side), "%s-shm", test_uri() + strlen("sqlite:"));
    fd = open(side, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fcntl(fd, F_SETLK, &marks) == 0);
    tell(&ready, 1);
    for (;;)
        pause();
}

static void ends_in_time(int rc, double begin)
{
    CHECK(rc == -EBUSY);
    CHECK(test_seconds() - begin < 1.3);
}

int main(void)
{
    char *uri = sqlite_uri(test_uri() + strlen("sqlite:"), "timeout_ms=300");
    struct dss_handle handle;
    double begin;
    pid_t child;

    line_make(&opened);
    line_make(&ready);
    child = spawn(stopped_process, NULL);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    tell(&opened, 1);
    CHECK(hear(&ready) == 1);
    begin = test_seconds();
    ends_in_time(dss_lock_refresh(&handle, "drive", "ann"), begin);
    begin = test_seconds();
    ends_in_time(dss_lock_status(&handle, "drive", NULL, NULL), begin);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
    free(uri);
    return 0;
}
