/*
 * The administrator of the database lets no program make anything in it; he runs schema.sql and grants what it says. Elsewhere
 * somebody has a schema of that name already, or a newer libdss has made the store, or the role is for reading only.
 *
 * Proves: a role without the rights is told what to have done, and after that all calls work for it; rights that are taken away later
 * are -ENOTCONN, and nothing is changed; a schema that is not a store of this version is refused and left as it was.
 */
#include <pthread.h>

#include "network/bad.h"

static const char *role_uri;

static void check_grants(void)
{
    const char *schema = own_name();

    do_sql(made("CREATE ROLE %s_app LOGIN", schema));
    role_uri = made("postgresql://%s_app@127.0.0.1:%s/dss_test?schema=%s&timeout_ms=2000", schema,
                    variable("DSS_TEST_POSTGRES_PORT"), schema);
    REFUSED(role_uri, -EACCES, schema, "schema.sql", made("127.0.0.1:%s/dss_test", variable("DSS_TEST_POSTGRES_PORT")));

    /* As the file itself says: the file, then its GRANTs. */
    run(made("{ echo 'SET client_min_messages = warning;'; sed 's/dss\\./%s./g; s/CREATE SCHEMA dss;/CREATE SCHEMA %s;/' %s; } | "
             "%s/psql -X -q -1 -v ON_ERROR_STOP=1 -h 127.0.0.1 -p %s -U %s -d dss_test -f - >/dev/null",
             schema, schema, variable("DSS_TEST_SCHEMA_SQL"), variable("DSS_TEST_POSTGRES_BIN"),
             variable("DSS_TEST_POSTGRES_PORT"), variable("DSS_TEST_POSTGRES_USER")));
    REFUSED(role_uri, -EACCES, schema, "schema.sql");
    do_sql(output_of(made("sed -n 's/^-- *\\(GRANT .*;\\)$/\\1/p' %s | sed 's/SCHEMA dss/SCHEMA %s/; s/dss\\./%s./g; s/TO app/TO %s_app/'",
                          variable("DSS_TEST_SCHEMA_SQL"), schema, schema, schema)));
}

/* ---- All that can be asked of a store ---- */

static int count(const struct dss_lock_info *info, void *arg)
{
    (void)info;
    ++*(int *)arg;
    return 0;
}

static void *take_later(void *arg)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .wait_ms = 20000, .ttl_ms = 60000 };
    const char *id = "waited for";

    CHECK_RC(dss_lockv(arg, &id, 1, "bob", &opts, NULL), 0);
    return NULL;
}

static int waiters(void)
{
    return atoi(sql(made("SELECT count(*) FROM %s.waiter", own_name())));
}

/* A waiter has to stand in the queue, which is a table too. */
static void check_waits(struct dss_handle *handle)
{
    pthread_t thread;
    double begun = test_seconds();

    CHECK_RC(dss_lock(handle, "waited for", "ann"), 0);
    CHECK(pthread_create(&thread, NULL, take_later, handle) == 0);
    while (waiters() == 0)
        CHECK(test_seconds() - begun < 5);
    CHECK_RC(dss_unlock(handle, "waited for", "ann"), 0);
    CHECK(pthread_join(thread, NULL) == 0);
    test_check_owner(handle, "waited for", "bob");
}

static void check_all_calls(void)
{
    struct dss_filter everything = { .size = sizeof(everything), .flags = DSS_FILTER_EVERYTHING };
    const char *const ids[] = { "one", "two" };
    struct dss_handle handle;
    int listed = 0, cleaned = 0;

    CHECK_RC(dss_init_uri(&handle, role_uri), 0);
    use(&handle);
    CHECK_RC(dss_lockv(&handle, ids, 2, "ann", NULL, NULL), 0);
    CHECK_RC(dss_lock_transfer(&handle, "one", "ann", 0, "bob", NULL), 0);
    CHECK_RC(dss_unlock(&handle, "one", NULL), 0);
    check_waits(&handle);
    CHECK_RC(dss_lock_list(&handle, NULL, count, &listed), 0);
    CHECK(listed == 2);
    CHECK_RC(dss_lock_clean(&handle, &everything, count, &cleaned), 0);
    CHECK(cleaned == 2);
    dss_fini(&handle);
}

/* ---- Rights that go while the store is open ---- */

