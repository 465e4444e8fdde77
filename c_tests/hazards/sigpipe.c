/*
 * The host's standard streams are pipes that nobody reads any more: the program that started it has gone.
 *
 * One byte written there raises SIGPIPE and ends a process that keeps the default action. A library that prints a
 * warning, or a panic message, kills its host that way. The library prints nothing and raises no signal.
 */
#include "hazard.h"

static void break_standard_streams(void)
{
    int ends[2];

    CHECK(pipe(ends) == 0);
    CHECK(close(ends[0]) == 0);
    for (int fd = 0; fd <= 2; fd++)
        CHECK(dup2(ends[1], fd) == fd);
    if (ends[1] > 2)
        close(ends[1]);
}

/* Failed checks have no stream to print to: the status tells the line. */
#define TELL_BY_STATUS(condition)                                                                                   \
    do {                                                                                                            \
        if (!(condition))                                                                                           \
            _exit(__LINE__ % 200 + 1);                                                                              \
    } while (0)

static void calls_that_work(struct dss_handle *handle)
{
    char *owner = NULL;

    TELL_BY_STATUS(dss_lock(handle, "drive", "ann") == 0);
    TELL_BY_STATUS(dss_lock_refresh(handle, "drive", "ann") == 0);
    TELL_BY_STATUS(dss_lock_status(handle, "drive", &owner, NULL) == 0);
    free(owner);
    TELL_BY_STATUS(dss_unlock(handle, "drive", "ann") == 0);
}

static void calls_that_fail(struct dss_handle *handle)
{
    struct dss_handle bad;

    TELL_BY_STATUS(dss_unlock(handle, "drive", "ann") == -ENOLCK);
    TELL_BY_STATUS(dss_lock(handle, NULL, "ann") == -EINVAL);
    TELL_BY_STATUS(dss_lock(handle, "drive", "") == -EINVAL);
    TELL_BY_STATUS(dss_lock(NULL, "drive", "ann") == -EBADF);
    TELL_BY_STATUS(dss_init_uri(&bad, "nonsense:") == -EINVAL);
    TELL_BY_STATUS(dss_init_uri(&bad, "sqlite:/no such folder/dss.db") == -ENOENT);
    TELL_BY_STATUS(dss_init_uri(&bad, "/dev/null") == -EUCLEAN);
    TELL_BY_STATUS(dss_last_error()[0] != '\0');
}

static void with_broken_streams(void *arg)
{
    struct dss_handle handle;
    const char *uri = test_uri();

    (void)arg;
    TELL_BY_STATUS(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    break_standard_streams();
    TELL_BY_STATUS(dss_init_uri(&handle, uri) == 0);
    calls_that_work(&handle);
    calls_that_fail(&handle);
    dss_fini(&handle);
}

int main(void)
{
    (void)test_uri();
    test_join(spawn(with_broken_streams, NULL));
    return 0;
}
