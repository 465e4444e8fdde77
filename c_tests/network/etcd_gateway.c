/*
 * etcd 3.6 brought grpc-gateway 2, which writes the error of a stream without the `grpc_code` that
 * libdss read. LeaseKeepAlive is a stream. So a renewal that met an expired login (a member had
 * restarted, or the login was 300 s old) took the error for an unknown one, repeated the request
 * with the same login, and the lock was lost although the store was well: `dss run --ttl 6s` ended
 * with 122 after 8 s.
 *
 * Proves, through a stand-in for that gateway: an expired login is renewed by all calls and by the
 * keepalive, also where a grpc-proxy has replaced the error's number by 2, and a kept lock stays
 * held; other errors have the errno and the text that they have with an older gateway; a change
 * that was not sent because the login failed is -ENOTCONN, and not -EINPROGRESS.
 */
#include <poll.h>

#include "network/bad_etcd.h"
#include "network/gateway.h"

static struct etcd etcd;
static struct gateway gateway;
static const char *place, *pass_file;

static const char *uri_of(const char *user, const char *file, const char *options)
{
    return made("etcd://%s/site?user=%s&password_file=%s%s", place, user, file, options);
}

static void check_refused(void)
{
    const char *wrong = file_of("wrong", "old-s3cr3t\n", 0600);

    REFUSED(uri_of("app", pass_file, ""), -EACCES, place, "leave user=");
    (void)etcd_do(&etcd, "/v3/auth/enable", "{}");
    REFUSED(uri_of("app", wrong, ""), -EACCES, place, "password_file=");
    REFUSED(made("etcd://%s/site", place), -EACCES, place, "user=", "password_file=");
    REFUSED(uri_of("guest", pass_file, ""), -EACCES, place, "grant the user a role");
}

/* Each call notices that its login has expired, and logs in again. */
static void check_calls(struct dss_handle *handle)
{
    int logins = atomic_load(&gateway.shared->logins);

    gateway_expire(&gateway);
    use(handle);
    CHECK(atomic_load(&gateway.shared->logins) == logins + 1);
}

static void check_no_loss(struct dss_handle *handle)
{
    struct dss_event event;
    int rc;

    while ((rc = dss_event_next(handle, &event)) == 1) {
        if (event.type == DSS_EVENT_LOST)
            fprintf(stderr, "%s is lost, reason %u\n", event.lock_id, event.reason);
        CHECK(event.type != DSS_EVENT_LOST);
    }
    CHECK_RC(rc, 0);
}

/* The first request after the login's end is a renewal. Further ones for more than a ttl succeed. */
static void check_kept(struct dss_handle *handle, int expired_code)
{
    struct dss_lock_opts opts = { .size = sizeof(opts), .ttl_ms = 3000, .flags = DSS_LOCK_KEEPALIVE };
    struct pollfd events = { .fd = dss_event_fd(handle), .events = POLLIN };
    const char *id = "kept";
    struct dss_grant grant;
    int64_t left_ms = 0;
    int refused, renewed;

    atomic_store(&gateway.shared->expired_code, expired_code);
    renewed = atomic_load(&gateway.shared->renewed);
    CHECK_RC(dss_lockv(handle, &id, 1, "ann", &opts, &grant), 0);
    CHECK(gateway_reaches(&gateway.shared->renewed, renewed + 1));
    refused = atomic_load(&gateway.shared->refused);
    gateway_expire_at_renewal(&gateway);
    CHECK(gateway_reaches(&gateway.shared->refused, refused + 1));
    renewed = atomic_load(&gateway.shared->renewed);
    while (atomic_load(&gateway.shared->renewed) < renewed + 4) {
        CHECK(poll(&events, 1, 50) >= 0);
        check_no_loss(handle);
    }
    /* One refusal is enough for a new login; other calls, which get one too, are not what saves the lock. */
    CHECK(atomic_load(&gateway.shared->refused) == refused + 1);
    CHECK_RC(dss_lock_left(handle, id, grant.token, &left_ms), 0);
    CHECK(left_ms > 0);
    test_check_owner(handle, id, "ann");
    CHECK_RC(dss_unlock(handle, id, "ann"), 0);
    check_no_loss(handle);
    atomic_store(&gateway.shared->expired_code, 16);
}

/* What fails is the login: of the change nothing was sent. */
static void check_login_fails(void)
{
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, uri_of("app", pass_file, "&timeout_ms=800")), 0);
    use(&handle);
    atomic_store(&gateway.shared->login_fails, 1);
    gateway_expire(&gateway);
    CHECK_RC(dss_lock(&handle, "new", "ann"), -ENOTCONN);
    check_says("request timed out");
    atomic_store(&gateway.shared->login_fails, 0);
    CHECK_RC(dss_lock_status(&handle, "new", NULL, NULL), -ENOLCK);
    dss_fini(&handle);
}

int main(void)
{
    struct dss_handle handle;

    etcd_start(&etcd, "http", "--bcrypt-cost 4 --unsafe-no-fsync");
    gateway_start(&gateway, etcd.port);
    place = made("127.0.0.1:%d", gateway.port);
    pass_file = file_of("password", PASSWORD "\n", 0600);
    etcd_make_users(&etcd);
    etcd_may(&etcd, "grant", "app", "site");
    check_refused();
    CHECK_RC(dss_init_uri(&handle, uri_of("app", pass_file, "&timeout_ms=3000")), 0);
    check_calls(&handle);
    check_kept(&handle, 16);
    check_kept(&handle, 2);
    dss_fini(&handle);
    check_login_fails();
    return 0;
}
