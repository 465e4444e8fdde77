/*
 * Proves: dss_lock_left() tells what is left of a grant that this handle made or refreshed, and -ENOLCK of every other
 * one: made by another handle, ended, given away, replaced, lost as far as this handle has heard, or never there.
 */
#include "locks.h"

#define TTL_MS 60000

static struct dss_handle one, two;

/* Ends the test unless this handle has that grant; 0 for its lease: one that never expires. */
static void check_has(struct dss_handle *handle, const char *lock_id, uint64_t token, uint64_t ttl_ms)
{
    int64_t left_ms = 0;

    CHECK_RC(dss_lock_left(handle, lock_id, token, &left_ms), 0);
    CHECK(left_ms > 0 && (ttl_ms == 0 ? left_ms == INT64_MAX : left_ms <= (int64_t)ttl_ms));
    CHECK_RC(dss_lock_left(handle, lock_id, 0, &left_ms), 0);
    CHECK_RC(dss_lock_left(handle, lock_id, token, NULL), 0);
    CHECK_RC(dss_lock_left(handle, lock_id, token + 1, NULL), -ENOLCK);
    CHECK_RC(dss_lock_left(handle, lock_id, token - 1, NULL), -ENOLCK);
}

static void check_has_not(struct dss_handle *handle, const char *lock_id, uint64_t token)
{
    int64_t left_ms = 4711;

    CHECK_RC(dss_lock_left(handle, lock_id, token, &left_ms), -ENOLCK);
    CHECK(left_ms == 0);
}

static void check_made(void)
{
    static const char *const pool[] = { "pool-1", "pool-2" };
    struct dss_lock_opts opts = options(DSS_LOCK_ANY, TTL_MS);
    struct dss_grant grant = take(&one, "lease", "ann", 0, TTL_MS), grants[2];

    check_has(&one, "lease", grant.token, TTL_MS);
    grant = take(&one, "for ever", "ann", 0, 0);
    check_has(&one, "for ever", grant.token, 0);
    CHECK_RC(dss_lock(&one, "old call", "ann"), 0);
    check_has(&one, "old call", token_of(&one, "old call"), 0);
    CHECK_RC(dss_lockv(&one, pool, 2, "ann", &opts, grants), 0);
    check_has(&one, "pool-1", grants[0].token, TTL_MS);

    check_has_not(&one, "pool-2", 0);
    check_has_not(&one, "never taken", 0);
    check_has_not(&one, "leas", 0);
    CHECK_RC(dss_lock(&one, "lease", "ann"), -EEXIST); /* no grant, and no loss */
    CHECK_RC(dss_lock_left(&one, "lease", 0, NULL), 0);
    clear(&two);
}

/* Two handles of one store in one process: each knows its own grants. A refresh makes a grant one's own. */
static void check_handles(void)
{
    struct dss_grant grant = take(&one, "lease", "ann", 0, TTL_MS);

    check_has_not(&two, "lease", 0);
    check_has_not(&two, "lease", grant.token);
    CHECK_RC(refresh(&two, "lease", "bob", 0), -EACCES);
    CHECK_RC(refresh(&two, "lease", "ann", grant.token + 1), -ESTALE);
    check_has_not(&two, "lease", 0);
    CHECK_RC(refresh(&two, "lease", "ann", grant.token), 0);
    check_has(&two, "lease", grant.token, TTL_MS);
    check_has(&one, "lease", grant.token, TTL_MS);
    CHECK_RC(dss_unlock(&two, "lease", "ann"), 0);
    check_has_not(&two, "lease", grant.token);

    CHECK_RC(dss_lock(&one, "for ever", "ann"), 0);
    CHECK_RC(dss_lock_refresh(&two, "for ever", "ann"), 0);
    check_has(&two, "for ever", token_of(&two, "for ever"), 0);
    CHECK_RC(dss_unlock(&one, "for ever", "ann"), 0);
}

static void check_refreshed(void)
{
    struct dss_grant grant = take(&one, "lease", "ann", 0, TTL_MS);
    int64_t left_ms;
    double begun;

    sleep_ms(50); /* which would be missing if the refresh did not count */
    begun = test_seconds();
    CHECK_RC(refresh(&one, "lease", "ann", grant.token), 0);
    CHECK_RC(dss_lock_left(&one, "lease", grant.token, &left_ms), 0);
    check_began_since(left_ms, TTL_MS, begun);
    CHECK_RC(dss_unlock(&one, "lease", "ann"), 0);
}

