/*
 * What every test program shares: checks that say what went wrong, and a store of its own.
 *
 * A test is a C program that exits with 0 if the behaviour holds. It finds its store by test_uri(): ctest runs it
 * once for each store, named in $DSS_TEST_STORE (sqlite, the default, memory, postgres or etcd). Files live in a folder
 * of the test's own, which the process that asked for it removes when it exits; on a server it has a schema or a prefix
 * of its own, which goes with the server.
 */
#ifndef TEST_H
#define TEST_H

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dss.h"

/* Who has not come so far by then hangs, however busy the machine is. */
#define HANGS_AFTER_S 100

/* Ends the test unless the condition holds. */
#define CHECK(condition)                                                                                            \
    do {                                                                                                            \
        if (!(condition)) {                                                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                 \
            exit(1);                                                                                                \
        }                                                                                                           \
    } while (0)

/* Ends the test unless the call returns the code, and shows what the library said. */
#define CHECK_RC(call, expected)                                                                                    \
    do {                                                                                                            \
        int check_rc_ = (call), check_want_ = (expected);                                                           \
        if (check_rc_ != check_want_) {                                                                             \
            fprintf(stderr, "%s:%d: %s gave %d (%s), not %d (%s); last error: %s\n", __FILE__, __LINE__, #call,     \
                    check_rc_, dss_strerror(check_rc_), check_want_, dss_strerror(check_want_), dss_last_error());  \
            exit(1);                                                                                                \
        }                                                                                                           \
    } while (0)

/* The same where either of two answers will do. */
#define CHECK_RC_OR(call, expected, other)                                                                          \
    do {                                                                                                            \
        int check_or_rc_ = (call);                                                                                  \
        if (check_or_rc_ != (other))                                                                                \
            CHECK_RC(check_or_rc_, (expected));                                                                     \
    } while (0)

static char test_dir_[256];
static pid_t test_dir_owner_;

static inline void test_remove_tree_(const char *path)
{
    char inner[4096];
    struct dirent *entry;
    DIR *dir = opendir(path);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if ((size_t)snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name) >= sizeof(inner))
            continue; /* half a name could be another file's */
        if (unlink(inner) != 0)
            test_remove_tree_(inner);
    }
    if (dir != NULL)
        closedir(dir);
    (void)rmdir(path);
}

static inline void test_cleanup_(void)
{
    if (test_dir_owner_ == getpid())
        test_remove_tree_(test_dir_);
}

/* A folder of this test's own, made on first use, under $DSS_TEST_TMP or /tmp. */
static inline const char *test_dir(void)
{
    const char *base = getenv("DSS_TEST_TMP");

    if (test_dir_[0] == '\0') {
        snprintf(test_dir_, sizeof(test_dir_), "%s/dss-test-XXXXXX", base != NULL ? base : "/tmp");
        CHECK(mkdtemp(test_dir_) != NULL);
        test_dir_owner_ = getpid();
        CHECK(atexit(test_cleanup_) == 0);
    }
    return test_dir_;
}

/* Whether the test runs on the named store. */
static inline int test_store_is(const char *name)
{
    const char *store = getenv("DSS_TEST_STORE");

    return strcmp(store != NULL ? store : "sqlite", name) == 0;
}

/* The path of a file in test_dir(), in a buffer that the caller frees. */
static inline char *test_path(const char *name)
{
    size_t size = strlen(test_dir()) + strlen(name) + 2;
    char *path = malloc(size);

    CHECK(path != NULL);
    snprintf(path, size, "%s/%s", test_dir(), name);
    return path;
}

/* Whether the test's store is a server, to which a call has to go by the network. */
static inline int test_store_is_server(void)
{
    return test_store_is("postgres") || test_store_is("etcd");
}

/* The value of a variable that says where a server is. */
static inline const char *test_server_(const char *variable)
{
    const char *value = getenv(variable);

    if (value == NULL || value[0] == '\0') {
        fprintf(stderr, "$%s is not set: run this by scripts/servers.sh run postgres etcd -- ctest ...\n", variable);
        exit(1);
    }
    return value;
}

static pid_t test_process_;

__attribute__((constructor)) static void test_begin_(void)
{
    test_process_ = getpid();
}

/* A part of the server that nobody else has, neither now nor in a later test whose process gets the same number. */
static inline void test_server_uri_(char *uri, size_t size)
{
    uint64_t unused = 0;

    CHECK(getpid() == test_process_); /* a child that asks first would have a store of its own */
    CHECK(getrandom(&unused, sizeof(unused), 0) == (ssize_t)sizeof(unused));
    snprintf(uri, size, "%s%st_%d_%016llx",
             test_server_(test_store_is("postgres") ? "DSS_TEST_POSTGRES" : "DSS_TEST_ETCD"),
             test_store_is("postgres") ? "?schema=" : "/", (int)getpid(), (unsigned long long)unused);
}

