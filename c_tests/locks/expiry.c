/*
 * Proves: a lock with a lease is there until the lease is over and gone from then on, for every call and though nobody
 * took it; a refresh starts the lease anew; and its holder's own count of what is left is never longer than the
 * store's.
 *
 * A lease runs on while the machine is busy with something else. So a lock that is gone is an error only as long as
 * its lease can't be over.
 */
#include "locks.h"

#define ASKED_MS 1000
#define TTL_MS test_ttl_ms(ASKED_MS)

/* Whether a lease that was asked for at this moment, in test_seconds(), may be over. */
static int may_be_over(double asked)
{
    return test_seconds() - asked >= (double)TTL_MS / 1000.0;
}

static void check_live_before(struct dss_handle *handle)
{
    double asked;
    struct shown shown;
    int rc, rounds;

    for (rounds = 0; rounds < 3; rounds++) {
        asked = test_seconds();
        take(handle, "live", "ann", 0, ASKED_MS);
        rc = dss_lock_status(handle, "live", NULL, NULL);
        CHECK(rc == 0 || may_be_over(asked));
        CHECK(look_up(handle, "live", &shown) || may_be_over(asked));
        rc = dss_lock(handle, "live", "bob");
        CHECK(rc == -EEXIST || may_be_over(asked));
        rc = dss_unlock(handle, "live", "ann");
        CHECK(rc == 0 || may_be_over(asked));
        clear(handle);
    }
}

/* Each call meets a lock of its own whose lease is over, and which nothing else has touched since. */
static void check_gone_after(struct dss_handle *handle)
{
    static const char *const ids[] = { "status", "refresh", "refreshv", "unlock", "unlockv", "force", "transfer", "z" };
    struct dss_lock_opts opts = options(0, ASKED_MS);
    struct dss_grant grants[COUNT(ids)];
    struct timeval stamp;
    struct shown shown;
    char *owner = (char *)&stamp;
    size_t i;

    CHECK_RC(dss_lockv(handle, ids, COUNT(ids), "ann", &opts, grants), 0);
    CHECK_RC(dss_lock(handle, "for ever", "ann"), 0);
    wait_until_over(handle, "z");

    CHECK_RC(dss_lock_status(handle, "status", &owner, &stamp), -ENOLCK);
    CHECK(owner == NULL && stamp.tv_sec == 0 && stamp.tv_usec == 0);
    CHECK_RC(dss_lock_refresh(handle, "refresh", "ann"), -ENOLCK);
    CHECK_RC(dss_lock_refresh(handle, "refresh", "bob"), -ENOLCK);
    CHECK_RC(refresh(handle, "refreshv", "ann", grants[2].token), -ENOLCK);
    CHECK_RC(dss_unlock(handle, "unlock", "ann"), -ENOLCK);
    CHECK_RC(dss_unlock(handle, "unlock", "bob"), -ENOLCK);
    CHECK_RC(release(handle, "unlockv", "ann", grants[4].token), -ENOLCK);
    CHECK_RC(dss_unlock(handle, "force", NULL), -ENOLCK);
    CHECK_RC(dss_lock_transfer(handle, "transfer", "ann", grants[6].token, "bob", NULL), -ENOLCK);
    CHECK(locks_of(handle) == 1);
    for (i = 0; i < COUNT(ids); i++) {
        CHECK(!look_up(handle, ids[i], &shown));
        CHECK_RC(dss_lock_left(handle, ids[i], grants[i].token, NULL), -ENOLCK);
    }

    /* The next holder is told, with a greater token; to those who did not unlock there is no difference. */
    for (i = 0; i < COUNT(ids); i++) {
        struct dss_grant grant = take(handle, ids[i], i % 2 == 0 ? "ann" : "bob", 0, 60000);

        CHECK(grant.token > grants[i].token && grant.flags == DSS_GRANT_OWNERDEAD);
    }
    CHECK_RC(refresh(handle, "refreshv", "ann", grants[2].token), -ESTALE);
    CHECK_RC(release(handle, "refresh", "ann", grants[1].token), -EACCES);
    clear(handle);
}

