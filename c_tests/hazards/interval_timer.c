/*
 * A host with an interval timer of one millisecond whose handler was set without SA_RESTART: every system call that sleeps may end with
 * EINTR, a thousand times a second.
 *
 * Proves: no call but one that waits for a lock is ended by that, and that one says so, with nothing taken; what is done is done
 * once; opening and closing work, too.
 */
#include "rude.h"

#include <sys/time.h>

static _Atomic long ticks;

static void tick(int signal)
{
    (void)signal;
    atomic_fetch_add(&ticks, 1);
}

static void run_timer(long microseconds)
{
    struct itimerval interval = {{0, microseconds}, {0, microseconds}};

    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
}

static void calls(struct dss_handle *handle)
{
    const char *ids[] = {"a", "b", "c"};
    void *value;
    size_t length;
    uint64_t version;

    CHECK_RC(dss_lockv(handle, ids, 3, "ann", NULL, NULL), 0);
    CHECK_RC(dss_lockv(handle, ids, 1, "bob", NULL, NULL), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, "a", "ann"), 0);
    CHECK_RC(dss_set(handle, "key", "value", 5, NULL, &version), 0);
    CHECK_RC(dss_get(handle, "key", &value, &length, NULL), 0);
    CHECK(length == 5 && memcmp(value, "value", 5) == 0);
    free(value);
    CHECK_RC(dss_lock_transfer(handle, "b", "ann", 0, "ann", NULL), 0);
    CHECK_RC(dss_unlockv(handle, ids, 3, "ann", NULL, NULL), 0);
}

/* A wait is ended by the first tick. */
static void waits(struct dss_handle *handle)
{
    const char *ids[] = {"held"};
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = 10000};

    CHECK_RC(dss_lock(handle, "held", "holder"), 0);
    for (int i = 0; i < 20; i++)
        CHECK_RC(dss_lockv(handle, ids, 1, "waiter", &opts, NULL), -EINTR);
    test_check_owner(handle, "held", "holder");
    CHECK_RC(dss_unlock(handle, "held", "holder"), 0);
}

int main(void)
{
    struct sigaction action = {.sa_handler = tick};
    struct dss_handle handle, other;
    struct crew crew;
    double end;

    (void)test_uri();
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    run_timer(1000);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    for (end = test_seconds() + 1; test_seconds() < end;)
        calls(&handle);
    waits(&handle);
    crew_begins(&crew, &handle);
    for (int i = 0; i < 10; i++) {
        CHECK_RC(dss_init_uri(&other, test_uri()), 0);
        calls(&other);
        dss_fini(&other);
    }
    crew_ends(&crew);
    dss_fini(&handle);
    run_timer(0);
    CHECK(atomic_load(&ticks) > 100);
    return 0;
}
