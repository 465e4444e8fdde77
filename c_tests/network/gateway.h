/*
 * The JSON gateway of etcd 3.6 and newer, in front of an older etcd.
 *
 * etcd 3.4 and 3.5 have grpc-gateway 1, etcd 3.6 and newer have grpc-gateway 2, which writes errors
 * in another shape (src/store/etcd/refusal.rs). This process forwards each request to an etcd and
 * rewrites the errors in its answers to that shape. It also checks the login of a LeaseKeepAlive,
 * which etcd 3.4.23 does not, and ends all logins when the test asks for it, as a restart of a
 * member does.
 *
 *     struct gateway gateway;
 *
 *     gateway_start(&gateway, etcd.port);            a fork
 *     uri = made("etcd://127.0.0.1:%d/site?...", gateway.port);
 *     gateway_expire(&gateway);                      each login made before is invalid
 *     CHECK(gateway_reaches(&gateway.shared->renewed, 3));   waits for 3 renewals
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include <stdatomic.h>

#include "test.h"

/* Memory of the test and of the gateway. */
struct gateway_shared {
    _Atomic int era;          /* a login is valid in the era in which it was made */
    _Atomic int expired_code; /* the gRPC code of "invalid auth token": 16, or 2 from a grpc-proxy */
    _Atomic int expires;      /* gateway_expire() happens just before the next renewal of a lease */
    _Atomic int login_fails;  /* Authenticate answers "request timed out" */

    _Atomic int logins;  /* that have succeeded */
    _Atomic int refused; /* requests with a login that has expired */
    _Atomic int renewed; /* leases */
};

struct gateway {
    int port; /* of 127.0.0.1 */
    pid_t process;
    struct gateway_shared *shared;
};

/* To an etcd without TLS on this port of 127.0.0.1. It ends with the test. */
void gateway_start(struct gateway *gateway, int server_port);

/* Makes all logins invalid. */
void gateway_expire(struct gateway *gateway);

/* The same, just before the next renewal of a lease: so that a renewal is the first to meet it. */
void gateway_expire_at_renewal(struct gateway *gateway);

/* Waits until a counter of gateway_shared is at least this; 0 if it is not after 20 s. */
int gateway_reaches(_Atomic int *counter, int count);

#endif
