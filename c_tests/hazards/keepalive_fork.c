/*
 * A process that keeps locks forks: it starts a program, or puts itself into the background.
 *
 * The child has no thread that renews, but a copy of all that the parent knows of its locks: it would believe to hold
 * them, read the parent's events away, and might hang in dss_fini() waiting for a thread that it has not got. And the
 * parent's store is closed for each fork: its renewals must come through all the same.
 */
#include "hazard.h"

#define TTL_MS ((uint64_t)test_ttl_ms(2000))
/* Several leases, in which a lock that is not renewed is lost for sure. */
#define HOLD_MS ((int)(2 * TTL_MS) + 200)
#define MANY 100
#define AT_ONCE 50
#define FORKS 200

static struct dss_handle handle;
static int parents_fd;

enum word { READY = 1, HOLDS };

static int take(struct dss_handle *of, const char *lock_id, const char *owner, uint64_t flags, uint64_t ttl_ms,
                struct dss_grant *grant)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = flags, .ttl_ms = ttl_ms};

    return dss_lockv(of, &lock_id, 1, owner, &opts, grant);
}

static uint64_t keep(struct dss_handle *of, const char *lock_id, const char *owner, uint64_t ttl_ms)
{
    struct dss_grant grant;

    CHECK_RC(take(of, lock_id, owner, DSS_LOCK_KEEPALIVE, ttl_ms, &grant), 0);
    return grant.token;
}

static int is_readable(int fd, int wait_ms)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};

    return poll(&end, 1, wait_ms) == 1;
}

/* Lets so much time pass, in which no lock is lost. A busy machine may put one at risk, which is no loss. */
static void nothing_is_lost(struct dss_handle *of, int milliseconds)
{
    double end = test_seconds() + milliseconds / 1000.0, now;
    struct dss_event event;
    int fd = dss_event_fd(of);

    CHECK(fd >= 0);
    while ((now = test_seconds()) < end) {
        (void)is_readable(fd, (int)((end - now) * 1000) + 1);
        while (dss_event_next(of, &event) == 1)
            CHECK(event.type != DSS_EVENT_LOST);
    }
}

/* ---- One child, which keeps a lock of its own. ---- */

/* The parent's locks are none of the child's, and neither are its events: the child has lost each lock. */
static void check_child_has_nothing(void)
{
    struct dss_event event;

    CHECK_RC(dss_lock_left(&handle, "parent's", 0, NULL), -ENOLCK);
    CHECK_RC(dss_lock_left(&handle, "forced", 0, NULL), -ENOLCK);
    for (int i = 0; i < 2 && !test_store_is("memory"); i++) {
        CHECK_RC(dss_event_next(&handle, &event), 1);
        CHECK(event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_FORKED);
    }
    CHECK_RC(dss_event_next(&handle, &event), test_store_is("memory") ? -ECHILD : 0);
    /* The number stays taken: it may stand in a poll set, and must not become that of another file. */
    CHECK(fcntl(parents_fd, F_GETFD) == FD_CLOEXEC);
}

static void child_in_memory(void *arg)
{
    struct line *line = arg;
    struct dss_grant grant;

    check_child_has_nothing();
    CHECK_RC(take(&handle, "child's", "child", DSS_LOCK_KEEPALIVE, TTL_MS, &grant), -ECHILD);
    CHECK_RC(dss_event_fd(&handle), -ECHILD);
    tell(line, READY);
    dss_fini(&handle);
}

static void child_keeps_its_own(void *arg)
{
    struct line *line = arg;
    uint64_t token;
    int fd;

    check_child_has_nothing();
    token = keep(&handle, "child's", "child", TTL_MS);
    CHECK(fcntl(parents_fd, F_GETFD) == FD_CLOEXEC);
    /* As a daemon closes all that it has inherited. What gets the number then is none of the library's. */
    CHECK(dup3(STDERR_FILENO, parents_fd, O_CLOEXEC) == parents_fd);
    fd = dss_event_fd(&handle);
    CHECK(fd >= 0 && fd != parents_fd && dss_event_fd(&handle) == fd);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(fcntl(parents_fd, F_GETFD) == FD_CLOEXEC);
    /* By force, from another process: that is an event for the parent alone. */
    CHECK_RC(dss_unlock(&handle, "forced", NULL), 0);
    tell(line, READY);
    nothing_is_lost(&handle, HOLD_MS);
    CHECK_RC(dss_lock_left(&handle, "child's", token, NULL), 0);
    CHECK_RC(dss_lock_left(&handle, "parent's", 0, NULL), -ENOLCK);
    CHECK_RC(dss_unlock(&handle, "child's", "child"), 0);
    CHECK(!is_readable(fd, 0));
    dss_fini(&handle);
}

static void check_forced_is_told(uint64_t token)
{
    struct dss_event event;

    do {
        CHECK(is_readable(parents_fd, 10000));
        CHECK_RC(dss_event_next(&handle, &event), 1);
    } while (event.type != DSS_EVENT_LOST);
    CHECK(event.reason == DSS_REASON_FORCED && event.token == token && strcmp(event.lock_id, "forced") == 0);
}

