/*
 * Between two sites a round trip takes 30 ms. A lock that needs three of them takes longer than the robot's own move.
 *
 * Proves, by what a proxy between the process and its server counts: on PostgreSQL every call is one round trip, whatever it is
 * told, also for 64 locks. On etcd it is one for a call without a lease that meets what this process knows, and two for one that
 * begins a lease; a value is set in one, whatever guards it, but in two where that is a lock which another process has taken.
 * Threads that begin to wait together share what that costs, and so do those that give up: one by one, the requests of 64 of them took
 * a busy etcd longer than the time that each of them had.
 */
#include "locks/locks.h"
#include "network/proxy.h"

#define IDS 64
#define MUCH (1 << 20)
#define ANY 0 /* no promise: what it takes is shown */
#define WAITERS 64
#define WAIT_MS 100

static struct proxy proxy;
static struct dss_handle handle, other;
static char names[IDS][16];
static const char *ids[IDS];
static char much[MUCH];
static long before;
static int is_good = 1;

static void count_from_here(void)
{
    before = atomic_load(&proxy_counts(&proxy)->round_trips);
}

/* How many round trips the call took that was made since; one promise for each of the stores. */
static void expect(const char *what, long on_postgres, long on_etcd)
{
    long promised = test_store_is("postgres") ? on_postgres : on_etcd;
    long took = atomic_load(&proxy_counts(&proxy)->round_trips) - before;
    int is_kept = promised == ANY || took == promised;

    fprintf(stderr, "%-44s %ld%s\n", what, took, is_kept ? "" : ", and should not");
    is_good &= is_kept;
}

#define TRIPS(what, call, rc, on_postgres, on_etcd)                                                                  \
    do {                                                                                                            \
        count_from_here();                                                                                          \
        CHECK_RC(call, rc);                                                                                         \
        expect(what, on_postgres, on_etcd);                                                                         \
    } while (0)

static void four_calls(const char *id)
{
    TRIPS("status of nothing", dss_lock_status(&handle, id, NULL, NULL), -ENOLCK, 1, 1);
    TRIPS("lock", dss_lock(&handle, id, "ann"), 0, 1, 1);
    TRIPS("status", dss_lock_status(&handle, id, NULL, NULL), 0, 1, 1);
    TRIPS("refresh", dss_lock_refresh(&handle, id, "ann"), 0, 1, 1);
    TRIPS("lock of what is held", dss_lock(&handle, id, "bob"), -EEXIST, 1, ANY);
    TRIPS("foreign refresh", dss_lock_refresh(&handle, id, "bob"), -EACCES, 1, ANY);
    TRIPS("foreign unlock", dss_unlock(&handle, id, "bob"), -EACCES, 1, ANY);
    TRIPS("transfer", dss_lock_transfer(&handle, id, "ann", 0, "bob", NULL), 0, 1, ANY);
    TRIPS("unlock", dss_unlock(&handle, id, "bob"), 0, 1, 1);
    TRIPS("unlock of nothing", dss_unlock(&handle, id, "bob"), -ENOLCK, 1, ANY);
    TRIPS("lock again", dss_lock(&handle, id, "ann"), 0, 1, 1);
    TRIPS("forced unlock", dss_unlock(&handle, id, NULL), 0, 1, ANY);
    TRIPS("lock of what was forced", dss_lock(&handle, id, "ann"), 0, 1, ANY);
    TRIPS("its unlock", dss_unlock(&handle, id, "ann"), 0, 1, 1);
}

static void many_locks(void)
{
    TRIPS("lockv of 64", dss_lockv(&handle, ids, IDS, "ann", NULL, NULL), 0, 1, 1);
    TRIPS("lockv of 64 that are held", dss_lockv(&handle, ids, IDS, "bob", NULL, NULL), -EEXIST, 1, ANY);
    TRIPS("refreshv of 64", dss_lock_refreshv(&handle, ids, IDS, "ann", NULL, NULL), 0, 1, ANY);
    TRIPS("unlockv of 64", dss_unlockv(&handle, ids, IDS, "ann", NULL, NULL), 0, 1, ANY);
}

static void leases(const char *id)
{
    struct dss_lock_opts lease = options(0, 600000), resume = options(DSS_LOCK_RESUME, 600000), brief = options(0, 1000);

    TRIPS("lock with a lease", dss_lockv(&handle, &id, 1, "ann", &lease, NULL), 0, 1, 2);
    TRIPS("refresh of a lease", dss_lock_refresh(&handle, id, "ann"), 0, 1, ANY);
    TRIPS("resume", dss_lockv(&handle, &id, 1, "ann", &resume, NULL), 0, 1, ANY);
    TRIPS("unlock of a lease", dss_unlock(&handle, id, "ann"), 0, 1, ANY);
    TRIPS("lockv of 64 with a lease", dss_lockv(&handle, ids, IDS, "ann", &lease, NULL), 0, 1, 2);
    TRIPS("unlockv of 64 with a lease", dss_unlockv(&handle, ids, IDS, "ann", NULL, NULL), 0, 1, ANY);
    TRIPS("lock with a brief lease", dss_lockv(&handle, &id, 1, "ann", &brief, NULL), 0, 1, 2);
    wait_until_over(&other, id);
    TRIPS("lock of what has expired", dss_lock(&handle, id, "bob"), 0, 1, ANY);
    TRIPS("its unlock", dss_unlock(&handle, id, "bob"), 0, 1, ANY);
}

