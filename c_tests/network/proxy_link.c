/*
 * What becomes of a connection's bytes.
 */
#include "proxy_link.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define QUIET_S 0.002 /* who has sent nothing for so long has sent it all */
#define CUT_S 0.020   /* the same for CUT_AFTER, where a rest that is missing would keep the server from answering */

struct proxy_shared *shared;
struct armed armed;

/* ---- Bytes and events. ---- */

static void append(struct bytes *bytes, const char *more, size_t size)
{
    if (bytes->length + size > bytes->room) {
        bytes->room = 2 * (bytes->length + size);
        bytes->start = realloc(bytes->start, bytes->room);
        CHECK(bytes->start != NULL);
    }
    memcpy(bytes->start + bytes->length, more, size);
    bytes->length += size;
}

/* Nothing waits for a side that is closed. */
static void put(struct side *side, const char *more, size_t size)
{
    if (side->fd >= 0)
        append(&side->out, more, size);
}

static void drop_first(struct bytes *bytes, size_t size)
{
    bytes->length -= size;
    memmove(bytes->start, bytes->start + size, bytes->length);
}

void forget(struct bytes *bytes)
{
    free(bytes->start);
    memset(bytes, 0, sizeof(*bytes));
}

void raise_event(_Atomic int *event)
{
    atomic_store(event, 1);
    (void)syscall(SYS_futex, event, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* ---- Sides. ---- */

static void close_side(struct side *side, int by_reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (side->fd < 0)
        return;
    if (by_reset)
        CHECK(setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
    close(side->fd);
    side->fd = -1;
    side->has_ended = 1;
    forget(&side->out);
}

static void close_client(struct link *link)
{
    if (link->client.fd >= 0)
        atomic_fetch_sub(&shared->counts.open, 1);
    close_side(&link->client, link->by_reset);
}

void close_both(struct link *link)
{
    close_client(link);
    close_side(&link->server, link->by_reset);
    forget(&link->kept);
    link->due = NEVER;
}

static void write_out(struct side *side)
{
    ssize_t written;

    if (side->fd < 0 || side->out.length == 0)
        return;
    written = send(side->fd, side->out.start, side->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written > 0)
        drop_first(&side->out, (size_t)written);
    else if (errno != EAGAIN && errno != EINTR)
        forget(&side->out); /* its end is about to be read */
}

/* What is there, or 0 at the end, or -1 if there is nothing yet. */
static ssize_t read_some(struct side *side, char *buffer, size_t size)
{
    ssize_t count = recv(side->fd, buffer, size, MSG_DONTWAIT);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    return count < 0 ? 0 : count;
}

/* ---- A client's bytes. ---- */

/* A request begins: is it the one that the fault waits for? */
static void begin_request(struct link *link)
{
    link->is_asked = 1;
    atomic_fetch_add(&shared->counts.requests, 1);
    if (armed.mode < PROXY_CUT_BEFORE || armed.mode > PROXY_LATE || link->fate != PROXY_PASS)
        return;
    if (armed.skip-- > 0)
        return;
    link->fate = armed.mode;
    link->by_reset = armed.by_reset;
    link->ms = armed.ms;
    link->due = armed.mode == PROXY_LATE && armed.ms >= 0 ? test_seconds() + (double)armed.ms / 1e3 : NEVER;
    armed.mode = PROXY_PASS;
    raise_event(&shared->caught);
}

void silence(struct link *link)
{
    link->fate = PROXY_SILENT;
    link->due = NEVER;
    raise_event(&shared->caught);
    raise_event(&shared->struck);
}

static void take_request(struct link *link, const char *bytes, size_t size)
{
    if (armed.mode == PROXY_SILENT)
        silence(link);
    if (link->fate == PROXY_SILENT)
        return;
    if (!link->is_asked)
        begin_request(link);
    if (link->fate == PROXY_HALF || link->fate == PROXY_LATE)
        append(&link->kept, bytes, size);
    else if (link->fate != PROXY_CUT_BEFORE)
        put(&link->server, bytes, size);
    if (link->fate == PROXY_HALF || link->fate == PROXY_CUT_BEFORE)
        link->due = test_seconds() + QUIET_S;
    if (link->fate == PROXY_CUT_AFTER)
        link->due = test_seconds() + CUT_S;
}

/* ---- A server's bytes. ---- */

static void take_answer(struct link *link, const char *bytes, size_t size)
{
    if (armed.mode == PROXY_SILENT)
        silence(link);
    if (link->is_asked) {
        link->is_asked = 0;
        atomic_fetch_add(&shared->counts.round_trips, 1);
    }
    if (link->is_late)
        raise_event(&shared->struck);
    link->is_late = 0;
    if (link->fate == PROXY_CUT_AFTER) {
        close_client(link);
        link->is_lost = 1;
    }
    if (link->is_lost) {
        link->due = test_seconds() + QUIET_S;
    } else if (link->fate == PROXY_HOLD_RESPONSE) {
        if (link->kept.length == 0 && link->ms >= 0)
            link->due = test_seconds() + (double)link->ms / 1e3;
        append(&link->kept, bytes, size);
        raise_event(&shared->struck);
    } else if (link->fate != PROXY_SILENT) {
        put(&link->client, bytes, size);
    }
}

/* ---- What happens by itself, or when the test says so. ---- */

/* The rest of a request that comes late goes the usual way, and so does its answer, if the client is still there. */
static void deliver_late(struct link *link)
{
    put(&link->server, link->kept.start, link->kept.length);
    forget(&link->kept);
    link->due = NEVER;
    link->fate = PROXY_PASS;
    link->is_lost = link->client.has_ended;
    link->is_late = !link->is_lost;
}

static void deliver_answer(struct link *link)
{
    put(&link->client, link->kept.start, link->kept.length);
    forget(&link->kept);
    link->due = NEVER;
    link->fate = PROXY_PASS;
}

void strike_and_close(struct link *link)
{
    close_both(link);
    raise_event(&shared->struck);
}

void go_on(struct link *link)
{
    size_t half = link->kept.length / 2;

    link->due = NEVER;
    if (link->is_lost) {
        strike_and_close(link); /* the server has answered */
        return;
    }
    switch (link->fate) {
    case PROXY_HALF:
        put(&link->server, link->kept.start, half);
        while (link->server.out.length > 0 && link->server.fd >= 0)
            write_out(&link->server);
        strike_and_close(link);
        break;
    case PROXY_CUT_BEFORE:
        strike_and_close(link);
        break;
    case PROXY_CUT_AFTER:
        close_client(link);
        link->is_lost = 1;
        break;
    case PROXY_HOLD_RESPONSE:
        deliver_answer(link);
        break;
    case PROXY_LATE:
        deliver_late(link);
        break;
    default:
        break;
    }
}

/* ---- The ends of the two sides. ---- */

static void client_ended(struct link *link)
{
    link->client.has_ended = 1;
    if (link->fate == PROXY_LATE)
        return; /* what is kept is still to be delivered */
    if (link->is_late) {
        link->is_late = 0;
        link->is_lost = 1;
    }
    if (link->fate == PROXY_HALF || link->fate == PROXY_CUT_BEFORE || link->fate == PROXY_CUT_AFTER)
        go_on(link);
    if (link->fate == PROXY_SILENT)
        close_both(link);
}

static void server_ended(struct link *link)
{
    link->server.has_ended = 1;
    if (link->is_late || link->is_lost || link->fate == PROXY_LATE)
        strike_and_close(link);
}

/*
 * An end is passed on when all that was before it has been. A client that ends has gone: none of those that we know closes
 * only one direction, and waits for an answer.
 */
static void pass_ends_on(struct link *link)
{
    int is_kept = link->fate == PROXY_HOLD_RESPONSE || link->fate == PROXY_SILENT || link->client.out.length > 0;

    if (link->server.has_ended && link->server.fd >= 0 && (link->client.fd < 0 || !is_kept))
        close_both(link);
    if (link->client.has_ended && link->client.fd >= 0 && link->server.out.length == 0 && link->fate != PROXY_LATE) {
        close_client(link);
        if (link->server.fd >= 0 && !link->is_lost)
            (void)shutdown(link->server.fd, SHUT_WR);
    }
}

void flush_link(struct link *link)
{
    write_out(&link->server);
    write_out(&link->client);
    pass_ends_on(link);
}

void read_side(struct link *link, struct side *side)
{
    static char buffer[65536];
    int is_client = side == &link->client;
    ssize_t count;

    if (side->fd < 0 || side->has_ended || (count = read_some(side, buffer, sizeof(buffer))) < 0)
        return;
    if (count == 0) {
        (is_client ? client_ended : server_ended)(link);
        return;
    }
    atomic_fetch_add(is_client ? &shared->counts.to_server : &shared->counts.to_client, count);
    (is_client ? take_request : take_answer)(link, buffer, (size_t)count);
}