static void one_child(void)
{
    int memory = test_store_is("memory");
    uint64_t kept, forced;
    struct line line;
    pid_t child;

    line_make(&line);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    kept = keep(&handle, "parent's", "parent", TTL_MS);
    forced = keep(&handle, "forced", "parent", TTL_MS);
    parents_fd = dss_event_fd(&handle);
    CHECK(parents_fd >= 0);
    child = spawn(memory ? child_in_memory : child_keeps_its_own, &line);
    CHECK(hear(&line) == READY);
    if (!memory) {
        check_forced_is_told(forced);
        CHECK_RC(take(&handle, "child's", "parent", 0, 0, NULL), -EEXIST);
    }
    nothing_is_lost(&handle, HOLD_MS);
    test_join(child);
    /* The end of the child, and its dss_fini() before that, took nothing away. */
    nothing_is_lost(&handle, (int)TTL_MS / 2);
    CHECK(dss_event_fd(&handle) == parents_fd);
    CHECK_RC(dss_lock_left(&handle, "parent's", kept, NULL), 0);
    test_check_owner(&handle, "parent's", "parent");
    test_check_owner(&handle, "child's", NULL);
    dss_fini(&handle);
}

/* ---- Forks without end, while many locks are kept. ---- */

static void short_lived(void *arg)
{
    switch (*(int *)arg % 10) {
    case 0:
        dss_fini(&handle);
        break;
    case 1:
        CHECK_RC(dss_lock_left(&handle, "drive 0", 0, NULL), -ENOLCK);
        break;
    case 2:
        if (!test_store_is("memory"))
            test_check_owner(&handle, "drive 0", "parent");
        break;
    default:
        break;
    }
}

static void keep_many(char names[][16], uint64_t *tokens)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = DSS_LOCK_KEEPALIVE, .ttl_ms = TTL_MS};
    struct dss_grant grants[AT_ONCE];
    const char *ids[AT_ONCE] = {NULL};

    for (int first = 0; first < MANY; first += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            snprintf(names[first + i], sizeof(names[0]), "drive %d", first + i);
            ids[i] = names[first + i];
        }
        CHECK_RC(dss_lockv(&handle, ids, AT_ONCE, "parent", &opts, grants), 0);
        for (int i = 0; i < AT_ONCE; i++)
            tokens[first + i] = grants[i].token;
    }
}

static void many_forks(void)
{
    static char names[MANY][16];
    uint64_t tokens[MANY];
    unsigned seed = (unsigned)getpid();

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    keep_many(names, tokens);
    for (int i = 0; i < FORKS; i++) {
        test_join(spawn(short_lived, &i));
        pause_at_random(&seed, 10000);
        nothing_is_lost(&handle, 0);
    }
    nothing_is_lost(&handle, (int)TTL_MS);
    for (int i = 0; i < MANY; i++) {
        const char *ids[] = {names[i]};

        CHECK_RC(dss_lock_left(&handle, names[i], tokens[i], NULL), 0);
        CHECK_RC(dss_unlockv(&handle, ids, 1, "parent", &tokens[i], NULL), 0);
    }
    dss_fini(&handle);
}

/* ---- A daemon that takes a lock, forks, and goes on in the child. ---- */


static void daemonize(void *arg)
{
    struct line *line = arg;
    struct dss_handle daemons;
    struct dss_grant grant;
    uint64_t first;

    CHECK_RC(dss_init_uri(&daemons, test_uri()), 0);
    first = keep(&daemons, "daemon's", "daemon", 60000);
    if (fork() != 0)
        _exit(0);
    CHECK_RC(take(&daemons, "daemon's", "daemon", DSS_LOCK_RESUME | DSS_LOCK_KEEPALIVE, TTL_MS, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_RESUMED && grant.token > first);
    nothing_is_lost(&daemons, HOLD_MS);
    CHECK_RC(dss_lock_left(&daemons, "daemon's", first, NULL), -ENOLCK);
    CHECK_RC(dss_lock_left(&daemons, "daemon's", grant.token, NULL), 0);
    tell(line, HOLDS);
    dss_fini(&daemons);
}

static void daemon_takes_over(void *arg)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .wait_ms = 20000};
    const char *ids[] = {"daemon's"};
    struct dss_handle others;
    struct dss_grant grant;
    struct line line;

    (void)arg;
    line_make(&line);
    test_join(spawn(daemonize, &line));
    CHECK_RC(dss_init_uri(&others, test_uri()), 0);
    CHECK_RC(dss_lock(&others, "daemon's", "other"), -EEXIST);
    CHECK(hear(&line) == HOLDS);
    /* dss_fini() ended the renewals, so the lock is there until its lease is over. */
    CHECK_RC(dss_lockv(&others, ids, 1, "other", &opts, &grant), 0);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD);
    dss_fini(&others);
}

int main(void)
{
    pid_t daemons = -1;

    (void)test_uri();
    if (!test_store_is("memory"))
        daemons = spawn(daemon_takes_over, NULL);
    one_child();
    if (daemons > 0)
        test_join(daemons);
    many_forks();
    return 0;
}
