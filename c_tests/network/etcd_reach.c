/*
 * Two of three servers are down for repair, the firewall swallows packets, the port is that of another program, and the keys below
 * the prefix belong to somebody else.
 *
 * Proves: one server that lives is enough; else it is told by the errno of its kind, at once (by a server that says nothing:
 * when the time is up), in a text that names the server, the cause and the cure; keys that are not a store of this version are
 * left as they were.
 */
#include "bad_etcd.h"
#include "network/proxy.h"

static struct etcd shared;
static const char *prefix;

static int server_port(void)
{
    return atoi(variable("DSS_TEST_ETCD_PORT"));
}

static void check_unreachable(void)
{
    int port = unused_port(), other = unused_port();

    REFUSED(made("etcd://127.0.0.1:%d", port), -ENOTCONN, made("127.0.0.1:%d", port), "refused", "see that it runs");
    REFUSED(made("etcd://127.0.0.1:%d,127.0.0.1:%d", port, other), -ENOTCONN, "127.0.0.1", "refused", "see that it runs");
    REFUSED("etcd://no-such-host.invalid", -ENOTCONN, "no-such-host.invalid", "name");
    /* Not an etcd. */
    if (getenv("DSS_TEST_POSTGRES_PORT") != NULL)
        REFUSED(made("etcd://127.0.0.1:%s", getenv("DSS_TEST_POSTGRES_PORT")), -ENOTCONN, "see that it");
}

/* One of several is enough, in whatever place it stands. */
static void check_one_alive(struct proxy *silent)
{
    int dead = unused_port(), dead_too = unused_port(), alive = server_port();
    double begun = test_seconds();

    works(made("etcd://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/%s", dead, dead_too, alive, prefix));
    works(made("etcd://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/%s", dead, alive, dead_too, prefix));
    works(made("etcd://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/%s", alive, dead, dead_too, prefix));
    CHECK(test_seconds() - begun < AT_ONCE_S);
    works(made("etcd://127.0.0.1:%d,127.0.0.1:%d/%s?timeout_ms=2000", silent->port, alive, prefix));
}

static void check_silent(struct proxy *silent)
{
    const char *place = made("127.0.0.1:%d", silent->port);
    char *uri = proxy_uri(silent, "timeout_ms=700");
    double took;

    took = REFUSED_IN(uri, -ENOTCONN, place, "no answer", "see that it runs");
    CHECK(took >= 0.5 && took < 1.7);
    took = REFUSED_IN(made("etcd://%s,127.0.0.1:%d?timeout_ms=700", place, unused_port()), -ENOTCONN, "127.0.0.1");
    CHECK(took < 1.7);
    proxy_arm(silent, PROXY_REFUSE, 0, 0);
    REFUSED(uri, -ENOTCONN, place, "see that it runs");
}

/* ---- A server of another age ---- */

/* Answers requests, each on its connection, until it is killed. */
static void serve_old(int listener, const char *answer)
{
    char request[8192];

    for (;;) {
        int client = accept(listener, NULL, NULL);
        size_t length = 0;
        ssize_t count;

        CHECK(client >= 0);
        /* All that is asked of it has an empty object for its body. */
        while (length < 2 || memcmp(request + length - 2, "{}", 2) != 0) {
            count = recv(client, request + length, sizeof(request) - length, 0);
            CHECK(count > 0);
            length += (size_t)count;
        }
        (void)send(client, answer, strlen(answer), MSG_NOSIGNAL);
        close(client);
    }
}

