/*
 * The two sides of proxy.h: what the test and the proxy's process share, and the latter's work.
 */
#ifndef PROXY_PROCESS_H
#define PROXY_PROCESS_H

#include "proxy.h"

/* Memory of both. The two events are 0 or 1, and waited for by futex(2). */
struct proxy_shared {
    struct proxy_counts counts;
    _Atomic int caught, struck;
};

/* What the test tells; each is answered by one byte when it is done. */
struct proxy_order {
    int is_release; /* else a mode is set */
    int mode;
    long skip, ms;
};

/*
 * Works until the other end of the control socket is closed. The listener is bound and listens on the port, and so is, but
 * does not listen, the holder, which keeps others from taking the port while the listener is closed.
 */
_Noreturn void proxy_process(struct proxy_shared *shared, int control, int listener, int server_port);

/* A listening socket on the port of 127.0.0.1, 0 for any; several of one user's can have one port. */
int proxy_listen(int port, int is_listening);

/* The port of a socket. */
int proxy_port_of(int fd);

#endif