/* dss_lock() takes it as any lock that does not exist, and for ever; a clean does not see it. */
static void check_old_lock(struct dss_handle *handle)
{
    struct dss_filter filter = { .size = sizeof(filter), .lock_id = "old" };
    struct dss_grant grant = take(handle, "old", "ann", 0, ASKED_MS);
    struct shown shown;
    size_t cleaned = 0;

    wait_until_over(handle, "old");
    CHECK_RC(dss_lock_clean(handle, &filter, count_shown, &cleaned), 0);
    CHECK(cleaned == 0);
    CHECK_RC(dss_lock(handle, "old", "bob"), 0);
    CHECK(look_up(handle, "old", &shown));
    CHECK(shown.info.token > grant.token && shown.info.ttl_ms == 0 && shown.info.left_ms == INT64_MAX);
    CHECK_RC(dss_lock_refresh(handle, "old", "ann"), -EACCES);
    CHECK_RC(dss_unlock(handle, "old", "bob"), 0);
}

/* Holds two locks for more than two leases, by each way to refresh one. Whether the machine let us do so in time. */
static int outlive(struct dss_handle *handle)
{
    static const char *const ids[] = { "by the old call", "by token" };
    struct dss_lock_opts opts = options(0, ASKED_MS);
    struct dss_grant grants[2];
    double asked = test_seconds(), begun = asked;

    CHECK_RC(dss_lockv(handle, ids, 2, "ann", &opts, grants), 0);
    while (test_seconds() - begun < 2.2 * (double)TTL_MS / 1000) {
        double before = test_seconds();
        int old_rc = dss_lock_refresh(handle, ids[0], "ann"), rc = refresh(handle, ids[1], "ann", grants[1].token);

        if (old_rc != 0 || rc != 0) {
            CHECK(may_be_over(asked));
            CHECK((old_rc == 0 || old_rc == -ENOLCK) && (rc == 0 || rc == -ENOLCK));
            clear(handle);
            return 0;
        }
        asked = before;
        sleep_ms(100);
    }
    clear(handle);
    return 1;
}

static void check_refresh_restarts(struct dss_handle *handle)
{
    int tries;

    for (tries = 1; !outlive(handle); tries++)
        CHECK(tries < 20);
}

/* What is left is counted from before the request, in step with the clock, and ends before the store's count does. */
static void check_left_counts_down(struct dss_handle *handle)
{
    double asked = test_seconds(), granted, before;
    struct dss_grant grant = take(handle, "left", "ann", 0, ASKED_MS);
    int64_t left_ms = 0, last_ms = TTL_MS;
    int rc, is_gone;

    granted = test_seconds();
    for (;;) {
        is_gone = dss_lock_status(handle, "left", NULL, NULL) == -ENOLCK;
        before = test_seconds();
        rc = dss_lock_left(handle, "left", grant.token, &left_ms);
        if (rc != 0)
            break;
        CHECK(!is_gone);
        CHECK(left_ms > 0 && left_ms <= last_ms);
        CHECK((double)left_ms <= (double)TTL_MS - (before - granted) * 1000 + 1);
        CHECK((double)left_ms >= (double)TTL_MS - (test_seconds() - asked) * 1000 - 2);
        last_ms = left_ms;
        sleep_ms(5);
    }
    CHECK_RC(rc, -ENOLCK);
    CHECK(left_ms == 0);
    CHECK((test_seconds() - asked) * 1000 >= (double)TTL_MS - 2);
    wait_until_over(handle, "left");
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_live_before(&handle);
    check_gone_after(&handle);
    check_old_lock(&handle);
    check_refresh_restarts(&handle);
    check_left_counts_down(&handle);
    CHECK(locks_of(&handle) == 0);
    dss_fini(&handle);
    return 0;
}
