/*
 * Proves: whoever takes a lock whose former holder did not unlock it is told so, by DSS_GRANT_OWNERDEAD: after the end
 * of the lease, an unlock by force and a clean, not after a plain unlock. It is told once, to the next holder, and
 * till then it is kept, in a file also while nobody has the store open.
 */
#include "locks.h"

/* Takes the lock, gives it back well, and answers whether the former holder was said to be dead. */
static int is_owner_dead(struct dss_handle *handle, const char *lock_id)
{
    struct dss_grant grant = take(handle, lock_id, "next", 0, 60000);

    CHECK((grant.flags & ~(uint32_t)DSS_GRANT_OWNERDEAD) == 0);
    CHECK_RC(dss_unlock(handle, lock_id, "next"), 0);
    return grant.flags == DSS_GRANT_OWNERDEAD;
}

static void check_told_once(struct dss_handle *handle, const char *lock_id)
{
    CHECK(is_owner_dead(handle, lock_id));
    CHECK(!is_owner_dead(handle, lock_id));
}

static void check_good_ends(struct dss_handle *handle)
{
    static const char *const id = "good";

    CHECK(!is_owner_dead(handle, id)); /* was never held */
    CHECK_RC(dss_lock(handle, id, "ann"), 0);
    CHECK_RC(dss_unlock(handle, id, "ann"), 0);
    CHECK(!is_owner_dead(handle, id));
    take(handle, id, "ann", 0, 60000);
    CHECK_RC(dss_unlockv(handle, &id, 1, "ann", NULL, NULL), 0);
    CHECK(!is_owner_dead(handle, id));
}

static void check_bad_ends(struct dss_handle *handle)
{
    struct dss_filter filter = { .size = sizeof(filter), .lock_id = "bad" };
    static const char *const id = "bad";

    CHECK_RC(dss_lock(handle, id, "ann"), 0);
    CHECK_RC(dss_unlock(handle, id, NULL), 0);
    check_told_once(handle, id);

    take(handle, id, "ann", 0, 60000);
    CHECK_RC(dss_unlockv(handle, &id, 1, NULL, NULL, NULL), 0);
    check_told_once(handle, id);

    CHECK_RC(dss_lock(handle, id, "ann"), 0);
    CHECK_RC(dss_lock_clean(handle, &filter, NULL, NULL), 0);
    check_told_once(handle, id);

    CHECK_RC(dss_lock(handle, id, "ann"), 0);
    CHECK_RC(dss_lock_clean(handle, &filter, count_shown, &(size_t){ 0 }), 0);
    check_told_once(handle, id);

    take(handle, id, "ann", 0, 1000);
    wait_until_over(handle, id);
    check_told_once(handle, id);
}

/* Calls that grant nothing do not use it up. */
static void check_kept_till_granted(struct dss_handle *handle)
{
    static const char *const ids[] = { "half done", "in the way" };

    CHECK_RC(dss_lock(handle, "half done", "ann"), 0);
    CHECK_RC(dss_unlock(handle, "half done", NULL), 0);
    CHECK_RC(dss_lock(handle, "in the way", "bob"), 0);

    CHECK_RC(dss_lockv(handle, ids, 2, "next", NULL, NULL), -EEXIST);
    CHECK_RC(dss_lock_refresh(handle, "half done", "ann"), -ENOLCK);
    CHECK_RC(dss_unlock(handle, "half done", "ann"), -ENOLCK);
    CHECK_RC(dss_unlock(handle, "half done", NULL), -ENOLCK);
    CHECK_RC(dss_lock_status(handle, "half done", NULL, NULL), -ENOLCK);
    CHECK_RC(dss_lock_transfer(handle, "half done", NULL, 0, "next", NULL), -ENOLCK);
    CHECK(locks_of(handle) == 1);
    check_told_once(handle, "half done");
    CHECK_RC(dss_unlock(handle, "in the way", "bob"), 0);
}

/* A holder that calls dss_lock() is not told, but it is the next one all the same. */
static void check_old_call_is_a_grant(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, "old call", "ann"), 0);
    CHECK_RC(dss_unlock(handle, "old call", NULL), 0);
    CHECK_RC(dss_lock(handle, "old call", "next"), 0);
    CHECK_RC(dss_unlock(handle, "old call", "next"), 0);
    CHECK(!is_owner_dead(handle, "old call"));
}

/* Of several locks it is told of those that it is true of. */
static void check_each_for_itself(struct dss_handle *handle)
{
    static const char *const ids[] = { "first", "second", "third" };
    struct dss_grant grants[3];

    CHECK_RC(dss_lockv(handle, ids, 3, "ann", NULL, NULL), 0);
    CHECK_RC(dss_unlock(handle, "first", "ann"), 0);
    CHECK_RC(dss_unlock(handle, "second", NULL), 0);
    CHECK_RC(dss_unlock(handle, "third", "ann"), 0);
    CHECK_RC(dss_lockv(handle, ids, 3, "next", NULL, grants), 0);
    CHECK(grants[0].flags == 0 && grants[1].flags == DSS_GRANT_OWNERDEAD && grants[2].flags == 0);
    CHECK_RC(dss_unlockv(handle, ids, 3, "next", NULL, NULL), 0);
}

static void check_reopened(struct dss_handle *handle)
{
    take(handle, "forced", "ann", 0, 0);
    CHECK_RC(dss_unlock(handle, "forced", NULL), 0);
    take(handle, "expired", "ann", 0, 1000);
    take(handle, "unlocked", "ann", 0, 1000);
    CHECK_RC(dss_unlock(handle, "unlocked", "ann"), 0);
    dss_fini(handle);
    CHECK_RC(dss_init_uri(handle, test_uri()), 0);
    wait_until_over(handle, "expired");
    dss_fini(handle);
    CHECK_RC(dss_init_uri(handle, test_uri()), 0);
    check_told_once(handle, "forced");
    check_told_once(handle, "expired");
    CHECK(!is_owner_dead(handle, "unlocked"));
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_good_ends(&handle);
    check_bad_ends(&handle);
    check_kept_till_granted(&handle);
    check_old_call_is_a_grant(&handle);
    check_each_for_itself(&handle);
    if (!test_store_is("memory"))
        check_reopened(&handle); /* a store in memory ends with its last handle */
    CHECK(locks_of(&handle) == 0);
    dss_fini(&handle);
    return 0;
}
