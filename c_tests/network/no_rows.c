/*
 * A pooler had begun a connection anew between a query and its answer: the client was told that the
 * server is ready, and no rows came. A list of a store that had been in use for minutes said -117,
 * that the schema is no store.
 *
 * Proves, with a stand-in before the server that answers the look at the store so: a list asks
 * again and shows the lock; where no rows ever come, opening the store says -ENOTCONN, and never
 * what the store might be.
 */
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "network/bad.h"

#define LOOK "SELECT version FROM"

/* How many looks get no rows from now on. */
static _Atomic int *unanswered;

static void pass_on(int from, int to)
{
    static const char ready[] = {'Z', 0, 0, 0, 5, 'I'};
    char bytes[1 << 16];
    ssize_t length = read(from, bytes, sizeof(bytes));

    if (length <= 0)
        _exit(0);
    if (memmem(bytes, (size_t)length, LOOK, strlen(LOOK)) != NULL && atomic_load(unanswered) > 0) {
        atomic_fetch_sub(unanswered, 1);
        CHECK(write(from, ready, sizeof(ready)) == sizeof(ready));
    } else {
        CHECK(write(to, bytes, (size_t)length) == length);
    }
}

static void serve(int client)
{
    int port = atoi(variable("DSS_TEST_POSTGRES_PORT"));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct pollfd both[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};

    CHECK(server >= 0 && connect(server, (struct sockaddr *)&address, sizeof(address)) == 0);
    for (;;) {
        CHECK(poll(both, 2, -1) > 0);
        for (int i = 0; i < 2; i++)
            if (both[i].revents != 0)
                pass_on(both[i].fd, both[!i].fd);
    }
}

static void stand_in(int listener)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    for (;;) {
        int client = accept(listener, NULL, NULL);

        CHECK(client >= 0);
        if (fork() == 0)
            serve(client);
        close(client);
    }
}

/* Gives its port. */
static int start_stand_in(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(listener, 64) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    if (fork() == 0)
        stand_in(listener);
    close(listener);
    return ntohs(address.sin_port);
}

static int count_one(const struct dss_lock_info *info, void *arg)
{
    CHECK(strcmp(info->lock_id, "drive") == 0);
    ++*(int *)arg;
    return 0;
}

/* In a process of its own, which has no connection yet. */
static void open_in_vain(const char *uri)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri), -ENOTCONN);
    CHECK(strstr(dss_last_error(), "no answer") != NULL);
}

int main(void)
{
    struct dss_handle handle;
    const char *uri;
    pid_t child;
    int shown = 0;

    unanswered = mmap(NULL, sizeof(*unanswered), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0);
    CHECK(unanswered != MAP_FAILED);
    uri = made("postgresql://%s@127.0.0.1:%d/dss_test?schema=%s&timeout_ms=2000",
               variable("DSS_TEST_POSTGRES_USER"), start_stand_in(), own_name());
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
    atomic_store(unanswered, 1);
    CHECK_RC(dss_lock_list(&handle, NULL, count_one, &shown), 0);
    CHECK(shown == 1 && atomic_load(unanswered) == 0);

    atomic_store(unanswered, 1000000);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        open_in_vain(uri);
        _exit(0);
    }
    test_join_all(&child, 1);
    CHECK(atomic_load(unanswered) < 1000000);
    atomic_store(unanswered, 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    dss_fini(&handle);
    return 0;
}
