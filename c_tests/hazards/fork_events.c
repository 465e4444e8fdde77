/*
 * A daemon took locks with DSS_LOCK_KEEPALIVE, watched dss_event_fd(), and forked to leave its
 * terminal. Only the first process renewed the locks, and it ended. The child saw no event, and
 * dss_lock_left() said "its lease is over", which was not so: the daemon went on without its locks
 * and nothing told it why.
 *
 * Proves: in each forked child each lock that the parent keeps gives one DSS_EVENT_LOST with
 * DSS_REASON_FORKED, on a descriptor of the child's own, whichever call comes first; the parent's
 * events stay the parent's; dss_lock_left() says what is so; and a lock that the child has taken
 * over, transferred or unlocked itself gives no event.
 */
#include "hazard.h"

/* Longer than the test takes: nothing here is lost by time. */
#define LONG_MS 60000

static struct dss_handle handle;
static int parents_fd;
static uint64_t token_a, token_b, token_leased, token_plain;

static uint64_t take(const char *lock_id, uint64_t flags, uint64_t ttl_ms)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = flags, .ttl_ms = ttl_ms};
    struct dss_grant grant;

    CHECK_RC(dss_lockv(&handle, &lock_id, 1, "daemon", &opts, &grant), 0);
    return grant.token;
}

static int is_readable(int fd, int wait_ms)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};

    return poll(&end, 1, wait_ms) == 1;
}

static void next_is_forked(const char *lock_id, uint64_t token)
{
    struct dss_event event;

    CHECK_RC(dss_event_next(&handle, &event), 1);
    CHECK(event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_FORKED);
    CHECK(strcmp(event.lock_id, lock_id) == 0 && event.token == token && event.left_ms == 0);
}

static void no_event_waits(void)
{
    int fd = dss_event_fd(&handle);

    CHECK(fd >= 0 && fd != parents_fd);
    CHECK_RC(dss_event_next(&handle, NULL), 0);
    CHECK(!is_readable(fd, 0));
}

static void both_are_lost(void)
{
    next_is_forked("a", token_a);
    next_is_forked("b", token_b);
    no_event_waits();
}

static void left_says(const char *lock_id, uint64_t token, const char *cause, const char *cure)
{
    int64_t left_ms = 1;

    CHECK_RC(dss_lock_left(&handle, lock_id, token, &left_ms), -ENOLCK);
    CHECK(left_ms == 0);
    if (strstr(dss_last_error(), cause) == NULL || strstr(dss_last_error(), cure) == NULL) {
        fprintf(stderr, "%s: \"%s\" and \"%s\" are not both in: %s\n", lock_id, cause, cure, dss_last_error());
        exit(1);
    }
}

static void check_left(void)
{
    const char *kept = "only that process renews it", *resume = "DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE";
    const char *taken = "before this process was forked", *refresh = "dss_lock_refresh";

    left_says("a", token_a, kept, resume);
    left_says("a", 0, kept, resume);
    left_says("leased", token_leased, taken, refresh);
    left_says("plain", token_plain, taken, refresh);
    left_says("nobody's", 0, "holds no lock", "stop using");
    left_says("a", token_a + 1000000, "holds no lock", "stop using");
}

/* ---- Children that begin with one call or another. ---- */

static void begins_with_fd(void *arg)
{
    int fd;

    (void)arg;
    fd = dss_event_fd(&handle);
    CHECK(fd >= 0 && fd != parents_fd && dss_event_fd(&handle) == fd);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 && fcntl(parents_fd, F_GETFD) == FD_CLOEXEC);
    CHECK(is_readable(fd, 0));
    both_are_lost();
    check_left();
    dss_fini(&handle);
    CHECK(fcntl(parents_fd, F_GETFD) == FD_CLOEXEC);
}

static void begins_with_next(void *arg)
{
    (void)arg;
    both_are_lost();
}

static void begins_with_left(void *arg)
{
    (void)arg;
    check_left();
    both_are_lost();
    check_left();
}

static void begins_with_store(void *arg)
{
    (void)arg;
    test_check_owner(&handle, "a", "daemon");
    both_are_lost();
}

static void only_ends(void *arg)
{
    (void)arg;
    dss_fini(&handle);
    CHECK(fcntl(parents_fd, F_GETFD) == FD_CLOEXEC);
}

/* ---- A child that forks again, before and after it has made its calls. ---- */

static void forks_at_once(void *arg)
{
    (void)arg;
    test_join(spawn(begins_with_fd, NULL));
    both_are_lost();
}

