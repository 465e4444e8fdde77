/*
 * The database has moved to another machine, the firewall swallows packets, the server is ten years old, libpq5 was removed with
 * some other package, and the connection string is what is left of one that was edited on the telephone.
 *
 * Proves: each of these is told by its own errno, at once (from a server that says nothing: when the time is up), in a text that
 * names the server, the cause and the cure; and of a connection string that nobody understands no part of a password is shown.
 *
 *   postgres_reach [child URI RC PART...]
 */
#include "network/bad.h"
#include "network/proxy.h"

#include <langinfo.h>
#include <locale.h>

static int server_port(void)
{
    return atoi(variable("DSS_TEST_POSTGRES_PORT"));
}

/*
 * Of several hosts the first one was gone without a word: libpq waited for it until the call's time was up, and never tried the
 * next one. (In the environment, too: PGPORT.)
 */
static void check_one_of_several(int silent)
{
    const char *ports = made("%d,%d", silent, server_port());
    double begun = test_seconds();

    works(made("host=127.0.0.1,127.0.0.1 port=%s user=dss dbname=dss_test schema=%s timeout_ms=2000", ports, own_name()));
    works(made("postgresql://dss@127.0.0.1:%d,127.0.0.1:%d/dss_test?schema=%s&timeout_ms=2000", silent, server_port(), own_name()));
    CHECK(setenv("PGHOST", "127.0.0.1,127.0.0.1", 1) == 0 && setenv("PGPORT", ports, 1) == 0);
    works(made("postgresql:///dss_test?user=dss&schema=%s&timeout_ms=2000", own_name()));
    CHECK(unsetenv("PGHOST") == 0 && unsetenv("PGPORT") == 0);
    CHECK(test_seconds() - begun < 6);
    REFUSED(made("host=127.0.0.1,127.0.0.1 port=%d,%d user=dss dbname=d timeout_ms=600", silent, silent), -ENOTCONN, "not answered");
}

static void check_silent(void)
{
    struct proxy proxy;
    char *uri, *place;
    double took;

    proxy_start_for_store(&proxy);
    uri = proxy_uri(&proxy, "timeout_ms=700");
    place = made("127.0.0.1:%d/dss_test", proxy.port);
    proxy_arm(&proxy, PROXY_SILENT, 0, 0);
    took = REFUSED_IN(uri, -ENOTCONN, place, "not answered", "check");
    CHECK(took >= 0.7 && took < 1.7);
    check_one_of_several(proxy.port);
    proxy_arm(&proxy, PROXY_REFUSE, 0, 0);
    REFUSED(uri, -ENOTCONN, place, "closed", "check");
    proxy_stop(&proxy);
}

static void check_unreachable(void)
{
    int port = unused_port();

    REFUSED(made("postgresql://dss:" PASSWORD "@127.0.0.1:%d/dss_test", port), -ENOTCONN, made("127.0.0.1:%d/dss_test", port),
            "refused", "check that the server runs");
    REFUSED(made("host=127.0.0.1,127.0.0.1 port=%d,%d user=dss dbname=d", port, unused_port()), -ENOTCONN, "refused");
    REFUSED("postgresql://dss:" PASSWORD "@no-such-host.invalid/d", -ENOTCONN, "no-such-host.invalid");
    REFUSED("host=/nowhere user=dss dbname=d", -ENOTCONN, "/nowhere", "No such file", "check that the server runs");
    REFUSED(made("%s&sslmode=require", test_uri()), -ENOTCONN, made("127.0.0.1:%d", server_port()), "SSL", "sslmode");
}

/* ---- A server of another age ---- */

static void take_message(int client)
{
    unsigned char bytes[4];
    uint32_t length;

    CHECK(recv(client, bytes, sizeof(bytes), MSG_WAITALL) == (ssize_t)sizeof(bytes));
    length = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    CHECK(length >= 8 && length < 1024);
    for (length -= 4; length > 0; length--)
        CHECK(recv(client, bytes, 1, 0) == 1);
}

/* What a server of version 12 says to one who connects: no TLS, no password, its version, go on. */
static void serve_old(int listener)
{
    static const char hello[] = "R\0\0\0\x08\0\0\0\0" "S\0\0\0\x18" "server_version\0" "12.9\0" "Z\0\0\0\x05I";
    int client = accept(listener, NULL, NULL);
    char byte;

    CHECK(client >= 0);
    take_message(client);
    CHECK(send(client, "N", 1, MSG_NOSIGNAL) == 1);
    take_message(client);
    CHECK(send(client, hello, sizeof(hello) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(hello) - 1);
    /* It says goodbye and goes: nothing else was asked of this server. */
    CHECK(recv(client, &byte, 1, 0) == 1 && byte == 'X');
}

static void check_old_server(void)
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
        serve_old(listener);
        _exit(0);
    }
    close(listener);
    REFUSED(made("postgresql://dss@127.0.0.1:%d/d?sslmode=prefer&gssencmode=disable", ntohs(address.sin_port)), -EPROTONOSUPPORT,
            "12.9", "13 or newer", made("127.0.0.1:%d", ntohs(address.sin_port)));
    test_join(server);
}

/* ---- No libpq ---- */

