/*
 * The test's side of the proxy.
 */
#include "proxy_process.h"

#include <arpa/inet.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define PATIENCE_S 20

int proxy_listen(int port, int is_listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;

    CHECK(fd >= 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(!is_listening || listen(fd, 128) == 0);
    return fd;
}

int proxy_port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);

    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    return ntohs(address.sin_port);
}

void proxy_start(struct proxy *proxy, int server_port)
{
    int ends[2], listener = proxy_listen(0, 1);

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    proxy->shared = mmap(NULL, sizeof(*proxy->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(proxy->shared != MAP_FAILED);
    proxy->port = proxy_port_of(listener);
    proxy->control = ends[0];
    proxy->process = fork();
    CHECK(proxy->process >= 0);
    if (proxy->process == 0) {
        /* Should the test be killed; its end alone is told by the socket only where no child of it lives on. */
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        proxy_process(proxy->shared, ends[1], listener, server_port);
    }
    close(listener);
    close(ends[1]);
}

void proxy_start_for_store(struct proxy *proxy)
{
    CHECK(test_store_is_server());
    proxy_start(proxy, atoi(test_server_(test_store_is("postgres") ? "DSS_TEST_POSTGRES_PORT" : "DSS_TEST_ETCD_PORT")));
}

void proxy_stop(struct proxy *proxy)
{
    CHECK(kill(proxy->process, SIGKILL) == 0);
    CHECK(waitpid(proxy->process, NULL, 0) == proxy->process);
    close(proxy->control);
    CHECK(munmap(proxy->shared, sizeof(*proxy->shared)) == 0);
}

static void tell_proxy(struct proxy *proxy, const struct proxy_order *order)
{
    char done;

    CHECK(send(proxy->control, order, sizeof(*order), MSG_NOSIGNAL) == (ssize_t)sizeof(*order));
    CHECK(recv(proxy->control, &done, 1, 0) == 1);
}

void proxy_arm(struct proxy *proxy, int mode, long skip, long ms)
{
    tell_proxy(proxy, &(struct proxy_order){.mode = mode, .skip = skip, .ms = ms});
}

void proxy_release(struct proxy *proxy)
{
    tell_proxy(proxy, &(struct proxy_order){.is_release = 1});
}

/* Ends the test if the event has not come in time: whoever waits for it would hang. */
static void wait_for_event(_Atomic int *event, const char *what)
{
    struct timespec patience = {PATIENCE_S, 0};
    double end = test_seconds() + PATIENCE_S;

    while (atomic_load(event) == 0) {
        if (test_seconds() >= end)
            fprintf(stderr, "no request has been %s in %d s\n", what, PATIENCE_S);
        CHECK(test_seconds() < end);
        (void)syscall(SYS_futex, event, FUTEX_WAIT, 0, &patience, NULL, 0);
    }
}

void proxy_wait_caught(struct proxy *proxy)
{
    wait_for_event(&proxy->shared->caught, "caught by the proxy");
}

void proxy_wait_struck(struct proxy *proxy)
{
    wait_for_event(&proxy->shared->struck, "struck by the proxy");
}

int proxy_has_caught(struct proxy *proxy)
{
    return atomic_load(&proxy->shared->caught);
}

int proxy_has_struck(struct proxy *proxy)
{
    return atomic_load(&proxy->shared->struck);
}

const struct proxy_counts *proxy_counts(struct proxy *proxy)
{
    return &proxy->shared->counts;
}