static void forks_with_events_waiting(void *arg)
{
    (void)arg;
    CHECK(dss_event_fd(&handle) >= 0);
    parents_fd = dss_event_fd(&handle);
    test_join(spawn(begins_with_fd, NULL));
    next_is_forked("a", token_a);
    next_is_forked("b", token_b);
}

static void forks_afterwards(void *arg)
{
    (void)arg;
    both_are_lost();
    parents_fd = dss_event_fd(&handle);
    test_join(spawn(begins_with_fd, NULL));
    CHECK_RC(dss_event_next(&handle, NULL), 0);
}

/* ---- Children that go on with a lock themselves. ---- */

static void sees_its_parents_new_grant(void *arg)
{
    next_is_forked("a", *(uint64_t *)arg);
    next_is_forked("b", token_b);
    no_event_waits();
}

/* Takes one lock over and ends the other, before it has looked for events: there is nothing left to tell. */
static void goes_on(void *arg)
{
    struct dss_event event;
    uint64_t token;

    (void)arg;
    token = take("a", DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE, LONG_MS);
    CHECK_RC(dss_lock_left(&handle, "a", token, NULL), 0);
    CHECK_RC(dss_lock_left(&handle, "a", token_a, NULL), -ENOLCK);
    CHECK(is_readable(dss_event_fd(&handle), 0));
    next_is_forked("b", token_b);
    no_event_waits();
    parents_fd = dss_event_fd(&handle);
    test_join(spawn(sees_its_parents_new_grant, &token));
    /* What is not kept is known again after a refresh. */
    CHECK_RC(dss_lock_refresh(&handle, "leased", "daemon"), 0);
    CHECK_RC(dss_lock_left(&handle, "leased", token_leased, NULL), 0);
    CHECK_RC(dss_event_next(&handle, &event), 0);
    CHECK_RC(dss_unlock(&handle, "a", "daemon"), 0);
}

static void ends_it(void *arg)
{
    (void)arg;
    CHECK_RC(dss_unlock(&handle, "b", "daemon"), 0);
    next_is_forked("a", token_a);
    no_event_waits();
    left_says("b", token_b, "holds no lock", "stop using");
}

/* ---- A memory: store stays with the parent. ---- */

static void child_in_memory(void *arg)
{
    struct dss_event event;

    (void)arg;
    CHECK_RC(dss_event_fd(&handle), -ECHILD);
    CHECK_RC(dss_event_next(&handle, &event), -ECHILD);
    left_says("a", token_a, "memory: store stays with the process that opened it", "open one of your own");
    CHECK_RC(dss_lock(&handle, "new", "daemon"), -ECHILD);
    dss_fini(&handle);
}

static void child_of_a_server(void)
{
    test_join(spawn(begins_with_fd, NULL));
    test_join(spawn(begins_with_next, NULL));
    test_join(spawn(begins_with_left, NULL));
    test_join(spawn(begins_with_store, NULL));
    test_join(spawn(only_ends, NULL));
    test_join(spawn(forks_at_once, NULL));
    test_join(spawn(forks_with_events_waiting, NULL));
    test_join(spawn(forks_afterwards, NULL));
}

int main(void)
{
    struct dss_handle other;
    struct dss_event event;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    token_a = take("a", DSS_LOCK_KEEPALIVE, LONG_MS);
    token_b = take("b", DSS_LOCK_KEEPALIVE, LONG_MS);
    token_leased = take("leased", 0, LONG_MS);
    token_plain = take("plain", 0, 0);
    (void)take("forced", DSS_LOCK_KEEPALIVE, 1000);
    parents_fd = dss_event_fd(&handle);
    CHECK(parents_fd >= 0);
    /* An event waits in the parent at each fork: no child may see it. */
    CHECK_RC(dss_unlock(&other, "forced", NULL), 0);
    CHECK(is_readable(parents_fd, 20000));
    if (test_store_is("memory"))
        test_join(spawn(child_in_memory, NULL));
    else
        child_of_a_server();
    /* No child has taken anything from the parent. */
    CHECK(is_readable(parents_fd, 0));
    do
        CHECK_RC(dss_event_next(&handle, &event), 1);
    while (event.type != DSS_EVENT_LOST);
    CHECK(event.reason == DSS_REASON_FORCED && strcmp(event.lock_id, "forced") == 0);
    CHECK_RC(dss_event_next(&handle, &event), 0);
    CHECK_RC(dss_lock_left(&handle, "a", token_a, NULL), 0);
    CHECK_RC(dss_lock_left(&handle, "plain", token_plain, NULL), 0);
    if (!test_store_is("memory")) {
        test_join(spawn(goes_on, NULL));
        test_join(spawn(ends_it, NULL));
    }
    dss_fini(&other);
    dss_fini(&handle);
    return 0;
}
