/*
 * The proxy's own process: one thread and a poll loop.
 */
#include "proxy_link.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#define LINKS_MAX 1024

static int control, listener, holder, server_port, port;
static struct link links[LINKS_MAX];
static int links_count;

/* ---- New links and lost ones. ---- */

static void no_delay(int fd)
{
    int yes = 1;

    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)) == 0);
}

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    no_delay(fd);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void accept_one(void)
{
    struct link link = {.client.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), .server.fd = -1, .due = NEVER};

    if (link.client.fd < 0)
        return;
    CHECK(links_count < LINKS_MAX);
    no_delay(link.client.fd);
    atomic_fetch_add(&shared->counts.connections, 1);
    atomic_fetch_add(&shared->counts.open, 1);
    if (armed.mode == PROXY_SILENT) {
        silence(&link);
    } else if (armed.mode == PROXY_REFUSE) {
        link.by_reset = armed.by_reset;
        raise_event(&shared->caught);
        strike_and_close(&link);
        return;
    } else if ((link.server.fd = connect_to_server()) < 0) {
        close_both(&link);
        return;
    }
    links[links_count++] = link;
}

static void forget_closed_links(void)
{
    for (int i = 0; i < links_count; i++) {
        while (i < links_count && links[i].client.fd < 0 && links[i].server.fd < 0) {
            forget(&links[i].kept);
            links[i] = links[--links_count];
        }
    }
}

/* ---- Orders. ---- */

static void set_mode(const struct proxy_order *order)
{
    armed = (struct armed){.mode = order->mode & ~PROXY_BY_RESET, .by_reset = (order->mode & PROXY_BY_RESET) != 0,
                           .skip = order->skip, .ms = order->ms};
    atomic_store(&shared->caught, 0);
    atomic_store(&shared->struck, 0);
    if (armed.mode != PROXY_DOWN) {
        if (listener < 0)
            listener = proxy_listen(port, 1);
        return;
    }
    close(listener);
    listener = -1;
    for (int i = 0; i < links_count; i++) {
        links[i].by_reset = armed.by_reset;
        close_both(&links[i]);
    }
}

static void obey(void)
{
    struct proxy_order order;

    if (recv(control, &order, sizeof(order), 0) != (ssize_t)sizeof(order))
        _exit(0);
    if (!order.is_release) {
        set_mode(&order);
    } else {
        for (int i = 0; i < links_count; i++) {
            if (links[i].kept.length > 0 && (links[i].fate == PROXY_LATE || links[i].fate == PROXY_HOLD_RESPONSE))
                go_on(&links[i]);
        }
    }
    if (send(control, "", 1, MSG_NOSIGNAL) != 1)
        _exit(0);
}

/* ---- The loop. ---- */

static struct pollfd polled(const struct side *side, const struct side *other)
{
    short wanted = 0;

    if (!side->has_ended && other->out.length < BUFFER_MAX)
        wanted |= POLLIN;
    if (side->out.length > 0)
        wanted |= POLLOUT;
    /* A side of which nothing is wanted would tell of its end over and over. */
    return (struct pollfd){.fd = wanted != 0 ? side->fd : -1, .events = wanted};
}

static int time_left_ms(void)
{
    double first = NEVER, left;

    for (int i = 0; i < links_count; i++)
        first = links[i].due < first ? links[i].due : first;
    if (first == NEVER)
        return -1;
    left = first - test_seconds();
    return left <= 0 ? 0 : (int)(left * 1e3) + 1;
}

static void turn(void)
{
    static struct pollfd fds[2 + 2 * LINKS_MAX];
    int count = links_count;

    fds[0] = (struct pollfd){.fd = control, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (int i = 0; i < count; i++) {
        fds[2 + 2 * i] = polled(&links[i].client, &links[i].server);
        fds[3 + 2 * i] = polled(&links[i].server, &links[i].client);
    }
    if (poll(fds, (nfds_t)(2 + 2 * count), time_left_ms()) < 0)
        return;
    for (int i = 0; i < count; i++) {
        if (fds[2 + 2 * i].revents != 0)
            read_side(&links[i], &links[i].client);
        if (fds[3 + 2 * i].revents != 0)
            read_side(&links[i], &links[i].server);
        if (links[i].due <= test_seconds())
            go_on(&links[i]);
        flush_link(&links[i]);
    }
    if (fds[0].revents != 0)
        obey();
    if (fds[1].revents != 0 && listener >= 0)
        accept_one();
    forget_closed_links();
}

_Noreturn void proxy_process(struct proxy_shared *memory, int orders, int listens, int to_port)
{
    shared = memory;
    control = orders;
    listener = listens;
    server_port = to_port;
    port = proxy_port_of(listener);
    holder = proxy_listen(port, 0);
    /* A pipe of the test that stayed open here would never end for its reader. */
    for (int fd = 3; fd < 1024; fd++) {
        if (fd != control && fd != listener && fd != holder)
            close(fd);
    }
    for (;;)
        turn();
}
