/*
 * Proves: dss_lock_refreshv() refreshes as many locks as possible, each for itself, by owner and token; tells what
 * became of each, and returns the first error in the order given; a refreshed lock's time is strictly newer and its
 * lease starts anew.
 */
#include "locks.h"

#define TTL_MS 60000

/* Locks of which "ann" can refresh the first two only. */
static const char *const ids[] = { "mine", "mine too", "absent", "foreign", "stale" };
static uint64_t tokens[] = { 0, 0, 0, 0, 0 };

static void make_locks(struct dss_handle *handle)
{
    tokens[0] = take(handle, "mine", "ann", 0, TTL_MS).token;
    tokens[1] = take(handle, "mine too", "ann", 0, 0).token;
    tokens[3] = take(handle, "foreign", "bob", 0, TTL_MS).token;
    tokens[4] = take(handle, "stale", "ann", 0, TTL_MS).token;
    CHECK(take(handle, "stale", "ann", DSS_LOCK_RESUME, TTL_MS).token > tokens[4]);
}

/* The same five, beginning with another one each time: the first that fails is told. */
static void check_each(struct dss_handle *handle)
{
    static const int rcs[] = { 0, 0, -ENOLCK, -EACCES, -ESTALE };
    static const int first[] = { -ENOLCK, -ENOLCK, -ENOLCK, -EACCES, -ESTALE };
    int64_t stamps[5];
    size_t begin, i;

    for (begin = 0; begin < 5; begin++) {
        const char *turned[5];
        uint64_t turned_tokens[5];
        struct dss_grant grants[5];

        for (i = 0; i < 5; i++) {
            turned[i] = ids[(begin + i) % 5];
            turned_tokens[i] = tokens[(begin + i) % 5];
            stamps[i] = rcs[(begin + i) % 5] == -ENOLCK ? 0 : stamp_of(handle, turned[i]);
        }
        memset(grants, UNTOUCHED, sizeof(grants));
        CHECK_RC(dss_lock_refreshv(handle, turned, 5, "ann", turned_tokens, grants), first[begin]);
        for (i = 0; i < 5; i++) {
            size_t which = (begin + i) % 5;

            if (rcs[which] == 0) {
                check_granted(&grants[i], which == 0 ? TTL_MS : 0);
                CHECK(grants[i].token == tokens[which] && grants[i].flags == 0);
                CHECK(stamp_of(handle, turned[i]) > stamps[i]);
            } else {
                check_refused(&grants[i], rcs[which]);
                CHECK(rcs[which] == -ENOLCK || stamp_of(handle, turned[i]) == stamps[i]);
            }
        }
        test_check_owner(handle, "absent", NULL);
        CHECK_RC(dss_lock_refreshv(handle, turned, 5, "ann", turned_tokens, NULL), first[begin]);
    }
}

/* No tokens, and a token of 0, are not checked; another one is, also one that no lock can have. */
static void check_tokens(struct dss_handle *handle)
{
    static const uint64_t wrong[] = { 1, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
    uint64_t some[] = { tokens[0], 0 };
    struct dss_grant grants[2];
    size_t i;

    CHECK_RC(dss_lock_refreshv(handle, ids, 2, "ann", NULL, grants), 0);
    CHECK(grants[0].token == tokens[0] && grants[1].token == tokens[1]);
    CHECK_RC(dss_lock_refreshv(handle, ids, 2, "ann", some, grants), 0);
    CHECK(grants[0].token == tokens[0] && grants[1].token == tokens[1]);
    for (i = 0; i < COUNT(wrong); i++) {
        some[0] = wrong[i];
        CHECK_RC(dss_lock_refreshv(handle, ids, 2, "ann", some, grants), -ESTALE);
        check_refused(&grants[0], -ESTALE);
        check_granted(&grants[1], 0);
    }
    /* Whose it is comes before which one, and whether it is there before both. */
    CHECK_RC(refresh(handle, "foreign", "ann", tokens[3] + 1), -EACCES);
    CHECK_RC(refresh(handle, "foreign", "ann", tokens[3]), -EACCES);
    CHECK_RC(refresh(handle, "absent", "ann", 1), -ENOLCK);
}

static void check_strictly_newer(struct dss_handle *handle)
{
    int64_t last = stamp_of(handle, "mine");
    int i;

    for (i = 0; i < test_repeat(200, 20); i++) {
        int64_t stamp;

        CHECK_RC(dss_lock_refreshv(handle, ids, 2, "ann", tokens, NULL), 0);
        stamp = stamp_of(handle, "mine");
        CHECK(stamp > last);
        last = stamp;
    }
}

static void check_lease_starts_anew(struct dss_handle *handle)
{
    struct dss_grant grants[2];
    struct shown shown;
    double begun;

    CHECK_RC(dss_lock_refreshv(handle, ids, 2, "ann", tokens, grants), 0);
    sleep_ms(100); /* which would be missing if it did not */
    begun = test_seconds();
    CHECK_RC(dss_lock_refreshv(handle, ids, 2, "ann", tokens, grants), 0);
    check_began_since(grants[0].left_ms, TTL_MS, begun);
    CHECK(look_up(handle, "mine", &shown) && shown.info.ttl_ms == TTL_MS);
    check_shown_began_since(shown.info.left_ms, TTL_MS, begun);
    CHECK(shown.info.refreshed_us > shown.info.taken_us && shown.info.token == tokens[0]);
    CHECK(look_up(handle, "mine too", &shown) && shown.info.left_ms == INT64_MAX);
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    make_locks(&handle);
    check_each(&handle);
    check_tokens(&handle);
    check_strictly_newer(&handle);
    check_lease_starts_anew(&handle);
    CHECK(locks_of(&handle) == 4);
    dss_fini(&handle);
    return 0;
}
