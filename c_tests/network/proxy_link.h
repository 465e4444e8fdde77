/*
 * A link: what the proxy's process keeps of a client's connection.
 *
 * It has two sides. What has been read from one waits in a buffer until the other takes it, so nothing here blocks. A link
 * that a fault has caught has a fate, which says what becomes of its bytes; `due` is when it goes on by itself.
 */
#ifndef PROXY_LINK_H
#define PROXY_LINK_H

#include "proxy_process.h"

#define BUFFER_MAX (1 << 20) /* beyond it a side is not read until the other has taken something */
#define NEVER 1e300

struct bytes {
    char *start;
    size_t length, room;
};

struct side {
    int fd; /* -1: closed */
    int has_ended;
    struct bytes out; /* still to be written to it */
};

struct link {
    struct side client, server;
    struct bytes kept; /* the request or the answer that a fault keeps */
    int fate;          /* PROXY_PASS, or the fault that has caught it */
    int by_reset;
    int is_asked; /* the client's bytes were the last ones */
    int is_lost;  /* nothing but the server's answer is waited for: the client has gone, or was sent away */
    int is_late;  /* the request has been delivered late, and is not answered yet */
    double due;
    long ms;
};

/* What is armed: PROXY_PASS when the fault has caught its request. */
struct armed {
    int mode, by_reset;
    long skip, ms;
};

extern struct proxy_shared *shared;
extern struct armed armed;

void raise_event(_Atomic int *event);

/* Reads what there is, and decides what becomes of it. */
void read_side(struct link *link, struct side *side);

/* Writes what can be written, and passes on the end of a side when all that was before it has been. */
void flush_link(struct link *link);

/* The time that the link was waiting for has come, or the test does not want to wait for it. */
void go_on(struct link *link);

/* The client meets PROXY_SILENT. */
void silence(struct link *link);

void close_both(struct link *link);
void strike_and_close(struct link *link);
void forget(struct bytes *bytes);

#endif
