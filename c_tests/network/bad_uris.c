/*
 * An administrator mistypes the connection string of a server.
 *
 * Each kind of nonsense has its errno, before anything is asked of a server, and the text names the part that is wrong; a
 * server that is not there is another error, of another errno. And never is such a string taken for a file.
 */
#include "hazards/hazard.h"

struct bad_uri {
    const char *uri;
    int rc;
    const char *culprit; /* what the text of the error must show */
};

/* Nobody listens on port 1. */
static const struct bad_uri of_postgres[] = {
    {"postgresql://127.0.0.1:1/db?timeout_ms=soon", -EINVAL, "soon"},
    {"postgresql://127.0.0.1:1/db?timeout_ms=", -EINVAL, "timeout_ms"},
    {"postgresql://127.0.0.1:1/db?timeout_ms", -EINVAL, "timeout_ms"},
    {"postgresql://127.0.0.1:1/db?timeout_ms=-1", -ERANGE, "-1"},
    {"postgresql://127.0.0.1:1/db?timeout_ms=5&timeout_ms=6", -EINVAL, "timeout_ms"},
    {"postgresql://127.0.0.1:1/db?schema=Locks", -EINVAL, "Locks"},
    {"postgresql://127.0.0.1:1/db?schema=a;b", -EINVAL, "a;b"},
    {"postgresql://127.0.0.1:1/db?schema=pg_catalog", -EINVAL, "pg_catalog"},
    {"postgresql://127.0.0.1:1/db?colour=blue", -EINVAL, "colour"},
    {"postgres://127.0.0.1:1/db?colour=blue", -EINVAL, "colour"},
    {"dbname=db host=127.0.0.1 port=1 timeout_ms=soon", -EINVAL, "soon"},
    {"dbname=db host=127.0.0.1 port=1 colour=blue", -EINVAL, "colour"},
    {"dbname='db", -EINVAL, "quotes"},
    {"postgresql://127.0.0.1:1/db?timeout_ms=2000", -ENOTCONN, "127.0.0.1"},
    {"postgres://127.0.0.1:1/db?timeout_ms=2000", -ENOTCONN, "127.0.0.1"},
    {"host=127.0.0.1 port=1 timeout_ms=2000", -ENOTCONN, "127.0.0.1"},
    {"dbname = db port = 1 host = 127.0.0.1 timeout_ms = 2000", -ENOTCONN, "127.0.0.1"},
};

static const struct bad_uri of_etcd[] = {
    {"etcd:", -EINVAL, "etcd://"},
    {"etcd:127.0.0.1:1", -EINVAL, "etcd://"},
    {"etcd://", -EINVAL, "address"},
    {"etcd:///prefix", -EINVAL, "address"},
    {"etcd://127.0.0.1:0", -EINVAL, "127.0.0.1:0"},
    {"etcd://127.0.0.1:65536", -EINVAL, "65536"},
    {"etcd://127.0.0.1:door", -EINVAL, "door"},
    {"etcd://127.0.0.1:1,", -EINVAL, "address"},
    {"etcd://127.0.0.1:1/pre fix", -EINVAL, "pre fix"},
    {"etcd://127.0.0.1:1?timeout_ms=soon", -EINVAL, "soon"},
    {"etcd://127.0.0.1:1?timeout_ms=-1", -ERANGE, "-1"},
    {"etcd://127.0.0.1:1?timeout_ms=5&timeout_ms=6", -EINVAL, "timeout_ms"},
    {"etcd://127.0.0.1:1?colour=blue", -EINVAL, "colour"},
    {"etcd://127.0.0.1:1?mode=0600", -EINVAL, "mode"},
    {"etcd://127.0.0.1:1?tls=maybe", -EINVAL, "maybe"},
    {"etcd://127.0.0.1:1?cert=a.pem", -EINVAL, "key"},
    {"etcd://127.0.0.1:1?user=ann", -EINVAL, "password_file"},
    {"etcd://127.0.0.1:1?timeout_ms=2000", -ENOTCONN, "127.0.0.1"},
    {"etcd://127.0.0.1:1,127.0.0.1:2/prefix?timeout_ms=2000", -ENOTCONN, "127.0.0.1"},
};

static void is_refused(const struct bad_uri *bad)
{
    struct dss_handle handle;
    int rc;

    memset(&handle, 0xa5, sizeof(handle));
    rc = dss_init_uri(&handle, bad->uri);
    if (rc != bad->rc || strstr(dss_last_error(), bad->culprit) == NULL)
        fprintf(stderr, "%s: %d, %s\n", bad->uri, rc, dss_last_error());
    CHECK_RC(rc, bad->rc);
    CHECK(strstr(dss_last_error(), bad->culprit) != NULL);
    CHECK(handle.dh_conn == NULL);
    CHECK(rmdir(test_dir()) == 0 && mkdir(test_dir(), 0700) == 0 && chdir(test_dir()) == 0); /* no file is in it */
}

int main(void)
{
    const struct bad_uri *bad = test_store_is("postgres") ? of_postgres : of_etcd;
    size_t count = test_store_is("postgres") ? sizeof(of_postgres) / sizeof(*bad) : sizeof(of_etcd) / sizeof(*bad);

    CHECK(chdir(test_dir()) == 0);
    for (size_t i = 0; i < count; i++)
        is_refused(&bad[i]);
    return 0;
}
