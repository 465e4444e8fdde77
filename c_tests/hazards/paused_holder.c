/*
 * A holder is stopped, by a debugger, a full swap or a sleeping virtual machine, and goes on when its lease is over.
 *
 * No lease can keep it from believing that it holds the lock; but the library must not believe it. Whatever it asks
 * then, it is told that the lock is gone, and its late unlock does not free the lock of whoever has it now. And a
 * stop in the middle of a call that takes a lock must not become a grant whose lease is over already: a stop between
 * the store's answer and the caller's would do that.
 */
#include "hazard.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define TTL_MS (test_ttl_ms(1000))
#define LONG_TTL_MS 3600000
#define STOPPED_MS (TTL_MS + 500)

static void take(struct dss_handle *handle, const char *lock_id, const char *owner, uint64_t flags, uint64_t ttl_ms,
                 struct dss_grant *grant)
{
    struct dss_lock_opts opts = {.size = sizeof(opts), .flags = flags, .ttl_ms = ttl_ms, .wait_ms = 10000};

    CHECK_RC(dss_lockv(handle, &lock_id, 1, owner, &opts, grant), 0);
}

static uint64_t token_of(struct dss_handle *handle, const char *lock_id, const char *owner, uint64_t flags,
                         uint64_t ttl_ms)
{
    struct dss_grant grant;

    take(handle, lock_id, owner, flags, ttl_ms, &grant);
    return grant.token;
}

static int refresh(struct dss_handle *handle, const char *lock_id, uint64_t token)
{
    struct dss_grant grant;
    int rc = dss_lock_refreshv(handle, &lock_id, 1, "ann", &token, &grant);

    CHECK(rc == grant.rc && (rc == 0 || (grant.token == 0 && grant.left_ms == 0)));
    return rc;
}

static int unlock(struct dss_handle *handle, const char *lock_id, uint64_t token)
{
    return dss_unlockv(handle, &lock_id, 1, "ann", &token, NULL);
}

/* ---- A holder that comes back. ---- */

enum word { TAKEN = 1, GO_ON };

struct holder {
    struct line to_holder, from_holder;
    char *kept_uri;
};

/*
 * The thread that renews was stopped too. That lock is in a store of its own: nobody shall wait for a transaction in
 * the middle of which it may have been stopped.
 */
static void check_kept_is_lost(struct dss_handle *handle, uint64_t token)
{
    struct pollfd end = {.fd = dss_event_fd(handle), .events = POLLIN};
    struct dss_event event;

    CHECK_RC(dss_lock_left(handle, "kept", token, NULL), -ENOLCK);
    CHECK(poll(&end, 1, 10000) == 1);
    CHECK_RC(dss_event_next(handle, &event), 1);
    if (event.type == DSS_EVENT_AT_RISK) {
        CHECK(poll(&end, 1, 10000) == 1);
        CHECK_RC(dss_event_next(handle, &event), 1);
    }
    CHECK(event.type == DSS_EVENT_LOST && event.reason == DSS_REASON_EXPIRED);
    CHECK(event.token == token && event.left_ms == 0 && strcmp(event.lock_id, "kept") == 0);
    CHECK_RC(dss_event_next(handle, &event), 0);
    CHECK_RC(refresh(handle, "kept", token), -ENOLCK);
    test_check_owner(handle, "kept", NULL);
}

static void check_nobodys(struct dss_handle *handle, uint64_t token)
{
    CHECK_RC(dss_lock_left(handle, "nobody's", token, NULL), -ENOLCK);
    CHECK_RC(dss_lock_left(handle, "nobody's", 0, NULL), -ENOLCK);
    CHECK_RC(dss_lock_refresh(handle, "nobody's", "ann"), -ENOLCK);
    CHECK_RC(refresh(handle, "nobody's", token), -ENOLCK);
    CHECK_RC(dss_unlock(handle, "nobody's", "ann"), -ENOLCK);
    CHECK_RC(unlock(handle, "nobody's", token), -ENOLCK);
}

static void check_anothers(struct dss_handle *handle, uint64_t token)
{
    CHECK_RC(dss_lock_left(handle, "another's", token, NULL), -ENOLCK);
    CHECK_RC(dss_lock_refresh(handle, "another's", "ann"), -EACCES);
    CHECK_RC(refresh(handle, "another's", token), -EACCES);
    CHECK_RC(dss_unlock(handle, "another's", "ann"), -EACCES);
    CHECK_RC(unlock(handle, "another's", token), -EACCES);
    test_check_owner(handle, "another's", "bob");
}

/* Under the same name, so that only the token tells the two. */
static void check_retaken(struct dss_handle *handle, const char *lock_id, uint64_t token)
{
    CHECK_RC(refresh(handle, lock_id, token), -ESTALE);
    CHECK_RC(dss_lock_left(handle, lock_id, token, NULL), -ENOLCK);
    CHECK_RC(unlock(handle, lock_id, token), -ESTALE);
    test_check_owner(handle, lock_id, "ann");
}

