/*
 * The certificate is that of another host, or was signed by the authority of last year; or only one of the two sides was told to speak TLS.
 * Or the client's certificate has a common name, as almost all have, and the administrator turns users on: from then on etcd's gateway
 * answers 400 to each request. libdss took that for an etcd that is too old.
 *
 * Proves: with the right files a store works over TLS with certificates of both sides; every other pair is -ENOTCONN at once, and
 * the text says which option to look at; a file that is not there, or is none, is told before anybody is asked. With users a
 * certificate with a common name is -EACCES from init and -ENOTCONN later, and the text says what to do; one without works.
 */
#include "bad_etcd.h"

static const char *dir, *place;

/* Authorities `ca` and `other`; certificates NAME.pem with NAME.key. */
static void make_certificates(void)
{
    const char *script =
        "set -e; cd '%s'; exec 2>openssl.log\n"
        "for ca in ca other; do\n"
        "    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.pem -days 2 -subj /CN=$ca\n"
        "done\n"
        "sign() {\n" /* NAME CA SUBJECT_ALT_NAME [SUBJECT] */
        "    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj ${4:-/CN=$1}\n"
        "    echo \"subjectAltName=$3\" >$1.ext\n"
        "    openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 2 -extfile $1.ext -out $1.pem\n"
        "}\n"
        "sign server ca IP:127.0.0.1\n"
        "sign client ca DNS:client\n"
        "sign nameless ca DNS:client /O=libdss\n"
        "sign stranger other DNS:client\n";

    run(made(script, dir));
}

static void check_refused(void)
{
    int plain = atoi(variable("DSS_TEST_ETCD_PORT"));
    const char *junk = file_of("junk.pem", "no certificate\n", 0644);
    const char *good = made("cacert=%s/ca.pem&cert=%s/client.pem&key=%s/client.key", dir, dir, dir);

    /* One side speaks TLS. */
    REFUSED(made("etcd://%s/site", place), -ENOTCONN, place, "tls=on");
    REFUSED(made("etcd://127.0.0.1:%d/site?%s", plain, good), -ENOTCONN, made("127.0.0.1:%d", plain), "TLS");
    /* Whom we trust. */
    REFUSED(made("etcd://%s/site?cacert=%s/other.pem&cert=%s/client.pem&key=%s/client.key", place, dir, dir, dir), -ENOTCONN, place,
            "certificate", "cacert=");
    REFUSED(made("etcd://%s/site?tls=on", place), -ENOTCONN, place, "certificate", "cacert=");
    REFUSED(made("etcd://localhost:%s/site?%s", strchr(place, ':') + 1, good), -ENOTCONN, "localhost", "certificate");
    /* Whom the server trusts. */
    REFUSED(made("etcd://%s/site?cacert=%s/ca.pem", place, dir), -ENOTCONN, place, "cert=");
    REFUSED(made("etcd://%s/site?cacert=%s/ca.pem&cert=%s/stranger.pem&key=%s/stranger.key", place, dir, dir, dir), -ENOTCONN, place,
            "cert=");
    /* Files. */
    REFUSED(made("etcd://%s/site?cacert=%s/absent.pem", place, dir), -ENOENT, "cacert=", "absent.pem");
    REFUSED(made("etcd://%s/site?cacert=%s", place, junk), -EINVAL, "cacert=", "PEM");
    REFUSED(made("etcd://%s/site?cacert=%s/ca.pem&cert=%s/client.pem&key=%s", place, dir, dir, junk), -EINVAL, "key=", "PEM");
    REFUSED(made("etcd://%s/site?cacert=%s/ca.pem&cert=%s&key=%s/client.key", place, dir, junk, dir), -EINVAL, "cert=", "PEM");
    REFUSED(made("etcd://%s/site?cacert=%s/ca.pem&cert=%s/client.pem&key=%s/server.key", place, dir, dir, dir), -EINVAL, "cert=",
            "key=");
    REFUSED(made("etcd://%s/site?cacert=%s/ca.pem&cert=%s/client.pem", place, dir, dir), -EINVAL, "belong together");
    REFUSED(made("etcd://%s/site?tls=off&cacert=%s/ca.pem", place, dir), -EINVAL, "tls=off");
    REFUSED(made("etcd://%s/site?tls=maybe", place), -EINVAL, "tls=maybe");
}

/* A connection string with the certificate of this name. */
static const char *uri_by(const char *name, const char *options)
{
    return made("etcd://%s/site?cacert=%s/ca.pem&cert=%s/%s.pem&key=%s/%s.key%s", place, dir, dir, name, dir, name, options);
}

static void check_users(const struct etcd *etcd)
{
    const char *login = made("&user=app&password_file=%s", file_of("password", PASSWORD "\n", 0600));
    struct dss_handle handle;
    double begun;

    etcd_make_users(etcd);
    etcd_may(etcd, "grant", "app", "site");
    CHECK_RC(dss_init_uri(&handle, uri_by("client", "")), 0);
    (void)etcd_do(etcd, "/v3/auth/enable", "{}");

    REFUSED(uri_by("client", login), -EACCES, place, "common name (CN)", "cert= and key= of one without CN", "auth disable");
    REFUSED(uri_by("client", ""), -EACCES, place, "common name (CN)");
    REFUSED(uri_by("nameless", ""), -EACCES, place, "user=", "password_file=");
    works(uri_by("nameless", login));

    /* Users were turned on while it was open. */
    begun = test_seconds();
    CHECK_RC(dss_lock(&handle, "drive", "ann"), -ENOTCONN);
    check_says("common name (CN)");
    CHECK(test_seconds() - begun < AT_ONCE_S);
    dss_fini(&handle);
}

int main(void)
{
    struct etcd etcd = { .port = 0 };

    dir = test_dir();
    make_certificates();
    etcd.curl = made("--cacert %s/ca.pem --cert %s/client.pem --key %s/client.key", dir, dir, dir);
    etcd_start(&etcd, "https", made("--cert-file %s/server.pem --key-file %s/server.key --client-cert-auth --trusted-ca-file %s/ca.pem "
                                    "--unsafe-no-fsync", dir, dir, dir));
    place = made("127.0.0.1:%d", etcd.port);
    check_refused();
    works(uri_by("client", ""));
    check_users(&etcd);
    return 0;
}
