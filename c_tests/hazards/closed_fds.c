/*
 * A daemon closes its standard streams, and then opens the store.
 *
 * The system gives out the lowest free number: the database would become file descriptor 1 or 2, and the next message
 * that any code of the host prints there would be written over the first page of the store. So nothing of the library
 * may ever stand at 0, 1 or 2.
 */
#include "hazard.h"

/* A copy of the standard error, for what this test has to say after it closed its own. */
static int report_fd;

#define HOLDS(condition)                                                                                            \
    do {                                                                                                            \
        if (!(condition)) {                                                                                         \
            dprintf(report_fd, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #condition,              \
                    dss_last_error());                                                                              \
            _exit(1);                                                                                               \
        }                                                                                                           \
    } while (0)

static void standard_fds_are_free(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        errno = 0;
        HOLDS(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
    }
}

static void some_calls(struct dss_handle *handle)
{
    char *owner = NULL;

    HOLDS(dss_lock(handle, "drive", "ann") == 0);
    HOLDS(dss_lock(handle, "drive", "bob") == -EEXIST);
    HOLDS(dss_lock_refresh(handle, "drive", "ann") == 0);
    HOLDS(dss_lock_status(handle, "drive", &owner, NULL) == 0);
    free(owner);
    HOLDS(dss_unlock(handle, "drive", "ann") == 0);
    standard_fds_are_free();
}

static void failing_calls(struct dss_handle *handle)
{
    struct dss_handle bad;

    HOLDS(dss_unlock(handle, "nobody has it", "ann") == -ENOLCK);
    HOLDS(dss_init_uri(&bad, "nonsense:") == -EINVAL);
    HOLDS(dss_init_uri(&bad, "/no such folder/dss.db") == -ENOENT);
    HOLDS(dss_init_uri(&bad, "/dev/null") == -EUCLEAN);
    standard_fds_are_free();
}

/* A fork closes the store and opens it again, which is one more occasion. */
static void fork_once(struct dss_handle *handle)
{
    pid_t child = fork();
    int status = -1;

    HOLDS(child >= 0);
    if (child == 0) {
        some_calls(handle);
        dss_fini(handle);
        _exit(0);
    }
    HOLDS(waitpid(child, &status, 0) == child && status == 0);
    some_calls(handle);
}

/* The host's next open(2) gets the number 2, and its messages go where it wants them. */
static void host_logs(const char *log_path)
{
    HOLDS(open("/dev/null", O_RDONLY) == 0);
    HOLDS(open(log_path, O_WRONLY | O_CREAT, 0600) == 1);
    HOLDS(open(log_path, O_WRONLY | O_CREAT, 0600) == 2);
    for (int i = 0; i < 1000; i++)
        HOLDS(dprintf(2, "message number %d of a host that knows nothing of the store\n", i) > 0);
}

static void in_a_daemon(void *arg)
{
    struct dss_handle handle, second;
    const char *uri = test_uri();

    report_fd = fcntl(2, F_DUPFD_CLOEXEC, 50);
    CHECK(report_fd >= 50);
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    HOLDS(dss_init_uri(&handle, uri) == 0);
    standard_fds_are_free();
    some_calls(&handle);
    failing_calls(&handle);
    fork_once(&handle);
    HOLDS(dss_init_uri(&second, uri) == 0);
    standard_fds_are_free();
    HOLDS(dss_lock(&handle, "kept", "ann") == 0);
    host_logs(arg);
    HOLDS(dss_lock(&second, "kept", "bob") == -EEXIST);
    dss_fini(&second);
    dss_fini(&handle);
    HOLDS(dss_init_uri(&handle, uri) == 0);
    HOLDS(dss_unlock(&handle, "kept", "ann") == 0);
    dss_fini(&handle);
}

int main(void)
{
    char *log_path = test_path("log");

    (void)test_uri();
    test_join(spawn(in_a_daemon, log_path));
    free(log_path);
    return 0;
}
