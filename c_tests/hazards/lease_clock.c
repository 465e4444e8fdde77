/*
 * The wall clock is stepped by an hour, forth and back, while leases run.
 *
 * A lease that is counted on the wall clock ends at once when the clock goes forward, and its holder works on without
 * the lock; when the clock goes back, the lock of a holder that is gone stays for an hour. So leases, ages and renewals
 * are counted on a clock that nobody sets, and tokens never go back with the wall clock. The clock is
 * ../preload/clock.c, or libfaketime, each told by a file.
 */
#include "clocks.h"

#include <sys/mman.h>

#define TTL_MS 2000 /* which no store rounds up */
/* How much later than its end a lease may be given to one who waits for it, on a machine that is busy. */
#define LATE_MS 1500

/* What bob, who is another process where the store allows it, got when he tried to take a lock. */
struct attempt {
    int rc;
    struct dss_grant grant;
    int64_t begun_ms, ended_ms;
};

/* A lease of ann's; she asked for it and was answered at these times. */
struct lease {
    const char *lock_id;
    uint64_t token;
    int64_t asked_ms, answered_ms;
    int has_ended;
};

struct question {
    const char *lock_id;
    int64_t wait_ms;
};

static struct attempt *attempt;

static int64_t boot_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The clock. ---- */

/* Without these checks the test would pass because no clock ever moved, or fail because all of them did. */
static void step_clock(int64_t step_us)
{
    static int64_t offset_us;
    int64_t wall_us = now_us(), before_ms = boot_ms();

    offset_us += step_us;
    set_clock(offset_us);
    CHECK(llabs(now_us() - wall_us - step_us) < 10 * 1000000);
    CHECK(boot_ms() >= before_ms && boot_ms() - before_ms < 10 * 1000);
}

/* ---- What bob does. ---- */

static int take(struct dss_handle *handle, const char *lock_id, const char *owner, const struct dss_lock_opts *opts,
                struct dss_grant *grant)
{
    return dss_lockv(handle, &lock_id, 1, owner, opts, grant);
}

static void bob(void *arg)
{
    const struct question *question = arg;
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = question->wait_ms};
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    attempt->begun_ms = boot_ms();
    attempt->rc = take(&handle, question->lock_id, "bob", &opts, &attempt->grant);
    attempt->ended_ms = boot_ms();
    dss_fini(&handle);
}

/* A store in memory has no other process: there it is another handle. */
static void bob_tries(const char *lock_id, int64_t wait_ms)
{
    struct question question = {lock_id, wait_ms};

    if (test_store_is("memory"))
        bob(&question);
    else
        test_join(spawn(bob, &question));
}

/* ---- A lease goes on as if nothing had happened to the clock. ---- */

static struct lease take_lease(struct dss_handle *handle, const char *lock_id)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .ttl_ms = TTL_MS};
    struct lease lease = {.lock_id = lock_id, .asked_ms = boot_ms()};
    struct dss_grant grant;

    CHECK_RC(take(handle, lock_id, "ann", &opts, &grant), 0);
    lease.answered_ms = boot_ms();
    lease.token = grant.token;
    CHECK(grant.left_ms > 0 && grant.left_ms <= TTL_MS);
    return lease;
}

/* Ends the test unless so much is left, or nothing, between these two moments; what is less than a unit is cut off. */
static void check_left(const struct lease *lease, int64_t left_ms, int64_t begun_ms, int64_t ended_ms, int64_t unit_ms)
{
    CHECK(left_ms <= lease->answered_ms + TTL_MS - begun_ms + 2);
    CHECK(left_ms >= lease->asked_ms + TTL_MS - ended_ms - 1 - unit_ms || left_ms == 0);
    CHECK(left_ms > 0 || ended_ms + 1 + unit_ms >= lease->asked_ms + TTL_MS);
}

static int note_left(const struct dss_lock_info *info, void *left_ms)
{
    *(int64_t *)left_ms = info->left_ms;
    return 0;
}

static void check_in_time(struct dss_handle *handle, struct lease *lease)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_id = lease->lock_id};
    int64_t begun_ms = boot_ms(), left_ms = -1;
    int rc = dss_lock_left(handle, lease->lock_id, lease->token, &left_ms);

    CHECK(rc == 0 || rc == -ENOLCK);
    CHECK((rc == 0) == (left_ms > 0));
    check_left(lease, left_ms, begun_ms, boot_ms(), 1);
    begun_ms = boot_ms();
    left_ms = 0;
    CHECK_RC(dss_lock_list(handle, &filter, note_left, &left_ms), 0);
    /* etcd tells in whole seconds what is left of a lease. */
    check_left(lease, left_ms, begun_ms, boot_ms(), test_store_is("etcd") ? 1000 : 1);
}

static void check_ended(struct lease *lease)
{
    CHECK_RC(attempt->rc, 0);
    CHECK(attempt->ended_ms + 2 >= lease->asked_ms + TTL_MS);
    CHECK(attempt->grant.flags == DSS_GRANT_OWNERDEAD);
    CHECK(attempt->grant.token > lease->token);
    lease->has_ended = 1;
}

