/*
 * Two stores in one database, for one role, behind a pooler in transaction mode: dss_get answered
 * with the other store's value, dss_lock with the other store's holder, and a lock that was held
 * was -ENOLCK. The pooler gives each transaction whichever connection is free, and both stores
 * prepared statements of the same names there.
 *
 * Proves, for each mode of the pooler, with one server connection for both stores: every call
 * answers from its own store and changes nothing in the other one. The same where another program,
 * or another version of libdss, has prepared other statements on that connection. No setting,
 * advisory lock or cursor of a store stays on a connection that other programs use too. In
 * statement mode the calls that need longer transactions are refused, and the text names the cure.
 */
#include "network/calls.h"
#include "network/pooler.h"
#include "network/psql.h"

struct mode {
    const char *name;
    int connections;
    int has_transactions;
};

/* In session mode each handle keeps up to two connections: for calls and for lists. */
static const struct mode modes[] = {{"transaction", 1, 1}, {"session", 6, 1}, {"statement", 1, 0}};

struct store {
    const char *schema;
    struct dss_handle direct, pooled;
};

static struct store one, other;
static struct psql onlooker;

/* All locks and values of a store. A value that is written has a new version. */
static void look_at(const struct store *store, char *picture, size_t size)
{
    psql_ask(&onlooker, made("SELECT (SELECT string_agg(md5(l::text), ';' ORDER BY lock_id) FROM %s.lock l), "
                             "(SELECT string_agg(md5((version, key)::text), ';' ORDER BY key) FROM %s.state s);",
                             store->schema, store->schema), picture, size);
    CHECK(strlen(picture) + 1 < size);
}

static int needs_transaction(const struct call *call)
{
    return call->make == list_it || call->make == clean_it || call->make == list_keys;
}

static void check_call(const struct call *call, const char *id, const struct mode *mode)
{
    int rc = mode->has_transactions || !needs_transaction(call) ? 0 : -ENOTCONN;
    static char before[1 << 16], after[1 << 16];

    fprintf(stderr, "%s mode: %s\n", mode->name, call->name);
    /* The connection gets the statements of the one store, */
    call->prepare(&one.direct, id);
    CHECK_RC(call->make(&one.pooled, id), rc);
    look_at(&one, before, sizeof(before));
    /* and the other store has a call of the same kind. */
    call->prepare(&other.direct, id);
    CHECK_RC(call->make(&other.pooled, id), rc);
    if (rc != 0)
        check_says("pool_mode");
    CHECK(call->is_done == NULL || call->is_done(&other.direct, id) == (rc == 0));
    look_at(&one, after, sizeof(after));
    CHECK(strcmp(after, before) == 0);
}

static void check_value(struct dss_handle *handle, const char *value)
{
    void *found;

    CHECK_RC(dss_get(handle, "key", &found, NULL, NULL), 0);
    CHECK(strcmp(found, value) == 0);
    free(found);
}

/* One name, and in each store something else under it. */
static void check_answers(void)
{
    CHECK_RC(dss_set(&one.direct, "key", "of one", 7, NULL, NULL), 0);
    CHECK_RC(dss_set(&other.direct, "key", "of other", 9, NULL, NULL), 0);
    CHECK_RC(dss_lock(&one.direct, "drive", "ann"), 0);
    for (int i = 0; i < 3; i++) {
        check_value(&one.pooled, "of one");
        check_value(&other.pooled, "of other");
        test_check_owner(&one.pooled, "drive", "ann");
        test_check_owner(&other.pooled, "drive", NULL);
        CHECK_RC(dss_lock(&one.pooled, "drive", "eve"), -EEXIST);
        CHECK_RC(dss_lock(&other.pooled, "drive", "bob"), 0);
        CHECK_RC(dss_lock(&other.pooled, "drive", "eve"), -EEXIST);
        check_says("bob");
        CHECK_RC(dss_unlock(&other.pooled, "drive", "bob"), 0);
    }
    CHECK_RC(dss_unlock(&one.pooled, "drive", "ann"), 0);
}

static void open_store(struct store *store, const struct mode *mode, int port)
{
    /* What can't be done is tried until the time is up. */
    const char *uri = made("%s&timeout_ms=%d", pooled(port, store->schema), mode->has_transactions ? 10000 : 500);

    CHECK_RC(dss_init_uri(&store->pooled, uri), 0);
}

static void check_mode(const struct mode *mode, int port, const char *name)
{
    open_store(&one, mode, port);
    open_store(&other, mode, port);
    check_answers();
    for (size_t i = 0; i < CALLS; i++)
        check_call(&calls[i], made("%s, %s", name, calls[i].name), mode);
    dss_fini(&one.pooled);
    dss_fini(&other.pooled);
}

/* The names that libdss once gave its statements, with other texts. None of them has parameters, so
 * none can be executed as libdss does. */
static void take_names(int port)
{
    static const char *const names[] = {"take_one", "unlock_one", "many", "apply", "set_one", "set_many", "read", "look_up",
                                        "stand"};

    for (size_t i = 0; i < COUNT(names); i++)
        do_sql_at(port, made("PREPARE dss_%s_1 AS SELECT 'of another version'", names[i]));
}

/* What stays on the connection when a transaction has ended. LISTEN is left out: only a call that
 * waits sends it. */
static const char *session_state(int port)
{
    return sql_at(port, "SELECT string_agg(name || '=' || setting, ';' ORDER BY name) FROM pg_settings "
                        "WHERE source = 'session'; "
                        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid(); "
                        "SELECT count(*) FROM pg_cursors");
}

/* Another program of this pool has settings of its own. */
static void check_nothing_is_left(int port)
{
    const char *before;

    do_sql_at(port, "SET default_transaction_isolation = 'repeatable read'; SET enable_seqscan = off; "
                    "SET lock_timeout = 12345");
    before = session_state(port);
    CHECK(strstr(before, "default_transaction_isolation=repeatable read") != NULL);
    check_mode(&modes[0], port, made("state of %d", port));
    CHECK(strcmp(session_state(port), before) == 0);
}

static void check_new_store(const struct mode *mode, int port)
{
    const char *uri = pooled(port, made("%s_new_in_%s", own_name(), mode->name));

    if (mode->has_transactions)
        works(uri);
    else
        REFUSED(uri, -ENOTCONN, "pool_mode", "transaction");
}

static void check_all(const char *name, const char *settings)
{
    int server = atoi(variable("DSS_TEST_POSTGRES_PORT")), port;

    for (size_t i = 0; i < COUNT(modes); i++) {
        port = start_pooler_at(server, modes[i].name, modes[i].connections, settings);
        check_mode(&modes[i], port, made("%s, %s", name, modes[i].name));
        check_new_store(&modes[i], port);
    }
    port = start_pooler_at(server, "transaction", 1, made("%signore_startup_parameters = options\n", settings));
    take_names(port);
    check_mode(&modes[0], port, made("%s, names taken", name));
    check_nothing_is_left(port);
}

int main(void)
{
    psql_start(&onlooker);
    one.schema = own_name();
    other.schema = made("%s_other", own_name());
    CHECK_RC(dss_init_uri(&one.direct, test_uri()), 0);
    CHECK_RC(dss_init_uri(&other.direct, test_other_uri("other")), 0);
    if (pooler_keeps_statements()) {
        check_all("kept by the pooler", "max_prepared_statements = 100\n");
        check_all("not kept", "max_prepared_statements = 0\n");
    } else {
        check_all("not kept", "");
    }
    dss_fini(&one.direct);
    dss_fini(&other.direct);
    psql_end(&onlooker);
    return 0;
}
