/*
 * Proves: a write with a guard is done if what the guard says is so, and else changes nothing: the version of what stands under
 * the key, and the lock, which must be held by the very grant that is named, whatever ended that: an unlock, force, the end
 * of the lease, a transfer, a take-over.
 */
#include "locks/locks.h"
#include "state/state.h"

static struct dss_handle handle;

/* Ends the test unless neither a write nor a delete is done, and each gives rc and the version. */
static void refuse(const char *key, struct dss_guard guard, int rc, uint64_t ret_version)
{
    uint64_t before = version_of(&handle, key), found = 77;

    CHECK_RC(dss_set(&handle, key, "x", 1, &guard, &found), rc);
    CHECK(found == ret_version);
    found = 77;
    CHECK_RC(dss_set(&handle, key, NULL, 0, &guard, &found), rc);
    CHECK(found == ret_version);
    CHECK_RC(dss_set(&handle, key, "x", 1, &guard, NULL), rc);
    CHECK(version_of(&handle, key) == before);
}

/* ---- The version ------------------------------------------------------------------------------------------------- */

static void check_version(void)
{
    struct dss_guard none = of_version(0), guard;
    uint64_t first, second, third;

    refuse("v", of_version(1), -EAGAIN, 0);
    refuse("v", of_version(UINT64_MAX), -EAGAIN, 0);
    CHECK_RC(dss_set(&handle, "v", NULL, 0, &none, NULL), -ENOENT);
    CHECK_RC(dss_set(&handle, "v", "one", 3, &none, &first), 0);
    refuse("v", none, -EAGAIN, first);
    refuse("v", of_version(first - 1), -EAGAIN, first);
    refuse("v", of_version(first + 1), -EAGAIN, first);
    refuse("v", of_version(UINT64_MAX), -EAGAIN, first);
    refuse("v", of_version(first | UINT64_C(1) << 63), -EAGAIN, first);
    check_value(&handle, "v", "one", 3, first);

    guard = of_version(first);
    CHECK_RC(dss_set(&handle, "v", "two", 3, &guard, &second), 0);
    CHECK(second > first);
    refuse("v", guard, -EAGAIN, second);
    guard = of_version(second);
    CHECK_RC(dss_set(&handle, "v", NULL, 0, &guard, &third), 0);
    CHECK(third == 0);
    refuse("v", guard, -EAGAIN, 0); /* before -ENOENT */
    CHECK_RC(dss_set(&handle, "v", "", 0, &none, &third), 0);
    CHECK(third > second);
    refuse("v", none, -EAGAIN, third); /* an empty value is there */
    CHECK_RC(delete_key(&handle, "v"), 0);
}

/* ---- The lock ---------------------------------------------------------------------------------------------------- */

static void check_lock(void)
{
    struct dss_grant grant = take(&handle, "l", "ann", 0, 0), other = take(&handle, "other", "ann", 0, 0);
    int64_t stamp = stamp_of(&handle, "l");

    refuse("k", of_lock("l", grant.token + 1), -ESTALE, 0);
    refuse("k", of_lock("l", grant.token - 1), -ESTALE, 0);
    refuse("k", of_lock("l", UINT64_MAX), -ESTALE, 0);
    refuse("k", of_lock("l", grant.token | UINT64_C(1) << 63), -ESTALE, 0);
    refuse("k", of_lock("L", grant.token), -ESTALE, 0);
    refuse("k", of_lock("nobody's", 1), -ESTALE, 0);
    if (other.token != grant.token)
        refuse("k", of_lock("other", grant.token), -ESTALE, 0);
    CHECK_RC(set_guarded(&handle, "k", "one", of_lock("l", grant.token)), 0);
    CHECK_RC(dss_lock_refresh(&handle, "l", "ann"), 0);
    CHECK(stamp_of(&handle, "l") > stamp);
    stamp = stamp_of(&handle, "l");
    CHECK_RC(set_guarded(&handle, "k", "two", of_lock("l", grant.token)), 0);
    refuse("k", of_lock("l", grant.token + 1), -ESTALE, 0);
    check_text(&handle, "k", "two");
    CHECK(stamp_of(&handle, "l") == stamp); /* a write is no refresh */

    CHECK_RC(dss_unlock(&handle, "l", "ann"), 0);
    refuse("k", of_lock("l", grant.token), -ESTALE, 0);
    CHECK(strstr(dss_last_error(), "l") != NULL);
    check_text(&handle, "k", "two");
    CHECK_RC(delete_key(&handle, "k"), 0);
    CHECK_RC(dss_unlock(&handle, "other", "ann"), 0);
}