static void state(const char *key)
{
    struct dss_guard fence = {.size = sizeof(fence), .flags = DSS_GUARD_LOCK, .lock_id = key};
    struct dss_guard version = {.size = sizeof(version), .flags = DSS_GUARD_VERSION};

    TRIPS("get of nothing", dss_get(&handle, key, NULL, NULL, NULL), -ENOENT, 1, 1);
    TRIPS("set", dss_set(&handle, key, "a", 1, NULL, NULL), 0, 1, 1);
    TRIPS("get", dss_get(&handle, key, NULL, NULL, &version.version), 0, 1, 1);
    TRIPS("set of this version", dss_set(&handle, key, "b", 1, &version, NULL), 0, 1, 1);
    TRIPS("set of another version", dss_set(&handle, key, "c", 1, &version, NULL), -EAGAIN, 1, ANY);
    fence.token = take(&handle, key, "ann", 0, 0).token;
    TRIPS("set under a lock", dss_set(&handle, key, "d", 1, &fence, NULL), 0, 1, 1);
    CHECK_RC(dss_unlock(&handle, key, "ann"), 0);
    TRIPS("set after its end", dss_set(&handle, key, "e", 1, &fence, NULL), -ESTALE, 1, ANY);
    TRIPS("set of a large value", dss_set(&handle, key, much, sizeof(much), NULL, NULL), 0, 1, ANY);
    TRIPS("get of it", dss_get(&handle, key, NULL, NULL, NULL), 0, 1, ANY);
    TRIPS("delete", dss_set(&handle, key, NULL, 0, NULL, NULL), 0, 1, 1);
    TRIPS("delete of nothing", dss_set(&handle, key, NULL, 0, NULL, NULL), -ENOENT, 1, ANY);
}

/* What others have done meanwhile, this process does not know. */
static void taken_by_others(const char *id)
{
    CHECK_RC(dss_lock(&other, id, "bob"), 0);
    TRIPS("lock of what others hold", dss_lock(&handle, id, "ann"), -EEXIST, 1, ANY);
    CHECK_RC(dss_unlock(&other, id, "bob"), 0);
    TRIPS("lock of what others have released", dss_lock(&handle, id, "ann"), 0, 1, ANY);
    CHECK_RC(dss_unlock(&other, id, NULL), 0);
    TRIPS("unlock of what others have forced", dss_unlock(&handle, id, "ann"), -ENOLCK, 1, ANY);
}

static int set_guarded(uint64_t flags, uint64_t version, const char *id, uint64_t token)
{
    struct dss_guard guard = {.size = sizeof(guard), .flags = flags, .version = version, .lock_id = id, .token = token};

    return dss_set(&handle, "guarded", "7", 1, &guard, NULL);
}

static void guards(const char *id)
{
    uint64_t version, token = take(&handle, id, "ann", 0, 600000).token;

    CHECK_RC(dss_set(&other, "guarded", "1", 1, NULL, &version), 0);
    TRIPS("set by a version and a lease", set_guarded(DSS_GUARD_VERSION | DSS_GUARD_LOCK, version, id, token), 0, 1, 1);
    TRIPS("set by an old version", set_guarded(DSS_GUARD_VERSION, version, NULL, 0), -EAGAIN, 1, 1);
    TRIPS("set by a token that never was", set_guarded(DSS_GUARD_LOCK, 0, id, token + 1), -ESTALE, 1, ANY);
    CHECK_RC(dss_unlock(&handle, id, "ann"), 0);
    token = take(&other, id, "bob", 0, 600000).token;
    TRIPS("set by a lease that others have taken", set_guarded(DSS_GUARD_LOCK, 0, id, token), 0, 1, 2);
    CHECK_RC(dss_unlock(&other, id, "bob"), 0);
}

static void *wait_in_vain(void *id)
{
    struct dss_lock_opts opts = options(0, 0);

    opts.wait_ms = WAIT_MS;
    CHECK_RC(dss_lockv(&handle, (const char *const *)&id, 1, "waiter", &opts, NULL), -ETIMEDOUT);
    return NULL;
}

static void waiters(void)
{
    pthread_t threads[WAITERS];
    long trips;

    CHECK_RC(dss_lockv(&other, ids, IDS, "holder", NULL, NULL), 0);
    count_from_here();
    /* They all stand behind this answer, and come together then. */
    proxy_arm(&proxy, PROXY_HOLD_RESPONSE, 0, WAIT_MS);
    for (int i = 0; i < WAITERS; i++)
        threads[i] = start_thread(wait_in_vain, names[i]);
    for (int i = 0; i < WAITERS; i++)
        join_thread(threads[i]);
    trips = atomic_load(&proxy_counts(&proxy)->round_trips) - before;
    fprintf(stderr, "%d waiters that come and go: %ld\n", WAITERS, trips);
    is_good &= trips < 2 * WAITERS;
    CHECK_RC(dss_unlockv(&other, ids, IDS, "holder", NULL, NULL), 0);
}

int main(void)
{
    char *uri;

    proxy_start_for_store(&proxy);
    uri = proxy_uri(&proxy, NULL);
    for (int i = 0; i < IDS; i++) {
        snprintf(names[i], sizeof(names[i]), "drive %d", i);
        ids[i] = names[i];
    }
    CHECK_RC(dss_init_uri(&other, test_uri()), 0);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    /* The first change begins the session, which says what was done last. */
    CHECK_RC(dss_lock(&handle, "first", "ann"), 0);
    CHECK_RC(dss_unlock(&handle, "first", "ann"), 0);
    guards("guard");
    four_calls("one");
    many_locks();
    leases("lease");
    taken_by_others("another");
    state("key");
    waiters();
    CHECK(is_good);
    dss_fini(&handle);
    dss_fini(&other);
    free(uri);
    proxy_stop(&proxy);
    return 0;
}
