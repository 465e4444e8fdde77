/*
 * Proves: DSS_LOCK_RESUME takes over a live lock of the same owner, with a new token, lease and note, and fences the
 * former incarnation with it; a free lock it takes as ever, another owner's not at all, and a mixed set all or none.
 */
#include "locks.h"

static struct dss_grant resume(struct dss_handle *handle, const char *lock_id, uint64_t ttl_ms, const char *note)
{
    struct dss_lock_opts opts = options(DSS_LOCK_RESUME, ttl_ms);
    struct dss_grant grant;

    opts.note = note;
    memset(&grant, UNTOUCHED, sizeof(grant));
    CHECK_RC(dss_lockv(handle, &lock_id, 1, "ann", &opts, &grant), 0);
    check_granted(&grant, ttl_ms);
    return grant;
}

static void check_taken_over(struct dss_handle *former_handle, struct dss_handle *handle)
{
    struct dss_lock_opts opts = options(0, 60000);
    const char *id = "drive";
    struct dss_grant former, grant;
    struct shown shown;
    int64_t stamp;

    opts.note = "first incarnation";
    CHECK_RC(dss_lockv(former_handle, &id, 1, "ann", &opts, &former), 0);
    stamp = stamp_of(handle, "drive");

    grant = resume(handle, "drive", 90000, "second incarnation");
    CHECK(grant.flags == DSS_GRANT_RESUMED);
    CHECK(grant.token > former.token);
    CHECK(stamp_of(handle, "drive") > stamp);
    CHECK(look_up(handle, "drive", &shown));
    CHECK(strcmp(shown.lock_owner, "ann") == 0 && strcmp(shown.note, "second incarnation") == 0);
    CHECK(shown.info.token == grant.token && shown.info.ttl_ms == 90000 && shown.info.left_ms > 60000);

    CHECK_RC(refresh(former_handle, "drive", "ann", former.token), -ESTALE);
    CHECK_RC(release(former_handle, "drive", "ann", former.token), -ESTALE);
    CHECK_RC(dss_lock_left(former_handle, "drive", former.token, NULL), -ENOLCK);
    CHECK_RC(refresh(handle, "drive", "ann", grant.token), 0);
    CHECK(token_of(handle, "drive") == grant.token);

    /* This call's lease and note, and be it none. */
    former = grant;
    grant = resume(handle, "drive", 0, NULL);
    CHECK(grant.flags == DSS_GRANT_RESUMED && grant.token > former.token);
    CHECK(look_up(handle, "drive", &shown));
    CHECK(shown.info.ttl_ms == 0 && shown.info.left_ms == INT64_MAX && shown.note[0] == '\0');
    CHECK_RC(release(handle, "drive", "ann", former.token), -ESTALE);
    CHECK_RC(release(handle, "drive", "ann", grant.token), 0);
    /* It ended well, so the next holder has nothing to be told. */
    CHECK(take(handle, "drive", "bob", 0, 0).flags == 0);
    CHECK_RC(dss_unlock(handle, "drive", "bob"), 0);
}

static void check_lock_of_the_old_call(struct dss_handle *handle)
{
    CHECK_RC(dss_lock(handle, "drive", "ann"), 0);
    CHECK(resume(handle, "drive", 60000, "").flags == DSS_GRANT_RESUMED);
    CHECK_RC(dss_lock_refresh(handle, "drive", "ann"), 0);
    CHECK_RC(dss_unlock(handle, "drive", "ann"), 0);
}

static void check_free(struct dss_handle *handle)
{
    CHECK(resume(handle, "never held", 0, NULL).flags == 0);
    CHECK_RC(dss_unlock(handle, "never held", "ann"), 0);
    CHECK(resume(handle, "never held", 0, NULL).flags == 0);
    CHECK_RC(dss_unlock(handle, "never held", NULL), 0);
    CHECK(resume(handle, "never held", 0, NULL).flags == DSS_GRANT_OWNERDEAD);
    CHECK_RC(dss_unlock(handle, "never held", "ann"), 0);
}

/* A lock whose lease is over does not exist: there is nothing to resume, and what it protected may be half done. */
static void check_expired(struct dss_handle *handle)
{
    struct dss_grant former = take(handle, "expired", "ann", 0, 1000), grant;

    wait_until_over(handle, "expired");
    grant = resume(handle, "expired", 0, NULL);
    CHECK(grant.flags == DSS_GRANT_OWNERDEAD && grant.token > former.token);
    CHECK_RC(dss_unlock(handle, "expired", "ann"), 0);
}

static void check_foreign(struct dss_handle *handle)
{
    struct dss_lock_opts opts = options(DSS_LOCK_RESUME, 60000);
    struct dss_grant foreign = take(handle, "drive", "Ann", 0, 0), grant;
    const char *id = "drive";

    CHECK_RC(dss_lockv(handle, &id, 1, "ann", &opts, &grant), -EEXIST);
    check_refused(&grant, -EEXIST);
    CHECK(token_of(handle, "drive") == foreign.token);
    CHECK_RC(dss_unlock(handle, "drive", "Ann"), 0);
}

/* One free, one of this owner, and at last one that is not another's. */
static void check_mixed(struct dss_handle *handle)
{
    static const char *const ids[] = { "free", "foreign", "mine" };
    struct dss_lock_opts opts = options(DSS_LOCK_RESUME, 60000);
    struct dss_grant mine = take(handle, "mine", "ann", 0, 0), foreign = take(handle, "foreign", "bob", 0, 0);
    struct dss_grant grants[3];

    CHECK_RC(dss_lockv(handle, ids, 3, "ann", &opts, grants), -EEXIST);
    check_refused(&grants[0], -ECANCELED);
    check_refused(&grants[1], -EEXIST);
    check_refused(&grants[2], -ECANCELED);
    test_check_owner(handle, "free", NULL);
    CHECK(token_of(handle, "mine") == mine.token && token_of(handle, "foreign") == foreign.token);
    CHECK_RC(refresh(handle, "mine", "ann", mine.token), 0);

    CHECK_RC(dss_unlock(handle, "foreign", "bob"), 0);
    CHECK_RC(dss_lockv(handle, ids, 3, "ann", &opts, grants), 0);
    CHECK(grants[0].flags == 0 && grants[1].flags == 0 && grants[2].flags == DSS_GRANT_RESUMED);
    CHECK(grants[2].token > mine.token && grants[1].token > foreign.token);
    CHECK_RC(dss_unlockv(handle, ids, 3, "ann", NULL, NULL), 0);
}

int main(void)
{
    struct dss_handle one, two;

    CHECK_RC(dss_init_uri(&one, test_uri()), 0);
    CHECK_RC(dss_init_uri(&two, test_uri()), 0);
    check_taken_over(&one, &one);
    check_taken_over(&one, &two);
    check_lock_of_the_old_call(&one);
    check_free(&one);
    check_expired(&one);
    check_foreign(&one);
    check_mixed(&one);
    CHECK(locks_of(&one) == 0);
    dss_fini(&two);
    dss_fini(&one);
    return 0;
}