/* What the child finds when it looks for libpq.so.5. */
static void check_libpq(const char *folder, const char *self, const char *const *parts)
{
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        CHECK(setenv("LD_LIBRARY_PATH", folder, 1) == 0);
        execl(self, self, "child", made("%d", -EPROTONOSUPPORT), parts[0], parts[1], (char *)NULL);
        _exit(127);
    }
    test_join(child);
}

static void check_no_libpq(const char *self)
{
    const char *const parts[] = { "libpq.so.5", "libpq5" };
    char *path = file_of("libpq.so.5", "This is no library, and it stands where one should be.\n", 0644);

    check_libpq(test_dir(), self, parts);
    CHECK(unlink(path) == 0);
    /* A library of that name, but not that library. */
    CHECK(symlink(variable("DSS_TEST_LIBRARY"), path) == 0);
    check_libpq(test_dir(), self, parts);
    CHECK(unlink(path) == 0);
}

static int be_child(char **arguments)
{
    REFUSED(variable("DSS_TEST_POSTGRES"), atoi(arguments[2]), arguments[3], arguments[4]);
    /* It is not worse the second time. */
    REFUSED(variable("DSS_TEST_POSTGRES"), atoi(arguments[2]), arguments[3], arguments[4]);
    return 0;
}

/* ---- Nonsense ---- */

static void check_nonsense(void)
{
    const char *port = variable("DSS_TEST_POSTGRES_PORT");

    REFUSED("postgresql://dss:" PASSWORD "@h/d?colour=blue", -EINVAL, "colour");
    REFUSED("host=h password=" PASSWORD " colour=blue", -EINVAL, "colour");
    REFUSED("host=h password='" PASSWORD, -EINVAL, "quotes");
    REFUSED("host=h password=x s3cr3t pa55 user=u", -EINVAL, "quotes");
    REFUSED("host=h password= user =", -EINVAL, "connection string");
    REFUSED("postgresql://dss:s3cr3t%zzpa55@h/d", -EINVAL, "connection string");
    REFUSED("postgresql://dss:s3cr3t%00pa55@h/d", -EINVAL, "connection string");
    REFUSED("postgresql://dss:" PASSWORD "@[::1/d", -EINVAL, "connection string");
    REFUSED("postgresql://dss:" PASSWORD "@h/d?schema=Dss", -EINVAL, "schema=Dss");
    REFUSED("postgresql://dss:" PASSWORD "@h/d?schema=a&schema=b", -EINVAL, "schema", "twice");
    REFUSED("host=h password=" PASSWORD " timeout_ms=soon", -EINVAL, "timeout_ms=soon");
    REFUSED("host=h password=" PASSWORD " timeout_ms=-1", -ERANGE, "timeout_ms=-1");
    /* A password has to be written with %40 for @ and %2F for /, else a part of it is taken for a host, or a port. */
    REFUSED("postgresql://dss:s3cr3t@pa55@h/d", -EINVAL, "%40");
    REFUSED("postgresql://dss:s3cr3t/pa55@h/d", -EINVAL, "%2F");
    REFUSED("postgresql://dss:1/pa55@h/d", -EINVAL, "%2F");
    REFUSED("dbname=postgresql://dss:s3cr3t@pa55@h/d", -EINVAL, "%40");
    REFUSED("postgresql://dss:s3cr3t-pa55", -EINVAL, "port");
    /* Words that libpq knows, with values that it does not. */
    REFUSED("postgresql://dss:" PASSWORD "@h:99999/d", -EINVAL, "port");
    REFUSED("host=h port=abc password=" PASSWORD, -EINVAL, "port");
    REFUSED("host=h sslmode=maybe password=" PASSWORD, -EINVAL, "maybe");
    REFUSED("host=h target_session_attrs=fast password=" PASSWORD, -EINVAL, "fast");
    REFUSED("host=a,b,c port=1,2 password=" PASSWORD, -EINVAL, "port");
    REFUSED("service=no-such-service password=" PASSWORD, -EINVAL, "no-such-service");
    /* What looks like it is not refused. */
    works(made("postgresql://dss:with%%40and%%2F@127.0.0.1:%s/dss_test?schema=%s", port, own_name()));
    works(made("host = 127.0.0.1 port=%s user=dss dbname=dss_test password='a b@c/d\\'' schema=%s", port, own_name()));
}

/* A program may speak the language of its users; libpq then does too. */
static void check_in_german(void)
{
    CHECK(setenv("LANGUAGE", "de", 1) == 0);
    CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
    REFUSED("host=h port=abc password=" PASSWORD, -EINVAL, "port");
    REFUSED("host=h sslmode=maybe password=" PASSWORD, -EINVAL, "maybe");
    REFUSED("host=h password=" PASSWORD " colour=blue", -EINVAL, "colour");
    CHECK(strcmp(setlocale(LC_ALL, NULL), "C.UTF-8") == 0);
    CHECK(strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
    CHECK(unsetenv("LANGUAGE") == 0);
    CHECK(setlocale(LC_ALL, "C") != NULL);
}

int main(int count, char **arguments)
{
    if (count > 1)
        return be_child(arguments);
    check_silent();
    check_unreachable();
    check_old_server();
    check_no_libpq("/proc/self/exe");
    check_nonsense();
    check_in_german();
    return 0;
}
