/*
 * A thread that waits for a lock for ever, and whether it comes back.
 */
#ifndef ENDLESS_H
#define ENDLESS_H

#include "contention.h"

#define PATIENCE_S 10.0 /* who was told to come back and is not back by then hangs */

/* ---- A thread that waits for ever. ---- */

struct waiter {
    struct dss_handle *handle;
    struct ask ask;
    struct dss_grant grants[4];
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic int begins; /* it is about to make the call */
    _Atomic int is_back;
    int rc;
};

static inline void *wait_for_ever(void *arg)
{
    struct waiter *waiter = arg;

    atomic_store(&waiter->tid, own_thread());
    atomic_store(&waiter->begins, 1);
    waiter->rc = lock_set(waiter->handle, &waiter->ask, waiter->grants);
    atomic_store(&waiter->is_back, 1);
    pthread_testcancel();
    return NULL;
}

/* The lock that is waited for. */
static const char *const held[] = {"held"};

static inline void start_waiter(struct waiter *waiter, struct dss_handle *handle, const char *const *ids, size_t count)
{
    struct timespec moment = {0, 10000};

    memset(waiter, 0, sizeof(*waiter));
    waiter->handle = handle;
    waiter->ask = (struct ask){.ids = ids, .count = count, .owner = "waiter", .wait_ms = -1};
    waiter->thread = start_thread(wait_for_ever, waiter);
    while (!atomic_load(&waiter->begins))
        nanosleep(&moment, NULL);
}

static inline void wait_until_asleep(struct waiter *waiter)
{
    wait_until_waiting(getpid(), atomic_load(&waiter->tid));
}

/* Until it is seen in its call: there the signals of the host are held back, but for the moments in which it sleeps. */
static inline void wait_until_inside(struct waiter *waiter)
{
    struct timespec moment = {0, 50000};
    double begin = test_seconds();

    while (!holds_back_signals(atomic_load(&waiter->tid)) && !is_waiting(getpid(), atomic_load(&waiter->tid))) {
        CHECK(test_seconds() - begin < HANGS_AFTER_S);
        nanosleep(&moment, NULL);
    }
}

/* Whether the call returns in time. */
static inline int comes_back(struct waiter *waiter)
{
    struct timespec moment = {0, 50000};
    double begin = test_seconds();

    while (!atomic_load(&waiter->is_back) && test_seconds() - begin < PATIENCE_S)
        nanosleep(&moment, NULL);
    return atomic_load(&waiter->is_back);
}

static inline void check_refused(struct waiter *waiter, int code)
{
    CHECK(comes_back(waiter));
    join_thread(waiter->thread);
    CHECK_RC(waiter->rc, code);
    CHECK_RC(waiter->grants[0].rc, -EEXIST);
    CHECK(waiter->grants[0].token == 0);
    for (size_t i = 1; i < waiter->ask.count; i++)
        CHECK(waiter->grants[i].rc == -ECANCELED || waiter->grants[i].rc == -EEXIST);
}

/* Releases the lock, which the waiter must get. */
static inline void check_gets_it(struct dss_handle *holder, struct waiter *waiter)
{
    CHECK(!atomic_load(&waiter->is_back));
    CHECK_RC(dss_unlock(holder, "held", "holder"), 0);
    CHECK(comes_back(waiter));
    join_thread(waiter->thread);
    CHECK_RC(waiter->rc, 0);
    CHECK(waiter->grants[0].rc == 0 && waiter->grants[0].token != 0);
    CHECK_RC(dss_unlock(holder, "held", "waiter"), 0);
    CHECK_RC(dss_lock(holder, "held", "holder"), 0);
}

/* Says which part of the test begins, and how long the last one took. */
static inline void step(const char *what)
{
    static double last;
    double now = test_seconds();

    if (last != 0)
        fprintf(stderr, "%.1f s\n", now - last);
    last = now;
    fprintf(stderr, "%s: ", what);
    watchdog(HANGS_AFTER_S); /* for each part */
}

#endif
