/*
 * Proves: dss_unlockv() releases as many locks as possible, each for itself, by owner and token, or whoever holds them
 * if no owner is named; it tells what became of each, and returns the first error in the order given.
 */
#include "locks.h"

/* Locks of which "ann" can release the first two only. */
static const char *const ids[] = { "mine", "mine too", "absent", "foreign", "stale" };
static uint64_t tokens[5];

static void make_locks(struct dss_handle *handle)
{
    CHECK(locks_of(handle) == 0);
    tokens[0] = take(handle, "mine", "ann", 0, 60000).token;
    tokens[1] = take(handle, "mine too", "ann", 0, 0).token;
    tokens[3] = take(handle, "foreign", "bob", 0, 0).token;
    tokens[4] = take(handle, "stale", "ann", 0, 0).token;
    CHECK(take(handle, "stale", "ann", DSS_LOCK_RESUME, 0).token > tokens[4]);
}

static int is_held(struct dss_handle *handle, const char *lock_id)
{
    return dss_lock_status(handle, lock_id, NULL, NULL) == 0;
}

/* The same five, beginning with another one each time: the first that fails is told. */
static void check_each(struct dss_handle *handle, int without_rcs)
{
    static const int expected[] = { 0, 0, -ENOLCK, -EACCES, -ESTALE };
    static const int first[] = { -ENOLCK, -ENOLCK, -ENOLCK, -EACCES, -ESTALE };
    size_t begin, i;

    for (begin = 0; begin < 5; begin++) {
        const char *turned[5];
        uint64_t turned_tokens[5];
        int rcs[5];

        make_locks(handle);
        for (i = 0; i < 5; i++) {
            turned[i] = ids[(begin + i) % 5];
            turned_tokens[i] = tokens[(begin + i) % 5];
        }
        memset(rcs, UNTOUCHED, sizeof(rcs));
        CHECK_RC(dss_unlockv(handle, turned, 5, "ann", turned_tokens, without_rcs ? NULL : rcs), first[begin]);
        for (i = 0; i < 5 && !without_rcs; i++)
            CHECK_RC(rcs[i], expected[(begin + i) % 5]);
        CHECK(!is_held(handle, "mine") && !is_held(handle, "mine too") && !is_held(handle, "absent"));
        test_check_owner(handle, "foreign", "bob");
        test_check_owner(handle, "stale", "ann");
        clear(handle);
    }
}

/* No tokens, and a token of 0, are not checked; another one is, also one that no lock can have. */
static void check_tokens(struct dss_handle *handle)
{
    static const uint64_t wrong[] = { 1, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
    uint64_t some[2] = { 0, 0 };
    int rcs[2];
    size_t i;

    make_locks(handle);
    CHECK_RC(dss_unlockv(handle, ids, 2, "ann", NULL, rcs), 0);
    CHECK(rcs[0] == 0 && rcs[1] == 0);
    clear(handle);
    make_locks(handle);
    some[0] = tokens[0];
    CHECK_RC(dss_unlockv(handle, ids, 2, "ann", some, rcs), 0);
    CHECK(rcs[0] == 0 && rcs[1] == 0);
    clear(handle);
    for (i = 0; i < COUNT(wrong); i++) {
        make_locks(handle);
        some[0] = wrong[i];
        CHECK_RC(dss_unlockv(handle, ids, 2, "ann", some, rcs), -ESTALE);
        CHECK(rcs[0] == -ESTALE && rcs[1] == 0);
        CHECK(is_held(handle, "mine") && !is_held(handle, "mine too"));
        /* Whose it is comes before which one. */
        CHECK_RC(release(handle, "foreign", "ann", wrong[i]), -EACCES);
        clear(handle);
    }
}

/* Without an owner: whoever holds them, but still only the grants that are meant. */
static void check_forced(struct dss_handle *handle)
{
    static const char *const all[] = { "mine", "foreign", "absent", "stale" };
    const uint64_t all_tokens[] = { 0, 0, 0, 0 };
    uint64_t meant[4];
    int rcs[4];

    make_locks(handle);
    CHECK_RC(dss_unlockv(handle, all, 4, NULL, all_tokens, rcs), -ENOLCK);
    CHECK(rcs[0] == 0 && rcs[1] == 0 && rcs[2] == -ENOLCK && rcs[3] == 0);
    CHECK(take(handle, "mine", "eve", 0, 0).flags == DSS_GRANT_OWNERDEAD);
    CHECK(take(handle, "foreign", "eve", 0, 0).flags == DSS_GRANT_OWNERDEAD);
    CHECK(take(handle, "absent", "eve", 0, 0).flags == 0);
    clear(handle);

    make_locks(handle);
    memcpy(meant, (const uint64_t[]){ tokens[0], tokens[3], 0, tokens[4] }, sizeof(meant));
    CHECK_RC(dss_unlockv(handle, all, 4, NULL, meant, rcs), -ENOLCK);
    CHECK(rcs[0] == 0 && rcs[1] == 0 && rcs[2] == -ENOLCK && rcs[3] == -ESTALE);
    CHECK(!is_held(handle, "mine") && !is_held(handle, "foreign") && is_held(handle, "stale"));
    CHECK_RC(dss_unlockv(handle, (const char *const[]){ "mine too", "stale" }, 2, NULL, NULL, NULL), 0);
    CHECK(locks_of(handle) == 0);
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_each(&handle, 0);
    check_each(&handle, 1);
    check_tokens(&handle);
    check_forced(&handle);
    dss_fini(&handle);
    return 0;
}