static void check_old(const char *status, const char *body, int rc, const char *part)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t server;

    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    server = fork();
    CHECK(server >= 0);
    if (server == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        serve_old(listener, made("HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body), body));
    }
    close(listener);
    REFUSED(made("etcd://127.0.0.1:%d", ntohs(address.sin_port)), rc, part, "3.4 or newer",
            made("127.0.0.1:%d", ntohs(address.sin_port)));
    CHECK(kill(server, SIGKILL) == 0 && waitpid(server, NULL, 0) == server);
}

static void check_old_servers(void)
{
    check_old("200 OK", "{\"version\":\"3.3.27\"}", -EPROTONOSUPPORT, "3.3.27");
    check_old("404 Not Found", "404 page not found\n", -EPROTONOSUPPORT, "404");
    check_old("403 Forbidden", "<html>no</html>", -ENOTCONN, "403");
}

/* ---- Keys of others ---- */

static char *keys_below(const char *name)
{
    char *all = etcd_do(&shared, "/v3/kv/range", made("{\"key\":\"%s\",\"range_end\":\"%s\"}", coded(made("%s/", name)),
                                                      coded(made("%s0", name)))), *kvs = strstr(all, "\"kvs\"");

    CHECK(kvs != NULL);
    return kvs;
}

static void put(const char *key, const char *value)
{
    (void)etcd_do(&shared, "/v3/kv/put", made("{\"key\":\"%s\",\"value\":\"%s\"}", coded(key), coded(value)));
}

static void check_foreign(const char *key, const char *value, int rc, const char *part)
{
    const char *name = made("%s_%zu_%zu", prefix, strlen(key), strlen(value));
    char *before;

    put(made("%s/%s", name, key), value);
    before = keys_below(name);
    REFUSED(made("etcd://127.0.0.1:%d/%s", server_port(), name), rc, name, part);
    CHECK(strcmp(keys_below(name), before) == 0);
}

/* Keys of others that are not in the way stay, and a store beside them works. */
static void check_neighbour(void)
{
    const char *name = made("%s_beside", prefix);
    char *apple;

    put(made("%s/apples/red", name), "7");
    apple = etcd_do(&shared, "/v3/kv/range", made("{\"key\":\"%s\"}", coded(made("%s/apples/red", name))));
    works(made("etcd://127.0.0.1:%d/%s", server_port(), name));
    works(made("etcd://127.0.0.1:%d/%s/apples", server_port(), name));
    CHECK(strstr(apple, "\"kvs\"") != NULL);
    CHECK(strcmp(strstr(etcd_do(&shared, "/v3/kv/range", made("{\"key\":\"%s\"}", coded(made("%s/apples/red", name)))), "\"kvs\""),
                 strstr(apple, "\"kvs\"")) == 0);
}

static int ignore(const struct dss_key_info *info, void *arg)
{
    (void)info;
    (void)arg;
    return 0;
}

static void check_values_overwritten(struct dss_handle *handle, const char *name)
{
    CHECK_RC(dss_set(handle, "tape", "7", 1, NULL, NULL), 0);
    put(made("%s/state/tape", name), "\005of a later time");
    CHECK_RC(dss_get(handle, "tape", NULL, NULL, NULL), -EPROTONOSUPPORT);
    put(made("%s/state/tape", name), "an apple");
    CHECK_RC(dss_get(handle, "tape", NULL, NULL, NULL), -EUCLEAN);
    check_says("tape");
    put(made("%s/size/tape", name), "an apple");
    CHECK_RC(dss_list(handle, NULL, ignore, NULL), -EUCLEAN);
    check_says("tape");
    /* Who sets it does not ask what stood there. */
    CHECK_RC(dss_set(handle, "tape", "8", 1, NULL, NULL), 0);
    CHECK_RC(dss_list(handle, NULL, ignore, NULL), 0);
}

/* Somebody writes over the entry of a lock, while the store is open. */
static void check_overwritten(void)
{
    const char *name = made("%s_over", prefix);
    struct dss_handle handle;

    CHECK_RC(dss_init_uri(&handle, made("etcd://127.0.0.1:%d/%s", server_port(), name)), 0);
    CHECK_RC(dss_lock(&handle, "mine", "ann"), 0);
    put(made("%s/lock/mine", name), "\005of a later time");
    CHECK_RC(dss_lock_status(&handle, "mine", NULL, NULL), -EPROTONOSUPPORT);
    put(made("%s/lock/mine", name), "an apple");
    CHECK_RC(dss_lock_status(&handle, "mine", NULL, NULL), -EUCLEAN);
    check_says("mine");
    CHECK_RC(dss_lock(&handle, "mine", "ann"), -EUCLEAN);
    CHECK_RC(dss_unlock(&handle, "mine", NULL), -EUCLEAN);
    use(&handle);
    CHECK(strstr(keys_below(name), coded("an apple")) != NULL);
    check_values_overwritten(&handle, name);
    dss_fini(&handle);
}

int main(void)
{
    struct proxy silent;

    proxy_start_for_store(&silent);
    proxy_arm(&silent, PROXY_SILENT, 0, 0);
    prefix = strrchr(test_uri(), '/') + 1;
    shared.curl = made("http://127.0.0.1:%d", server_port());
    check_unreachable();
    check_one_alive(&silent);
    check_silent(&silent);
    check_old_servers();
    check_foreign("store", "dss 99", -EPROTONOSUPPORT, "newer");
    check_foreign("store", "groceries", -EUCLEAN, "another prefix");
    check_foreign("store", "dss x", -EUCLEAN, "another prefix");
    check_foreign("lock/door", "7", -EUCLEAN, "another prefix");
    check_foreign("state/door", "", -EUCLEAN, "another prefix");
    check_foreign("size/door", "0", -EUCLEAN, "another prefix");
    check_neighbour();
    check_overwritten();
    proxy_stop(&silent);
    return 0;
}