static void be_stopped(void *arg)
{
    struct holder *lines = arg;
    uint64_t resumed, kept, nobodys, retaken, anothers;
    struct dss_handle handle, keeper;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_init_uri(&keeper, lines->kept_uri), 0);
    resumed = token_of(&handle, "resumed", "ann", 0, LONG_TTL_MS);
    kept = token_of(&keeper, "kept", "ann", DSS_LOCK_KEEPALIVE, TTL_MS);
    nobodys = token_of(&handle, "nobody's", "ann", 0, TTL_MS);
    retaken = token_of(&handle, "retaken", "ann", 0, TTL_MS);
    anothers = token_of(&handle, "another's", "ann", 0, TTL_MS);
    tell(&lines->from_holder, TAKEN);
    /* Stopped in here. */
    CHECK(hear(&lines->to_holder) == GO_ON);
    check_kept_is_lost(&keeper, kept);
    check_nobodys(&handle, nobodys);
    check_retaken(&handle, "retaken", retaken);
    check_retaken(&handle, "resumed", resumed);
    check_anothers(&handle, anothers);
    dss_fini(&handle);
    dss_fini(&keeper);
}

static void stop(pid_t process)
{
    int status;

    CHECK(kill(process, SIGSTOP) == 0);
    CHECK(waitpid(process, &status, WUNTRACED) == process && WIFSTOPPED(status));
}

/* What the holder comes back to is what it was when the others took it. */
static void check_unharmed(struct dss_handle *handle, const char *lock_id, const char *owner, uint64_t token)
{
    test_check_owner(handle, lock_id, owner);
    CHECK_RC(dss_unlockv(handle, &lock_id, 1, owner, &token, NULL), 0);
}

static void holder_comes_back(void)
{
    struct holder lines;
    struct dss_handle handle;
    struct dss_grant anothers, retaken, resumed;
    pid_t holder;

    lines.kept_uri = test_other_uri("kept");
    line_make(&lines.to_holder);
    line_make(&lines.from_holder);
    holder = spawn(be_stopped, &lines);
    CHECK(hear(&lines.from_holder) == TAKEN);
    stop(holder);
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    take(&handle, "resumed", "ann", DSS_LOCK_RESUME, 0, &resumed);
    CHECK(resumed.flags == DSS_GRANT_RESUMED);
    /* These wait for the ends of the leases; the last lease that was taken ends last. */
    take(&handle, "retaken", "ann", 0, 0, &retaken);
    CHECK(retaken.flags == DSS_GRANT_OWNERDEAD);
    take(&handle, "another's", "bob", 0, 0, &anothers);
    CHECK(anothers.flags == DSS_GRANT_OWNERDEAD);
    test_check_owner(&handle, "nobody's", NULL);
    CHECK(kill(holder, SIGCONT) == 0);
    tell(&lines.to_holder, GO_ON);
    test_join(holder);
    check_unharmed(&handle, "resumed", "ann", resumed.token);
    check_unharmed(&handle, "retaken", "ann", retaken.token);
    check_unharmed(&handle, "another's", "bob", anothers.token);
    dss_fini(&handle);
    free(lines.kept_uri);
}

/* ---- Stops in the middle of calls. ---- */

#define VICTIMS 8
#define ROUNDS 2

struct scene {
    _Atomic int ready, over;
    _Atomic int stopped_inside; /* calls in which a stop fell */
};

static struct scene *scene;

/*
 * Takes its lock over again and again, so that it nearly always is inside such a call. Each victim has a store of its
 * own: one that is stopped in a transaction keeps all others of a file waiting.
 */
static void take_over_and_over(void *arg)
{
    double begin;
    struct dss_handle handle;
    struct dss_grant grant;
    char *uri, name[32];

    snprintf(name, sizeof(name), "victim_%d", *(int *)arg);
    uri = test_other_uri(name);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    take(&handle, "drive", "ann", 0, TTL_MS, &grant);
    atomic_fetch_add(&scene->ready, 1);
    while (!atomic_load(&scene->over)) {
        begin = test_seconds();
        take(&handle, "drive", "ann", DSS_LOCK_RESUME, TTL_MS, &grant);
        if (test_seconds() - begin > (double)(STOPPED_MS - 100) / 1000.0)
            atomic_fetch_add(&scene->stopped_inside, 1);
        CHECK(grant.rc == 0 && grant.token != 0);
        CHECK(grant.left_ms > 0 && grant.left_ms <= TTL_MS);
    }
    dss_fini(&handle);
    free(uri);
}

static void stop_all_for_a_while(const pid_t *victims, unsigned *seed)
{
    struct timespec while_stopped = {STOPPED_MS / 1000, STOPPED_MS % 1000 * 1000000};

    for (int i = 0; i < VICTIMS; i++) {
        pause_at_random(seed, 3000);
        stop(victims[i]);
    }
    CHECK(nanosleep(&while_stopped, NULL) == 0);
    for (int i = 0; i < VICTIMS; i++)
        CHECK(kill(victims[i], SIGCONT) == 0);
}

static void stops_inside_calls(void)
{
    pid_t victims[VICTIMS];
    unsigned seed = (unsigned)getpid();

    scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(scene != MAP_FAILED);
    for (int i = 0; i < VICTIMS; i++)
        victims[i] = spawn(take_over_and_over, &i);
    while (atomic_load(&scene->ready) < VICTIMS)
        pause_at_random(&seed, 5000);
    for (int i = 0; i < ROUNDS; i++)
        stop_all_for_a_while(victims, &seed);
    /* Those that were stopped inside a call have to come out of it first. */
    pause_at_random(&seed, 100000);
    atomic_store(&scene->over, 1);
    test_join_all(victims, VICTIMS);
    /* A test in which no call was stopped proves nothing. */
    CHECK(atomic_load(&scene->stopped_inside) >= VICTIMS * ROUNDS / 4);
}

int main(void)
{
    (void)test_uri();
    holder_comes_back();
    stops_inside_calls();
    return 0;
}
