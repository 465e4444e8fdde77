/*
 * The password file holds last year's password; the user was made, and nobody gave him a role; the server forgets tokens after
 * a second; and the administrator changes roles while programs hold locks.
 *
 * Proves, on a server that asks for users: what is wrong is told as -EACCES, with the server and what to do, and without the
 * password; a token that is no longer good is fetched anew, and no call fails for it; rights that are taken away later are
 * -ENOTCONN, and nothing is changed.
 */
#include "bad_etcd.h"

static struct etcd etcd;
static const char *place, *pass_file;

static void sign_in_as_root(void)
{
    char *answer, *token, *end;

    etcd.curl = made("http://127.0.0.1:%d", etcd.port); /* without a token that has run out */
    answer = etcd_do(&etcd, "/v3/auth/authenticate", "{\"name\":\"root\",\"password\":\"" PASSWORD "\"}");
    token = strstr(answer, "\"token\":\"");
    CHECK(token != NULL);
    token += strlen("\"token\":\"");
    end = strchr(token, '"');
    etcd.curl = made("-H 'Authorization: %.*s' http://127.0.0.1:%d", (int)(end - token), token, etcd.port);
}

static void check_wrong(void)
{
    const char *wrong = file_of("wrong", "old-s3cr3t\n", 0600), *absent = test_path("absent");

    REFUSED(made("etcd://%s/site?user=app&password_file=%s", place, wrong), -EACCES, place, "password_file=");
    REFUSED(made("etcd://%s/site?user=stranger&password_file=%s", place, pass_file), -EACCES, place, "user=");
    REFUSED(made("etcd://%s/site", place), -EACCES, place, "user=", "password_file=");
    REFUSED(made("etcd://%s/site?user=guest&password_file=%s", place, pass_file), -EACCES, place, "grant the user a role");
    REFUSED(made("etcd://%s/elsewhere?user=app&password_file=%s", place, pass_file), -EACCES, place, "prefix");
    REFUSED(made("etcd://%s/site?user=app&password_file=%s", place, absent), -ENOENT, absent);
    REFUSED(made("etcd://%s/site?user=app&password_file=%s", place, file_of("binary", "s3cr3t\xff\xfe", 0600)), -EINVAL,
            "password_file=");
    REFUSED(made("etcd://app:" PASSWORD "@%s/site", place), -EINVAL, "user=");
    /* The shared server has no users. */
    REFUSED(made("%s/site?user=app&password_file=%s", variable("DSS_TEST_ETCD"), pass_file), -EACCES, "leave user=");
}

/* While nothing is asked the server forgets who we are: also this test's own token, which is younger than the library's. */
static void check_expiry(struct dss_handle *handle)
{
    use(handle);
    sign_in_as_root();
    (void)usleep(2500000);
    CHECK(strstr(etcd_ask(&etcd, "/v3/auth/user/list", "{}"), "invalid auth token") != NULL);
    use(handle);
}

/* A change of any role makes all tokens old; who renews a lease meets that too. */
static void check_kept(struct dss_handle *handle)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .ttl_ms = 2000, .flags = DSS_LOCK_KEEPALIVE };
    const char *id = "kept";
    int64_t left_ms = 0;
    struct dss_grant grant;
    double begun;

    CHECK_RC(dss_lockv(handle, &id, 1, "ann", &opts, &grant), 0);
    sign_in_as_root();
    etcd_may(&etcd, "grant", "guest", "anything");
    begun = test_seconds();
    while (test_seconds() - begun < 2.5) {
        CHECK_RC(dss_lock_left(handle, id, grant.token, &left_ms), 0);
        CHECK(left_ms > 0);
        (void)usleep(50000);
    }
    test_check_owner(handle, id, "ann");
    CHECK_RC(dss_unlock(handle, id, "ann"), 0);
}

static void check_changes(struct dss_handle *handle)
{
    double begun;

    CHECK_RC(dss_lock(handle, "held", "ann"), 0);
    sign_in_as_root();
    etcd_may(&etcd, "revoke", "app", "site");
    begun = test_seconds();
    CHECK_RC(dss_unlock(handle, "held", "ann"), -ENOTCONN);
    check_says(place);
    check_says("grant the user a role");
    CHECK_RC(dss_lock(handle, "new", "ann"), -ENOTCONN);
    CHECK_RC(dss_lock_status(handle, "held", NULL, NULL), -ENOTCONN);
    CHECK(test_seconds() - begun < AT_ONCE_S);
    sign_in_as_root();
    etcd_may(&etcd, "grant", "app", "site");
    test_check_owner(handle, "held", "ann");
    test_check_owner(handle, "new", NULL);
    CHECK_RC(dss_unlock(handle, "held", "ann"), 0);
    use(handle);
}

int main(void)
{
    struct dss_handle handle;

    etcd_start(&etcd, "http", "--auth-token-ttl 1 --bcrypt-cost 4 --unsafe-no-fsync");
    place = made("127.0.0.1:%d", etcd.port);
    pass_file = file_of("password", PASSWORD "\nand a second line\n", 0600);
    etcd_make_users(&etcd);
    etcd_may(&etcd, "grant", "app", "site");
    REFUSED(made("etcd://%s/site?user=app&password_file=%s", place, pass_file), -EACCES, "leave user=");
    (void)etcd_do(&etcd, "/v3/auth/enable", "{}");
    check_wrong();
    CHECK_RC(dss_init_uri(&handle, made("etcd://%s/site?user=app&password_file=%s&timeout_ms=3000", place, pass_file)), 0);
    check_expiry(&handle);
    check_kept(&handle);
    check_changes(&handle);
    dss_fini(&handle);
    return 0;
}
