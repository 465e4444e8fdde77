/*
 * Two stores in one database: an administrator kept a row of the one in an open transaction, so a
 * call there waited for it. A call in the other store, on a lock of the same name, waited for that
 * call and ended with -EBUSY.
 *
 * Proves, where a call of one store waits for a row: locks and values of the same names in the
 * other store are taken, written and released at once; in the same store the name's lock still
 * waits.
 */
#include "locks/locks.h"
#include "network/bad.h"
#include "network/psql.h"

#define ID "drive"

struct call {
    struct dss_handle handle;
    int rc;
};

static void *unlock_it(void *arg)
{
    struct call *call = arg;

    call->rc = dss_unlock(&call->handle, ID, "ann");
    return NULL;
}

static void *set_it(void *arg)
{
    struct call *call = arg;

    call->rc = dss_set(&call->handle, ID, "new", 4, NULL, NULL);
    return NULL;
}

static void wait_until_it_waits(struct psql *psql)
{
    double begun = test_seconds();
    char count[64];

    do {
        CHECK(test_seconds() - begun < 10);
        psql_ask(psql, "SELECT count(*) FROM pg_stat_activity "
                       "WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid));", count, sizeof(count));
    } while (strcmp(count, "0\n") == 0);
}

static void check_other(struct dss_handle *other)
{
    struct dss_guard guard = {.size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = ID};

    guard.token = take(other, ID, "bob", 0, 0).token;
    CHECK_RC(dss_set(other, ID, "other", 6, &guard, NULL), 0);
    CHECK_RC(dss_unlock(other, ID, "bob"), 0);
}

/* The row in its way: on a starved server the answer that says so comes late. */
static void check_held_up(int rc)
{
    if (rc != -EBUSY && rc != -EINPROGRESS && rc != -ENOTCONN)
        CHECK_RC(rc, -EBUSY);
}

static void meet(struct psql *psql, void *(*change)(void *), const char *table, const char *key)
{
    /* Another string has a connection of its own. */
    char *hasty_uri = test_uri_with("application_name=hasty&timeout_ms=500");
    char *other_uri = test_other_uri("other&timeout_ms=2000");
    struct dss_handle hasty, other;
    struct call call;
    pthread_t thread;

    CHECK_RC(dss_init_uri(&call.handle, test_uri()), 0);
    CHECK_RC(dss_init_uri(&hasty, hasty_uri), 0);
    CHECK_RC(dss_init_uri(&other, other_uri), 0);
    CHECK_RC(dss_lock(&call.handle, ID, "ann"), 0);
    CHECK_RC(dss_set(&call.handle, ID, "old", 4, NULL, NULL), 0);

    psql_do(psql, made("BEGIN; SELECT FROM %s.%s WHERE %s = '" ID "' FOR UPDATE;", own_name(), table, key));
    CHECK(pthread_create(&thread, NULL, change, &call) == 0);
    wait_until_it_waits(psql);
    check_other(&other);
    if (change == unlock_it)
        check_held_up(dss_unlock(&hasty, ID, "ann"));
    else
        check_held_up(dss_set(&hasty, ID, "hasty", 6, NULL, NULL));
    psql_do(psql, "COMMIT;");
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_RC(call.rc, 0);

    (void)dss_unlock(&call.handle, ID, NULL);
    dss_fini(&call.handle);
    dss_fini(&hasty);
    dss_fini(&other);
    free(hasty_uri);
    free(other_uri);
}

int main(void)
{
    struct psql psql;

    psql_start(&psql);
    meet(&psql, unlock_it, "lock", "lock_id");
    meet(&psql, set_it, "state", "key");
    psql_end(&psql);
    return 0;
}
