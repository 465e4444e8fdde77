/*
 * The password was changed, the role was never made, the database has another name; and somebody else keeps the password in
 * ~/.pgpass, or all of it in a service file, as for every other program that uses libpq.
 *
 * Proves, on a server that asks for passwords: what is wrong is told as -EACCES or -ENOENT, with the server and what to do, and
 * without the password; and each way in which libpq can be told who we are works.
 */
#include "network/bad.h"

static int port;
static const char *app, *guest, *place;

/* Whether the role is asked for a password by now: the server reads its rules when it gets round to it. */
static int asks_for_password(const char *role)
{
    return strstr(output_of(made("%s/psql -X -w -h 127.0.0.1 -p %d -U %s -d dss_test -c '' 2>&1 || :",
                                 variable("DSS_TEST_POSTGRES_BIN"), port, role)), "no password supplied") != NULL;
}

static const char *rules(void)
{
    return made("%s/pg_hba.conf", variable("DSS_TEST_POSTGRES_DATA"));
}

static void forget_rules(void)
{
    if (getpid() == test_process_)
        run(made("sed -i /%s/d %s", own_name(), rules()));
}

/* Two roles of this test's own; the server asks one for a password, and does not let another one in. */
static void make_roles(void)
{
    double begun = test_seconds();

    port = atoi(variable("DSS_TEST_POSTGRES_PORT"));
    place = made("127.0.0.1:%d", port);
    app = made("%s_app", own_name());
    guest = made("%s_guest", own_name());
    do_sql(made("SET password_encryption = 'scram-sha-256'; CREATE ROLE %s LOGIN PASSWORD '" PASSWORD "'", app));
    do_sql(made("GRANT CREATE ON DATABASE dss_test TO %s; CREATE ROLE %s LOGIN", app, guest));
    CHECK(atexit(forget_rules) == 0);
    run(made("sed -i -e '1i host all %s,%s_gone 127.0.0.1/32 scram-sha-256' -e '1i host all %s_stranger 127.0.0.1/32 reject' %s", app,
             app, app, rules()));
    do_sql("SELECT pg_reload_conf()");
    while (!asks_for_password(app))
        CHECK(test_seconds() - begun < 20);
}

static void check_wrong(void)
{
    REFUSED(made("postgresql://%s:wrong-s3cr3t@%s/dss_test", app, place), -EACCES, place, "password authentication failed", app,
            "pgpass");
    REFUSED(made("postgresql://%s@%s/dss_test", app, place), -EACCES, place, "no password", "pgpass");
    REFUSED(made("postgresql://%s_gone:" PASSWORD "@%s/dss_test", app, place), -EACCES, place, "_gone\"", "check the user");
    REFUSED(made("postgresql://%s_stranger:" PASSWORD "@%s/dss_test", app, place), -EACCES, place, "_stranger\"", "pg_hba.conf");
    REFUSED(made("postgresql://%s_nobody@%s/dss_test", app, place), -EACCES, place, "_nobody\" does not exist", "check the user");
    REFUSED(made("postgresql://%s:" PASSWORD "@%s/%s_none", app, place, app), -ENOENT, place, "_none\"", "create the database");
}

/* A role that may log in, but not to this database. */
static void check_other_database(void)
{
    do_sql(made("CREATE DATABASE %s", app));
    do_sql(made("REVOKE CONNECT ON DATABASE %s FROM PUBLIC", app));
    REFUSED(made("postgresql://%s@%s/%s", guest, place, app), -EACCES, "may not connect", place, app);
    do_sql(made("DROP DATABASE %s", app));
}

/* Each way to say it, with the rest of the environment as it was. */
static void check_ways(void)
{
    const char *schema = made("%s_store", own_name());
    const char *pgpass = file_of("pgpass", made("127.0.0.1:%d:*:%s:" PASSWORD "\n", port, app), 0600);
    const char *bad_pass = file_of("bad_pgpass", made("127.0.0.1:%d:*:%s:old-s3cr3t\n", port, app), 0600);
    const char *service = made("[site]\nhost=127.0.0.1\nport=%d\nuser=%s\npassword=" PASSWORD "\ndbname=dss_test\n", port, app);

    works(made("postgresql://%s:" PASSWORD "@%s/dss_test?schema=%s", app, place, schema));
    works(made("postgres://%s@%s/dss_test?password=" PASSWORD "&schema=%s&connect_timeout=3", app, place, schema));
    works(made("host=127.0.0.1 port=%d user=%s password='" PASSWORD "' dbname=dss_test schema=%s timeout_ms=5000", port, app, schema));
    works(made("host=127.0.0.1 port=%d user=%s passfile=%s dbname=dss_test schema='%s'", port, app, pgpass, schema));
    REFUSED(made("host=127.0.0.1 port=%d user=%s passfile=%s dbname=dss_test", port, app, bad_pass), -EACCES, bad_pass);

    CHECK(setenv("PGPASSFILE", pgpass, 1) == 0);
    works(made("postgresql://%s@%s/dss_test?schema=%s", app, place, schema));
    CHECK(unsetenv("PGPASSFILE") == 0);

    CHECK(setenv("PGSERVICEFILE", file_of("services", service, 0600), 1) == 0);
    works(made("service=site schema=%s", schema));
    works(made("postgresql://?service=site&timeout_ms=5000&schema=%s", schema));
    REFUSED("service=another", -EINVAL, "another");
    CHECK(unsetenv("PGSERVICEFILE") == 0);

    CHECK(setenv("PGHOST", "127.0.0.1", 1) == 0 && setenv("PGPORT", made("%d", port), 1) == 0);
    CHECK(setenv("PGUSER", app, 1) == 0 && setenv("PGDATABASE", "dss_test", 1) == 0);
    CHECK(setenv("PGPASSWORD", PASSWORD, 1) == 0);
    works(made("postgresql://?schema=%s", schema));
    works(made("dbname=dss_test schema=%s", schema));
    CHECK(setenv("PGPASSWORD", "old-s3cr3t", 1) == 0);
    REFUSED("postgresql://", -EACCES, place);
    CHECK(unsetenv("PGHOST") == 0 && unsetenv("PGPORT") == 0 && unsetenv("PGUSER") == 0);
    CHECK(unsetenv("PGDATABASE") == 0 && unsetenv("PGPASSWORD") == 0);
}

/* The password is changed while the store is open: the handle goes on until its connection is lost, and again when it is right. */
static void check_changed(void)
{
    const char *uri = made("postgresql://%s:" PASSWORD "@%s/dss_test?schema=%s_store&timeout_ms=700", app, place, own_name());
    struct dss_handle handle;
    double begun;

    CHECK_RC(dss_init_uri(&handle, uri), 0);
    CHECK_RC(dss_lock(&handle, "kept", "ann"), 0);
    do_sql(made("ALTER ROLE %s PASSWORD 'another'", app));
    CHECK_RC(dss_lock_refresh(&handle, "kept", "ann"), 0);
    end_sessions(app);
    begun = test_seconds();
    CHECK_RC(dss_unlock(&handle, "kept", "ann"), -ENOTCONN);
    CHECK(test_seconds() - begun < 1.7);
    check_says("password authentication failed");
    check_says(place);
    do_sql(made("ALTER ROLE %s PASSWORD '" PASSWORD "'", app));
    CHECK_RC(dss_unlock(&handle, "kept", "ann"), 0);
    dss_fini(&handle);
}

int main(void)
{
    make_roles();
    check_wrong();
    check_other_database();
    check_ways();
    check_changed();
    return 0;
}