/* A machine that is so slow that the lease has ended meanwhile is no failure: then bob has to get it. */
static void check_others_wait(struct lease *lease)
{
    if (lease->has_ended)
        return;
    bob_tries(lease->lock_id, 0);
    if (attempt->rc == 0) {
        check_ended(lease);
        return;
    }
    CHECK_RC(attempt->rc, -EEXIST);
    CHECK(attempt->begun_ms <= lease->answered_ms + TTL_MS + 2);
}

static void check_ends_in_time(struct dss_handle *handle, struct lease *lease)
{
    if (!lease->has_ended) {
        bob_tries(lease->lock_id, 10 * TTL_MS);
        check_ended(lease);
        CHECK(attempt->ended_ms <= lease->answered_ms + TTL_MS + LATE_MS);
    }
    CHECK_RC(dss_lock_left(handle, lease->lock_id, lease->token, NULL), -ENOLCK);
    CHECK_RC(dss_lock_refresh(handle, lease->lock_id, "ann"), -EACCES);
}

/* ---- So do ages, tokens and renewals. ---- */

static int count_one(const struct dss_lock_info *info, void *count)
{
    (void)info;
    *(int *)count += 1;
    return 0;
}

static int is_so_old(struct dss_handle *handle, uint64_t min_age_ms)
{
    struct dss_filter filter = {.size = sizeof(filter), .lock_id = "old", .min_age_ms = min_age_ms};
    int count = 0;

    CHECK_RC(dss_lock_list(handle, &filter, count_one, &count), 0);
    return count;
}

static void check_age(struct dss_handle *handle, int64_t taken_ms)
{
    /* etcd has no clock that a program can ask: there an age is the difference of two of the wall clocks of its clients. */
    if (test_store_is("etcd"))
        return;
    while (boot_ms() < taken_ms + 3)
        sched_yield();
    CHECK(is_so_old(handle, 1));
    CHECK(!is_so_old(handle, 600 * 1000));
}

static void check_token_grows(struct dss_handle *handle)
{
    static uint64_t last;
    struct dss_grant grant;

    CHECK_RC(take(handle, "often", "ann", NULL, &grant), 0);
    CHECK(grant.token > last);
    last = grant.token;
    CHECK_RC(dss_unlock(handle, "often", "ann"), 0);
}

static uint64_t keep(struct dss_handle *handle)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    struct dss_grant grant;

    CHECK_RC(take(handle, "kept", "ann", &opts, &grant), 0);
    return grant.token;
}

/* A busy machine may put it at risk, which is no loss. */
static void check_kept(struct dss_handle *handle, uint64_t token)
{
    struct dss_event event;
    int64_t left_ms;

    while (dss_event_next(handle, &event) == 1)
        CHECK(event.type != DSS_EVENT_LOST);
    CHECK_RC(dss_lock_left(handle, "kept", token, &left_ms), 0);
    CHECK(left_ms <= TTL_MS);
    test_check_owner(handle, "kept", "ann");
}

static void steps_of_the_clock(void)
{
    struct dss_handle handle;
    struct lease first, second;
    uint64_t kept;
    int64_t taken_ms;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    kept = keep(&handle);
    CHECK_RC(dss_lock(&handle, "old", "ann"), 0);
    taken_ms = boot_ms();
    check_token_grows(&handle);

    first = take_lease(&handle, "first");
    for (int back = 0; back < 2; back++) {
        step_clock(back ? -2 * HOUR : HOUR);
        check_in_time(&handle, &first);
        check_others_wait(&first);
        check_age(&handle, taken_ms);
        check_token_grows(&handle);
        check_kept(&handle, kept);
    }
    check_ends_in_time(&handle, &first);
    check_kept(&handle, kept);

    /* The other way round: taken when it is early, over when it is late. */
    second = take_lease(&handle, "second");
    step_clock(2 * HOUR);
    check_in_time(&handle, &second);
    check_others_wait(&second);
    check_ends_in_time(&handle, &second);
    check_kept(&handle, kept);
    step_clock(-HOUR);
    check_kept(&handle, kept);
    check_token_grows(&handle);
    dss_fini(&handle);
    if (test_store_is("memory"))
        return;
    /* Nothing but the file knows now what was granted when it was late. */
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_token_grows(&handle);
    dss_fini(&handle);
}

/* Which clock is preloaded, the test's arguments say; its file is named before the clock is first looked at. */
int main(int argc, char **argv)
{
    const char *variable = argc > 1 && strcmp(argv[1], "libfaketime") == 0 ? "FAKETIME_TIMESTAMP_FILE"
                                                                          : "DSS_TEST_CLOCK";
    char *path = test_path("clock");

    CHECK(setenv(variable, path, 1) == 0);
    set_clock(0);
    attempt = mmap(NULL, sizeof(*attempt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(attempt != MAP_FAILED);
    steps_of_the_clock();
    free(path);
    return 0;
}
