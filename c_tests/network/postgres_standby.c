/*
 * The database has a standby, and the connection string names that one; or both, and nobody knows which of them is the primary today.
 *
 * Proves: a standby alone is -EROFS, and the text says what to do; of several hosts the primary is found, in whatever order they
 * stand; when the primary is out of reach and the standby was promoted, an open handle finds it and goes on with the locks that
 * there were, and with greater tokens.
 */
#include "network/bad.h"
#include "network/proxy.h"

static int standby;
static struct proxy primary;

static char *hosts(const char *form, int first, int second)
{
    return made(form, first, second, own_name());
}

static void check_found(void)
{
    const char *place = made("127.0.0.1:%d", standby);
    const char *words = "host=127.0.0.1,127.0.0.1 port=%d,%d user=dss dbname=dss_test schema=%s";
    const char *form = "postgresql://dss@127.0.0.1:%d,127.0.0.1:%d/dss_test?schema=%s";

    REFUSED(made("postgresql://dss@%s/dss_test?schema=%s", place, own_name()), -EROFS, place, "standby", "name the primary");
    REFUSED(hosts(form, standby, standby), -EROFS, place, "name the primary");
    works(hosts(words, standby, primary.port));
    works(hosts(words, primary.port, standby));
    works(hosts(form, standby, primary.port));
    works(hosts(form, primary.port, standby));
}

static struct dss_grant take(struct dss_handle *handle, const char *id)
{
    struct dss_grant grant;

    CHECK_RC(dss_lockv(handle, &id, 1, "ann", NULL, &grant), 0);
    return grant;
}

static void check_promoted(void)
{
    struct dss_handle handle;
    struct dss_grant before, after;
    double begun = test_seconds();
    char *replayed = made("SELECT count(*) FROM %s.lock WHERE lock_id = 'kept'", own_name());

    CHECK_RC(dss_init_uri(&handle, hosts("host=127.0.0.1,127.0.0.1 port=%d,%d user=dss dbname=dss_test schema=%s timeout_ms=5000",
                                         standby, primary.port)), 0);
    before = take(&handle, "token");
    CHECK_RC(dss_unlock(&handle, "token", "ann"), 0);
    CHECK_RC(dss_lock(&handle, "kept", "ann"), 0);
    while (atoi(sql_at(standby, replayed)) == 0)
        CHECK(test_seconds() - begun < 20);
    proxy_arm(&primary, PROXY_DOWN, 0, 0);
    /* Without waiting: on a standby that lags, replay would cancel a query that waits for the end of replay. */
    do_sql_at(standby, "SELECT pg_promote(false)");
    while (strcmp(sql_at(standby, "SELECT pg_is_in_recovery()"), "f") != 0)
        CHECK(test_seconds() - begun < 60);
    test_check_owner(&handle, "kept", "ann");
    CHECK_RC(dss_unlock(&handle, "kept", "ann"), 0);
    after = take(&handle, "token");
    CHECK(after.token > before.token);
    dss_fini(&handle);
}

int main(void)
{
    proxy_start_for_store(&primary);
    works(test_uri());
    standby = atoi(output_of(made("'%s' postgres-standby %s/standby %s", variable("DSS_TEST_SERVERS"), servers_dir(),
                                  variable("DSS_TEST_POSTGRES_PORT"))));
    CHECK(standby > 0);
    check_found();
    check_promoted();
    proxy_stop(&primary);
    return 0;
}