/* With the lock, there may be nothing to delete. */
static void check_delete_with_lock(void)
{
    struct dss_grant grant = take(&handle, "l", "ann", 0, 0);
    struct dss_guard guard = of_lock("l", grant.token);

    CHECK_RC(dss_set(&handle, "k", NULL, 0, &guard, NULL), -ENOENT);
    CHECK_RC(set_guarded(&handle, "k", "one", guard), 0);
    CHECK_RC(dss_set(&handle, "k", NULL, 0, &guard, NULL), 0);
    CHECK_RC(dss_set(&handle, "k", NULL, 0, &guard, NULL), -ENOENT);
    CHECK_RC(dss_unlock(&handle, "l", "ann"), 0);
}

/* Each end of a grant; the next one has the pen. */
static void check_ends(void)
{
    struct dss_grant old = take(&handle, "l", "ann", 0, 0), new;

    new = take(&handle, "l", "ann", DSS_LOCK_RESUME, 0);
    refuse("k", of_lock("l", old.token), -ESTALE, 0);
    CHECK_RC(set_guarded(&handle, "k", "resumed", of_lock("l", new.token)), 0);

    old = new;
    CHECK_RC(dss_lock_transfer(&handle, "l", "ann", old.token, "bob", &new), 0);
    refuse("k", of_lock("l", old.token), -ESTALE, 0);
    CHECK_RC(set_guarded(&handle, "k", "transferred", of_lock("l", new.token)), 0);

    old = new;
    CHECK_RC(dss_unlock(&handle, "l", NULL), 0);
    refuse("k", of_lock("l", old.token), -ESTALE, 0);
    new = take(&handle, "l", "bob", 0, 0); /* the same owner, by another grant */
    refuse("k", of_lock("l", old.token), -ESTALE, 0);
    CHECK_RC(set_guarded(&handle, "k", "forced", of_lock("l", new.token)), 0);

    old = new;
    clear(&handle);
    refuse("k", of_lock("l", old.token), -ESTALE, 0);
    check_text(&handle, "k", "forced");
    CHECK_RC(delete_key(&handle, "k"), 0);
}

/* A lease that is over is no lock, whether or not somebody else has it by now. */
static void check_expiry(void)
{
    struct dss_grant short_one = take(&handle, "l", "ann", 0, 1000), long_one = take(&handle, "m", "ann", 0, 600000), next;

    CHECK_RC(set_guarded(&handle, "k", "in time", of_lock("l", short_one.token)), 0);
    wait_until_over(&handle, "l");
    refuse("k", of_lock("l", short_one.token), -ESTALE, 0);
    CHECK_RC(set_guarded(&handle, "k", "long", of_lock("m", long_one.token)), 0);
    next = take(&handle, "l", "ann", 0, 0);
    refuse("k", of_lock("l", short_one.token), -ESTALE, 0);
    CHECK_RC(set_guarded(&handle, "k", "next", of_lock("l", next.token)), 0);
    check_text(&handle, "k", "next");
    CHECK_RC(delete_key(&handle, "k"), 0);
    clear(&handle);
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

static void check_both(void)
{
    struct dss_grant grant = take(&handle, "b", "ann", 0, 0);
    struct dss_guard guard = of_both(0, "b", grant.token);
    uint64_t version, newer;

    CHECK_RC(dss_set(&handle, "b", "one", 3, &guard, &version), 0);
    refuse("b", guard, -EAGAIN, version);
    refuse("b", of_both(version, "b", grant.token + 1), -ESTALE, 0);
    refuse("b", of_both(version + 1, "b", grant.token + 1), -ESTALE, 0); /* before -EAGAIN */
    refuse("nothing", of_both(0, "b", grant.token + 1), -ESTALE, 0);     /* and before -ENOENT */
    guard = of_both(version, "b", grant.token);
    CHECK_RC(dss_set(&handle, "b", "two", 3, &guard, &newer), 0);
    CHECK(newer > version);
    check_value(&handle, "b", "two", 3, newer);
    CHECK_RC(dss_unlock(&handle, "b", "ann"), 0);
    refuse("b", of_both(newer, "b", grant.token), -ESTALE, 0);
    CHECK_RC(delete_key(&handle, "b"), 0);
}

int main(void)
{
    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_version();
    check_lock();
    check_delete_with_lock();
    check_ends();
    check_expiry();
    check_both();
    CHECK(keys_of(&handle, NULL) == 0 && locks_of(&handle) == 0);
    dss_fini(&handle);
    return 0;
}
