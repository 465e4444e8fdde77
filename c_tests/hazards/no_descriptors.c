/*
 * A process has no file descriptors left (RLIMIT_NOFILE), and has locks to wait for and to keep.
 *
 * A waiter is woken through a socket, and a list reads through a connection of its own. Without them a waiter looks
 * by itself, four times a second, and a list is refused; what is open goes on, locks that are kept are kept, and once
 * there are descriptors again all is as before. And none is lost, however often one waits or lists.
 */
#include "hazard.h"

#include <sys/resource.h>

#define TTL_MS 3000
/* Longer than a lease, so that a lock which is not renewed would be lost. */
#define HOLD_S 3.5
#define DESCRIPTORS 64
#define WAITERS 4
/* As many connections to a server as work at once stay open for the next time: the waiters', a list's and the keeper's. */
#define CONNECTIONS (WAITERS + 2)

static struct dss_handle handle;

static int take(struct dss_handle *of, const char *lock_id, const char *owner, uint64_t flags, uint64_t ttl_ms,
                int64_t wait_ms)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = flags, .ttl_ms = ttl_ms, .wait_ms = wait_ms};

    return dss_lockv(of, &lock_id, 1, owner, &opts, NULL);
}

/* ---- How many descriptors are open, and to take all the others. ---- */

static int count_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < DESCRIPTORS; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int none_was_lost(int before, int connections)
{
    int now = count_descriptors();

    return test_store_is_server() ? now <= before + connections : now == before;
}

/*
 * None was lost since there were so many. Connections to a server come and go, and the library's own thread opens and
 * closes files meanwhile.
 */
static void check_descriptors(int before, int connections)
{
    double begun = test_seconds();

    while (!none_was_lost(before, connections))
        CHECK(test_seconds() - begun < 10);
}

static int taken[DESCRIPTORS], taken_count;

static void take_all_descriptors(void)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = DESCRIPTORS;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;)
        taken[taken_count++] = fd;
    CHECK(errno == EMFILE && taken_count > 0);
}

static void give_descriptors_back(void)
{
    while (taken_count > 0)
        close(taken[--taken_count]);
}

/* ---- The one who has the lock that is waited for. ---- */

static struct line ask, answer;

static void hold_and_release(void *arg)
{
    struct timespec pause = {0, 100 * 1000 * 1000};
    struct dss_handle own, *of = arg != NULL ? arg : &own;

    if (arg == NULL)
        CHECK_RC(dss_init_uri(&own, test_uri()), 0);
    CHECK_RC(dss_lock(of, "drive", "holder"), 0);
    tell(&answer, 1);
    CHECK(hear(&ask) == 1);
    /* The other is about to wait; if it does not yet, it gets the lock at once. */
    CHECK(nanosleep(&pause, NULL) == 0);
    CHECK_RC(dss_unlock(of, "drive", "holder"), 0);
    if (arg == NULL)
        dss_fini(&own);
}

static void *hold_in_thread(void *arg)
{
    hold_and_release(arg);
    return NULL;
}

/* ---- Without descriptors. ---- */

static void check_calls_work(void)
{
    CHECK_RC(dss_lock(&handle, "other", "ann"), 0);
    CHECK_RC(dss_lock(&handle, "other", "bob"), -EEXIST);
    CHECK_RC(dss_lock_refresh(&handle, "other", "ann"), 0);
    test_check_owner(&handle, "other", "ann");
    CHECK_RC(dss_unlock(&handle, "other", "ann"), 0);
    CHECK_RC(take(&handle, "held", "bob", 0, 0, 20), -ETIMEDOUT);
}

static int count_one(const struct dss_lock_info *info, void *count)
{
    (void)info;
    *(int *)count += 1;
    return 0;
}

/* All of the list, or an error; never a part of it as if it were all. */
static void check_list(int refused)
{
    int count = 0, rc = dss_lock_list(&handle, NULL, count_one, &count);

    if (refused && rc == -EMFILE) {
        CHECK(count == 0 && dss_last_error()[0] != '\0');
        return;
    }
    CHECK_RC(rc, 0);
    CHECK(count == 2);
}

static void check_nothing_new_opens(void)
{
    /* A store in memory needs none, so there it is a file too. */
    char *path = test_path("another.db"), *uri = test_store_is_server() ? test_other_uri("another") : sqlite_uri(path, "");
    struct dss_handle another;
    int rc = 0;

    /* Where a connection to a server has ended, its descriptor is free again. */
    for (int tries = 0; tries < 20 && rc == 0; tries++) {
        take_all_descriptors();
        rc = dss_init_uri(&another, uri);
        if (rc == 0)
            dss_fini(&another);
    }
    CHECK_RC(rc, -EMFILE);
    CHECK(another.dh_conn == NULL);
    take_all_descriptors();
    CHECK_RC(dss_event_fd(&handle), -EMFILE);
    free(uri);
    free(path);
}

/* Kept while the store is in use. A busy machine may put it at risk, which is no loss. */
static void check_kept(void)
{
    double end = test_seconds() + HOLD_S;
    struct dss_event event;

    while (test_seconds() < end) {
        CHECK_RC(dss_lock_left(&handle, "kept", 0, NULL), 0);
        while (dss_event_next(&handle, &event) == 1)
            CHECK(event.type != DSS_EVENT_LOST);
        check_calls_work();
        check_list(1);
    }
}

static void wait_without_descriptors(void)
{
    int memory = test_store_is("memory"), open_before;
    pthread_t thread = 0;
    pid_t child = 0;

    if (memory)
        thread = start_thread(hold_in_thread, &handle);
    else
        child = spawn(hold_and_release, NULL);
    CHECK(hear(&answer) == 1);
    /* What was closed for the fork is opened by the next call. */
    check_calls_work();
    open_before = count_descriptors();
    take_all_descriptors();
    tell(&ask, 1);
    CHECK_RC(take(&handle, "drive", "ann", 0, 0, 15000), 0);
    CHECK_RC(dss_unlock(&handle, "drive", "ann"), 0);
    check_kept();
    check_nothing_new_opens();
    give_descriptors_back();
    check_descriptors(open_before, 0);
    if (memory)
        join_thread(thread);
    else
        test_join(child);
}

/* ---- Many times, with descriptors. ---- */

static void *wait_in_vain(void *arg)
{
    (void)arg;
    for (int i = 0; i < test_repeat(1000, 100) / WAITERS; i++)
        CHECK_RC(take(&handle, "held", "bob", 0, 0, 1), -ETIMEDOUT);
    return NULL;
}

static void none_is_lost(void)
{
    pthread_t threads[WAITERS];
    int before;

    check_calls_work();
    check_list(0);
    before = count_descriptors();
    for (int i = 0; i < WAITERS; i++)
        threads[i] = start_thread(wait_in_vain, NULL);
    for (int i = 0; i < WAITERS; i++)
        join_thread(threads[i]);
    for (int i = 0; i < test_repeat(1000, 100); i++)
        check_list(0);
    check_descriptors(before, CONNECTIONS);
}

int main(void)
{
    int before;

    line_make(&ask);
    line_make(&answer);
    before = count_descriptors();
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(take(&handle, "kept", "ann", DSS_LOCK_KEEPALIVE, TTL_MS, 0), 0);
    CHECK_RC(dss_lock(&handle, "held", "ann"), 0);
    none_is_lost();
    wait_without_descriptors();
    /* All is as before. */
    check_list(0);
    CHECK(dss_event_fd(&handle) >= 0);
    none_is_lost();
    dss_fini(&handle);
    CHECK(count_descriptors() == before);
    return 0;
}
