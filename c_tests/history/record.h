/*
 * How calls are recorded: in a file that is mapped and shared, so that kill -9 of any process loses nothing of them. A call has
 * one place in it, which is filled before the call is made, and completed after it has returned. tests/history/record.rs reads it.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdatomic.h>
#include <stdint.h>

#define LOCKS 3
#define KEYS 2
#define PLACES (1 << 21)

enum kind { LOCK = 1, UNLOCK, REFRESH, TRANSFER, STATUS, GET, SET, DELETE };

enum { CALLED = 1, RETURNED = 2 };

/* Numbers that are not used are 0; so are the owner of a call by force, and a token that is not told. */
struct record {
    _Atomic uint32_t stage; /* 0: the place was taken, but its call never made */
    uint32_t kind;
    uint32_t name; /* a lock's number, or LOCKS and a key's */
    int32_t rc;
    uint64_t called_ns, returned_ns; /* CLOCK_MONOTONIC */
    uint64_t owner, heir, token;     /* asked */
    uint64_t value;                  /* asked, or got */
    uint64_t guard;                  /* asked: a version and 1 */
    uint64_t fence;                  /* asked: a lock's number and 1; its token is above */
    uint64_t number;                 /* answered: a token or a version */
    uint64_t holder;                 /* answered */
    uint64_t ttl_ms;                 /* asked */
};

struct records {
    _Atomic uint64_t taken;
    _Atomic uint32_t stop;
    _Atomic uint32_t disk_fails; /* in how many of a thousand writes and flushes */
    uint32_t ring;               /* nobody reads what is recorded: so many places are used over and over */
    uint32_t rest_us;            /* how long a thread rests after a call */
    uint32_t moves;              /* somebody harms the store's files: what then fails is opened anew */
    uint32_t loses;              /* somebody takes what is in them away: the store may be refused from then on */
    _Atomic uint32_t refused;    /* a process was told so */
    uint32_t reserved[7];
    struct record all[PLACES];
};

#endif
