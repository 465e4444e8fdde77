/*
 * A TCP proxy between a test and a server, which breaks what goes through it when it is told to.
 *
 * It is a process of its own, a child of the test, which knows nothing of protocols: it sees bytes that come from a client,
 * and bytes that a server answers. A request is what a client sends until the server answers; a round trip is a request
 * and the answer to it. All that is told to it has happened when the call returns.
 *
 *     struct proxy proxy;
 *
 *     proxy_start_for_store(&proxy);                  first of all: it is a fork
 *     uri = proxy_uri(&proxy, "timeout_ms=500");      the test's store, through the proxy
 *     proxy_arm(&proxy, PROXY_CUT_AFTER, 0, 0);       the next request
 *     CHECK_RC(dss_lock(&handle, "drive", "ann"), 0);
 *     proxy_wait_struck(&proxy);                      else the call has not met the fault
 *     proxy_stop(&proxy);
 */
#ifndef PROXY_H
#define PROXY_H

#include <stdatomic.h>

#include "test.h"

enum proxy_mode {
    /* Everything goes through. */
    PROXY_PASS,

    /* Once, for the first request that is not skipped, on whatever connection; everything else goes through. */
    PROXY_CUT_BEFORE,    /* the request is thrown away, and both sides are closed */
    PROXY_HALF,          /* the first half of it is forwarded, then both sides are closed */
    PROXY_CUT_AFTER,     /* it is forwarded, and the client's side closed; the server's stays until it has answered */
    PROXY_HOLD_RESPONSE, /* its answer is kept for ms milliseconds */
    PROXY_LATE,          /* it is kept for ms milliseconds, and delivered then, whether or not the client is still there */

    /* Until another mode is set. */
    PROXY_SILENT, /* what clients send is thrown away, and they never hear more: also new ones, which are accepted */
    PROXY_REFUSE, /* new connections are closed at once */
    PROXY_DOWN,   /* all connections are closed, and the port refuses new ones */

    /* May be added to those that close: by a reset (RST), and not by an end (FIN). */
    PROXY_BY_RESET = 1 << 8,
};

/* For ms: until proxy_release(). */
#define PROXY_KEEP (-1)

/* What has gone through so far. */
struct proxy_counts {
    _Atomic long connections; /* accepted */
    _Atomic long open;        /* of these, not closed yet by the client */
    _Atomic long requests;    /* begun */
    _Atomic long round_trips;
    _Atomic long to_server, to_client; /* bytes */
};

struct proxy {
    int port; /* of 127.0.0.1 */
    pid_t process;
    int control;
    struct proxy_shared *shared;
};

/* To a server's port on 127.0.0.1. */
void proxy_start(struct proxy *proxy, int server_port);

/* To the server of the test's store. */
void proxy_start_for_store(struct proxy *proxy);

/* Closes all connections. */
void proxy_stop(struct proxy *proxy);

/* A connection string, but through the proxy, with an option or NULL; the caller frees it. */
static inline char *proxy_through(const struct proxy *proxy, const char *uri, const char *option)
{
    const char *host = "127.0.0.1:", *port = strstr(uri, host);
    char through[600];

    CHECK(port != NULL);
    port += strlen(host);
    snprintf(through, sizeof(through), "%.*s%d%s", (int)(port - uri), uri, proxy->port, port + strspn(port, "0123456789"));
    if (option != NULL)
        return test_with_option(through, option);
    return strdup(through);
}

/* The same of test_uri(). It stands here, since that is another one in each file. */
static inline char *proxy_uri(const struct proxy *proxy, const char *option)
{
    return proxy_through(proxy, test_uri(), option);
}

/*
 * Sets the mode: a fault strikes after so many requests have passed. A request that has been begun, by bytes that have
 * reached the proxy already, is not one of them. What waits for its time from an earlier fault goes on waiting.
 */
void proxy_arm(struct proxy *proxy, int mode, long skip, long ms);

/* Forwards now what PROXY_HOLD_RESPONSE and PROXY_LATE keep. */
void proxy_release(struct proxy *proxy);

/*
 * Waits until the fault of the last proxy_arm() has found its request, and fails the test after 20 s.
 */
void proxy_wait_caught(struct proxy *proxy);

/*
 * Waits until it has done what it does: both sides are closed (CUT_BEFORE, HALF); the client's side is closed, and the server
 * has answered (CUT_AFTER); it has answered, and the answer is kept (HOLD_RESPONSE); the request has been delivered
 * late, and answered (LATE); a client has met it (SILENT, REFUSE).
 */
void proxy_wait_struck(struct proxy *proxy);

/* Whether it has been: 0 or 1. */
int proxy_has_caught(struct proxy *proxy);
int proxy_has_struck(struct proxy *proxy);

const struct proxy_counts *proxy_counts(struct proxy *proxy);

#endif
