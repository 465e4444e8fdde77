/*
 * What the programs about an administrator's mistakes share: to run other programs, and to see that a connection string is
 * refused for the right reason, soon, and without a word of the password.
 */
#ifndef BAD_H
#define BAD_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "test.h"

/* Parts of it are looked for in every text. */
#define PASSWORD "s3cr3t-pa55"

/* Whatever is refused is refused without waiting, except by a server that says nothing. */
#define AT_ONCE_S 4

/* A text made by printf(3), in memory that stays. */
__attribute__((format(printf, 1, 2))) static inline char *made(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    CHECK(vasprintf(&text, format, arguments) >= 0);
    va_end(arguments);
    return text;
}

/* Runs a command of the shell, which must succeed. */
static inline void run(const char *command)
{
    int status = system(command);

    if (status != 0)
        fprintf(stderr, "%s\nhas ended with status %d\n", command, status);
    CHECK(status == 0);
}

/* Its output, without the last line's end, in memory that stays. */
static inline char *output_of(const char *command)
{
    char *text = calloc(1, 1 << 20);
    FILE *pipe = popen(command, "r");
    size_t length;

    CHECK(text != NULL && pipe != NULL);
    length = fread(text, 1, (1 << 20) - 1, pipe);
    if (pclose(pipe) != 0)
        fprintf(stderr, "%s\nhas failed\n", command);
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    return text;
}

/* A file of this content in test_dir(), its path in memory that stays. */
static inline char *file_of(const char *name, const char *content, mode_t mode)
{
    char *path = test_path(name);
    FILE *file = fopen(path, "w");

    CHECK(file != NULL);
    CHECK(fputs(content, file) >= 0);
    CHECK(fclose(file) == 0);
    CHECK(chmod(path, mode) == 0);
    return path;
}

/* A variable that the test can't go without. */
static inline const char *variable(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL)
        fprintf(stderr, "$%s is not set\n", name);
    CHECK(value != NULL);
    return value;
}

/* ---- Servers of the test's own ---- */

static char servers_dir_[64];
static pid_t servers_owner_;

static inline void servers_clean_(void)
{
    if (servers_owner_ == getpid())
        run(made("for each in %s/*; do '%s' clean \"$each\" || exit; done; rmdir %s", servers_dir_, variable("DSS_TEST_SERVERS"),
                 servers_dir_));
}

/* Where the folders of servers lie, which end with the test. */
static inline const char *servers_dir(void)
{
    if (servers_dir_[0] == '\0') {
        strcpy(servers_dir_, "/tmp/dss-bad-XXXXXX");
        CHECK(mkdtemp(servers_dir_) != NULL);
        CHECK(chmod(servers_dir_, 0755) == 0);
        servers_owner_ = getpid();
        CHECK(setenv("DSS_SERVERS_OWNER", made("%d", (int)getpid()), 1) == 0);
        CHECK(atexit(servers_clean_) == 0);
    }
    return servers_dir_;
}

/* A port on which nobody listens, as long as nobody else has the same thought. */
static inline int unused_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd, rc, port, tries = 0;
    uint16_t any = 0;

    do {
        CHECK(tries++ < 100);
        CHECK(getrandom(&any, sizeof(any), 0) == (ssize_t)sizeof(any));
        port = 20000 + any % 12000;
        address.sin_port = htons((uint16_t)port);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0);
        rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
    } while (rc != 0);
    return port;
}

/* ---- What is refused ---- */

static inline void check_says(const char *part)
{
    if (strstr(dss_last_error(), part) == NULL) {
        fprintf(stderr, "there is no '%s' in: %s\n", part, dss_last_error());
        exit(1);
    }
}

/* Neither the password nor a half of it. */
static inline void check_keeps_secret(const char *uri)
{
    if (strstr(dss_last_error(), "s3cr3t") != NULL || strstr(dss_last_error(), "pa55") != NULL) {
        fprintf(stderr, "%s: a part of the password is in: %s\n", uri, dss_last_error());
        exit(1);
    }
}

/* Ends the test unless dss_init_uri() gives this error with all these parts in its text. Returns the seconds that it took. */
static inline double refused_in(const char *uri, int rc, const char *const *parts)
{
    struct dss_handle handle;
    double begun = test_seconds(), took;

    memset(&handle, 0xa5, sizeof(handle));
    fprintf(stderr, "%s\n", uri);
    CHECK_RC(dss_init_uri(&handle, uri), rc);
    took = test_seconds() - begun;
    fprintf(stderr, "    %.3f s: %s\n", took, dss_last_error());
    CHECK(handle.dh_conn == NULL);
    for (; *parts != NULL; parts++)
        check_says(*parts);
    check_keeps_secret(uri);
    return took;
}

#define REFUSED_IN(uri, rc, ...) refused_in(uri, rc, (const char *const[]){ __VA_ARGS__, NULL })
#define REFUSED(uri, rc, ...) CHECK(REFUSED_IN(uri, rc, __VA_ARGS__) < AT_ONCE_S)

/* Takes, sees and releases a lock. */
static inline void use(struct dss_handle *handle)
{
    const char *id = "of use";

    CHECK_RC(dss_lock(handle, id, "ann"), 0);
    test_check_owner(handle, id, "ann");
    CHECK_RC(dss_lock_refresh(handle, id, "ann"), 0);
    CHECK_RC(dss_unlock(handle, id, "ann"), 0);
    CHECK_RC(dss_lock_status(handle, id, NULL, NULL), -ENOLCK);
}

static inline void works(const char *uri)
{
    struct dss_handle handle;

    fprintf(stderr, "%s\n", uri);
    CHECK_RC(dss_init_uri(&handle, uri), 0);
    use(&handle);
    dss_fini(&handle);
}

/* ---- PostgreSQL ---- */

/* The schema's name in test_uri(), which no other test has. */
static inline const char *own_name(void)
{
    return strstr(test_uri(), "?schema=") + strlen("?schema=");
}

/* Has an administrator's SQL done by the server on this port; it is given without double quotes. */
static inline char *sql_at(int port, const char *sql)
{
    return output_of(made("PGOPTIONS='-c client_min_messages=warning' %s/psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 "
                          "-p %d -U %s -d dss_test -c \"%s\" || echo failed",
                          variable("DSS_TEST_POSTGRES_BIN"), port, variable("DSS_TEST_POSTGRES_USER"), sql));
}

static inline void do_sql_at(int port, const char *sql)
{
    char *output = sql_at(port, sql);

    if (strstr(output, "failed") != NULL)
        fprintf(stderr, "%s\n%s\n", sql, output);
    CHECK(strstr(output, "failed") == NULL);
}

static inline char *sql(const char *text)
{
    return sql_at(atoi(variable("DSS_TEST_POSTGRES_PORT")), text);
}

static inline void do_sql(const char *text)
{
    do_sql_at(atoi(variable("DSS_TEST_POSTGRES_PORT")), text);
}

/*
 * Ends the connections of a role; when this returns their sockets are closed. A server process leaves the list of those that
 * are active before it closes its socket, and a request that is sent in between has an unknown outcome.
 */
static inline void end_sessions(const char *role)
{
    char *pids = sql(made("SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE usename = '%s'", role)), *next;
    double begun = test_seconds();

    do_sql(made("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'", role));
    for (pid_t pid; (pid = (pid_t)strtol(pids, &next, 10)) > 0; pids = next) {
        while (kill(pid, 0) == 0)
            CHECK(test_seconds() - begun < 20 && usleep(1000) == 0);
    }
}

#endif