static void check_ended(void)
{
    static const char *const id = "lease";
    uint64_t token = take(&one, id, "ann", 0, TTL_MS).token;

    CHECK_RC(dss_unlock(&one, id, "bob"), -EACCES);
    check_has(&one, id, token, TTL_MS); /* it was bob who has no such lock */
    CHECK_RC(dss_unlock(&one, id, "ann"), 0);
    check_has_not(&one, id, token);
    check_has_not(&one, id, 0);

    token = take(&one, id, "ann", 0, TTL_MS).token;
    CHECK_RC(dss_unlockv(&one, &id, 1, NULL, &token, NULL), 0);
    check_has_not(&one, id, token);

    token = take(&one, id, "ann", 0, TTL_MS).token;
    clear(&one);
    check_has_not(&one, id, token);

    token = take(&one, id, "ann", 0, 1000).token;
    wait_until_over(&two, id);
    check_has_not(&one, id, token);
}

/* What is given away through this handle is this handle's grant still, but another one. */
static void check_transferred(void)
{
    uint64_t token = take(&one, "lease", "ann", 0, TTL_MS).token;
    struct dss_grant grant;

    CHECK_RC(dss_lock_transfer(&one, "lease", "ann", token, "bob", &grant), 0);
    check_has_not(&one, "lease", token);
    check_has(&one, "lease", grant.token, TTL_MS);
    CHECK_RC(dss_unlock(&one, "lease", "bob"), 0);
}

static void check_resumed(void)
{
    uint64_t former = take(&one, "lease", "ann", 0, TTL_MS).token;
    uint64_t token = take(&one, "lease", "ann", DSS_LOCK_RESUME, 0).token;

    check_has_not(&one, "lease", former);
    check_has(&one, "lease", token, 0);
    CHECK_RC(dss_unlock(&one, "lease", "ann"), 0);
}

/* A lock that another handle ended is lost as soon as a call of this one is told so. */
static void check_loss_is_known(void)
{
    uint64_t token = take(&one, "lease", "ann", 0, TTL_MS).token;

    CHECK_RC(dss_unlock(&two, "lease", NULL), 0);
    CHECK_RC(refresh(&one, "lease", "ann", token), -ENOLCK);
    check_has_not(&one, "lease", token);

    token = take(&one, "lease", "ann", 0, TTL_MS).token;
    CHECK_RC(dss_unlock(&two, "lease", NULL), 0);
    CHECK_RC(dss_unlock(&one, "lease", "ann"), -ENOLCK);
    check_has_not(&one, "lease", token);

    token = take(&one, "lease", "ann", 0, TTL_MS).token;
    take(&two, "lease", "ann", DSS_LOCK_RESUME, TTL_MS);
    CHECK_RC(refresh(&one, "lease", "ann", token), -ESTALE);
    check_has_not(&one, "lease", token);
    CHECK_RC(dss_unlock(&two, "lease", "ann"), 0);

    token = take(&one, "lease", "ann", 0, TTL_MS).token;
    CHECK_RC(dss_lock_transfer(&two, "lease", "ann", token, "bob", NULL), 0);
    CHECK_RC(refresh(&one, "lease", "ann", token), -EACCES);
    check_has_not(&one, "lease", token);
    CHECK_RC(dss_unlock(&two, "lease", "bob"), 0);
}

/* An inherited handle has its parent's locks in its reach, but not its parent's grants. */
static void check_child(void)
{
    uint64_t token = take(&one, "lease", "ann", 0, TTL_MS).token;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        check_has_not(&one, "lease", token);
        CHECK_RC(refresh(&one, "lease", "ann", token), 0);
        check_has(&one, "lease", token, TTL_MS);
        end_child();
    }
    test_join(child);
    check_has(&one, "lease", token, TTL_MS);
    CHECK_RC(dss_unlock(&one, "lease", "ann"), 0);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&one, test_uri()), 0);
    CHECK_RC(dss_init_uri(&two, test_uri()), 0);
    check_made();
    check_handles();
    check_refreshed();
    check_ended();
    check_transferred();
    check_resumed();
    check_loss_is_known();
    if (!test_store_is("memory"))
        check_child(); /* a store in memory stays with the parent */
    CHECK(locks_of(&one) == 0);
    dss_fini(&two);
    dss_fini(&one);
    return 0;
}
