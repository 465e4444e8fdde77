/*
 * Proves: DSS_LOCK_ANY takes exactly one of the locks, the first free one in the order given; with DSS_LOCK_RESUME
 * rather the first that this owner holds. So N ids are a pool of N, or a semaphore of N.
 */
#include "locks.h"

#define N COUNT(pool)

static const char *const pool[] = { "drive-2", "drive-0", "drive-3", "drive-1" };

/* Takes one of the pool, which must be that at this place. */
static struct dss_grant take_any(struct dss_handle *handle, const char *owner, uint64_t flags, size_t place)
{
    struct dss_lock_opts opts = options(DSS_LOCK_ANY | flags, 60000);
    struct dss_grant grants[N];
    size_t i;

    memset(grants, UNTOUCHED, sizeof(grants));
    CHECK_RC(dss_lockv(handle, pool, N, owner, &opts, grants), 0);
    for (i = 0; i < N; i++) {
        if (i != place)
            check_refused(&grants[i], -EEXIST);
    }
    check_granted(&grants[place], 60000);
    CHECK(token_of(handle, pool[place]) == grants[place].token);
    return grants[place];
}

static void refuse_any(struct dss_handle *handle, const char *owner, uint64_t flags)
{
    struct dss_lock_opts opts = options(DSS_LOCK_ANY | flags, 0);
    struct dss_grant grants[N];
    size_t i;

    memset(grants, UNTOUCHED, sizeof(grants));
    CHECK_RC(dss_lockv(handle, pool, N, owner, &opts, grants), -EEXIST);
    for (i = 0; i < N; i++)
        check_refused(&grants[i], -EEXIST);
    CHECK_RC(dss_lockv(handle, pool, N, owner, &opts, NULL), -EEXIST);
}

/* One's own lock is in the way like any other. */
static void check_in_order(struct dss_handle *handle)
{
    size_t i;

    for (i = 0; i < N; i++) {
        CHECK(locks_of(handle) == i);
        take_any(handle, i % 2 == 0 ? "ann" : "bob", 0, i);
    }
    refuse_any(handle, "ann", 0);
    refuse_any(handle, "eve", DSS_LOCK_RESUME);
    CHECK(locks_of(handle) == N);

    CHECK_RC(dss_unlock(handle, pool[2], "ann"), 0);
    CHECK_RC(dss_unlock(handle, pool[1], "bob"), 0);
    take_any(handle, "eve", 0, 1);
    take_any(handle, "eve", 0, 2);
    refuse_any(handle, "eve", 0);
    clear(handle);
}

static void check_resume(struct dss_handle *handle)
{
    struct dss_grant first, second;

    CHECK_RC(dss_lock(handle, pool[0], "bob"), 0);
    CHECK_RC(dss_lock(handle, pool[2], "ann"), 0);
    CHECK_RC(dss_lock(handle, pool[3], "ann"), 0);
    first = take_any(handle, "ann", DSS_LOCK_RESUME, 2); /* though the one before it is free */
    CHECK(first.flags == DSS_GRANT_RESUMED);
    second = take_any(handle, "ann", DSS_LOCK_RESUME, 2);
    CHECK(second.flags == DSS_GRANT_RESUMED && second.token > first.token);
    CHECK_RC(refresh(handle, pool[2], "ann", first.token), -ESTALE);
    CHECK_RC(dss_unlock(handle, pool[2], "ann"), 0);
    CHECK(take_any(handle, "ann", DSS_LOCK_RESUME, 3).flags == DSS_GRANT_RESUMED);
    CHECK_RC(dss_unlock(handle, pool[3], "ann"), 0);
    /* Nothing to resume: the first free one. */
    CHECK((take_any(handle, "ann", DSS_LOCK_RESUME, 1).flags & DSS_GRANT_RESUMED) == 0);
    test_check_owner(handle, pool[0], "bob");
    clear(handle);
}

/* What happened to the former holder is told with the lock that is taken. */
static void check_owner_dead(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, pool[0], "bob"), 0);
    take(handle, pool[1], "bob", 0, 60000);
    CHECK_RC(dss_unlock(handle, pool[1], NULL), 0);
    CHECK(take_any(handle, "ann", 0, 1).flags == DSS_GRANT_OWNERDEAD);
    clear(handle);
}

static void check_one_id(struct dss_handle *handle)
{
    struct dss_lock_opts opts = options(DSS_LOCK_ANY, 0);
    struct dss_grant grant;

    CHECK_RC(dss_lockv(handle, pool, 1, "ann", &opts, &grant), 0);
    check_granted(&grant, 0);
    CHECK_RC(dss_lockv(handle, pool, 1, "ann", &opts, &grant), -EEXIST);
    check_refused(&grant, -EEXIST);
    CHECK_RC(dss_unlock(handle, pool[0], "ann"), 0);
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_in_order(&handle);
    check_resume(&handle);
    check_owner_dead(&handle);
    check_one_id(&handle);
    dss_fini(&handle);
    return 0;
}
