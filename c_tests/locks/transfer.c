/*
 * Proves: dss_lock_transfer() gives a lock to another owner with a new token, so that the former holder is fenced, and
 * with no gap in which a third could enter; lease and note stay, and nobody is told of a dead owner afterwards.
 */
#include <stdatomic.h>

#include "locks.h"

#define TTL_MS 60000
#define ID "drive"

static struct dss_grant give(struct dss_handle *handle, const char *from, uint64_t token, const char *to,
                             uint64_t ttl_ms)
{
    struct dss_grant grant;

    memset(&grant, UNTOUCHED, sizeof(grant));
    CHECK_RC(dss_lock_transfer(handle, ID, from, token, to, &grant), 0);
    check_granted(&grant, ttl_ms);
    CHECK(grant.flags == 0);
    test_check_owner(handle, ID, to);
    CHECK(token_of(handle, ID) == grant.token);
    return grant;
}

static void check_given(struct dss_handle *handle)
{
    struct dss_lock_opts opts = options(0, TTL_MS);
    const char *id = ID;
    struct dss_grant former, grant;
    struct shown shown;
    int64_t stamp;
    double begun;

    opts.note = "tape 7";
    CHECK_RC(dss_lockv(handle, &id, 1, "ann", &opts, &former), 0);
    stamp = stamp_of(handle, ID);
    sleep_ms(100); /* which would be missing if the lease did not start anew */
    begun = test_seconds();
    grant = give(handle, "ann", former.token, "bob", TTL_MS);
    CHECK(grant.token > former.token);
    check_began_since(grant.left_ms, TTL_MS, begun);
    CHECK(stamp_of(handle, ID) > stamp);
    CHECK(look_up(handle, ID, &shown));
    CHECK(strcmp(shown.note, "tape 7") == 0 && shown.info.ttl_ms == TTL_MS);
    check_shown_began_since(shown.info.left_ms, TTL_MS, begun);

    /* The former holder is out, whether it names its token or not. */
    CHECK_RC(refresh(handle, ID, "ann", former.token), -EACCES);
    CHECK_RC(dss_lock_refresh(handle, ID, "ann"), -EACCES);
    CHECK_RC(release(handle, ID, "ann", former.token), -EACCES);
    CHECK_RC(dss_unlock(handle, ID, "ann"), -EACCES);
    CHECK_RC(dss_lock(handle, ID, "ann"), -EEXIST);
    CHECK_RC(refresh(handle, ID, "bob", former.token), -ESTALE);
    CHECK_RC(refresh(handle, ID, "bob", grant.token), 0);
    CHECK_RC(release(handle, ID, "bob", grant.token), 0);
    CHECK(take(handle, ID, "eve", 0, 0).flags == 0);
    CHECK_RC(dss_unlock(handle, ID, "eve"), 0);
}

static void check_from(struct dss_handle *handle)
{
    struct dss_grant grant = take(handle, ID, "ann", 0, 0), next;

    next = give(handle, NULL, 0, "bob", 0);
    CHECK(next.token > grant.token);
    grant = give(handle, NULL, next.token, "eve", 0);
    CHECK(grant.token > next.token);
    next = give(handle, "eve", 0, "ann", 0);
    CHECK(next.token > grant.token);
    /* To the same owner it is a new grant too. */
    grant = give(handle, "ann", next.token, "ann", 0);
    CHECK(grant.token > next.token);
    CHECK_RC(refresh(handle, ID, "ann", next.token), -ESTALE);
    CHECK_RC(dss_lock_transfer(handle, ID, "ann", grant.token, "bob", NULL), 0);
    CHECK(token_of(handle, ID) > grant.token);
    CHECK_RC(dss_unlock(handle, ID, "bob"), 0);
}

static void refuse(struct dss_handle *handle, const char *id, const char *from, uint64_t token, int rc)
{
    struct dss_grant grant;

    memset(&grant, UNTOUCHED, sizeof(grant));
    CHECK_RC(dss_lock_transfer(handle, id, from, token, "eve", &grant), rc);
    check_refused(&grant, rc);
    CHECK_RC(dss_lock_transfer(handle, id, from, token, "eve", NULL), rc);
}

static void check_refusals(struct dss_handle *handle)
{
    struct dss_grant grant = take(handle, ID, "ann", 0, TTL_MS);
    int64_t stamp = stamp_of(handle, ID);

    refuse(handle, "absent", "ann", 0, -ENOLCK);
    refuse(handle, "absent", NULL, 0, -ENOLCK);
    refuse(handle, "absent", "ann", 1, -ENOLCK);
    refuse(handle, ID, "bob", 0, -EACCES);
    refuse(handle, ID, "bob", grant.token, -EACCES);
    refuse(handle, ID, "bob", grant.token - 1, -EACCES);
    refuse(handle, ID, "ann", grant.token - 1, -ESTALE);
    refuse(handle, ID, NULL, grant.token + 1, -ESTALE);
    refuse(handle, ID, "ann", UINT64_MAX, -ESTALE);
    CHECK(locks_of(handle) == 1);
    test_check_owner(handle, ID, "ann");
    CHECK(token_of(handle, ID) == grant.token && stamp_of(handle, ID) == stamp);
    CHECK_RC(release(handle, ID, "ann", grant.token), 0);
    refuse(handle, ID, "ann", grant.token, -ENOLCK);
}

static void check_expired(struct dss_handle *handle)
{
    struct dss_grant grant = take(handle, ID, "ann", 0, 1000);

    wait_until_over(handle, ID);
    refuse(handle, ID, "ann", grant.token, -ENOLCK);
    refuse(handle, ID, NULL, 0, -ENOLCK);
    /* A lease that was given away ends like any other. */
    take(handle, ID, "ann", 0, 1000);
    CHECK_RC(dss_lock_transfer(handle, ID, NULL, 0, "bob", NULL), 0);
    wait_until_over(handle, ID);
    CHECK(take(handle, ID, "eve", 0, 0).flags == DSS_GRANT_OWNERDEAD);
    CHECK_RC(dss_unlock(handle, ID, "eve"), 0);
}

static _Atomic int is_done;

static void *try_to_enter(void *handle)
{
    while (!is_done) {
        CHECK_RC(dss_lock(handle, ID, "eve"), -EEXIST);
        CHECK_RC(dss_lock_status(handle, ID, NULL, NULL), 0);
    }
    return NULL;
}

static void check_no_gap(struct dss_handle *handle)
{
    const char *owners[] = { "ann", "bob" };
    uint64_t token = take(handle, ID, "ann", 0, 0).token;
    pthread_t thread = start_thread(try_to_enter, handle);
    int i;

    for (i = 0; i < test_repeat(400, 20); i++)
        token = give(handle, owners[i % 2], token, owners[(i + 1) % 2], 0).token;
    is_done = 1;
    join_thread(thread);
    CHECK_RC(dss_unlock(handle, ID, NULL), 0);
}

int main(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    check_given(&handle);
    check_from(&handle);
    check_refusals(&handle);
    check_expired(&handle);
    check_no_gap(&handle);
    dss_fini(&handle);
    return 0;
}