static void check_revoked(void)
{
    const char *schema = own_name();
    struct dss_handle handle;
    double begun;

    CHECK_RC(dss_init_uri(&handle, role_uri), 0);
    CHECK_RC(dss_lock(&handle, "held", "ann"), 0);
    CHECK_RC(dss_lock_list(&handle, NULL, count, &(int){ 0 }), 0);
    do_sql(made("REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM %s_app", schema, schema));
    begun = test_seconds();
    CHECK_RC(dss_unlock(&handle, "held", "ann"), -ENOTCONN);
    check_says("permission denied");
    check_says("grant");
    CHECK_RC(dss_lock(&handle, "new", "ann"), -ENOTCONN);
    CHECK_RC(dss_lock_status(&handle, "held", NULL, NULL), -ENOTCONN);
    /* On the connection of the list before, then on a new one. */
    CHECK_RC(dss_lock_list(&handle, NULL, count, &(int){ 0 }), -ENOTCONN);
    check_says("permission denied");
    CHECK_RC(dss_lock_list(&handle, NULL, count, &(int){ 0 }), -ENOTCONN);
    check_says("permission denied");
    CHECK(test_seconds() - begun < AT_ONCE_S);
    CHECK(atoi(sql(made("SELECT count(*) FROM %s.lock WHERE owner IS NOT NULL", schema))) == 1);
    REFUSED(role_uri, -EACCES, "permission denied", "grant");
    do_sql(made("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s_app", schema, schema));
    CHECK_RC(dss_unlock(&handle, "held", "ann"), 0);
    use(&handle);
    dss_fini(&handle);
}

static void check_read_only(void)
{
    const char *schema = own_name();
    const char *set = made("ALTER ROLE %s_app SET default_transaction_read_only = on", schema);
    const char *reset = made("ALTER ROLE %s_app RESET default_transaction_read_only", schema);
    struct dss_handle handle;

    do_sql(set);
    REFUSED(role_uri, -EROFS, "read-only", made("127.0.0.1:%s/dss_test", variable("DSS_TEST_POSTGRES_PORT")));
    do_sql(reset);
    /* A handle that is open comes to it with its next connection. */
    CHECK_RC(dss_init_uri(&handle, role_uri), 0);
    do_sql(set);
    use(&handle);
    end_sessions(made("%s_app", schema));
    CHECK_RC(dss_lock(&handle, "new", "ann"), -EROFS);
    check_says("read-only");
    do_sql(reset);
    use(&handle);
    CHECK_RC(dss_lock_status(&handle, "new", NULL, NULL), -ENOLCK);
    dss_fini(&handle);
}

/* ---- Schemas that are none of ours ---- */

/* All that is in a schema, as one text. */
static char *picture(const char *schema)
{
    return output_of(made("%s/pg_dump -h 127.0.0.1 -p %s -U %s -n %s dss_test | grep -v restrict", variable("DSS_TEST_POSTGRES_BIN"),
                          variable("DSS_TEST_POSTGRES_PORT"), variable("DSS_TEST_POSTGRES_USER"), schema));
}

static void check_foreign(const char *name, const char *contents, int rc, const char *part)
{
    char *schema = made("%s_%s", own_name(), name), *before;
    char *uri = made("%s?schema=%s", variable("DSS_TEST_POSTGRES"), schema);

    do_sql(made("CREATE SCHEMA %s; SET search_path = %s; %s", schema, schema, contents));
    before = picture(schema);
    CHECK(strlen(before) > 100);
    REFUSED(uri, rc, schema, part, made("127.0.0.1:%s", variable("DSS_TEST_POSTGRES_PORT")));
    CHECK(strcmp(picture(schema), before) == 0);
}

static void check_newer(void)
{
    char *before;

    do_sql(made("UPDATE %s.store SET version = 99", own_name()));
    before = picture(own_name());
    REFUSED(test_uri(), -EPROTONOSUPPORT, own_name(), "newer", made("127.0.0.1:%s", variable("DSS_TEST_POSTGRES_PORT")));
    CHECK(strcmp(picture(own_name()), before) == 0);
    do_sql(made("UPDATE %s.store SET version = 1", own_name()));
    works(test_uri());
}

/* Others drop the schema while it is in use. */
static void check_dropped(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, test_uri()), 0);
    CHECK_RC(dss_lock(&handle, "held", "ann"), 0);
    do_sql(made("DROP SCHEMA %s CASCADE", own_name()));
    CHECK_RC(dss_unlock(&handle, "held", "ann"), -EUCLEAN);
    check_says("schema");
    CHECK_RC(dss_lock_status(&handle, "held", NULL, NULL), -EUCLEAN);
    dss_fini(&handle);
}

int main(void)
{
    check_grants();
    check_all_calls();
    check_revoked();
    check_read_only();
    check_foreign("tables", "CREATE TABLE lock (id int); INSERT INTO lock VALUES (7)", -EUCLEAN, "schema=");
    check_foreign("store", "CREATE TABLE store (name text); INSERT INTO store VALUES ('Paris')", -EUCLEAN, "schema");
    check_foreign("named", "CREATE TABLE store (version text); INSERT INTO store VALUES ('x')", -EUCLEAN, "schema");
    check_newer();
    check_dropped();
    do_sql(made("DROP ROLE %s_app", own_name()));
    return 0;
}