/*
 * The connection string of the test's store; the same one each time. It is written once, since a thread may be reading it
 * while another one asks: a test with threads asks first in main().
 */
static inline const char *test_uri(void)
{
    static char uri[512];

    if (test_store_is("memory"))
        return "memory:test";
    if (uri[0] == '\0' && test_store_is_server())
        test_server_uri_(uri, sizeof(uri));
    if (uri[0] == '\0')
        snprintf(uri, sizeof(uri), "sqlite:%s/dss.db", test_dir());
    return uri;
}

/* A connection string and one more option, such as "timeout_ms=200", in a buffer that the caller frees. */
static inline char *test_with_option(const char *uri, const char *option)
{
    size_t size = strlen(uri) + strlen(option) + 2;
    char *longer = malloc(size);

    CHECK(longer != NULL);
    snprintf(longer, size, "%s%c%s", uri, strchr(uri, '?') == NULL ? '?' : '&', option);
    return longer;
}

static inline char *test_uri_with(const char *option)
{
    return test_with_option(test_uri(), option);
}

/* The connection string of another store of the test's kind and its own, in a buffer that the caller frees. */
static inline char *test_other_uri(const char *name)
{
    const char *uri = test_uri();
    size_t length = test_store_is("sqlite") ? (size_t)(strrchr(uri, '/') + 1 - uri) : strlen(uri);
    size_t size = length + strlen(name) + sizeof("_.db");
    char *other = malloc(size);

    CHECK(other != NULL);
    if (test_store_is("sqlite"))
        snprintf(other, size, "%.*s%s.db", (int)length, uri, name);
    else
        snprintf(other, size, "%s_%s", uri, name);
    return other;
}

/* The lease that is granted for one that was asked for: a store may round it up. etcd's has whole seconds, and two of them
   at least. */
static inline int64_t test_ttl_ms(int64_t asked_ms)
{
    int64_t rounded_ms = (asked_ms + 999) / 1000 * 1000;

    if (!test_store_is("etcd") || asked_ms == 0)
        return asked_ms;
    return rounded_ms < 2000 ? 2000 : rounded_ms;
}

/* Waits for a child process and ends the test unless it exited with 0. */
static inline void test_join(pid_t child)
{
    int status = -1;

    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        fprintf(stderr, "child %d was killed by signal %d\n", (int)child, WTERMSIG(status));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/*
 * Waits for many children and ends the test unless all exited with 0. Children that wait for each other would hang
 * once one of them has failed, so the first failure kills the others.
 */
static inline void test_join_all(pid_t *children, size_t count)
{
    size_t left, i;
    int status, failed = 0;

    for (left = count; left > 0; left--) {
        pid_t ended = waitpid(-1, &status, 0);

        CHECK(ended > 0);
        if (WIFSIGNALED(status) && !failed)
            fprintf(stderr, "child %d was killed by signal %d\n", (int)ended, WTERMSIG(status));
        for (i = 0; i < count; i++) {
            if (children[i] == ended)
                children[i] = 0; /* its number may belong to another process from now on */
        }
        if (failed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
            continue;
        failed = 1;
        for (i = 0; i < count; i++) {
            if (children[i] > 0)
                (void)kill(children[i], SIGKILL);
        }
    }
    CHECK(!failed);
}

/*
 * How often to repeat something: the smaller number under valgrind, which is slow, and with AddressSanitizer, which has
 * seen every access after a few rounds.
 */
static inline int test_repeat(int natively, int when_checked)
{
#ifdef __SANITIZE_ADDRESS__
    (void)natively;
    return when_checked;
#else
    return getenv("DSS_TEST_VALGRIND") != NULL ? when_checked : natively;
#endif
}

/* Ends the test unless status names this holder of the lock; NULL means that there must be no such lock. */
static inline void test_check_owner(struct dss_handle *handle, const char *lock_id, const char *lock_owner)
{
    char *found = NULL;

    if (lock_owner == NULL) {
        CHECK_RC(dss_lock_status(handle, lock_id, NULL, NULL), -ENOLCK);
        return;
    }
    CHECK_RC(dss_lock_status(handle, lock_id, &found, NULL), 0);
    CHECK(found != NULL && strcmp(found, lock_owner) == 0);
    free(found);
}

/* A time stamp as one number, so that two can be compared. */
static inline int64_t test_microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

/* How much of something that shows the more, the more there is of it: a quarter, and all of it in `make prove`. */
static inline int test_amount(int full)
{
    return getenv("DSS_TEST_FULL") != NULL ? full : (full + 3) / 4;
}

/* How often to repeat something that costs many calls, which take longer where they have to go over a network. */
static inline int test_calls(int otherwise, int on_a_server)
{
    return test_store_is_server() ? on_a_server : otherwise;
}

static inline double test_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
