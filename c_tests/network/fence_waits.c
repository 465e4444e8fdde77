/*
 * A mover's write waited while another took the lock over, and was judged by what it had read before: its successor's value was
 * gone. Another's lease was refreshed in time, and it was told that it had lost the lock.
 *
 * Proves, where another session of PostgreSQL has changed the lock that guards a write and has not committed: the write waits, and
 * then rests on what was committed. The same behind a pooler whose connections are set to REPEATABLE READ before each transaction,
 * so that a statement sees what was there before it waited. And the other way round: whoever takes or releases a lock waits for a
 * write that it guards to be committed; a refresh, and another write, does not.
 */
#include "network/calls.h"
#include "network/pooler.h"
#include "network/psql.h"

#define POOLED "server_reset_query = SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ\n" \
               "server_reset_query_always = 1"

struct change {
    const char *name, *sql;
    const char *end;
    int is_refresh; /* of a lease that is over for all others; it keeps nobody from taking the lock */
    int rc;
};

static const struct change changes[] = {
    {"taken over", "UPDATE %s.lock SET token = token + 1 WHERE lock_id = '%s';", "COMMIT;", 0, -ESTALE},
    {"not taken over after all", "UPDATE %s.lock SET token = token + 1 WHERE lock_id = '%s';", "ROLLBACK;", 0, 0},
    {"released", "DELETE FROM %s.lock WHERE lock_id = '%s';", "COMMIT;", 0, -ESTALE},
    {"refreshed in time", "UPDATE %s.lock SET leased_us = leased_us + 60000000 WHERE lock_id = '%s';", "COMMIT;", 1, 0},
    {"not refreshed", "UPDATE %s.lock SET leased_us = leased_us + 60000000 WHERE lock_id = '%s';", "ROLLBACK;", 1, -ESTALE},
};

struct writing {
    struct dss_handle handle;
    char id[32];
    uint64_t token;
    int rc;
};

/* A lock's number in SQL, which every transaction that takes or releases it locks first. */
static const char *number_of(const char *id)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
    return made("%lld # hashtextextended('%s.lock', 0)", (long long)hash, psql_schema());
}

static void *write_it(void *arg)
{
    struct writing *writing = arg;
    struct dss_guard guard = {
        .size = sizeof(guard), .flags = DSS_GUARD_LOCK, .lock_id = writing->id, .token = writing->token};

    writing->rc = dss_set(&writing->handle, writing->id, "after", 6, &guard, NULL);
    return NULL;
}

static void wait_until_it_waits(struct psql *psql)
{
    double begun = test_seconds();
    char count[64];

    do {
        CHECK(test_seconds() - begun < 10);
        sleep_ms(5);
        psql_ask(psql, "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid));", count,
                 sizeof(count));
    } while (strcmp(count, "0\n") == 0);
}

static void check_value(struct writing *writing, const char *value)
{
    void *found;

    CHECK_RC(dss_get(&writing->handle, writing->id, &found, NULL, NULL), 0);
    CHECK(strcmp(found, value) == 0);
    free(found);
}

static void meet(const char *uri, const struct change *change)
{
    static int number;
    struct writing writing;
    struct psql psql;
    pthread_t thread;

    fprintf(stderr, "%s, %s\n", change->name, uri == test_uri() ? "directly" : "through a pooler");
    snprintf(writing.id, sizeof(writing.id), "id%d", number++);
    psql_start(&psql);
    CHECK_RC(dss_init_uri(&writing.handle, uri), 0);
    CHECK_RC(dss_set(&writing.handle, writing.id, "before", 7, NULL, NULL), 0);
    writing.token = take(&writing.handle, writing.id, "ann", 0, change->is_refresh ? 1000 : 0).token;
    psql_do(&psql, "BEGIN;");
    if (!change->is_refresh)
        psql_do(&psql, made("SELECT pg_advisory_xact_lock(%s);", number_of(writing.id)));
    psql_do(&psql, made(change->sql, psql_schema(), writing.id));
    if (change->is_refresh)
        wait_until_over(&writing.handle, writing.id);
    thread = start_thread(write_it, &writing);
    wait_until_it_waits(&psql);
    psql_do(&psql, change->end);
    join_thread(thread);
    CHECK_RC(writing.rc, change->rc);
    check_value(&writing, change->rc == 0 ? "after" : "before");
    dss_fini(&writing.handle);
    psql_end(&psql);
}

/* A write under each of these locks is under way. */
static void share(struct psql *psql, const char *id)
{
    psql_do(psql, "BEGIN;");
    psql_do(psql, made("SELECT pg_advisory_xact_lock_shared(%s);", number_of(id)));
    for (int i = 0; i < OF_SET; i++)
        psql_do(psql, made("SELECT pg_advisory_xact_lock_shared(%s);", number_of(part_of(id, i))));
}

struct making {
    const struct call *call;
    struct dss_handle *handle;
    const char *id;
};

static void *make_it(void *arg)
{
    struct making *making = arg;

    CHECK_RC(making->call->make(making->handle, making->id), 0);
    return NULL;
}

static void follow(struct dss_handle *handle, struct dss_handle *direct, const struct call *call)
{
    int waits = call->is_done != NULL && call->is_done != is_newer && call->is_done != is_set && call->is_done != is_deleted;
    struct making making = {call, handle, made("under %s", call->name)};
    struct psql psql;
    pthread_t thread;

    fprintf(stderr, "%s: %s\n", call->name, waits ? "waits" : "does not");
    call->prepare(direct, making.id);
    psql_start(&psql);
    share(&psql, making.id);
    if (waits) {
        thread = start_thread(make_it, &making);
        wait_until_it_waits(&psql);
        CHECK(!call->is_done(direct, making.id));
        psql_do(&psql, "COMMIT;");
        join_thread(thread);
    } else {
        (void)make_it(&making);
        psql_do(&psql, "COMMIT;");
    }
    CHECK(call->is_done == NULL || call->is_done(direct, making.id));
    psql_end(&psql);
}

static void follow_all(void)
{
    struct dss_handle handle, direct;
    char *uri = test_uri_with("application_name=follower"); /* another string has a connection of its own */

    CHECK_RC(dss_init_uri(&direct, test_uri()), 0);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    for (size_t i = 0; i < CALLS; i++)
        follow(&handle, &direct, &calls[i]);
    dss_fini(&handle);
    dss_fini(&direct);
    free(uri);
}

int main(void)
{
    const char *uri = start_pooler(2, POOLED);

    for (size_t i = 0; i < COUNT(changes); i++) {
        meet(test_uri(), &changes[i]);
        meet(uri, &changes[i]);
    }
    follow_all();
    return 0;
}
