/*
 * The first mover in the queue was killed. The drive was then granted to it, and the next one waited for a dead man's turn.
 *
 * Proves: when the waiter that stands first in the queue is killed with SIGKILL, just before the lock is released or seconds
 * before, the next one has the lock within 2 s.
 */
#include "contention/contention.h"

#define ROUNDS 4
#define LIMIT_S 2

static _Atomic double *got; /* when a waiter had the lock, in test_seconds() */

static void wait_for_it(void *arg)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(lock_waiting(&handle, "drive", arg, -1, NULL), 0);
    atomic_store(got, test_seconds());
    CHECK_RC(dss_unlock(&handle, "drive", arg), 0);
    dss_fini(&handle);
}

static pid_t start_waiter(char *owner)
{
    pid_t waiter = spawn(wait_for_it, owner);

    wait_until_waiting(waiter, waiter);
    return waiter;
}

/* The time from the release to the grant. */
static double one_round(struct dss_handle *handle, long before_us)
{
    struct timespec pause = {before_us / 1000000, before_us % 1000000 * 1000};
    pid_t first, next;
    double released;

    CHECK_RC(dss_lock(handle, "drive", "holder"), 0);
    first = start_waiter("first");
    next = start_waiter("next");
    CHECK(kill(first, SIGKILL) == 0);
    CHECK(waitpid(first, NULL, 0) == first);
    nanosleep(&pause, NULL);
    released = test_seconds();
    CHECK_RC(dss_unlock(handle, "drive", "holder"), 0);
    test_join(next);
    return atomic_load(got) - released;
}

int main(void)
{
    static const long before_us[ROUNDS] = {0, 1000, 300000, 1500000};
    struct dss_handle handle;

    watchdog(HANGS_AFTER_S);
    got = shared_memory(sizeof(*got));
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (int i = 0; i < ROUNDS; i++) {
        double took = one_round(&handle, before_us[i]);

        fprintf(stderr, "killed %ld us before the release: the next one had the lock after %.3f s\n", before_us[i], took);
        CHECK(took < LIMIT_S);
    }
    dss_fini(&handle);
    return 0;
}
